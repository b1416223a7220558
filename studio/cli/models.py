"""`models`: the models found here, and what they know."""

from __future__ import annotations

import argparse

from studio.cli import shared


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("models", help="models found here")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """List the embedded models and those in the models folder of the home; loads no weights."""
    with shared.open_studio(args) as studio:
        found = [
            {
                "ref": m.ref,
                "name": m.name,
                "title": m.title,
                "family": m.family,
                "bytes": m.bytes,
                "card": m.card,
                "problem": m.problem,
            }
            for m in studio.models.list()
        ]
        folder = studio.settings.models_folder
    if args.json:
        shared.show({"models": found})
        return shared.FINISHED
    for model in found:
        size = f"{model['family']}  {int(str(model['bytes'])) / 1e6:.1f} MB"
        print(f"{model['ref']}  {model['title']}  {model['problem'] or size}")
    shared.say(f"Use a diffusers folder of your own with --model FOLDER, or put it into {folder}")
    return shared.FINISHED

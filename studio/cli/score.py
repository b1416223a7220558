"""`score IMAGE [--prompt TEXT]`: what the exact judge of the scene world sees in a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio.cli import shared


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("score", help="what a scene picture shows, and whether a prompt came true")
    parser.add_argument("image", metavar="IMAGE", help="a picture of the scene world (PNG, JPEG, WEBP)")
    parser.add_argument("--prompt", metavar="TEXT", help="judge the picture against this prompt")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Judge one picture; needs no model and no torch."""
    from studio.pixels import read_picture
    from studio.scenes.score import report
    from studio.scenes.words import unknown_words

    path = Path(args.image)
    if not path.is_file():
        raise shared.BadCall(
            f"There is no picture at '{args.image}'.", hint="Give the path of a PNG, JPEG or WEBP."
        )
    for word, near in unknown_words(args.prompt or ""):
        hint = f"Did you mean {' or '.join(repr(other) for other in near)}?" if near else ""
        shared.say(f"Note: the judge does not know '{word}' and passes over it. {hint}".rstrip())
    found = report(read_picture(path.read_bytes()).pixels[..., :3], args.prompt)
    if args.json:
        shared.show(found)
        return shared.FINISHED
    for thing in found["objects"]:
        print(" ".join(str(thing[key]) for key in ("size", "pattern", "colour", "kind", "place")))
    print(f"background: {found['background']}")
    if args.prompt is not None:
        judged = found["prompt_score"]
        if not judged["wanted"] and not judged["all_right"]:
            shared.say("Note: the prompt names no object and no background that is there.")
        print(
            f"prompt: {judged['found']} of {judged['wanted']} right"
            f"{', all right' if judged['all_right'] else ''}"
        )
    return shared.FINISHED

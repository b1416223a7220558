"""`eval prompts`: how many held-out prompts the embedded model draws all right, judged exactly."""

from __future__ import annotations

import argparse

from studio.cli import shared


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("eval", help="measure the embedded model on held-out prompts")
    parser.add_argument("what", choices=["prompts"], help="prompts: single and several objects")
    parser.add_argument("--cases", type=whole, default=500, metavar="N", help="number of prompts (500)")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def whole(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def act(args: argparse.Namespace) -> int:
    """Draw and judge the prompts; on a terminal a line of progress."""
    from studio.evaluate.prompts import evaluate

    with shared.progress_line("prompts") as tick:
        result = evaluate(args.cases, folder=shared.settings_of(args).home / "eval", progress=tick)
    if args.json:
        shared.show(result)
        return shared.FINISHED
    for group, score in result.items():
        if isinstance(score, dict) and score.get("n"):
            low, high = score["interval"]
            share = f"{score['share']:.0%}, 95 % interval {low:.0%} to {high:.0%}"
            print(f"{group}: {score['all_right']} all right of {score['n']} ({share})")
    return shared.FINISHED

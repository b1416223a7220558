"""`bench plain`: our sampling against the stock pipeline; `bench control`: what each control costs."""

from __future__ import annotations

import argparse

from studio.cli import shared
from studio.cli.eval import whole


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("bench", help="speed and memory against the stock pipeline")
    parser.add_argument(
        "what",
        choices=["plain", "control"],
        help="plain: one picture without any control; control: what each control costs",
    )
    parser.add_argument("--only", metavar="NAME", help="control: off, edit, regions4, heatmaps or nag")
    parser.add_argument("--pairs", type=whole, default=7, metavar="N", help="alternating pairs (7)")
    parser.add_argument("--steps", type=whole, default=20, metavar="N", help="steps of each picture (20)")
    parser.add_argument("--model", default="embedded:scenes-sd3", metavar="REF", help="model to measure")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Measure and print `wall_ratio`, `memory_ratio`, `seconds_per_picture`."""
    if args.what == "control":
        return _control(args)
    if args.only:
        raise shared.BadCall("--only belongs to `bench control`.")
    from studio.evaluate.plain_bench import bench_plain

    result = bench_plain(args.model, pairs=args.pairs, steps=args.steps)
    if args.json:
        shared.show(result)
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    return shared.FINISHED


def _control(args: argparse.Namespace) -> int:
    from studio.evaluate.control_bench import bench_control

    rows = bench_control(args.model, pairs=args.pairs, steps=args.steps, only=args.only)
    if args.json:
        shared.show(rows)
    else:
        for row in rows:
            print(f"{row['name']}: wall_ratio {row['wall_ratio']}, memory_ratio {row['memory_ratio']}")
    return shared.FINISHED

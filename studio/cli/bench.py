"""`bench plain`: our sampling against the stock pipeline; `bench control`: what each control costs; `bench
cache`: what step caches save; `bench prefix`, `bench batch`: what is not computed twice, or is together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from studio.cli import shared
from studio.cli.eval import kept_in, whole

Rows = Sequence[Mapping[str, Any]]
Tell = Callable[[str], None] | None


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("bench", help="speed and memory against the stock pipeline")
    parser.add_argument(
        "what",
        choices=list(BENCHES),
        help="plain: one picture without any control; control: what each control costs; cache: what step "
        "caches save and what the picture loses; prefix: what a late change costs that goes on from an "
        "earlier run; batch: pictures of the queue made together, beside one after the other; upscale: the "
        "embedded upscaler beside Lanczos; shapes: SD3.5 and FLUX.1 with random weights, on a GPU; all: "
        "every table and chart of docs/benchmarks.md",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        help="control: off, edit, regions4, heatmaps, heatmaps_all_blocks or nag; cache: part of a mode; "
        "prefix: part of a change; shapes: part of a name; all: parts, with commas",
    )
    parser.add_argument(
        "--cases",
        type=whole,
        default=8,
        metavar="N",
        help="cache: prompts, up to 100; upscale: scenes; all: of tau, cache, upscale, restore, judge (8)",
    )
    parser.add_argument(
        "--pairs",
        type=whole,
        default=7,
        metavar="N",
        help="plain, control, prefix, batch: alternating pairs (7)",
    )
    parser.add_argument(
        "--steps", type=whole, metavar="N", help="steps of each picture (20; cache: 28 and 50)"
    )
    parser.add_argument(
        "--model",
        metavar="REF",
        help="model to measure (embedded:scenes-sd3; all: plain, control and cache on both embedded models)",
    )
    parser.add_argument("--out", metavar="DIR", help="all: where page, data and pictures are written (docs)")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Measure and print `wall_ratio`, `memory_ratio`, `seconds_per_picture`."""
    if args.only and args.what in WITHOUT_ONLY:
        raise shared.BadCall(WITHOUT_ONLY[args.what])
    measure, told = BENCHES[args.what]
    # cache-dit logs to standard output, where the result alone belongs
    with redirect_stdout(sys.stderr):
        result = measure(args, None if args.json else shared.say)
    return shared.answer(args, result, told)


def _plain(args: argparse.Namespace, tell: Tell) -> Any:
    from studio.evaluate.plain_bench import bench_plain

    return bench_plain(_model(args), pairs=args.pairs, steps=args.steps or 20)


def _plain_told(result: Mapping[str, Any]) -> Iterator[str]:
    for name, value in result.items():
        yield f"{name}: {value}"


def _control(args: argparse.Namespace, tell: Tell) -> Any:
    from studio.evaluate.control_bench import bench_control

    return bench_control(_model(args), pairs=args.pairs, steps=args.steps or 20, only=args.only)


def _control_told(rows: Rows) -> Iterator[str]:
    for row in rows:
        yield f"{row['name']}: wall_ratio {row['wall_ratio']}, memory_ratio {row['memory_ratio']}"


def _cache(args: argparse.Namespace, tell: Tell) -> Any:
    from studio.evaluate.cache_bench import STEPS, bench_cache

    steps = (args.steps,) if args.steps else STEPS
    return bench_cache(_model(args), cases=args.cases, steps=steps, only=args.only, progress=tell)


def _cache_told(rows: Rows) -> Iterator[str]:
    for row in rows:
        told = row.get("error") or (
            f"{row['speedup']}x, {row['psnr_db']} dB, judge {row['judge_before']} -> {row['judge_after']}"
        )
        yield f"{row['steps']} steps, {row['mode']}: {told}"


def _prefix(args: argparse.Namespace, tell: Tell) -> Any:
    from studio.evaluate.resume_bench import bench_resume

    return bench_resume(_model(args), pairs=args.pairs, steps=args.steps or 28, only=args.only, progress=tell)


def _batch(args: argparse.Namespace, tell: Tell) -> Any:
    from studio.evaluate.batch_bench import bench_batch

    return bench_batch(_model(args), pairs=args.pairs, steps=args.steps or 20, progress=tell)


def _upscale(args: argparse.Namespace, tell: Tell) -> Any:
    from studio.evaluate.upscale_bench import bench_upscale

    return bench_upscale(args.cases, progress=tell)


def _shapes(args: argparse.Namespace, tell: Tell) -> Any:
    from studio.evaluate.shapes_bench import bench_shapes

    return bench_shapes(_device(args), only=args.only, steps=args.steps, progress=tell)


def _all(args: argparse.Namespace, tell: Tell) -> Any:
    from studio.evaluate.bench_all import Wanted, bench_all
    from studio.settings import ROOT

    wanted = Wanted(args.model, args.cases, args.pairs, args.steps, _device(args), kept_in(args))
    only = [name.strip() for name in (args.only or "").split(",") if name.strip()]
    return bench_all(Path(args.out or ROOT / "docs"), wanted, only=only, progress=tell)


def _rows_told(rows: Rows) -> Iterator[str]:
    for row in rows:
        yield ", ".join(f"{name} {value}" for name, value in row.items())


def _nothing_told(result: object) -> Iterator[str]:
    """The page that was written says it."""
    return iter(())


def _model(args: argparse.Namespace) -> str:
    return str(args.model or "embedded:scenes-sd3")


def _device(args: argparse.Namespace) -> str:
    return getattr(args, "device", None) or "auto"


# What measures, and what says the result to a person.
BENCHES: dict[str, tuple[Callable[[argparse.Namespace, Tell], Any], Callable[[Any], Iterator[str]]]] = {
    "plain": (_plain, _plain_told),
    "control": (_control, _control_told),
    "cache": (_cache, _cache_told),
    "prefix": (_prefix, _rows_told),
    "batch": (_batch, _rows_told),
    "upscale": (_upscale, _rows_told),
    "shapes": (_shapes, _rows_told),
    "all": (_all, _nothing_told),
}
WITHOUT_ONLY = {
    "plain": "--only belongs to `bench control` and `bench cache`.",
    "batch": "--only belongs to the other benchmarks.",
    "upscale": "--only belongs to `bench control`, `cache`, `shapes` and `all`.",
}

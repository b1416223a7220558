"""`bench plain`: our sampling against the stock pipeline; `bench control`: what each control costs; `bench
cache`: what step caches save; `bench prefix`, `bench batch`: what is not computed twice, or is together."""

from __future__ import annotations

import argparse
import sys

from studio.cli import shared
from studio.cli.eval import whole


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("bench", help="speed and memory against the stock pipeline")
    parser.add_argument(
        "what",
        choices=["plain", "control", "cache", "prefix", "batch", "upscale", "shapes", "all"],
        help="plain: one picture without any control; control: what each control costs; cache: what step "
        "caches save and what the picture loses; prefix: what a late change costs that goes on from an "
        "earlier run; batch: pictures of the queue made together, beside one after the other; upscale: the "
        "embedded upscaler beside Lanczos; shapes: SD3.5 and FLUX.1 with random weights, on a GPU; all: "
        "every table and chart of docs/benchmarks.md",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        help="control: off, edit, regions4, heatmaps or nag; cache: part of a mode; prefix: part of a "
        "change; shapes: part of a name; "
        "all: parts, with commas",
    )
    parser.add_argument("--cases", type=whole, default=8, metavar="N", help="cache: prompts, up to 100 (8)")
    parser.add_argument("--pairs", type=whole, default=7, metavar="N", help="alternating pairs (7)")
    parser.add_argument(
        "--steps", type=whole, metavar="N", help="steps of each picture (20; cache: 28 and 50)"
    )
    parser.add_argument("--model", default="embedded:scenes-sd3", metavar="REF", help="model to measure")
    parser.add_argument("--out", metavar="DIR", help="all: where page, data and pictures are written (docs)")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Measure and print `wall_ratio`, `memory_ratio`, `seconds_per_picture`."""
    if args.what == "cache":
        return _cache(args)
    if args.what in ("prefix", "batch"):
        return _together(args)
    if args.what in ("upscale", "shapes", "all"):
        return _tables(args)
    args.steps = args.steps or 20
    if args.what == "control":
        return _control(args)
    if args.only:
        raise shared.BadCall("--only belongs to `bench control` and `bench cache`.")
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


def _together(args: argparse.Namespace) -> int:
    if args.only and args.what == "batch":
        raise shared.BadCall("--only belongs to the other benchmarks.")
    tell = None if args.json else lambda line: print(line, file=sys.stderr, flush=True)
    steps = args.steps or (28 if args.what == "prefix" else 20)
    if args.what == "prefix":
        from studio.evaluate.resume_bench import bench_resume

        rows = bench_resume(args.model, pairs=args.pairs, steps=steps, only=args.only, progress=tell)
    else:
        from studio.evaluate.batch_bench import bench_batch

        rows = bench_batch(args.model, pairs=args.pairs, steps=steps, progress=tell)
    if args.json:
        shared.show(rows)
        return shared.FINISHED
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    return shared.FINISHED


def _tables(args: argparse.Namespace) -> int:
    from pathlib import Path

    tell = None if args.json else shared.say
    device = getattr(args, "device", None) or "auto"
    if args.what == "all":
        from studio.evaluate.bench_all import Wanted, bench_all
        from studio.settings import ROOT

        wanted = Wanted(args.model, args.cases, args.pairs, args.steps, device)
        only = [name.strip() for name in (args.only or "").split(",") if name.strip()]
        found = bench_all(Path(args.out or ROOT / "docs"), wanted, only=only, progress=tell)
        if args.json:
            shared.show(found)
        return shared.FINISHED
    if args.what == "shapes":
        from studio.evaluate.shapes_bench import bench_shapes

        rows = bench_shapes(device, only=args.only, steps=args.steps, progress=tell)
    else:
        if args.only:
            raise shared.BadCall("--only belongs to `bench control`, `cache`, `shapes` and `all`.")
        from studio.evaluate.upscale_bench import bench_upscale

        rows = bench_upscale(args.cases, progress=tell)
    if args.json:
        shared.show(rows)
        return shared.FINISHED
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    return shared.FINISHED


def _cache(args: argparse.Namespace) -> int:
    from studio.evaluate.cache_bench import STEPS, bench_cache

    steps = (args.steps,) if args.steps else STEPS
    tell = None if args.json else lambda line: print(line, file=sys.stderr, flush=True)
    rows = bench_cache(args.model, cases=args.cases, steps=steps, only=args.only, progress=tell)
    if args.json:
        shared.show(rows)
        return shared.FINISHED
    for row in rows:
        told = row.get("error") or (
            f"{row['speedup']}x, {row['psnr_db']} dB, judge {row['judge_before']} -> {row['judge_after']}"
        )
        print(f"{row['steps']} steps, {row['mode']}: {told}")
    return shared.FINISHED

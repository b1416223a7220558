"""`eval`: what the embedded models can do, judged exactly: held-out prompts, and the controls."""

from __future__ import annotations

import argparse
from typing import Any

from studio.cli import shared


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("eval", help="measure the embedded models: prompts, controls")
    parser.add_argument(
        "what",
        choices=[
            "prompts",
            "control",
            "blocks",
            "localise",
            "schedule",
            "guidance",
            "restore",
            "start-noise",
            "nested",
            "diversity",
        ],
        help="prompts: held-out prompts; control: editing, regions, maps and the rest; blocks: which blocks "
        "of a model locate words; localise: which blocks carry colour, kind, pattern, background or place; "
        "schedule: where a few Euler steps count most; guidance: what every rule makes, and its calls; "
        "restore: small, blurred and torn pictures brought back; start-noise: from which "
        "noise that goes best; nested: what a run that is stopped shows, beside the plain one; "
        "diversity: how much eight seeds differ by the base model, the few-step model, and both by turns",
    )
    parser.add_argument(
        "--cases",
        type=whole,
        metavar="N",
        help="number of prompts (500), cases of each row (200), scenes for blocks (100), for localise (20), "
        "pictures for schedule (6), prompts for guidance (24), pictures for restore (8), "
        "for start-noise (4), prompts for nested (24), for diversity (12)",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        help="control: one method or row, such as edit.colour; localise: what to look for (colour); "
        "guidance: one rule beside cfg; restore: small, blurred, hole, flowchef, red_diff or both as "
        "small.flowchef; start-noise: one of these problems (small); diversity: one way, such as relay",
    )
    parser.add_argument(
        "--window", type=whole, metavar="N", default=1, help="localise: so many neighbouring blocks (1)"
    )
    parser.add_argument(
        "--steps",
        type=whole,
        metavar="N",
        help="so many steps: prompts (the model's own), schedule (8), restore (20), start-noise (10), "
        "diversity (4)",
    )
    parser.add_argument(
        "--candidates", type=whole, metavar="N", default=6, help="start-noise: so many seeds are tried (6)"
    )
    parser.add_argument(
        "--generations",
        type=whole,
        metavar="N",
        help="schedule: vary what was found so often (AutoDiffusion); without it, not at all",
    )
    parser.add_argument("--model", default="embedded:scenes-sd3", metavar="REF", help="model to judge")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def whole(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def act(args: argparse.Namespace) -> int:
    """Draw and judge; on a terminal a line of progress. Stopped and started again, it goes on."""
    run = {
        "prompts": _prompts,
        "control": _control,
        "blocks": _blocks,
        "localise": _localise,
        "schedule": _schedule,
        "guidance": _guidance,
        "restore": _restore,
        "start-noise": _start_noise,
        "nested": _nested,
        "diversity": _diversity,
    }
    return run[args.what](args)


def _prompts(args: argparse.Namespace) -> int:
    from studio.evaluate.prompts import evaluate

    if args.only:
        raise shared.BadCall("--only belongs to `eval control` and `eval localise`.")
    folder = shared.settings_of(args).home / "eval"
    with shared.progress_line("prompts") as tick:
        own = {} if args.steps is None else {"steps": args.steps}
        result = evaluate(args.cases or 500, ref=args.model, folder=folder, progress=tick, **own)
    if args.json:
        shared.show(result)
        return shared.FINISHED
    for group, score in result.items():
        if isinstance(score, dict) and score.get("n"):
            low, high = score["interval"]
            share = f"{score['share']:.0%}, 95 % interval {low:.0%} to {high:.0%}"
            print(f"{group}: {score['all_right']} all right of {score['n']} ({share})")
    return shared.FINISHED


def _control(args: argparse.Namespace) -> int:
    from studio.evaluate.control import evaluate

    folder = shared.settings_of(args).home / "eval"
    with shared.progress_line("cases") as tick:
        rows = evaluate(args.cases or 200, only=args.only, ref=args.model, folder=folder, progress=tick)
    if args.json:
        shared.show(rows)
        return shared.FINISHED
    for row in rows:
        print(f"{row['method']} {row['what']}: {_verdicts(row)} (n = {row['n']}, {row['unusable']} unusable)")
    return shared.FINISHED


def _guidance(args: argparse.Namespace) -> int:
    from studio.evaluate.guidance import evaluate

    with shared.progress_line("pictures") as tick:
        rows = evaluate(args.cases or 24, only=args.only, ref=args.model, progress=tick)
    if args.json:
        shared.show(rows)
        return shared.FINISHED
    for row in rows:
        low, high = row["interval"]
        against = "" if row["psnr_db"] is None else f", {row['psnr_db']:g} dB to plain CFG"
        print(
            f"{row['rule']}: {row['all_right']} all right of {row['n']} ({low:.0%} to {high:.0%}), "
            f"{row['found']:.0%} of the objects; {row['forwards']:g} calls, {row['rows']:g} rows, "
            f"{row['seconds']:g} s a picture{against}"
        )
    return shared.FINISHED


def _nested(args: argparse.Namespace) -> int:
    from studio.evaluate.nested import evaluate

    with shared.progress_line("runs") as tick:
        rows = evaluate(args.cases or 24, ref=args.model, progress=tick)
    if args.json:
        shared.show(rows)
        return shared.FINISHED
    for row in rows:
        low, high = row["interval"]
        print(
            f"{row['sampler']}, {row['calls']} of {row['planned']} calls: {row['all_right']} all right of "
            f"{row['n']} ({low:.0%} to {high:.0%}), {row['found']:.0%} of the objects, "
            f"sharpness {row['sharpness']:g}"
        )
    return shared.FINISHED


def _diversity(args: argparse.Namespace) -> int:
    from studio.evaluate.diversity import TURBO, evaluate

    folder = shared.settings_of(args).home / "eval"
    ref = TURBO if args.model == "embedded:scenes-sd3" else args.model
    own = {} if args.steps is None else {"steps": args.steps}
    with shared.progress_line("sets of eight") as tick:
        rows = evaluate(args.cases or 12, ref=ref, only=args.only, folder=folder, progress=tick, **own)
    if args.json:
        shared.show(rows)
        return shared.FINISHED
    for row in rows:
        low, high = row["interval"]
        print(
            f"{row['way']}: distance {row['distance']:g} (± {row['standard_error']:g}), latent "
            f"{row['latent']:g}; {row['share']:.0%} all right ({low:.0%} to {high:.0%}); "
            f"{row['forwards']:g} calls and {row['seconds']:g} s a picture "
            f"(n = {row['n']} prompts of {row['seeds']} seeds)"
        )
    return shared.FINISHED


def _verdicts(row: dict[str, Any]) -> str:
    """The shares that the row answers, in words."""
    names = ("success", "preserved", "plain_success", "plain_preserved")
    said = [f"{name.replace('_', ' ')} {row[name]:.0%}" for name in names if row[name] is not None]
    further = [
        f"{name} {value:g}"
        for name, value in row.items()
        if isinstance(value, float) and name not in names and name not in ("n", "unusable")
    ]
    return ", ".join([*said, *further]) or "nothing to judge"


def _blocks(args: argparse.Namespace) -> int:
    from studio.evaluate.block_selection import KEY, KIND, rank_blocks

    if args.only:
        raise shared.BadCall("--only belongs to `eval control` and `eval localise`.")
    with shared.open_studio(args) as studio, shared.progress_line("scenes") as tick:
        folder = studio.settings.home / "eval"
        result = rank_blocks(args.cases or 100, ref=args.model, folder=folder, progress=tick)
        if result["n"]:
            studio.history.calibrations.put(result["model"]["digest"], KIND, KEY, result)
    if args.json:
        shared.show(result)
        return shared.FINISHED
    for block in result["blocks"]:
        figures = ", ".join(f"{name} {block[name]:.3f}" for name in ("soft_iou", "bce", "mse"))
        print(f"block {block['index']}: {figures}, mean rank {block['rank']:g}")
    print(
        f"{result['n']} words judged; {result['unusable']} of {result['cases']} pictures showed none rightly"
    )
    if result["n"]:
        print(f"kept for this model: {', '.join(map(str, result['chosen']))}")
    return shared.FINISHED


def _localise(args: argparse.Namespace) -> int:
    from studio.evaluate.localiser import KIND, key_of, localise

    with shared.open_studio(args) as studio, shared.progress_line("cases") as tick:
        result = localise(
            args.only or "colour",
            args.cases or 20,
            window=args.window,
            ref=args.model,
            folder=studio.settings.home / "eval",
            progress=tick,
        )
        if result["n"]:
            studio.history.calibrations.put(result["model"]["digest"], KIND, key_of(result), result)
    if args.json:
        shared.show(result)
        return shared.FINISHED
    for window in result["windows"]:
        low, high = window["interval"]
        names = ", ".join(map(str, window["sites"]))
        print(
            f"blocks {names}: {window['flips']:.0%} changed ({low:.0%} to {high:.0%}), "
            f"rest {window['psnr']:g} dB, score {window['score']:g}"
        )
    best = ", ".join(map(str, result["best"])) or "none"
    print(f"{result['what']} lies in: {best} (n = {result['n']}, {result['unusable']} unusable)")
    return shared.FINISHED


def _schedule(args: argparse.Namespace) -> int:
    from studio.evaluate.schedule_search import search_schedule

    if args.only:
        raise shared.BadCall("--only belongs to `eval control` and `eval localise`.")
    with shared.open_studio(args) as studio, shared.progress_line("steps") as tick:
        result = search_schedule(
            args.steps or 8,
            args.cases or 6,
            ref=args.model,
            generations=args.generations or 0,
            progress=tick,
        )
        studio.history.calibrations.put(result["model"]["digest"], result["kind"], result["key"], result)
    if args.json:
        shared.show(result)
        return shared.FINISHED
    print(", ".join(f"{sigma:.4g}" for sigma in result["sigmas"]))
    boss, plain = result["evolved_error"], result["plain_error"]
    print(f"searched on {result['n']} pictures: error {boss:.4g}, plain schedule {plain:.4g}")
    now, before = result["held_out_error"], result["held_out_plain_error"]
    print(f"on {result['n']} others: error {now:.4g}, plain schedule {before:.4g}")
    print("kept for this model" if result["found"] else "no better: the plain schedule is kept")
    return shared.FINISHED


def _restore(args: argparse.Namespace) -> int:
    from studio.evaluate.restore import evaluate

    with shared.progress_line("pictures") as tick:
        rows = evaluate(
            args.cases or 8, only=args.only, ref=args.model, steps=args.steps or 20, progress=tick
        )
    if args.json:
        shared.show(rows)
        return shared.FINISHED
    for row in rows:
        print(
            f"{row['problem']}, {row['method']}: {row['psnr_db']:g} dB, SSIM {row['ssim']:g}; without the "
            f"model {row['without_psnr_db']:g} dB, {row['without_ssim']:g} (better in {row['better']} of "
            f"{row['n']}); "
            f"distance to what is known {row['data_first']:.2g} -> {row['data']:.2g}; "
            f"{row['cpu_seconds']:g} s"
        )
    return shared.FINISHED


def _start_noise(args: argparse.Namespace) -> int:
    from studio.evaluate.restore import search_noise

    with shared.open_studio(args) as studio, shared.progress_line("steps") as tick:
        result = search_noise(
            args.cases or 4,
            ref=args.model,
            candidates=args.candidates,
            steps=args.steps or 10,
            problem=args.only or "small",
            progress=tick,
        )
        studio.history.calibrations.put(result["model"]["digest"], result["kind"], result["key"], result)
    if args.json:
        shared.show(result)
        return shared.FINISHED
    for what, name in (("searched", "distances"), ("held out", "held_out")):
        pairs = zip(result["seeds"], result[name], strict=True)
        told = ", ".join(f"{seed}: {value:.4g}" for seed, value in pairs)
        print(f"{what} ({result['n']} pictures): {told}")
    gain = "" if result["gain"] is None else f", {result['gain']:.1%} nearer than the mean of all seeds"
    print(f"seed {result['seed']} is kept for this model{gain} on pictures that took no part")
    return shared.FINISHED

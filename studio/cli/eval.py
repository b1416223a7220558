"""`eval`: what the embedded models can do, judged exactly: held-out prompts, and the controls."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.cli import shared

Rows = Sequence[dict[str, Any]]
DEFAULT = "embedded:scenes-sd3"


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("eval", help="measure the embedded models: prompts, controls")
    parser.add_argument(
        "what",
        choices=list(EVALUATIONS),
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
        "--sampler", metavar="NAME", help="prompts: this sampler in place of the one on the model's card"
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
    parser.add_argument("--model", default=DEFAULT, metavar="REF", help="model to judge")
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
    if args.only and args.what in WITHOUT_ONLY:
        others = ", ".join(name for name in EVALUATIONS if name not in WITHOUT_ONLY)
        raise shared.BadCall(f"--only belongs to `eval` of {others}; {args.what} has no parts.")
    judge, told = EVALUATIONS[args.what]
    return shared.answer(args, judge(args), told)


def _prompts(args: argparse.Namespace) -> Any:
    from studio.evaluate.prompts import evaluate

    given = _own_steps(args) | ({} if args.sampler is None else {"sampler": args.sampler})
    with shared.progress_line("prompts") as tick:
        return evaluate(args.cases or 500, ref=args.model, folder=kept_in(args), progress=tick, **given)


def _prompts_told(result: Mapping[str, Any]) -> Iterator[str]:
    for group, score in result.items():
        if isinstance(score, dict) and score.get("n"):
            share = f"{score['share']:.0%}, 95 % interval {_interval(score)}"
            yield f"{group}: {score['all_right']} all right of {score['n']} ({share})"


def _control(args: argparse.Namespace) -> Any:
    from studio.evaluate.control import evaluate

    with shared.progress_line("cases") as tick:
        return evaluate(
            args.cases or 200, only=args.only, ref=args.model, folder=kept_in(args), progress=tick
        )


def _control_told(rows: Rows) -> Iterator[str]:
    for row in rows:
        yield f"{row['method']} {row['what']}: {_verdicts(row)} (n = {row['n']}, {row['unusable']} unusable)"


def _guidance(args: argparse.Namespace) -> Any:
    from studio.evaluate.guidance import evaluate

    with shared.progress_line("pictures") as tick:
        return evaluate(args.cases or 24, only=args.only, ref=args.model, progress=tick)


def _guidance_told(rows: Rows) -> Iterator[str]:
    for row in rows:
        against = "" if row["psnr_db"] is None else f", {row['psnr_db']:g} dB to plain CFG"
        yield (
            f"{row['rule']}: {row['all_right']} all right of {row['n']} ({_interval(row)}), "
            f"{row['found']:.0%} of the objects; {row['forwards']:g} calls, {row['rows']:g} rows, "
            f"{row['seconds']:g} s a picture{against}"
        )


def _nested(args: argparse.Namespace) -> Any:
    from studio.evaluate.nested import evaluate

    with shared.progress_line("runs") as tick:
        return evaluate(args.cases or 24, ref=args.model, progress=tick)


def _nested_told(rows: Rows) -> Iterator[str]:
    for row in rows:
        yield (
            f"{row['sampler']}, {row['calls']} of {row['planned']} calls: {row['all_right']} all right of "
            f"{row['n']} ({_interval(row)}), {row['found']:.0%} of the objects, "
            f"sharpness {row['sharpness']:g}"
        )


def _diversity(args: argparse.Namespace) -> Any:
    from studio.evaluate.diversity import TURBO, evaluate

    ref = TURBO if args.model == DEFAULT else args.model
    with shared.progress_line("sets of eight") as tick:
        return evaluate(
            args.cases or 12, ref=ref, only=args.only, folder=kept_in(args), progress=tick, **_own_steps(args)
        )


def _diversity_told(rows: Rows) -> Iterator[str]:
    for row in rows:
        yield (
            f"{row['way']}: distance {row['distance']:g} (± {row['standard_error']:g}), latent "
            f"{row['latent']:g}; {row['share']:.0%} all right ({_interval(row)}); "
            f"{row['forwards']:g} calls and {row['seconds']:g} s a picture "
            f"(n = {row['n']} prompts of {row['seeds']} seeds)"
        )


def _blocks(args: argparse.Namespace) -> Any:
    from studio.evaluate.block_selection import KEY, KIND, rank_blocks

    with shared.open_studio(args) as studio, shared.progress_line("scenes") as tick:
        folder = studio.settings.home / "eval"
        result = rank_blocks(args.cases or 100, ref=args.model, folder=folder, progress=tick)
        if result["n"]:
            studio.history.calibrations.put(result["model"]["digest"], KIND, KEY, result)
    return result


def _blocks_told(result: Mapping[str, Any]) -> Iterator[str]:
    for block in result["blocks"]:
        figures = ", ".join(f"{name} {block[name]:.3f}" for name in ("soft_iou", "bce", "mse"))
        yield f"block {block['index']}: {figures}, mean rank {block['rank']:g}"
    shown = f"{result['unusable']} of {result['cases']} pictures showed none rightly"
    yield f"{result['n']} words judged; {shown}"
    if result["n"]:
        yield f"kept for this model: {', '.join(map(str, result['chosen']))}"


def _localise(args: argparse.Namespace) -> Any:
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
    return result


def _localise_told(result: Mapping[str, Any]) -> Iterator[str]:
    for window in result["windows"]:
        names = ", ".join(map(str, window["sites"]))
        yield (
            f"blocks {names}: {window['flips']:.0%} changed ({_interval(window)}), "
            f"rest {window['psnr']:g} dB, score {window['score']:g}"
        )
    best = ", ".join(map(str, result["best"])) or "none"
    yield f"{result['what']} lies in: {best} (n = {result['n']}, {result['unusable']} unusable)"


def _schedule(args: argparse.Namespace) -> Any:
    from studio.evaluate.schedule_search import search_schedule

    with shared.open_studio(args) as studio, shared.progress_line("steps") as tick:
        result = search_schedule(
            args.steps or 8,
            args.cases or 6,
            ref=args.model,
            generations=args.generations or 0,
            progress=tick,
        )
        studio.history.calibrations.put(result["model"]["digest"], result["kind"], result["key"], result)
    return result


def _schedule_told(result: Mapping[str, Any]) -> Iterator[str]:
    yield ", ".join(f"{sigma:.4g}" for sigma in result["sigmas"])
    boss, plain = result["evolved_error"], result["plain_error"]
    yield f"searched on {result['n']} pictures: error {boss:.4g}, plain schedule {plain:.4g}"
    now, before = result["held_out_error"], result["held_out_plain_error"]
    yield f"on {result['n']} others: error {now:.4g}, plain schedule {before:.4g}"
    yield "kept for this model" if result["found"] else "no better: the plain schedule is kept"


def _restore(args: argparse.Namespace) -> Any:
    from studio.evaluate.restore import evaluate

    with shared.progress_line("pictures") as tick:
        return evaluate(
            args.cases or 8, only=args.only, ref=args.model, steps=args.steps or 20, progress=tick
        )


def _restore_told(rows: Rows) -> Iterator[str]:
    for row in rows:
        yield (
            f"{row['problem']}, {row['method']}: {row['psnr_db']:g} dB, SSIM {row['ssim']:g}; without the "
            f"model {row['without_psnr_db']:g} dB, {row['without_ssim']:g} (better in {row['better']} of "
            f"{row['n']}); "
            f"distance to what is known {row['data_first']:.2g} -> {row['data']:.2g}; "
            f"{row['cpu_seconds']:g} s"
        )


def _start_noise(args: argparse.Namespace) -> Any:
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
    return result


def _start_noise_told(result: Mapping[str, Any]) -> Iterator[str]:
    for what, name in (("searched", "distances"), ("held out", "held_out")):
        pairs = zip(result["seeds"], result[name], strict=True)
        told = ", ".join(f"{seed}: {value:.4g}" for seed, value in pairs)
        yield f"{what} ({result['n']} pictures): {told}"
    gain = "" if result["gain"] is None else f", {result['gain']:.1%} nearer than the mean of all seeds"
    yield f"seed {result['seed']} is kept for this model{gain} on pictures that took no part"


def kept_in(args: argparse.Namespace) -> Path:
    """Where partial results lie."""
    return shared.settings_of(args).home / "eval"


def _own_steps(args: argparse.Namespace) -> dict[str, Any]:
    """The wished steps; without them the model's own count."""
    return {} if args.steps is None else {"steps": args.steps}


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{low:.0%} to {high:.0%}"


def _verdicts(row: Mapping[str, Any]) -> str:
    """The shares that the row answers, in words."""
    names = ("success", "preserved", "plain_success", "plain_preserved")
    said = [f"{name.replace('_', ' ')} {row[name]:.0%}" for name in names if row[name] is not None]
    further = [
        f"{name} {value:g}"
        for name, value in row.items()
        if isinstance(value, float) and name not in names and name not in ("n", "unusable")
    ]
    return ", ".join([*said, *further]) or "nothing to judge"


# What measures, and what says the result to a person.
EVALUATIONS: dict[str, tuple[Callable[[argparse.Namespace], Any], Callable[[Any], Iterator[str]]]] = {
    "prompts": (_prompts, _prompts_told),
    "control": (_control, _control_told),
    "blocks": (_blocks, _blocks_told),
    "localise": (_localise, _localise_told),
    "schedule": (_schedule, _schedule_told),
    "guidance": (_guidance, _guidance_told),
    "restore": (_restore, _restore_told),
    "start-noise": (_start_noise, _start_noise_told),
    "nested": (_nested, _nested_told),
    "diversity": (_diversity, _diversity_told),
}
WITHOUT_ONLY = ("prompts", "blocks", "schedule", "nested")

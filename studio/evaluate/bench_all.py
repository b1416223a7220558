"""`bench all`: every table and chart of the benchmarks made anew, part by part.

What was measured is kept in one JSON file, so that parts can be made on different days and machines; the page
and the charts are drawn from it. A part that fails, or needs a GPU, is told in its place, and the others go
on.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from studio.errors import StudioError, did_you_mean
from studio.evaluate.charts import Bar, Point, bars, curve, lines
from studio.models.embedded import DEFAULT, PREFIX
from studio.settings import ROOT

Rows = list[dict[str, Any]]
Tell = Callable[[str], None]
LAST = ("of_limit", "limit_seconds")
DATA, PAGE, PICTURES = "benchmarks.json", "benchmarks.md", "pictures"
BOTH = (DEFAULT, f"{PREFIX}scenes-flux")
HEAD = """# Benchmarks

Made by `python -m studio bench all`; do not edit. Each part tells when, where and with how many cases it was
measured; figures of one table were measured in one process. Tables of time end with the physical limit: the
operations at the speed at which the machine multiplied matrices in that same process (`gemm_gflops`); of the
engine and the history, which multiply none, what the same takes without any of our code. Tables that measure
no time (tau, judge) have none.
"""


@dataclass(frozen=True)
class Wanted:
    """How much is measured; `model` None: both embedded ones, where that is asked. `folder`: where parts that
    go on where they stood keep their results (`Kept`)."""

    model: str | None = None
    cases: int = 8
    pairs: int = 7
    steps: int | None = None
    device: str = "auto"
    folder: Path | None = None

    @property
    def one(self) -> str:
        """The model of parts that measure one."""
        return self.model or DEFAULT


def _each(wanted: Wanted, tell: Tell, measure: Callable[[str], Rows]) -> Rows:
    """The rows of both models, or of the one that was asked for; one that cannot be measured is a row."""
    if wanted.model is not None:
        return measure(wanted.model)
    rows: Rows = []
    for ref in BOTH:
        tell(ref)
        try:
            rows += measure(ref)
        except StudioError as error:
            rows.append({"model": ref, "error": str(error)})
    return rows


def _plain(wanted: Wanted, tell: Tell) -> Rows:
    from studio.evaluate.plain_bench import bench_plain

    return _each(wanted, tell, lambda ref: [bench_plain(ref, pairs=wanted.pairs, steps=wanted.steps or 20)])


def _control(wanted: Wanted, tell: Tell) -> Rows:
    from studio.evaluate.control_bench import bench_control

    return _each(wanted, tell, lambda ref: bench_control(ref, pairs=wanted.pairs, steps=wanted.steps or 20))


def _cache(wanted: Wanted, tell: Tell) -> Rows:
    from studio.evaluate.cache_bench import STEPS, bench_cache

    steps = (wanted.steps,) if wanted.steps else STEPS
    return _each(wanted, tell, lambda ref: bench_cache(ref, cases=wanted.cases, steps=steps, progress=tell))


def _prefix(wanted: Wanted, tell: Tell) -> Rows:
    from studio.evaluate.resume_bench import bench_resume

    return bench_resume(wanted.one, pairs=wanted.pairs, steps=wanted.steps or 28, progress=tell)


def _batch(wanted: Wanted, tell: Tell) -> Rows:
    from studio.evaluate.batch_bench import bench_batch

    return bench_batch(wanted.one, pairs=wanted.pairs, steps=wanted.steps or 20, progress=tell)


def _tau(wanted: Wanted, tell: Tell) -> Rows:
    from studio.evaluate.control import evaluate

    names = ("n", "success", "preserved", "psnr_outside", "ssim_outside", "shape_iou")
    found = evaluate(
        wanted.cases,
        only="edit_tau",
        ref=wanted.one,
        folder=wanted.folder,
        progress=lambda at, of: tell(f"{at}/{of}"),
    )
    rows = []
    for row in found:
        what, _, tau = row["what"].partition("_")
        rows.append({"model": row["model"], "what": what, "tau": float(tau)} | {n: row.get(n) for n in names})
    return rows


def _upscale(wanted: Wanted, tell: Tell) -> Rows:
    from studio.evaluate.upscale_bench import bench_upscale

    return bench_upscale(wanted.cases, progress=tell)


def _restore(wanted: Wanted, tell: Tell) -> Rows:
    from studio.evaluate.restore import evaluate

    return evaluate(wanted.cases, ref=wanted.one, steps=wanted.steps or 20)


def _shapes(wanted: Wanted, tell: Tell) -> Rows:
    from studio.evaluate.shapes_bench import bench_shapes

    return bench_shapes(wanted.device, steps=wanted.steps, progress=tell)


def _script(name: str, *more: str) -> Callable[[Wanted, Tell], Rows]:
    """A script of the folder benchmarks/, which prints JSON."""

    def run(wanted: Wanted, tell: Tell) -> Rows:
        command = [sys.executable, str(ROOT / "benchmarks" / name), *(m.format(n=wanted.cases) for m in more)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            raise StudioError(f"benchmarks/{name} failed: {done.stderr.strip()[-300:]}")
        text = done.stdout.strip()
        if text.startswith("{\n"):
            return [json.loads(text)]
        return [json.loads(line) for line in text.splitlines()]

    return run


PARTS: Mapping[str, tuple[str, Callable[[Wanted, Tell], Rows]]] = {
    "plain": ("One picture, Weft beside diffusers' own pipeline", _plain),
    "control": ("What each control costs", _control),
    "tau": ("Edits by prompt: how many of the steps follow the source (tau)", _tau),
    "cache": ("Step caches: speed and likeness to the uncached picture", _cache),
    "prefix": ("Late changes that go on from an earlier run, beside the whole run", _prefix),
    "batch": ("Pictures of the queue made together, beside one after the other", _batch),
    "upscale": ("Larger pictures, against the exact render", _upscale),
    "restore": ("Pictures brought back, against the exact render", _restore),
    "shapes": ("True shapes of SD3.5 and FLUX.1 with random weights, on a GPU", _shapes),
    "engine": ("What the engine costs", _script("engine.py")),
    "history": ("A history of 2,000 pictures", _script("history.py", "2000")),
    "judge": ("What the judge gets right", _script("judge.py", "--scenes", "{n}")),
}


# parts that take pairs, and those whose amount is fixed; the others take cases
PAIRED = ("plain", "control", "prefix", "batch")
FIXED = ("shapes", "engine", "history")


def bench_all(
    out: Path,
    wanted: Wanted = Wanted(),
    *,
    only: Sequence[str] = (),
    progress: Tell | None = None,
    parts: Mapping[str, tuple[str, Callable[[Wanted, Tell], Rows]]] = PARTS,
) -> dict[str, Any]:
    """Measure the parts (`only`: these; of others the last result stays) and write data, page and charts
    below `out`. Returns the data: part -> {"title", "when", "machine", "rows"} or {..., "error"}."""
    unknown = [name for name in only if name not in parts]
    if unknown:
        hint = did_you_mean(unknown[0], parts) or f"Possible: {', '.join(parts)}."
        raise StudioError(f"There is no part {unknown[0]!r}.", hint=hint)
    tell = progress or (lambda line: None)
    out.mkdir(parents=True, exist_ok=True)
    data = _before(out / DATA)
    for name, (title, run) in parts.items():
        if only and name not in only:
            continue
        tell(f"{name}: {title}")
        entry: dict[str, Any] = {"title": title, "when": time.strftime("%Y-%m-%d"), "machine": machine()}
        entry |= {"n": wanted.cases, "pairs": wanted.pairs} | (
            {"model": wanted.model} if wanted.model else {}
        )
        try:
            entry["rows"] = run(wanted, tell)
        except StudioError as error:
            entry["error"] = str(error)
            tell(f"{name}: {error}")
        earlier = data.get(name)
        # what a GPU once measured is not lost where there is none
        if "error" in entry and earlier is not None and "rows" in earlier:
            earlier["tried"] = f"{entry['when']}: {entry['error']}"
        else:
            data[name] = entry
        (out / DATA).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    charts = draw_charts(data, out / PICTURES)
    (out / PAGE).write_text(page(data, charts, parts), encoding="utf-8")
    return data


def machine() -> str:
    """Where this runs, in one line."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{load}{gpu}; Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )


def page(
    data: Mapping[str, Any], charts: Mapping[str, Sequence[str]], parts: Mapping[str, Any] = PARTS
) -> str:
    """The page as Markdown: a table for each part, its charts above."""
    found = [HEAD]
    for name in parts:
        entry = data.get(name)
        if entry is None:
            continue
        found.append(
            f"\n## {entry['title']}\n\n`python -m studio bench all --only {name}`, {entry['when']}; "
        )
        found.append(f"{entry['machine']}{_counted(name, entry)}.\n")
        if "error" in entry:
            found.append(f"\nNot measured: {entry['error']}\n")
            continue
        found += [f"\n![{entry['title']}]({PICTURES}/{chart})\n" for chart in charts.get(name, ())]
        found.append("\n" + table(entry["rows"]))
    return "".join(found)


def _counted(name: str, entry: Mapping[str, Any]) -> str:
    """How many cases or pairs a part took; nothing where neither counts."""
    count = {"pairs": "pairs", "cases": "n"}
    what = "pairs" if name in PAIRED else "cases" if name not in FIXED else ""
    number = entry.get(count[what]) if what else None
    return f"; {number} {what if number != 1 else what[:-1]}" if number is not None else ""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table; one row alone, or nested values, as two columns. The limit stays last."""
    if len(rows) == 1:
        lines = [f"| {name} | {_cell(value)} |" for name, value in _flat(rows[0]).items()]
        return "\n".join(["| what | figure |", "|---|---|", *lines]) + "\n"
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if _short(value)))
    last = [name for name in LAST if name in names]
    # what is the same in every row that was measured stands once, above
    whole = [row for row in rows if "error" not in row]
    kept = (*LAST, "error")

    def alike(name: str) -> bool:
        told = [row for row in rows if name in row or row in whole]
        return len({str(row.get(name)) for row in told}) == 1 and any(name in row for row in whole)

    same = [name for name in names if name not in kept and alike(name)]
    names = [name for name in names if name not in last and name not in same] + last
    told = ", ".join(f"{name} {_cell(whole[0][name])}" for name in same if whole[0].get(name) is not None)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return (f"All rows: {told}.\n\n" if told else "") + "\n".join(lines) + "\n"


def draw_charts(data: Mapping[str, Any], folder: Path) -> dict[str, list[str]]:
    """Part -> the names of its pictures."""
    made: dict[str, list[str]] = {}

    def rows(name: str) -> Rows:
        return [row for row in data.get(name, {}).get("rows", ()) if "error" not in row]

    for row in rows("plain"):
        sides = (("Weft", "seconds_per_picture"), ("diffusers", "stock_seconds_per_picture"))
        limit = row.get("limit_seconds")
        both = [Bar(side, row[key], limit) for side, key in sides]
        how = " with CFG" if "cfg_scale" in row else ""
        title = f"{row['model']}, {row['width']} px, {row['steps']} steps{how}: seconds a picture"
        name = f"bench-plain-{row['model'].partition(':')[2] or 'model'}.png"
        bars(folder / name, title, "s", both)
        made.setdefault("plain", []).append(name)
    for model in dict.fromkeys(row["model"] for row in rows("control") if "wall_ratio" in row):
        costs = [row for row in rows("control") if row.get("model") == model]
        name = f"bench-control-{model.partition(':')[2] or 'model'}.png"
        shown = [
            Bar(row["name"].replace("_", " "), row["cpu_ratio" if "cpu_ratio" in row else "wall_ratio"])
            for row in costs
        ]
        bars(folder / name, f"{model}: time with the control, the plain run being 1", "times", shown)
        made.setdefault("control", []).append(name)
    for model, steps in dict.fromkeys((row["model"], row["steps"]) for row in rows("cache")):
        groups: dict[str, list[Point]] = {}
        for row in rows("cache"):
            if (row["model"], row["steps"]) == (model, steps) and not row["mode"].startswith("off"):
                maker = next((m for m in ("diffusers", "cache-dit") if row["mode"].startswith(m)), "Weft")
                name = row["mode"].removeprefix(maker).strip()
                groups.setdefault(maker, []).append(Point(row["speedup"], row["psnr_db"], name))
        if groups:
            chart = f"bench-cache-{model.partition(':')[2] or 'model'}-{steps}.png"
            title = f"{model}, {steps} steps: what step caches save and cost"
            curve(folder / chart, title, "times as fast", "PSNR to the uncached picture, dB", groups)
            made.setdefault("cache", []).append(chart)
    for key, factor, up in (
        ("success", 100, "that succeed, %"),
        ("psnr_outside", 1, "PSNR elsewhere, dB"),
        ("shape_iou", 100, "shape and place kept, IoU in %"),
    ):
        edits: dict[str, list[Point]] = {}
        for row in rows("tau"):
            if row.get(key) is not None:
                edits.setdefault(f"edits of {row['what']}", []).append(
                    Point(row["tau"], factor * row[key], "")
                )
        if edits:
            chart = f"bench-tau-{key.partition('_')[0]}.png"
            lines(folder / chart, f"{rows('tau')[0]['model']}: {PARTS['tau'][0]}", "tau", up, edits)
            made.setdefault("tau", []).append(chart)
    beside = {
        "upscale": ("{input} x{scale}", "Lanczos", "lanczos_psnr_db"),
        "restore": ("{problem}, {method}", "without model", "without_psnr_db"),
    }
    for part, (named, other, key) in beside.items():
        both = []
        for row in rows(part):
            what = named.format_map(row)
            both += [Bar(what, row["psnr_db"], side="Weft"), Bar("", row[key], side=other)]
        if both:
            name = f"bench-{part}.png"
            bars(folder / name, f"{PARTS[part][0]}: PSNR", "dB", both, decibels=True)
            made[part] = [name]
    seconds = [Bar(f"{r['shape']}, {r['mode']}", r["seconds"], r["limit_seconds"]) for r in rows("shapes")]
    if seconds:
        bars(folder / "bench-shapes.png", f"{PARTS['shapes'][0]}: seconds of the loop", "s", seconds)
        made["shapes"] = ["bench-shapes.png"]
    return made


def _before(path: Path) -> dict[str, Any]:
    """What was measured before; a damaged file is an error, not an empty one: it would be written over."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudioError(f"{path} is damaged: {error}.", hint="Move it away, or mend it.") from error
    if not isinstance(data, dict):
        raise StudioError(f"{path} holds no results.", hint="Move it away.")
    return data


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _short(value: object) -> bool:
    return not isinstance(value, list | dict)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return f"{value:g}" if isinstance(value, float) else str(value).replace("|", "/")

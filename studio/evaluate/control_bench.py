"""What each control costs: a run with it against the plain run of the same batch, same weights and process,
alternating (issue 3, section 5). Only sampling is timed; peak memory is that of a fresh process each side.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from studio.controls.control import AttentionControl, Branch
from studio.controls.inject_qk import InjectQK
from studio.controls.negative import UNTIL, Nag
from studio.controls.regional import Regional, RegionText
from studio.controls.sites import best_map_sites
from studio.controls.where import Where
from studio.controls.word_looks import WordLooks
from studio.controls.word_maps import WordMaps
from studio.errors import StudioError, did_you_mean
from studio.evaluate.control import Bench
from studio.evaluate.limit import limit_of
from studio.evaluate.plain_bench import ROOT, peak_bytes
from studio.evaluate.prompts import settings_of
from studio.models.embedded import DEFAULT, map_blocks
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.words import find_words, segment_conditioning
from studio.values import Conditioning, Region, TokenSpan

SOURCE = "a red star on the left and a blue house on the right, at night"
TARGET = "a yellow star on the left and a blue house on the right, at night"
BOXES = ((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0))
REGION_PROMPTS = ("a red star", "a blue house", "a green tree", "a yellow moon")
AVOID = "red"
SEED = 1
SIDES = ("plain", "control")


@dataclass(frozen=True)
class TwoPrompts(AttentionControl):
    """Source and target side by side and nothing else: the plain run of an edit's batch."""

    source: Conditioning

    def branches(self) -> tuple[Branch, ...]:
        return (Branch("source", self.source),)


Controls = Callable[[Bench], Sequence[AttentionControl]]


def _edit(bench: Bench) -> Sequence[AttentionControl]:
    return [InjectQK(bench.text(SOURCE))]


def _two(bench: Bench) -> Sequence[AttentionControl]:
    return [TwoPrompts(bench.text(SOURCE))]


def _regions(bench: Bench) -> Sequence[AttentionControl]:
    texts = tuple(
        RegionText(Region(f"r{i}", prompt, box), segment_conditioning(bench.parts, prompt))
        for i, (prompt, box) in enumerate(zip(REGION_PROMPTS, BOXES, strict=True))
    )
    return [Regional(TARGET, texts)]


def _words(bench: Bench) -> tuple[TokenSpan, ...]:
    return find_words(bench.parts, TARGET, "star"), find_words(bench.parts, TARGET, "house")


def _maps(bench: Bench) -> Sequence[AttentionControl]:
    """As Watch words makes them where no block is named."""
    blocks = best_map_sites(map_blocks(bench.model.card), bench.sites)
    return [WordLooks(_words(bench), where=Where(blocks))]


def _maps_all(bench: Bench) -> Sequence[AttentionControl]:
    return [WordMaps(_words(bench))]


def _nag(bench: Bench) -> Sequence[AttentionControl]:
    return [Nag(segment_conditioning(bench.parts, AVOID), end=UNTIL)]


def _neutral(bench: Bench) -> Sequence[AttentionControl]:
    return [InjectQK(bench.text(SOURCE), tau=0.0), Nag(segment_conditioning(bench.parts, AVOID), scale=1.0)]


def _none(bench: Bench) -> Sequence[AttentionControl]:
    return []


# name -> (controls, those of the plain side)
CASES: dict[str, tuple[Controls, Controls]] = {
    "off": (_neutral, _none),
    "edit": (_edit, _two),
    "regions4": (_regions, _none),
    "heatmaps": (_maps, _none),
    "heatmaps_all_blocks": (_maps_all, _none),
    "nag": (_nag, _none),
}


def bench_control(
    ref: str = DEFAULT, *, pairs: int = 7, steps: int = 20, only: str | None = None, memory: bool = True
) -> list[dict[str, object]]:
    """One row a control: `wall_ratio` and, less disturbed by other programs, `cpu_ratio` (of processor time;
    medians over the pairs), `memory_ratio` (None where the system does not tell), both sides' seconds, the
    physical limit last."""
    if only is not None and only not in CASES:
        raise StudioError(
            f"There is no bench of {only!r}.",
            hint=did_you_mean(only, CASES) or f"Possible: {', '.join(CASES)}.",
        )
    bench = load(ref, steps)
    made = []
    for name in [only] if only else list(CASES):
        sides = {side: run_of(bench, name, side) for side in SIDES}
        for make in sides.values():
            make()
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        busy: dict[str, list[float]] = {side: [] for side in SIDES}
        for index in range(pairs):
            for side in SIDES if index % 2 == 0 else reversed(SIDES):
                start, begun = time.perf_counter(), time.process_time()
                sides[side]()
                seconds[side].append(time.perf_counter() - start)
                busy[side].append(time.process_time() - begun)
        ratios = _ratios(seconds)
        peaks = {side: peak_of(ref, name, side, steps) for side in SIDES} if memory else {}
        plain, control = peaks.get("plain"), peaks.get("control")
        own = statistics.median(seconds["control"])
        limit = limit_of(sides["control"], bench.parts.device, bench.parts.dtype)
        made.append(
            {
                "name": name,
                "wall_ratio": round(statistics.median(ratios), 4),
                "cpu_ratio": round(statistics.median(_ratios(busy)), 4),
                "memory_ratio": round(control / plain, 4) if plain and control else None,
                "seconds": round(own, 3),
                "plain_seconds": round(statistics.median(seconds["plain"]), 3),
                "wall_ratios": [round(ratio, 4) for ratio in ratios],
                "model": ref,
                "steps": steps,
                "pairs": pairs,
                "threads": torch.get_num_threads(),
                **limit.columns(own),
            }
        )
    return made


def _ratios(times: Mapping[str, Sequence[float]]) -> list[float]:
    return [c / max(p, 1e-9) for c, p in zip(times["control"], times["plain"], strict=True)]


def load(ref: str, steps: int) -> Bench:
    """A model with its card's settings and another number of steps."""
    model = ModelStore().load(ref)
    settings = settings_of(model) | {"spacing": "flow_diffusers", "steps": steps}
    return Bench(model, parts_of(model), settings)


def run_of(bench: Bench, name: str, side: str) -> Callable[[], object]:
    """One sampling run of a side."""
    controls = CASES[name][0 if side == "control" else 1](bench)
    prompt = bench.text(TARGET)
    return lambda: bench.run(prompt, SEED, controls=controls)


def peak_of(ref: str, name: str, side: str, steps: int) -> int | None:
    """Peak resident bytes of a fresh process that makes one run; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    command = [sys.executable, "-m", "studio.evaluate.control_bench", ref, name, side, str(steps)]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    if done.returncode:
        raise StudioError(f"The measuring process of {name!r} failed: {done.stderr.strip()[-300:]}")
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


def _main() -> None:
    """`ref name side steps`: one run, then the peak memory of this process as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ref")
    parser.add_argument("name", choices=list(CASES))
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("steps", type=int)
    args = parser.parse_args()
    run_of(load(args.ref, args.steps), args.name, args.side)()
    sys.stdout.write(json.dumps({"peak": peak_bytes()}) + "\n")


if __name__ == "__main__":
    _main()

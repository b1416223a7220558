"""What a run shows when it is stopped on the way: nested diffusion beside the plain run's clean estimate, at
the same number of calls of the network, same prompts, same seeds.

Sharpness is the mean length of the brightness gradient, 0..1 a pixel, over that of the plain run's end: a
blurred picture has less, a finished one about as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from studio.evaluate.prompts import decoded, settings_of
from studio.models.embedded import DEFAULT
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.sampling import schedules
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import keep, sample_run
from studio.sampling.nested import nested
from studio.scenes.caption import held_out_prompts
from studio.scenes.detect import detect
from studio.scenes.score import score, wilson
from studio.values import Latent, StepResult

INNER = (1, 2, 4, 5)
"""Calls for one finished picture; 1 is the plain run."""
SHARES = (0.25, 0.5, 0.75, 1.0)


@dataclass
class _Tally:
    right: int = 0
    found: int = 0
    wanted: int = 0
    sharpness: list[float] = field(default_factory=list)


def evaluate(
    cases: int = 24,
    *,
    ref: str = DEFAULT,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """One row for each number of inner calls and each share of the run: `sampler` (plain, nested 2, ..),
    `calls` done when it was stopped of `planned`, `n`, `all_right`, `interval`, `found` (share of the named
    objects), `sharpness` relative to the plain run's end."""
    model = ModelStore().load(ref)
    parts, settings = parts_of(model), settings_of(model)
    size, steps = settings["size"], settings["steps"]
    sigmas = schedules.schedule("flow_diffusers", steps, settings["shift"])
    stops = [max(1, round(share * steps)) for share in SHARES]
    tallies = {(inner, stop): _Tally() for inner in INNER for stop in stops}
    negative = parts.family.encode_text(parts, "")[0]
    for index, (prompt, wanted, _) in enumerate(held_out_prompts(cases, seed=seed)):
        positive = parts.family.encode_text(parts, prompt)[0]
        canvas = Latent(size[0], size[1], 1, seed + index)
        usual = 1.0
        for inner in INNER:
            shown: dict[int, StepResult] = {}

            def note(result: StepResult, shown: dict[int, StepResult] = shown) -> None:
                shown[result.step.index + 1] = result

            rule = cfg(settings["cfg_scale"])
            sample_run(parts, positive, negative, canvas, sigmas, nested(inner), rule, on_step=note)
            pictures = {stop: decoded(parts, keep(canvas, shown[stop].denoised, parts)) for stop in stops}
            if inner == 1:
                usual = sharpness(pictures[stops[-1]])
            for stop, picture in pictures.items():
                tally, judged = tallies[inner, stop], score(detect(picture), wanted)
                tally.right += judged.all_right
                tally.found += judged.found
                tally.wanted += judged.wanted
                tally.sharpness.append(sharpness(picture) / usual)
            if progress is not None:
                progress(index * len(INNER) + INNER.index(inner) + 1, cases * len(INNER))
    return [
        {
            "sampler": "plain" if inner == 1 else f"nested {inner}",
            "calls": stop,
            "planned": steps,
            "n": cases,
            "all_right": tally.right,
            "interval": [round(bound, 3) for bound in wilson(tally.right, cases)],
            "found": round(tally.found / max(tally.wanted, 1), 3),
            "sharpness": round(float(np.mean(tally.sharpness)), 3),
        }
        for (inner, stop), tally in tallies.items()
    ]


def sharpness(picture: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    """The mean length of the brightness gradient of a picture, height, width, 3."""
    grey = picture.astype(np.float64).mean(2) / 255
    down, across = np.gradient(grey)
    return float(np.hypot(down, across).mean())

"""`bench cache`: what a step cache saves and what it costs in the picture (issue 5, section 3).

Every mode makes the same pictures as the uncached run in the same process: held-out prompts, the same start
noise, the settings of the model's card at another number of steps. Only the denoising loop is timed. The
sides take turns case by case. `speedup` is the ratio of the processor time of the two loops, which other
programs on the machine hardly disturb; `wall_speedup` is by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from studio.blocks.gates import Limits
from studio.blocks.step_cache import (
    attachment,
    confident_taylor,
    delta_dit,
    first_block,
    fixed_steps,
    taylor,
)
from studio.errors import StudioError, did_you_mean
from studio.evaluate.cache_libraries import has_cache_dit, libraries
from studio.evaluate.cache_steps import Recorder, searched
from studio.evaluate.limit import Limit, limit_of
from studio.evaluate.pictures import psnr
from studio.evaluate.prompts import decoded, settings_of
from studio.models.device import place
from studio.models.embedded import DEFAULT
from studio.models.family import Parts, parts_of
from studio.models.folders import check_folder
from studio.models.loading import ModelStore, load_folder, ref_folder
from studio.sampling import samplers, schedules
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.embedded import embedded_guidance
from studio.sampling.loop import Run, sample_run
from studio.scenes.caption import held_out_prompts
from studio.scenes.detect import detect
from studio.scenes.score import score
from studio.values import Attachment, Conditioning, Guidance, Latent, Sigmas

STEPS = (28, 50)
MOST_CASES = 100
CALIBRATION = "a yellow tree on the left and a blue ring on the right"
SEED = 1


@dataclass
class Mode:
    """One row under way. `parts`: the model that it runs on, the uncached one unless it changes it for
    good."""

    name: str
    attachments: Sequence[Attachment]
    parts: Callable[[], Parts] | None = None
    seconds: list[tuple[float, float]] = field(default_factory=list)
    plain: list[tuple[float, float]] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    equal: bool = True
    reports: list[Any] = field(default_factory=list)
    error: str = ""
    limit: Limit | None = None


class Runs:
    """Pictures of one model at one number of steps."""

    def __init__(self, ref: str, steps: int) -> None:
        model = ModelStore().load(ref)
        card, settings = model.card, settings_of(model)
        self.parts = parts_of(model)
        self.size: tuple[int, int] = settings["size"]
        spacing = str(card.get("spacing", "flow_diffusers"))
        self.sigmas: Sigmas = schedules.schedule(spacing, steps, settings["shift"])
        scale = settings["cfg_scale"]
        number = card.get("guidance")
        self.guidance: Guidance = (
            embedded_guidance(float(number), scale) if isinstance(number, int | float) else cfg(scale)
        )
        self._texts: dict[str, Conditioning] = {}

    def text(self, prompt: str) -> Conditioning:
        """The conditioning of a prompt; encoding is not timed."""
        if prompt not in self._texts:
            self._texts[prompt] = self.parts.family.encode_text(self.parts, prompt)[0]
        return self._texts[prompt]

    def make(
        self, prompt: str, seed: int, attachments: Sequence[Attachment] = (), parts: Parts | None = None
    ) -> tuple[Run, float, float]:
        """A run, its seconds by the clock and by the processor."""
        positive, negative = self.text(prompt), self.text("")
        begun, busy = time.perf_counter(), time.process_time()
        run = sample_run(
            parts or self.parts,
            positive,
            negative,
            Latent(*self.size, 1, seed),
            self.sigmas,
            samplers.sampler("euler"),
            self.guidance,
            attachments=attachments,
        )
        return run, time.perf_counter() - begun, time.process_time() - busy

    def picture(self, run: Run) -> np.ndarray:
        """uint8 [height, width, 3]."""
        return decoded(self.parts, run.latent)


def modes_of(runs: Runs, steps: int, ref: str) -> list[Mode]:
    """Every mode at a number of steps, the libraries last."""
    recorder = Recorder()
    runs.make(CALIBRATION, SEED + 10_000, [recorder.attachment])
    full = max(min(12 if steps < 40 else 15, steps - 1), 1)
    warm = Limits(warm=min(6, full))
    ours = {
        "off (warm = all steps)": taylor(2, limits=Limits(warm=steps)),
        "first block 0.08": first_block(0.08),
        "confidence 0.1, order 1": confident_taylor(0.1),
        "taylor 2, order 1": taylor(2),
        "taylor 3, order 0": taylor(3, order=0),
        "taylor 3, order 1": taylor(3),
        "taylor 3, order 2": taylor(3, order=2),
        "taylor 4, order 1": taylor(4),
        "delta 2": delta_dit(2),
        "taylor 2, growth 0.2, warm 6": taylor(2, growth=0.2, limits=warm),
        "taylor 2, growth 0.3, warm 6": taylor(2, growth=0.3, limits=warm),
        f"searched steps, {full} full": fixed_steps(searched(recorder.features, full, warm=warm.warm)),
    }
    found = [Mode(name, [attachment(cache)]) for name, cache in ours.items()]
    return found + [Mode(own.name, [own.attachment], _own_parts(ref)) for own in libraries(steps)]


def bench_cache(
    ref: str = DEFAULT,
    *,
    cases: int = 8,
    steps: Sequence[int] = STEPS,
    only: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, object]]:
    """One row for each mode and number of steps: `model`, `mode`, `steps`, `speedup`, `psnr_db`,
    `judge_before`, `judge_after` (shares of pictures all right), beside what was measured. A mode that fails
    has `error`. The physical limit of what is left to compute comes last. `only`: modes whose name holds
    this."""
    if not 1 <= cases <= MOST_CASES:
        raise StudioError(f"{cases} cases cannot be measured.", hint=f"Possible: 1 to {MOST_CASES}.")
    rows: list[dict[str, object]] = []
    for count in steps:
        runs = Runs(ref, count)
        modes = modes_of(runs, count, ref)
        if only is not None:
            names = [mode.name for mode in modes]
            modes = [mode for mode in modes if only in mode.name]
            if not modes:
                raise StudioError(
                    f"There is no mode {only!r}.",
                    hint=did_you_mean(only, names) or f"Possible: {'; '.join(names)}.",
                )
        before: list[bool] = []
        for index, (prompt, wanted, _) in enumerate(held_out_prompts(cases, seed=0)):
            truth, wall, cpu = runs.make(prompt, SEED + index)
            reference = runs.picture(truth)
            before.append(bool(score(detect(reference), wanted).all_right))
            # turns: no mode is always the one right after the uncached run
            for mode in [*modes[index % len(modes) :], *modes[: index % len(modes)]]:
                if mode.error:
                    continue
                try:
                    made, *seconds = runs.make(
                        prompt, SEED + index, mode.attachments, mode.parts() if mode.parts else None
                    )
                except Exception as error:  # noqa: BLE001 - a library that crashes is a row of the table
                    mode.error = f"{type(error).__name__}: {error}".splitlines()[0]
                    continue
                if mode.limit is None:
                    mode.limit = _limit(runs, prompt, SEED + index, mode)
                mode.seconds.append((seconds[0], seconds[1]))
                mode.plain.append((wall, cpu))
                picture = runs.picture(made)
                mode.psnr.append(psnr(reference, picture))
                mode.right.append(bool(score(detect(picture), wanted).all_right))
                assert made.latent.tensor is not None and truth.latent.tensor is not None
                mode.equal &= torch.equal(made.latent.tensor, truth.latent.tensor)
                mode.reports += made.report.get("followers", [])  # type: ignore[arg-type, operator]
            if progress:
                progress(f"{ref}, {count} steps: {index + 1} of {cases} cases")
        rows += [_row(ref, mode, count, before) for mode in modes]
        if only is None and not has_cache_dit():
            rows.append({"model": ref, "mode": "cache-dit", "steps": count, "error": "not installed"})
    return rows


def _limit(runs: Runs, prompt: str, seed: int, mode: Mode) -> Limit:
    """What the mode leaves to compute, counted in one more run that is not timed."""

    def run() -> None:
        runs.make(prompt, seed, mode.attachments, mode.parts() if mode.parts else None)

    return limit_of(run, runs.parts.device, runs.parts.dtype)


def _own_parts(ref: str) -> Callable[[], Parts]:
    """A second copy of a model, loaded when it is first asked for."""
    kept: list[Parts] = []

    def parts() -> Parts:
        if not kept:
            kept.append(load_folder(check_folder(ref_folder(ref)), place()))
        return kept[0]

    return parts


def _row(ref: str, mode: Mode, steps: int, before: Sequence[bool]) -> dict[str, object]:
    row: dict[str, object] = {"model": ref, "mode": mode.name, "steps": steps}
    if mode.error:
        return row | {"error": mode.error}

    def ratio(which: int) -> float:
        cached, uncached = (sum(one[which] for one in times) for times in (mode.seconds, mode.plain))
        return round(uncached / max(cached, 1e-9), 3)

    work = [float(told["work"]) for told in mode.reports if "work" in told]
    errors = [told["error_estimate"] for told in mode.reports if told.get("error_estimate") is not None]
    return row | {
        "speedup": ratio(1),
        "wall_speedup": ratio(0),
        "psnr_db": round(float(np.mean(mode.psnr)), 2),
        "psnr_worst_db": round(min(mode.psnr), 2),
        "judge_before": round(sum(before) / len(before), 4),
        "judge_after": round(sum(mode.right) / len(mode.right), 4),
        "bit_equal": mode.equal,
        "work": round(float(np.mean(work)), 4) if work else None,
        "error_estimate": round(float(np.mean(errors)), 4) if errors else None,
        "cases": len(mode.psnr),
        "threads": torch.get_num_threads(),
        **(mode.limit.columns(sum(one[0] for one in mode.seconds) / len(mode.seconds)) if mode.limit else {}),
    }

"""`eval restore` and `eval start-noise`: pictures brought back by the frozen model, beside what is done
without it.

The pictures are drawn scenes whose kinds, colours and places training never saw together, so that the truth
is exact; the prompt is a caption that says everything. "without" is Lanczos for small pictures, the blurred
picture itself, and the mean colour in holes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from studio.errors import StudioError, did_you_mean
from studio.evaluate.limit import Limit, counted, gemm_speed
from studio.evaluate.pictures import psnr, ssim
from studio.evaluate.prompts import settings_of
from studio.models.embedded import DEFAULT
from studio.models.family import Parts, parts_of
from studio.models.loading import ModelStore
from studio.models.pictures import decode_latent
from studio.sampling import schedules
from studio.sampling.guidance.cfg import cfg
from studio.sampling.measurement import Kernel, Measurement, blur_kernel, degraded
from studio.sampling.red_diff import red_diff_known
from studio.sampling.search import start_noise
from studio.sampling.search.start_noise import Method, Restoring, find_noise, key_of, restored
from studio.scenes.caption import caption
from studio.scenes.draw import draw
from studio.scenes.world import sample_scene
from studio.values import Image, Mask, Sigmas

METHODS = ("flowchef", "red_diff")
PROBLEMS = ("small", "blurred", "hole")
SEED = 1
# RED-Diff takes many cheap steps from a guess, FlowChef few dear ones from noise.
RED_STEPS, RED_WEIGHT, RED_RATE = 60, 0.1, 0.05


def evaluate(
    cases: int = 8,
    *,
    only: str | None = None,
    ref: str = DEFAULT,
    steps: int = 20,
    repeats: int = 4,
    red_steps: int = RED_STEPS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """One row a problem and method: `problem`, `method`, `n`, `psnr_db`, `ssim`, the same of `without`,
    `better` (of n, by PSNR), `data` (mean squared distance to what is known, of values 0..1) of the found
    picture before anything is put back and of the first step, `known_kept` (known pixels unchanged in the
    end, None where pixels are not known one by one), `cpu_seconds` of processor time a picture, the physical
    limit last.

    `steps` and `repeats` are FlowChef's, `red_steps` RED-Diff's. `only`: a problem, a method, or both as
    "small.flowchef".
    """
    pairs = [(problem, method) for problem in PROBLEMS for method in METHODS]
    if only is not None:
        names = [*PROBLEMS, *METHODS, *(f"{a}.{b}" for a, b in pairs)]
        if only not in names:
            hint = did_you_mean(only, names) or f"Possible: {', '.join(names)}."
            raise StudioError(f"There is no problem or method {only!r}.", hint=hint)
        pairs = [pair for pair in pairs if only in (*pair, ".".join(pair))]
    model = ModelStore().load(ref)
    parts, settings = parts_of(model), settings_of(model)
    shift = settings["shift"]
    method = Method(schedules.schedule("flow_diffusers", steps, shift), cfg(1.0), repeats=repeats)
    red = schedules.schedule("flow_diffusers", red_steps, shift)
    rows, done = [], 0
    for problem, name in pairs:
        found: dict[str, list[float]] = {}
        work: float | None = None
        for index in range(cases):
            case = case_of(parts, problem, seed * 10_000 + index, settings["size"])
            run = partial(_tried, parts, case, name, method, red, SEED + index)
            # every picture costs the same operations: those of the first one are counted
            if work is None:
                told, work = counted(run)
            else:
                told = run()
            for key, value in told.items():
                found.setdefault(key, []).append(value)
            done += 1
            if progress is not None:
                progress(done, cases * len(pairs))
        limit = Limit(work or 0.0, gemm_speed(str(parts.device), parts.dtype))
        rows.append(_row(problem, name, found, cases, limit))
    return rows


def search_noise(
    cases: int = 4,
    *,
    ref: str = DEFAULT,
    candidates: int = 6,
    steps: int = 10,
    repeats: int = 1,
    problem: str = "small",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The seed with which `cases` pictures of a problem come out best, and what it is worth on as many
    others: `seed`, `distances`, `held_out` (in the order of `seeds`), `gain`, `kind` and `key` under which it
    is kept."""
    if problem not in PROBLEMS:
        hint = did_you_mean(problem, PROBLEMS) or f"Possible: {', '.join(PROBLEMS)}."
        raise StudioError(f"There is no problem {problem!r}.", hint=hint)
    model = ModelStore().load(ref)
    parts, settings = parts_of(model), settings_of(model)
    method = Method(schedules.schedule("flow_diffusers", steps, settings["shift"]), cfg(1.0), repeats=repeats)
    searched, held = (
        [case_of(parts, problem, (2 * seed + half) * 10_000 + k, settings["size"]) for k in range(cases)]
        for half in (0, 1)
    )
    seeds = list(range(1, candidates + 1))
    found = find_noise(parts, searched, method, seeds, held_out=held, on_step=progress)
    return {
        "seed": found.seed,
        "seeds": seeds,
        "distances": [round(found.distances[s], 5) for s in seeds],
        "held_out": [round(found.held_out[s], 5) for s in seeds],
        "gain": found.gain,
        "problem": problem,
        "n": cases,
        "kind": start_noise.KIND,
        "key": key_of(searched[0].known, method),
        "model": {"ref": ref, "digest": model.digest},
    }


def case_of(parts: Parts, problem: str, number: int, size: tuple[int, int]) -> Restoring:
    """Scene `number` with a problem: "small" (4 x 4 means), "blurred" (gaussian, 1/85 of the side), "hole" (a
    box of a fifth to a third of the picture)."""
    rng = np.random.default_rng([53, number])
    scene = sample_scene(rng, held_out_only=True)
    truth = Image(draw(scene, size[0]))
    kernel, shrink, known = _problem(problem, rng, size[0])
    prompts = (caption(scene, rng, full=True), "")
    positive, negative = (parts.family.encode_text(parts, text)[0] for text in prompts)
    worse = degraded(truth, kernel, shrink, known)
    return Restoring(positive, negative, Measurement(worse, kernel, shrink, known), truth)


def _problem(name: str, rng: np.random.Generator, side: int) -> tuple[Kernel, int, Mask | None]:
    if name == "small":
        return (), 4, None
    if name == "blurred":
        return blur_kernel("gaussian", side / 85), 1, None
    wide, high = (int(side * rng.uniform(0.45, 0.58)) for _ in range(2))
    x, y = (int(rng.integers(side - length + 1)) for length in (wide, high))
    known = np.ones((side, side), np.float32)
    known[y : y + high, x : x + wide] = 0
    return (), 1, Mask(known)


def _tried(
    parts: Parts, case: Restoring, name: str, method: Method, red: Sigmas, seed: int
) -> dict[str, float]:
    """What is measured of one picture."""
    known, truth = case.known, case.truth.pixels
    guess, begun = known.guess(), time.process_time()
    if name == "flowchef":
        back = restored(parts, case, method, seed)
        first = known.difference(guess)
        data = known.difference(back)
    else:
        run = red_diff_known(
            parts,
            case.positive,
            case.negative,
            known,
            red,
            method.guidance,
            seed=seed,
            weight=RED_WEIGHT,
            rate=RED_RATE,
        )
        told = run.report["red_diff"]["data"]  # type: ignore[index]
        first, data = told[0], told[-1]
        back = known.put_back(decode_latent(parts, run.latent))
    seconds = time.process_time() - begun
    found = {
        "psnr_db": psnr(truth, back.pixels),
        "ssim": ssim(truth, back.pixels),
        "without_psnr_db": psnr(truth, guess.pixels),
        "without_ssim": ssim(truth, guess.pixels),
        "data_first": first,
        "data": data,
        "cpu_seconds": seconds,
    }
    if known.known is not None and known.shrink == 1 and not known.kernel:
        where = known.known.values.astype(bool)
        found["known_kept"] = float(np.array_equal(back.pixels[where], truth[where]))
    return found


def _row(problem: str, name: str, found: dict[str, list[float]], cases: int, limit: Limit) -> dict[str, Any]:
    means = {key: float(np.mean(values)) for key, values in found.items()}
    better = sum(a > b for a, b in zip(found["psnr_db"], found["without_psnr_db"], strict=True))
    kept = found.get("known_kept")
    return {
        "problem": problem,
        "method": name,
        "n": cases,
        "psnr_db": round(means["psnr_db"], 2),
        "ssim": round(means["ssim"], 4),
        "without_psnr_db": round(means["without_psnr_db"], 2),
        "without_ssim": round(means["without_ssim"], 4),
        "better": better,
        "data_first": round(means["data_first"], 7),
        "data": round(means["data"], 7),
        "known_kept": None if kept is None else bool(all(kept)),
        "cpu_seconds": round(means["cpu_seconds"], 1),
        **limit.columns(means["cpu_seconds"]),
    }

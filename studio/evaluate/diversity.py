"""`eval diversity`: how different the pictures of one prompt are, seed by seed: by the base model, by the
few-step model, and by a relay in which the base does the first step (arXiv 2503.10637).

For every prompt eight seeds are drawn in each way; all pairs of the eight are compared. `distance` is the
mean root mean square of the difference of two pictures, 0..1, after both were shrunk to 32 x 32 (what lies
where, not texture); `latent` the same of the finished latents. Also the share of prompts drawn all right,
and what a picture costs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from studio.errors import StudioError
from studio.evaluate.kept import Kept
from studio.evaluate.prompts import decoded, settings_of
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.pixels import resize, to_array
from studio.sampling import samplers, schedules
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import Run, sample_run
from studio.sampling.relay import Relay, joined, relay_wrap
from studio.scenes.caption import held_out_prompts
from studio.scenes.detect import detect
from studio.scenes.score import score, wilson
from studio.values import Image, Latent, Model, Sigmas

TURBO = "embedded:scenes-sd3-turbo"
SEEDS = 8
WAYS = ("base", "turbo", "relay", "relay, 20-step list")
# Share of the few-step list that the base does in a relay: one step of four.
SHARE = 0.25
SIDE = 32


def evaluate(
    cases: int = 12,
    *,
    ref: str = TURBO,
    base: str = "",
    seeds: int = SEEDS,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    only: str | None = None,
    **overrides: int,
) -> list[dict[str, Any]]:
    """A row for each way: `way`, `n` prompts, `seeds`, `distance` and its standard error, `latent`,
    `all_right`, `share`, `interval`, `forwards` and `seconds` a picture.

    `ref`: the few-step model; `base`: the model it was made from, by default what its card says. `overrides`:
    `steps` of the few-step model, `base_steps`. Stopped and started again, it goes on.
    """
    store = ModelStore()
    fast = store.load(ref)
    base = base or str(fast.card.get("base") or "")
    if not base:
        raise StudioError(
            f"{fast.title} is no few-step model made from another one.",
            hint="Name one whose card has a base, such as embedded:scenes-sd3-turbo.",
        )
    slow = store.load(base)
    ways = [way for way in WAYS if only in (None, way)]
    if not ways:
        raise StudioError(f"There is no way {only!r}.", hint=f"Possible: {'; '.join(WAYS)}.")
    settings = {name: settings_of(model) for name, model in (("fast", fast), ("slow", slow))}
    settings["fast"]["steps"] = overrides.get("steps", settings["fast"]["steps"])
    settings["slow"]["steps"] = overrides.get("base_steps", settings["slow"]["steps"])
    mark = json.dumps([fast.digest, slow.digest, settings, seeds], default=list, sort_keys=True)
    kept = Kept(folder, "diversity", mark)
    done = {(row["way"], row["case"]): row for row in kept.rows()}
    rows = []
    for case, (prompt, wanted, _) in enumerate(held_out_prompts(cases, seed=0)):
        for way in ways:
            row = done.get((way, case))
            if row is None or row["prompt"] != prompt:
                row = {"way": way, "case": case, "prompt": prompt}
                row |= _drawn(way, prompt, wanted, slow, fast, settings, range(seeds))
                kept.add(row)
            rows.append(row)
            if progress:
                progress(len(rows), cases * len(ways))
    return [summary(way, [row for row in rows if row["way"] == way], seeds) for way in ways]


def _drawn(
    way: str,
    prompt: str,
    wanted: Any,
    slow: Model,
    fast: Model,
    settings: dict[str, dict[str, Any]],
    seeds: Sequence[int],
) -> dict[str, Any]:
    parts = parts_of(slow)
    pictures, latents, forwards = [], [], 0
    began = time.perf_counter()
    for seed in seeds:
        run = draw(way, prompt, seed, slow, fast, settings)
        pictures.append(decoded(parts, run.latent))
        assert run.latent.tensor is not None
        latents.append(run.latent.tensor.numpy())
        forwards += int(str(run.calls["forwards"]))
    seconds = time.perf_counter() - began
    right = [bool(score(detect(picture), wanted).all_right) for picture in pictures]
    return {
        "distance": apart([to_array(resize(Image(picture), SIDE, SIDE)) for picture in pictures]),
        "latent": apart(latents),
        "right": sum(right),
        "forwards": forwards / len(seeds),
        "seconds": seconds / len(seeds),
    }


def draw(
    way: str, prompt: str, seed: int, slow: Model, fast: Model, settings: dict[str, dict[str, Any]]
) -> Run:
    """One picture: by the base, by the few-step model, or by both in turns."""
    model = fast if way == "turbo" else slow
    parts = parts_of(model)
    own = settings["fast" if way == "turbo" else "slow"]
    positive, negative = (parts.family.encode_text(parts, text)[0] for text in (prompt, ""))
    short, long = _list(fast, settings["fast"]), _list(slow, settings["slow"])
    width, height = own["size"]
    sigmas, wraps = (short if way == "turbo" else long), []
    if way.startswith("relay"):
        sigmas, level = joined(short if way == "relay" else long, short, SHARE)
        wraps = [relay_wrap(Relay(level, fast, guidance=cfg(settings["fast"]["cfg_scale"])))]
    return sample_run(
        parts,
        positive,
        negative,
        Latent(width, height, seed=seed),
        sigmas,
        samplers.sampler("euler"),
        cfg(own["cfg_scale"]),
        wraps=wraps,
    )


def _list(model: Model, settings: dict[str, Any]) -> Sigmas:
    spacing = str(model.card.get("spacing", "flow_diffusers"))
    return schedules.schedule(spacing, int(settings["steps"]), float(settings["shift"]))


def apart(found: Sequence[np.ndarray]) -> float:
    """Mean over all pairs of the root mean square of their difference."""
    pairs = [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in combinations(found, 2)]
    return float(np.mean(pairs)) if pairs else 0.0


def summary(way: str, rows: Sequence[dict[str, Any]], seeds: int) -> dict[str, Any]:
    """One row of the table."""
    distances = [row["distance"] for row in rows]
    spread = float(np.std(distances, ddof=1) / len(rows) ** 0.5) if len(rows) > 1 else 0.0
    right, drawn = sum(row["right"] for row in rows), seeds * len(rows)
    return {
        "way": way,
        "n": len(rows),
        "seeds": seeds,
        "distance": round(float(np.mean(distances)), 4),
        "standard_error": round(spread, 4),
        "latent": round(float(np.mean([row["latent"] for row in rows])), 4),
        "all_right": right,
        "share": round(right / drawn, 3),
        "interval": [round(bound, 3) for bound in wilson(right, drawn)],
        "forwards": round(float(np.mean([row["forwards"] for row in rows])), 2),
        "seconds": round(float(np.mean([row["seconds"] for row in rows])), 2),
    }

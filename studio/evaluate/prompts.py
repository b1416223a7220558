"""How often the embedded model draws a held-out prompt all right, judged by the exact scene judge.

Held-out prompts name combinations of kind, colour and place that training never draws. Every picture goes
the way a user's goes: encode, sample, decode, with the settings of the model's card. Results are written as
they come, so that an evaluation that was stopped goes on where it stood.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio.evaluate.kept import Kept
from studio.models.embedded import DEFAULT
from studio.models.family import Parts, parts_of
from studio.models.loading import ModelStore
from studio.sampling import samplers, schedules
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_latent
from studio.scenes.caption import held_out_prompts
from studio.scenes.detect import detect
from studio.scenes.score import score, wilson
from studio.values import Latent, Model

GROUPS = ("one", "two", "three", "four")


def draw(
    parts: Parts,
    prompt: str,
    *,
    seed: int,
    steps: int,
    cfg_scale: float,
    shift: float,
    size: tuple[int, int],
    spacing: str = "flow_diffusers",
    sampler: str = "euler",
) -> np.ndarray:
    """A picture of the prompt, uint8 [height, width, 3]."""
    positive, _ = parts.family.encode_text(parts, prompt)
    negative, _ = parts.family.encode_text(parts, "")
    latent = sample_latent(
        parts,
        positive,
        negative,
        Latent(*size, 1, seed),
        schedules.schedule(spacing, steps, shift),
        samplers.sampler(sampler),
        cfg(cfg_scale),
    )
    return decoded(parts, latent)


def decoded(parts: Parts, latent: Latent) -> np.ndarray:
    """The first picture of a finished latent, uint8 [height, width, 3]."""
    assert latent.tensor is not None
    with torch.inference_mode():
        made = parts.family.decode(parts, latent.tensor)
    return made[0].add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


def settings_of(model: Model) -> dict[str, Any]:
    """Steps, cfg_scale, shift, size and sampler as the model's card asks for."""
    card: dict[str, Any] = dict(model.card)
    return {
        "steps": int(card.get("steps", 20)),
        "cfg_scale": float(card.get("cfg_scale", 3.0)),
        "shift": float(card.get("shift", 3.0)),
        "size": tuple(card.get("size", (256, 256))),
        "sampler": str(card.get("sampler", "euler")),
    }


def evaluate(
    cases: int = 500,
    *,
    ref: str = DEFAULT,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
    **overrides: float | str,
) -> dict[str, Any]:
    """{"one" .. "four": {"n", "all_right" (count), "share", "interval", "properties"}, "settings", "model"}.

    `overrides`: steps, cfg_scale, shift or sampler in place of the card's. `folder`: where partial results
    lie (default runs/eval below the working directory); results of other weights or settings are never mixed.
    """
    model = ModelStore().load(ref)
    # a few-step LoRA has practised the noise levels of one schedule
    own = {"spacing": str(model.card["spacing"])} if model.card.get("kind") == "lora" else {}
    settings = settings_of(model) | own | overrides
    kept = Kept(folder, "prompts", json.dumps([model.digest, settings, seed], default=list))
    done = {(row["case"], row["prompt"]): row for row in kept.rows()}
    parts = None
    rows = []
    for index, (prompt, wanted, count) in enumerate(held_out_prompts(cases, seed=seed)):
        row = done.get((index, prompt))
        if row is None:
            parts = parts or parts_of(model)
            result = score(detect(draw(parts, prompt, seed=seed + index, **settings)), wanted)
            row = {
                "case": index,
                "prompt": prompt,
                "group": GROUPS[count - 1],
                "all_right": bool(result.all_right),
                "properties": {key: list(value) for key, value in result.properties.items()},
            }
            kept.add(row)
        rows.append(row)
        if progress:
            progress(index + 1, cases)
    return {
        **{group: summary([row for row in rows if row["group"] == group]) for group in GROUPS},
        "settings": settings,
        "model": {"ref": ref, "digest": model.digest},
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts with a 95 % Wilson interval, and the share right of each property over the places that state
    it."""
    right = sum(row["all_right"] for row in rows)
    totals: dict[str, list[int]] = {}
    for row in rows:
        for key, (good, of) in row["properties"].items():
            total = totals.setdefault(key, [0, 0])
            total[0] += good
            total[1] += of
    interval = [round(bound, 3) for bound in wilson(right, len(rows))] if rows else [0.0, 1.0]
    return {
        "n": len(rows),
        "all_right": right,
        "share": round(right / len(rows), 3) if rows else None,
        "interval": interval,
        "properties": {key: round(good / of, 3) for key, (good, of) in totals.items() if of},
    }

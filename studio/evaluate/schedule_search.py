"""`eval schedule`: a list of few Euler steps for a model, searched on its own prompts (sampling.md 6).

Held-out prompts of one seed are searched on, those of another tell what the list is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from studio.evaluate.prompts import settings_of
from studio.models.embedded import DEFAULT
from studio.models.family import Parts, parts_of
from studio.models.loading import ModelStore
from studio.sampling import schedules
from studio.sampling.guidance.cfg import cfg
from studio.sampling.search.find import Case, find_schedule
from studio.sampling.search.stored import key_of, row_of
from studio.scenes.caption import held_out_prompts
from studio.values import Latent


def search_schedule(
    steps: int = 8,
    cases: int = 6,
    *,
    ref: str = DEFAULT,
    fine: int = 40,
    seed: int = 0,
    generations: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """The result as JSON values: `sigmas`, the fields of `Found`, `gain`, `key` and `kind` under which it is
    kept, `n` cases searched on and as many held out, `settings`, `model`.

    `overrides`: cfg_scale, shift or size in place of the card's.
    """
    model = ModelStore().load(ref)
    settings = settings_of(model) | overrides | {"steps": steps}
    parts = parts_of(model)
    width, height = settings["size"]
    plain = schedules.flow_diffusers(steps, settings["shift"])
    levels = schedules.flow_diffusers(fine, settings["shift"])
    guidance = cfg(settings["cfg_scale"])
    found = find_schedule(
        parts,
        _cases(parts, cases, 2 * seed, settings["size"]),
        guidance,
        levels,
        plain,
        held_out=_cases(parts, cases, 2 * seed + 1, settings["size"]),
        generations=generations,
        on_step=progress,
    )
    return {
        **row_of(found, key_of(steps, width, height, guidance), cases, "other prompts and seeds"),
        "settings": settings,
        "model": {"ref": ref, "digest": model.digest},
    }


def _cases(parts: Parts, count: int, seed: int, size: tuple[int, int]) -> list[Case]:
    empty, _ = parts.family.encode_text(parts, "")
    return [
        Case(parts.family.encode_text(parts, prompt)[0], empty, Latent(*size, 1, 1_000_003 * (seed + 1) + k))
        for k, (prompt, _, _) in enumerate(held_out_prompts(count, seed=seed))
    ]

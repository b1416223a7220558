"""`eval localise`: which blocks carry a kind of content, such as colour, shape or place.

As in arXiv 2502.09935: at one block (or a window of neighbours) the text's keys and values come from a prompt
with one word changed. A block carries that word if the picture changes as the new word says and the rest
stays. The paper asked OCR for written words; here the scene judge answers for what the model can paint.
Score of a block: the mean over the cases of (the attribute flipped) x (PSNR of the rest in dB).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.controls.sites import joint_count
from studio.controls.text_layers import TextLayers
from studio.errors import StudioError, did_you_mean
from studio.evaluate.block_selection import rank_agreement
from studio.evaluate.control import Bench
from studio.evaluate.control_edit import unedited
from studio.evaluate.edit_cases import WHATS, edit_case, edit_succeeded, source_is_right
from studio.evaluate.kept import Kept
from studio.evaluate.pictures import psnr
from studio.evaluate.prompts import settings_of
from studio.models.embedded import DEFAULT
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.scenes.detect import detect
from studio.scenes.score import wilson

KIND = "localiser"
# Equal pixels have no finite PSNR; a picture that does not differ counts this many dB.
MOST_DB = 60.0


def localise(
    what: str = "colour",
    cases: int = 20,
    *,
    window: int = 1,
    start: float = 0.0,
    ref: str = DEFAULT,
    seed: int = 0,
    objects: int = 2,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Scores of every window of `window` neighbouring joint sites for changes of `what` (colour, kind,
    pattern, background, place), as JSON values: `windows` in the order of the network with `flips`,
    `interval`, `psnr` and `score`; `best` the sites of the highest score; `agreement` of both halves.

    `start`: share of the run from which on the words act. `overrides`: steps, cfg_scale, shift or size in
    place of the card's. `folder`: as in `eval blocks`; stopped and started again, it goes on.
    """
    if what not in WHATS:
        raise StudioError(
            f"{what!r} cannot be looked for.",
            hint=did_you_mean(what, WHATS) or f"Possible: {', '.join(WHATS)}.",
        )
    model = ModelStore().load(ref)
    settings = settings_of(model) | {"spacing": "flow_diffusers"} | overrides
    bench = Bench(model, parts_of(model), settings)
    sites = joint_count(bench.sites)
    if not 1 <= window <= sites:
        raise StudioError(f"A window of {window} blocks is not possible.", hint=f"Take 1 to {sites}.")
    ingredients = [model.digest, settings, what, window, start, seed, objects]
    kept = Kept(folder, "localise", json.dumps(ingredients, default=list))
    done = {row["case"]: row["windows"] for row in kept.rows()}
    results = []
    for index in range(cases):
        if index not in done:
            done[index] = judge(bench, what, index, seed, objects, window, sites, start)
            kept.add({"case": index, "windows": done[index]})
        results.append(done[index])
        if progress:
            progress(index + 1, cases)
    usable = [result for result in results if result is not None]
    return {
        "what": what,
        "window": window,
        "start": start,
        **scores(usable, window),
        "n": len(usable),
        "unusable": len(results) - len(usable),
        "settings": settings,
        "model": {"ref": ref, "digest": model.digest},
    }


def key_of(result: Mapping[str, Any]) -> str:
    """Under which key a result is kept: what was looked for, and what was not as usual."""
    window = "" if result["window"] == 1 else f", window {result['window']}"
    start = "" if result["start"] == 0 else f", from {result['start']:g}"
    return f"{result['what']}{window}{start}"


def judge(
    bench: Bench, what: str, index: int, seed: int, objects: int, window: int, sites: int, start: float
) -> list[list[float]] | None:
    """(flipped 0 or 1, PSNR of the rest) of each window; None if the plain picture is not as its prompt
    says."""
    case = edit_case(what, index, seed=seed, objects=objects)
    number = seed * 1_000_003 + index
    before = bench.picture(bench.run(case.source_prompt, number).latent)
    seen = detect(before)
    if not source_is_right(case, seen):
        return None
    words = bench.text(case.target_prompt)
    found = []
    for first in range(sites - window + 1):
        control = TextLayers(words, tuple(range(first, first + window)), start=start)
        after = bench.picture(bench.run(case.source_prompt, number, controls=[control]).latent)
        now = detect(after)
        likeness = psnr(before, after, unedited(case, seen, now, before.shape[:2]))
        flipped = float(edit_succeeded(case, seen, now))
        found.append([flipped, round(min(likeness, MOST_DB), 3) if np.isfinite(likeness) else 0.0])
    return found


def scores(results: Sequence[Sequence[Sequence[float]]], window: int) -> dict[str, Any]:
    """What the windows did, from (flipped, PSNR) by case and window."""
    if not results:
        return {"windows": [], "best": [], "agreement": None}
    table = np.asarray(results, np.float64)
    score = (table[..., 0] * table[..., 1]).mean(0)
    halves = [(half[..., 0] * half[..., 1]).mean(0) for half in (table[::2], table[1::2]) if len(half)]
    best = int(score.argmax())
    return {
        "windows": [
            {
                "sites": list(range(first, first + window)),
                "flips": round(float(table[:, first, 0].mean()), 3),
                "interval": [round(x, 3) for x in wilson(int(table[:, first, 0].sum()), len(table))],
                "psnr": round(float(table[:, first, 1].mean()), 2),
                "score": round(float(score[first]), 3),
            }
            for first in range(table.shape[1])
        ],
        # nothing flipped: nothing is best
        "best": list(range(best, best + window)) if score[best] > 0 else [],
        "agreement": rank_agreement(*halves) if len(halves) == 2 else None,
    }

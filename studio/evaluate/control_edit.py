"""Edits by prompt: the attention edit with local blend, judged on drawn words of every sort.

The plain way of the same cost is the same seed with the target prompt. Success: the picture shows the change.
Preserved: every other object is as it was (kind, colour, pattern, centre within SHIFT), nothing was added,
and the background stayed. Likeness is measured outside the masks of the changed object in both pictures.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from studio.controls.blend import Blend
from studio.controls.inject_qk import InjectQK
from studio.controls.sites import best_map_sites
from studio.evaluate.control import Bench, Result, RowOf
from studio.evaluate.edit_cases import (
    WHATS,
    Case,
    edit_case,
    edit_succeeded,
    find,
    rest_preserved,
    source_is_right,
)
from studio.evaluate.pictures import psnr, ssim, widened
from studio.models.embedded import map_blocks
from studio.models.words import find_words, word_diff
from studio.scenes.detect import Detection, detect
from studio.values import TokenSpan

# Shares of the steps that follow the source. Small for looks, for a new shape or place smaller still.
TAU = {"colour": 0.3, "kind": 0.1, "pattern": 0.2, "background": 0.2, "place": 0.05}
ETA = 0.5
SWEEP = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
EDGE = 8


def controls_of(bench: Bench, case: Case, tau: float, eta: float) -> list[object]:
    """The edit and its blend, as the node "edit by prompt" makes them."""
    source = bench.text(case.source_prompt)
    found: list[object] = [InjectQK(source, tau=tau)]
    # a new background is everywhere: there is nothing to blend back
    if eta and case.what not in ("background", "place"):
        found.append(
            Blend(
                source,
                words(bench, case.source_prompt, case.target_prompt, 0),
                words(bench, case.source_prompt, case.target_prompt, 1),
                sites=best_map_sites(map_blocks(bench.model.card), bench.sites),
                eta=eta,
                max_pool=bench.parts.family.name == "sd3",
            )
        )
    return found


def words(bench: Bench, source: str, target: str, side: int) -> tuple[TokenSpan, ...]:
    """The words that only the source (0) or only the target (1) has."""
    text = (source, target)[side]
    return tuple(find_words(bench.parts, text, chars=chars) for chars in _changed(source, target)[side])


def _changed(source: str, target: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    removed, added = word_diff(source, target)
    return [(w.start, w.stop) for w in removed], [(w.start, w.stop) for w in added]


def judge(
    bench: Bench, index: int, *, what: str, tau: float | None = None, objects: int = 2
) -> Result | None:
    """One case: source and target of the edit in one run, and the plain prompt change beside it."""
    case = edit_case(what, index, objects=objects)
    seed = 1000 + index
    share = TAU[what] if tau is None else tau
    run = bench.run(case.target_prompt, seed, controls=controls_of(bench, case, share, ETA if share else 0.0))
    if "source" in run.latents:
        before = bench.picture(run.latents["source"])
    else:
        before = bench.picture(bench.run(case.source_prompt, seed).latent)
    seen = detect(before)
    if not source_is_right(case, seen):
        return None
    after = bench.picture(run.latent)
    plain = bench.picture(bench.run(case.target_prompt, seed).latent) if share else after
    edited, other = detect(after), detect(plain)
    outside = unedited(case, seen, edited, before.shape[:2])
    kept, plainly = (shape_kept(case, seen, one) for one in (edited, other))
    beside = unedited(case, seen, other, before.shape[:2])
    return {
        "success": edit_succeeded(case, seen, edited),
        "preserved": rest_preserved(case, seen, edited),
        "plain_success": edit_succeeded(case, seen, other),
        "plain_preserved": rest_preserved(case, seen, other),
        "psnr_outside": figure(psnr(before, after, outside)),
        "ssim_outside": figure(ssim(before, after, outside)),
        "plain_psnr_outside": figure(psnr(before, plain, beside)),
        "plain_ssim_outside": figure(ssim(before, plain, beside)),
        **({} if kept is None or plainly is None else {"shape_iou": kept, "plain_shape_iou": plainly}),
    }


def shape_kept(case: Case, before: Detection, after: Detection) -> float | None:
    """How far the changed object covers the place and size that it had: the IoU of its two masks, 0 where it
    is gone. None where the change asks for another shape, or for none."""
    if case.what not in ("colour", "pattern"):
        return None
    old, new = find(before, case.source[case.changed]), find(after, case.target[case.changed])
    if old is None or new is None:
        return 0.0
    return float((old.mask & new.mask).sum() / (old.mask | new.mask).sum())


def unedited(case: Case, before: Detection, after: Detection, size: tuple[int, int]) -> np.ndarray:
    """Pixels outside the changed object in either picture, with a margin: bool [H, W]; for a new background
    the pixels of the objects."""
    mask = np.zeros(size, bool)
    if case.changed < 0:
        for found in before.objects:
            mask |= found.mask
        return mask
    for seen, thing in ((before, case.source[case.changed]), (after, case.target[case.changed])):
        changed = find(seen, thing)
        if changed is not None:
            mask |= changed.mask
    return ~widened(mask, EDGE)


def figure(value: float) -> float | None:
    """None for "not a number", which JSON does not know."""
    return value if np.isfinite(value) else None


ROWS = (
    *(RowOf("edit", what, partial(judge, what=what)) for what in WHATS),
    *(
        RowOf("edit_tau", f"{what}_{tau:g}", partial(judge, what=what, tau=tau))
        for what in ("colour", "kind")
        for tau in SWEEP
    ),
)

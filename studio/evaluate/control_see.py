"""Masks from attention (word maps, spread, both ways, ConceptAttention) on pictures of two objects, against
the exact masks of the judge.

The picture is the model's own; the truth is what the judge sees in it. Success: IoU on the token grid of at
least 0.7. `iou_pixels` stands beside `ceiling`, the IoU of the true mask drawn with tokens.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from studio.controls.attention_cut import SPREAD, AttentionCut, cut
from studio.controls.concepts import make_concepts
from studio.controls.reading import maps_of, mean_map
from studio.controls.sites import best_map_sites
from studio.controls.where import Where
from studio.controls.word_looks import LOOKS, WordLooks, both_ways
from studio.controls.word_maps import WordMaps, over_words
from studio.errors import StudioError
from studio.evaluate.control import Bench, Result, RowOf
from studio.evaluate.edit_cases import describe, find, things_of
from studio.models.embedded import map_blocks
from studio.models.words import find_words, segment_conditioning
from studio.scenes.detect import detect
from studio.scenes.world import BACKGROUNDS

ENOUGH = 0.7
FORMS = ("words", "cut", "both", "concepts")


def judge(bench: Bench, index: int, *, form: str) -> Result | None:
    """One picture of two objects; the figures are means over its objects."""
    rng = np.random.default_rng([index, 20253])
    things = things_of(rng, 2)
    background = str(rng.choice(BACKGROUNDS))
    prompt = describe(things, background)
    kinds = [thing.kind for thing in things]
    words = tuple(find_words(bench.parts, prompt, thing.kind) for thing in things)
    others = tuple(token.index for token in bench.parts.family.tokens(bench.parts, prompt))
    if form == "concepts":
        pieces = [segment_conditioning(bench.parts, name, end_mark=False) for name in (*kinds, background)]
        control: object = make_concepts(pieces)
    else:
        where = Where(best_map_sites(map_blocks(bench.model.card), bench.sites))
        control = {"words": WordMaps, "cut": AttentionCut, "both": WordLooks}[form](words, others, where)
    run = bench.run(prompt, 5000 + index, controls=[control])
    picture = bench.picture(run.latent)
    seen = detect(picture)
    found = [find(seen, thing) for thing in things]
    if any(item is None for item in found):
        return None
    name = {"cut": "word_maps" + SPREAD, "concepts": "concepts"}.get(form, "word_maps")
    shares = mean_map(maps_of(run.seen, name, form))
    if form == "words":
        shares = over_words(shares)
    if form == "both":
        shares = both_ways(shares, mean_map(maps_of(run.seen, "word_maps" + LOOKS, form)))
    scores = [compare(shares[..., i], item.mask) for i, item in enumerate(found) if item is not None]
    tokens, pixels, ceiling, pointed = (float(np.mean(values)) for values in zip(*scores, strict=True))
    return {
        "success": all(score[0] >= ENOUGH for score in scores),
        "iou_tokens": tokens,
        "iou_pixels": pixels,
        "ceiling": ceiling,
        "pointing": pointed,
    }


def compare(values: torch.Tensor, truth: np.ndarray) -> tuple[float, float, float, float]:
    """(IoU on the token grid, IoU in pixels, the best that tokens allow, whether the maximum lies on the
    object). values: row, column; truth: bool [H, W]."""
    height, width = truth.shape
    rows, columns = values.shape
    areas = truth.reshape(rows, height // rows, columns, width // columns).mean((1, 3))
    drawn = areas >= 0.5
    if not drawn.any():
        drawn = areas == areas.max()
    try:
        cells = cut(values, "largest").numpy()
    except StudioError:
        # a flat map cuts nothing out
        cells = np.zeros_like(drawn)

    def enlarged(grid: np.ndarray) -> np.ndarray:
        return grid.repeat(height // rows, 0).repeat(width // columns, 1)

    top = np.unravel_index(int(values.argmax()), values.shape)
    return (
        iou(cells, drawn),
        iou(enlarged(cells), truth),
        iou(enlarged(drawn), truth),
        float(areas[top] > 0),
    )


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two bool arrays; 1 if both are empty."""
    union = np.logical_or(one, other).sum()
    return float(np.logical_and(one, other).sum() / union) if union else 1.0


ROWS = tuple(RowOf("masks", form, partial(judge, form=form)) for form in FORMS)

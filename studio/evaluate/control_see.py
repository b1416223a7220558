"""Masks from attention on pictures of two objects, against the exact masks of the judge: word maps, spread,
both ways, both ways along the picture's edges, ConceptAttention.

The picture is the model's own; the truth is what the judge sees in it. Success: IoU on the token grid of at
least 0.7. `iou_pixels` stands beside `ceiling`, the IoU of the true mask drawn with tokens, which only a mask
that follows the picture's edges can pass.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from studio.controls.attention_cut import SPREAD, AttentionCut, cut
from studio.controls.concepts import best_blocks, make_concepts
from studio.controls.edge_follow import along_edges
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
from studio.pixels import to_array
from studio.scenes.detect import detect
from studio.scenes.world import BACKGROUNDS
from studio.values import Image

ENOUGH = 0.7
FORMS = ("words", "cut", "both", "edges", "concepts")


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
        pieces = [segment_conditioning(bench.parts, name) for name in (*kinds, background)]
        where = Where(best_blocks(map_blocks(bench.model.card), bench.sites))
        control: object = make_concepts(pieces, where)
    else:
        where = Where(best_map_sites(map_blocks(bench.model.card), bench.sites))
        way = {"words": WordMaps, "cut": AttentionCut}.get(form, WordLooks)
        control = way(words, others, where)
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
    if form in ("both", "edges"):
        shares = both_ways(shares, mean_map(maps_of(run.seen, "word_maps" + LOOKS, form)))
    guide = to_array(Image(picture)) if form == "edges" else None
    scores = [compare(shares[..., i], item.mask, guide) for i, item in enumerate(found) if item is not None]
    tokens, pixels, ceiling, pointed = (float(np.mean(values)) for values in zip(*scores, strict=True))
    return {
        "success": all(score[0] >= ENOUGH for score in scores),
        "iou_tokens": tokens,
        "iou_pixels": pixels,
        "ceiling": ceiling,
        "pointing": pointed,
    }


def compare(
    values: torch.Tensor, truth: np.ndarray, guide: np.ndarray | None = None
) -> tuple[float, float, float, float]:
    """(IoU on the token grid, IoU in pixels, the best that tokens allow, whether the maximum lies on the
    object). values: row, column; truth: bool [H, W]; `guide`: the picture, [H, W, 3] in 0..1, whose edges the
    mask follows."""
    height, width = truth.shape
    rows, columns = values.shape

    def shares_of(mask: np.ndarray) -> np.ndarray:
        found: np.ndarray = mask.reshape(rows, height // rows, columns, width // columns).mean((1, 3))
        return found

    def enlarged(grid: np.ndarray) -> np.ndarray:
        return grid.repeat(height // rows, 0).repeat(width // columns, 1)

    areas = shares_of(truth)
    drawn = areas >= 0.5
    if not drawn.any():
        drawn = areas == areas.max()
    try:
        chosen = cut(values, "largest")
        cells, mask = chosen.numpy(), enlarged(chosen.numpy())
        if guide is not None:
            mask = along_edges(values, chosen, torch.from_numpy(guide).permute(2, 0, 1)).numpy() > 0
            cells = shares_of(mask) >= 0.5
    except StudioError:
        # a flat map cuts nothing out
        cells, mask = np.zeros_like(drawn), np.zeros_like(truth)
    top = np.unravel_index(int(values.argmax()), values.shape)
    return iou(cells, drawn), iou(mask, truth), iou(enlarged(drawn), truth), float(areas[top] > 0)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two bool arrays; 1 if both are empty."""
    union = np.logical_or(one, other).sum()
    return float(np.logical_and(one, other).sum() / union) if union else 1.0


ROWS = tuple(RowOf("masks", form, partial(judge, form=form)) for form in FORMS)

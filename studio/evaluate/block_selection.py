"""`eval blocks`: which blocks of a model locate words best, judged by exact masks of its own pictures.

After arXiv 2508.07519 (section 4.2): for each block the map of a word, averaged over the steps, is compared
with the mask of what the word names. There the masks came from a segmentation network on PartiPrompts; here
they are what the scene judge sees in the picture that the model paints. Only objects that the picture shows
as the prompt says count. The answer does not depend on a prompt: the local blend and masks from attention
take it as their default.

The map is the one that masks are cut from (`word_looks.both_ways`), and blocks are ranked by AUC, the chance
that a place on the object has more than one off it. The paper's three metrics stand beside it; they judge the
height of a map as well, and on scenes-sd3, whose objects cover a sixteenth of the picture, their ranks of
blocks did not even agree between two halves of the cases (Spearman -0.5; docs/measured.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from studio.controls.sites import joint_count
from studio.controls.tokens import mask_share
from studio.controls.where import Where
from studio.controls.word_looks import LOOKS, WordLooks, both_ways
from studio.evaluate.control import Bench
from studio.evaluate.edit_cases import Thing, describe, find, things_of
from studio.evaluate.kept import Kept
from studio.evaluate.prompts import settings_of
from studio.models.embedded import DEFAULT
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.words import find_words
from studio.scenes.detect import Detection, detect
from studio.scenes.world import BACKGROUNDS
from studio.values import Mask, Seen

Floats = npt.NDArray[np.float64]
KIND, KEY = "map_blocks", "scenes"
METRICS = ("auc", "soft_iou", "bce", "mse")
MOST_CHOSEN = 5
# Below this a probability is taken for this, so that one wrong token does not decide the cross-entropy.
LEAST = 1e-4


def rank_blocks(
    cases: int = 100,
    *,
    ref: str = DEFAULT,
    seed: int = 0,
    objects: int = 2,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """The ranking as JSON values: `blocks` (index, the mean of each metric, rank), best first, `chosen`
    indices, `n` words judged, `unusable` pictures without a right object, `agreement` of both halves.

    `overrides`: steps, cfg_scale, shift or size in place of the card's. `folder`: where partial results lie
    (default runs/eval); stopped and started again, the ranking goes on.
    """
    model = ModelStore().load(ref)
    settings = settings_of(model) | {"spacing": "flow_diffusers"} | overrides
    bench = Bench(model, parts_of(model), settings)
    kept = Kept(folder, "auc-blocks", json.dumps([model.digest, settings, seed, objects], default=list))
    done = {row["case"]: row["words"] for row in kept.rows()}
    words: list[list[Mapping[str, float]]] = []
    unusable = 0
    for case in range(cases):
        if case not in done:
            done[case] = judge(bench, case, seed, objects)
            kept.add({"case": case, "words": done[case]})
        unusable += not done[case]
        words += done[case]
        if progress:
            progress(case + 1, cases)
    return {
        **ranking(words),
        "n": len(words),
        "cases": cases,
        "unusable": unusable,
        "settings": settings,
        "model": {"ref": ref, "digest": model.digest},
    }


def judge(bench: Bench, case: int, seed: int, objects: int) -> list[list[dict[str, float]]]:
    """The metrics of each word at each joint site, from one picture; empty if it shows no object rightly."""
    rng = np.random.default_rng([seed, case, 20252])
    things = things_of(rng, objects)
    prompt = describe(things, str(rng.choice(BACKGROUNDS)))
    spans = [find_words(bench.parts, prompt, thing.kind) for thing in things]
    run = bench.run(prompt, seed * 1_000_003 + case, controls=[WordLooks(tuple(spans), (), Where(), True)])
    sites = joint_count(bench.sites)
    maps = site_maps(run.seen, sites, len(spans))
    return compared(maps, things, detect(bench.picture(run.latent)))


def compared(maps: Floats, things: Sequence[Thing], seen: Detection) -> list[list[dict[str, float]]]:
    """The metrics of each word at each site. maps: joint site, grid row, grid column, word; one word for
    each thing, in order. Things that the picture does not show as named are left out."""
    found = []
    for number, thing in enumerate(things):
        drawn = find(seen, thing)
        if drawn is not None:
            mask = mask_share(Mask(drawn.mask.astype(np.float32)), (maps.shape[1], maps.shape[2]))
            found.append([metrics(site[..., number], mask) for site in maps])
    return found


def site_maps(seen: Seen, sites: int, words: int) -> Floats:
    """The maps of a run, both ways, averaged over its steps: joint site, grid row, grid column, word."""
    found = []
    for site in range(sites):
        single = [one for one in seen.maps if one.step >= 0 and one.index == site]
        ways = [
            torch.stack([one.values[0, ..., :words] for one in single if one.name.endswith(LOOKS) == looks])
            for looks in (False, True)
        ]
        found.append(both_ways(ways[0].mean(0), ways[1].mean(0)).numpy().astype(np.float64))
    return np.stack(found)


def metrics(seen: Floats, mask: Floats) -> dict[str, float]:
    """AUC and soft IoU (higher is better), binary cross-entropy and mean squared error (lower is better) of a
    map, divided by its maximum, against a mask 0..1 on the same grid; 0.5 and above is on the object."""
    top = float(seen.max())
    p = seen / top if top > 0 else np.zeros_like(seen)
    both = float((p * mask).sum())
    sure = np.clip(p, LEAST, 1 - LEAST)
    return {
        "auc": round(auc(p, mask >= min(0.5, float(mask.max()))), 6),
        "soft_iou": round(both / float((p + mask - p * mask).sum()), 6) if (p + mask).any() else 0.0,
        "bce": round(float(-(mask * np.log(sure) + (1 - mask) * np.log(1 - sure)).mean()), 6),
        "mse": round(float(((p - mask) ** 2).mean()), 6),
    }


def auc(seen: Floats, inside: npt.NDArray[np.bool_]) -> float:
    """The chance that a place inside has more than one outside, ties as halves; 0.5 where one of them is
    empty."""
    on, off = seen[inside], seen[~inside]
    if not on.size or not off.size:
        return 0.5
    return float((_places(np.concatenate([on, off]))[: on.size].mean() - (on.size - 1) / 2) / off.size)


def ranking(words: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Blocks by AUC, from the metrics of each word at each site."""
    if not words:
        return {"blocks": [], "chosen": [], "agreement": None}
    ranks = _ranks(words)
    means = {name: np.mean([[site[name] for site in word] for word in words], axis=0) for name in METRICS}
    order = sorted(range(len(ranks)), key=lambda site: (ranks[site], -means["soft_iou"][site]))
    halves = [_ranks(half) for half in (words[::2], words[1::2]) if half]
    return {
        "blocks": [
            {
                "index": site,
                "rank": round(float(ranks[site]), 3),
                **{name: round(float(means[name][site]), 5) for name in METRICS},
            }
            for site in order
        ],
        "chosen": order[: max(1, min(MOST_CHOSEN, round(len(order) / 3)))],
        "agreement": rank_agreement(*halves) if len(halves) == 2 else None,
    }


def rank_agreement(one: Floats, other: Floats) -> float | None:
    """Spearman's correlation of two scores of the same blocks, -1..1; None where one of them is flat."""
    a, b = _places(one), _places(other)
    if a.std() == 0 or b.std() == 0:
        return None
    return round(float(np.corrcoef(a, b)[0, 1]), 3)


def _ranks(words: Sequence[Sequence[Mapping[str, float]]]) -> Floats:
    """The rank of each site, 0 = best."""
    return _places(-np.mean([[site["auc"] for site in word] for word in words], axis=0))


def _places(scores: Floats) -> Floats:
    """The place of each score in ascending order from 0; equal scores share the mean of theirs."""
    scores = np.asarray(scores, np.float64)
    below = (scores[:, None] > scores[None]).sum(1)
    equal = (scores[:, None] == scores[None]).sum(1)
    return np.asarray(below + (equal - 1) / 2)

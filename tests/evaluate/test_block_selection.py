"""The ranking of blocks: exact measures, honest counts, and nothing measured twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from studio.evaluate import block_selection
from studio.evaluate.block_selection import compared, metrics, rank_agreement, rank_blocks, ranking
from studio.evaluate.edit_cases import Thing
from studio.models.embedded import DEFAULT, list_embedded
from studio.scenes.detect import detect
from studio.scenes.draw import draw, draw_masks
from studio.scenes.world import PLACES, SIZES, Scene, SceneObject

THINGS = (Thing("star", "red", "left"), Thing("house", "blue", "right"))


def scene() -> Scene:
    items = (
        SceneObject(t.kind, t.colour, t.pattern, "large", t.place, *PLACES[t.place], SIZES["large"])
        for t in THINGS
    )
    return Scene("day", tuple(items), 5)


def test_the_measures_of_a_map_that_is_the_mask_half_of_it_and_nothing() -> None:
    mask = np.zeros((4, 4))
    mask[:2] = 1
    columns = np.array([[1.0, 1, 0, 0]] * 4)
    exact, half = metrics(0.01 * mask, mask), metrics(columns * mask, mask)
    assert exact["soft_iou"] == 1.0 and exact["mse"] == 0.0 and exact["bce"] < 1e-3
    assert half["soft_iou"] == 0.5 and half["mse"] == 0.25 and half["bce"] > 1
    assert exact["auc"] == 1.0 and half["auc"] == 0.75
    assert metrics(1 - mask, mask)["auc"] == 0.0 and metrics(mask, 0 * mask)["auc"] == 0.5
    assert metrics(np.zeros((4, 4)), mask)["auc"] == 0.5
    assert metrics(np.zeros((4, 4)), mask)["soft_iou"] == 0.0
    assert metrics(np.full((4, 4), 0.2), mask) == {**metrics(np.ones((4, 4)), mask)}


def test_the_block_whose_maps_are_the_objects_is_the_best() -> None:
    picture = draw(scene(), 256)
    seen = detect(picture)
    masks = [m.reshape(16, 16, 16, 16).mean((1, 3)) for m in draw_masks(scene(), 256).astype(float)]
    rng = np.random.default_rng(0)
    noise = rng.random((3, 16, 16, 2))
    noise[1] = np.stack(masks, -1) + 0.01 * noise[1]
    noise[2] = np.stack(masks, -1) + 0.5 * noise[2]
    words = compared(noise, THINGS, seen)
    assert len(words) == 2 and all(len(word) == 3 for word in words)
    found = ranking(words)
    assert [block["index"] for block in found["blocks"]] == [1, 2, 0]
    assert found["chosen"] == [1] and found["agreement"] == 1.0
    assert found["blocks"][0]["soft_iou"] > 0.7 > found["blocks"][2]["soft_iou"]


def test_an_object_that_the_picture_does_not_show_is_not_judged() -> None:
    seen = detect(draw(scene(), 256))
    others = (THINGS[0], Thing("boat", "green", "right"))
    assert len(compared(np.random.default_rng(0).random((3, 16, 16, 2)), others, seen)) == 1


def test_nothing_to_judge_ranks_nothing() -> None:
    assert ranking([]) == {"blocks": [], "chosen": [], "agreement": None}


def test_agreement_is_spearmans() -> None:
    assert rank_agreement(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == 1.0
    assert rank_agreement(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == -1.0
    assert rank_agreement(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == 0.8
    assert rank_agreement(np.array([1.0, 1, 1]), np.array([1.0, 2, 3])) is None


@pytest.mark.model
@pytest.mark.skipif(DEFAULT not in [m.ref for m in list_embedded()], reason="no embedded model here")
def test_a_stopped_ranking_goes_on_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"folder": tmp_path, "steps": 1, "size": (64, 64), "cfg_scale": 1.0}
    first = rank_blocks(2, **settings)
    assert first["cases"] == 2 and 0 <= first["unusable"] <= 2
    assert (first["n"] == 0) == (first["unusable"] == 2)
    (written,) = tmp_path.glob("*blocks-*.jsonl")
    assert [json.loads(line)["case"] for line in written.read_text().splitlines()] == [0, 1]

    def refuse(*_: object) -> None:
        raise AssertionError("a scene was painted again")

    with monkeypatch.context() as patch:
        patch.setattr(block_selection, "judge", refuse)
        assert rank_blocks(2, **settings) == first
    written.write_text(written.read_text()[:-20])  # as a crash leaves it
    assert rank_blocks(2, **settings) == first

"""Running means for each control and role, and every single map where a control asks for it."""

from __future__ import annotations

import pytest
import torch

from studio.controls.maps import MapStore
from studio.errors import StudioError
from studio.models.family import Site
from tests.controls.attaching import STEPS, draw

SITES = (Site("blocks.0.attn", 0, "joint_double", 0), Site("single.4.attn", 1, "joint_single", 4))
ROLES = ("source:0", "source:1", "target:0", "target:1")


def maps(seed: int, rows: int = 4) -> torch.Tensor:
    return draw(rows, 6, 2, seed=seed)


def test_means_are_over_all_sites_and_steps_by_role() -> None:
    store = MapStore()
    assert store.mean("words", "target") is None
    given = [maps(seed) for seed in range(4)]
    for number, value in enumerate(given):
        store.add("words", SITES[number % 2], STEPS[number // 2], ROLES, value)
    wanted = torch.stack(given).mean(0)
    for role, rows in (("source", [0, 1]), ("target", [2, 3]), ("target:1", [3])):
        mean = store.mean("words", role)
        assert mean is not None and torch.allclose(mean, wanted[rows], atol=1e-7)
    assert store.mean("words", "cond") is None and store.mean("others", "target") is None


def test_pictures_are_in_order_also_where_rows_come_in_calls_of_their_own() -> None:
    store = MapStore()
    one, two, three = maps(1, 1), maps(2, 1), maps(3, 1)
    store.add("words", SITES[0], STEPS[0], ("cond:10",), one)
    store.add("words", SITES[0], STEPS[0], ("cond:2",), two)
    store.add("words", SITES[1], STEPS[0], ("cond:2",), three)
    mean = store.mean("words", "cond")
    assert mean is not None and torch.allclose(mean, torch.cat([(two + three) / 2, one]))


def test_the_store_keeps_nothing_that_others_may_change() -> None:
    store = MapStore(["words"])
    store.grid = (2, 3)
    value = maps(1)
    store.add("words", SITES[0], STEPS[0], ROLES, value)
    kept = value.clone()
    value.zero_()
    store.add("words", SITES[0], STEPS[1], ROLES, value)
    mean = store.mean("words", "source")
    assert mean is not None and torch.equal(mean, kept[:2] / 2)
    single = [seen for seen in store.seen() if seen.step == 0 and seen.role == "source"]
    assert torch.equal(single[0].values.reshape(2, 6, 2), kept[:2])


def test_seen_has_means_and_for_some_controls_every_map() -> None:
    store = MapStore(["words"], {"words": ("star", "ring"), "concepts": ("sky", "sea")})
    store.grid = (2, 3)
    with torch.inference_mode():
        for step in STEPS[:2]:
            store.add("words", SITES[1], step, ROLES, maps(step.index))
            store.add("words/spread", SITES[1], step, ROLES, maps(5))
            store.add("concepts", SITES[0], step, ROLES, maps(7))
            store.add("blocks", SITES[0], step, ROLES, draw(4, 1, 3, seed=9))
    seen = store.seen()
    means = [one for one in seen if one.step == -1]
    assert [(one.name, one.role) for one in means] == [
        (name, role)
        for name in ("words", "words/spread", "concepts", "blocks")
        for role in ("source", "target")
    ]
    assert all(one.site == "" and one.index == -1 for one in means)
    single = [one for one in seen if one.step >= 0]
    assert {one.name for one in single} == {"words", "words/spread"} and len(single) == 8
    first = single[0]
    assert (first.site, first.block, first.kind, first.index) == ("single.4.attn", 4, "joint_single", 1)
    assert (first.step, first.sigma) == (0, STEPS[0].sigma)
    assert first.values.shape == (2, 2, 3, 2) and not first.values.is_inference()
    assert torch.equal(first.values[1, 1], maps(0)[1, 3:])
    labels = {one.name: one.labels for one in seen}
    assert labels == {
        "words": ("star", "ring"),
        "words/spread": ("star", "ring"),
        "concepts": ("sky", "sea"),
        "blocks": (),
    }
    assert {one.values.shape for one in seen if one.name == "blocks"} == {(2, 1, 1, 3)}


def test_maps_of_other_shapes_are_refused() -> None:
    store = MapStore()
    with pytest.raises(StudioError, match="4 rows"):
        store.add("words", SITES[0], STEPS[0], ROLES, maps(1, 3))
    store.add("words", SITES[0], STEPS[0], ROLES, maps(1))
    with pytest.raises(StudioError, match="one shape"):
        store.add("words", SITES[0], STEPS[0], ROLES, draw(4, 6, 3, seed=1))
    store.grid = (2, 2)
    with pytest.raises(StudioError, match="6 tokens"):
        store.seen()

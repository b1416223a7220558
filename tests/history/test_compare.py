"""What differs between two pictures."""
from __future__ import annotations

import json
import math

import numpy as np
import pytest

from studio.history.compare import (
    ABSENT,
    Difference,
    compare,
    compare_graphs,
    compare_pixels,
    compare_records,
)
from studio.history.store import History

from .conftest import Add, graph_of, record_of


def test_equal_pictures_have_no_difference(history: History, add: Add) -> None:
    one, two = add(seed=1), add(seed=1)
    graphs = [history.document("local", made.id) for made in (one, two)]
    assert compare(one, two, *graphs) == []


def test_changed_prompt_seed_and_library_are_named(history: History, add: Add) -> None:
    one = add("a red star", seed=1)
    two = add("a red star", seed=2, record={**record_of(1), "versions": {"torch": "2.14", "numpy": "2"}})
    assert compare(one, two) == [
        Difference("seed", 1, 2), Difference("record.versions.numpy", ABSENT, "2"),
        Difference("record.versions.torch", "2.13", "2.14")]


def test_timings_and_notes_are_no_ingredients() -> None:
    assert compare_records({"timings": {"s": 1}, "notes": {}}, {"timings": {"s": 2}, "notes": {"a": 1}}) == []


def test_graphs_are_compared_by_node_and_wire_without_positions() -> None:
    left = json.loads(graph_of("a"))
    right = json.loads(graph_of("b"))
    right["nodes"][1]["pos"], right["nodes"][1]["title"] = [5, 5], "Mine"
    right["edges"] = []
    assert compare_graphs(json.dumps(left), json.dumps(right)) == [
        Difference("graph.p.text", "a", "b"), Difference("graph.s.c", "p.c", ABSENT)]


def test_one_and_true_and_one_point_zero_differ() -> None:
    assert len(compare_records({"a": 1, "b": 1}, {"a": True, "b": 1.0})) == 2


def test_pixels_are_compared_by_largest_difference_and_psnr() -> None:
    left = np.full((4, 4, 3), 100, np.uint8)
    right = left.copy()
    right[0, 0, 0] = 97
    same, near = compare_pixels(left, left.copy()), compare_pixels(left, right)
    assert same.equal and same.psnr == math.inf
    assert not near.equal and near.max_difference == 3
    assert near.psnr == pytest.approx(10 * math.log10(255**2 / (9 / 48)))
    assert not compare_pixels(left, left[:2]).same_size
    assert compare_pixels(np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255,
                                                                 np.uint8)).max_difference == 255

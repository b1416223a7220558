"""The region list as a setting: every entry is checked before anything runs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from studio.graph.widgets import MOST_REGIONS, Regions, region_problem

SHA = "a" * 64
FULL = {
    "id": "sky",
    "name": "The sky",
    "prompt": "a blue sky",
    "negative": "clouds",
    "shape": "box",
    "box": [0, 0, 1, 0.5],
    "mask": None,
    "strength": 1.2,
    "start": 0.0,
    "end": 0.5,
    "role": "",
    "locked": True,
}


def region(**changes: Any) -> dict[str, Any]:
    return {"id": "sky", "prompt": "a blue sky", "box": [0, 0, 1, 0.5], **changes}


def told(*regions: Any) -> str:
    found = Regions().problem(list(regions))
    assert found is not None
    return f"{found[0]} {found[1]}"


def test_lists_of_whole_and_short_regions_are_fine() -> None:
    check = Regions().problem
    assert check([]) is None
    assert check([FULL, region(id="b"), {"id": "m", "mask": {"file": SHA}, "shape": "mask"}]) is None
    assert check([region(id=str(i)) for i in range(MOST_REGIONS)]) is None
    assert check([region(box=[0.0, 0.0, 1e-4, 1.0])]) is None
    assert region_problem(FULL) is None


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"box": [0.5, 0.2, 1.4, 0.9]}, "leaves the canvas"),
        ({"box": [-0.1, 0, 1, 1]}, "leaves the canvas"),
        ({"box": [2, 2, 3, 3]}, "leaves the canvas"),
        ({"box": [0.5, 0.5, 0.5, 0.9]}, "has no size"),
        ({"box": [0.9, 0, 0.1, 1]}, "has no size"),
        ({"box": [0, 0, 1]}, "is not a box"),
        ({"box": "all"}, "is not a box"),
        ({"box": [0, 0, math.nan, 1]}, "not a finite number"),
        ({"box": [0, 0, True, 1]}, "not a number"),
        ({"strength": math.nan}, "not a finite number"),
        ({"strength": math.inf}, "not a finite number"),
        ({"strength": -0.5}, "out of range"),
        ({"strength": 3}, "from 0 to 2"),
        ({"strength": "1"}, "not a number"),
        ({"start": 0.5, "end": 0.5}, "which is never"),
        ({"start": 1.5}, "from 0 to 1"),
        ({"end": None}, "not a number"),
        ({"id": ""}, "no id"),
        ({"id": 3}, "not text"),
        ({"prompt": 3}, "not text"),
        ({"prompt": "x" * 10_001}, "10001 characters"),
        ({"locked": 1}, "true or false"),
        ({"shape": "circle"}, "'box', 'mask'"),
        ({"shape": "mask"}, "there is no mask"),
        ({"mask": "painted.png"}, "reference to a stored picture"),
        ({"mask": {"file": "../secret"}}, "not a SHA-256"),
        ({"colour": "red"}, "no 'colour'"),
        ({"promt": "red"}, "Did you mean 'prompt'"),
    ],
)
def test_a_bad_region_is_named_with_its_value_and_what_is_possible(
    changes: dict[str, Any], what: str
) -> None:
    said = told(region(id="first"), region(**changes))
    assert what in said and said.startswith("Region 2")


def test_a_box_that_stands_out_is_shown_what_lies_inside() -> None:
    assert "[0.5, 0.2, 1, 0.9]" in told(region(box=[0.5, 0.2, 1.4, 0.9]))


def test_what_is_no_region_and_no_list() -> None:
    assert "is not a region" in told("sky")
    assert "neither a box nor a mask" in told({"id": "a"})
    assert Regions().problem({"id": "a"}) is not None
    assert Regions().problem("[]") is not None
    assert Regions().problem(None) is not None


def test_too_many_and_equal_ids() -> None:
    assert "1,000 regions" in told(*(region(id=str(i)) for i in range(1000)))
    assert "Regions 1 and 3 have the id 'sky'" in told(region(), region(id="b"), region())


def test_the_page_is_told_what_it_is() -> None:
    assert Regions().sort == "regions" and Regions().options() == {"most": MOST_REGIONS}

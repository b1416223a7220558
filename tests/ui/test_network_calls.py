"""The network calls of a picture's runs, as its detail view tells them."""

from __future__ import annotations

import pytest

from studio.ui.picture_detail import how_it_ran, network_calls


def test_the_calls_of_all_runs_are_added_up() -> None:
    notes = {
        "sample": {"network": {"forwards": 20, "rows": 28, "by_role": {"cond": 20, "uncond": 8}}},
        "again": {"network": {"forwards": 5, "rows": 10}, "controls": {}},
        "warnings": ["a word is not known"],
    }
    assert network_calls({"notes": notes}) == "25 (38 rows)"


@pytest.mark.parametrize(
    "record",
    [
        {}, {"notes": None}, {"notes": {"sample": 3}}, {"notes": {"sample": {"network": [1]}}},
        {"notes": {"sample": {"network": {"forwards": "20", "rows": 20}}}},
    ],
)  # fmt: skip
def test_a_record_that_does_not_tell_shows_nothing(record: dict[str, object]) -> None:
    assert network_calls(record) == "" and how_it_ran(record) == {}


def test_how_a_run_was_shortened_or_shared_is_told() -> None:
    notes = {"sample": {"stopped": {"after": 12, "of": 60}, "resumed": {"steps": 9}, "together": {"runs": 3}}}
    assert how_it_ran({"notes": notes}) == {
        "Ended after step": "12 / 60",
        "Steps of an earlier run": "9",
        "Runs made together": "3",
    }
    assert how_it_ran({"notes": {"sample": {"stopped": {"after": "12"}, "resumed": 9}}}) == {}

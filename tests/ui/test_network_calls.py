"""The network calls of a picture's runs, as its detail view tells them."""

from __future__ import annotations

import pytest

from studio.ui.picture_detail import computed, how_it_ran, network_calls


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


def test_what_a_step_cache_skipped_is_not_told_as_computed() -> None:
    plain = {"network": {"forwards": 30, "rows": 60}}
    cached = {"network": {"forwards": 10, "rows": 20}, "step_cache": {"work": 0.1}}
    assert computed({"notes": {"sample": cached}}) == "10.0 %"
    assert computed({"notes": {"sample": cached, "again": plain}}) == "77.5 %"
    assert network_calls({"notes": {"sample": cached, "again": plain}}) == "40 (80 rows)"
    assert computed({"notes": {"sample": plain}}) == ""
    assert computed({"notes": {"sample": {"step_cache": {"work": "all"}, "network": {"forwards": 1}}}}) == ""
    assert computed({"notes": {"sample": {"step_cache": {"work": 0.5}}}}) == ""


def test_how_a_run_was_shortened_or_shared_is_told() -> None:
    notes = {"sample": {"stopped": {"after": 12, "of": 60}, "resumed": {"steps": 9}, "together": {"runs": 3}}}
    assert how_it_ran({"notes": notes}) == {
        "Ended after step": "12 / 60",
        "Steps of an earlier run": "9",
        "Runs made together": "3",
    }
    assert how_it_ran({"notes": {"sample": {"stopped": {"after": "12"}, "resumed": 9}}}) == {}

"""How a picture's runs went, as its detail view tells it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.early import ended
from studio.graph.document import Edge, Node
from studio.studio import Studio
from studio.ui.how_it_ran import calls, relays, stopped, together


def told(notes: dict[str, Any], timings: dict[str, float] | None = None) -> dict[str, Any]:
    found = calls({"notes": notes, "timings": timings or {}})
    assert found is not None
    return found


def test_the_calls_of_all_runs_are_added_up() -> None:
    notes = {
        "sample": {"network": {"forwards": 20, "rows": 28, "by_role": {"cond": 20, "uncond": 8}}},
        "again": {"network": {"forwards": 5, "rows": 10}, "controls": {}},
        "warnings": ["a word is not known"],
    }
    found = told(notes, {"sample": 1.0, "again": 2.0})
    assert (found["calls"], found["rows"], found["kept"]) == (25, 38, 0)
    # one of them came from the cache
    found = told(notes, {"again": 2.0})
    assert (found["calls"], found["rows"], found["kept"]) == (5, 10, 20)


@pytest.mark.parametrize(
    "record",
    [
        {}, {"notes": None}, {"notes": {"sample": 3}}, {"notes": {"sample": {"network": [1]}}},
        {"notes": {"sample": {"network": {"forwards": "20", "rows": 20}}}},
        {"notes": {"sample": {"relay": {"steps": 4, "parts": [{"from": 3, "to": 9}, {"from": "1"}, 7]}}}},
        {"notes": {"sample": {"relay": {"steps": 10**9, "parts": []}, "stopped": {"after": "12"}}}},
    ],
)  # fmt: skip
def test_a_record_that_does_not_tell_shows_nothing(record: dict[str, Any]) -> None:
    assert calls(record) is None and relays(record) == [] and stopped(record) is None
    assert together(record) == ""


def test_what_a_step_cache_skipped_is_not_told_as_computed() -> None:
    plain = {"network": {"forwards": 30, "rows": 60}}
    cached = {"network": {"forwards": 10, "rows": 20}, "step_cache": {"work": 0.1}}
    assert told({"sample": cached})["computed"] == 0.1
    both = told({"sample": cached, "again": plain})
    assert (both["computed"], both["calls"], both["rows"]) == (0.775, 40, 80)
    assert told({"sample": plain})["computed"] is None
    odd = {"step_cache": {"work": "all"}, "network": {"forwards": 1, "rows": 1}}
    assert told({"sample": odd})["computed"] is None


def test_a_run_that_was_taken_up_is_told_also_where_it_called_nothing() -> None:
    whole = {"network": {"forwards": 0, "rows": 0}, "resumed": {"steps": 12, "of": 12}}
    found = told({"sample": whole})
    assert (found["calls"], found["earlier"]) == (0, [12, 12])
    part = {"network": {"forwards": 3, "rows": 6}, "resumed": {"steps": 7}}
    assert told({"sample": part})["earlier"] == [7, None]


def test_runs_made_together_and_ended_early() -> None:
    notes = {"sample": {"stopped": {"after": 12, "of": 60}, "together": {"runs": 3}}}
    assert together({"notes": notes}) == "3" and stopped({"notes": notes}) == [12, 60]


def document(studio: Studio, tiny: Path, steps: int = 8) -> Any:
    return studio.text_to_image("a red star", seed=4, steps=steps, size=(64, 64), model=str(tiny))


def test_a_kept_picture_costs_no_call_and_says_where_it_ended(studio: Studio, tiny_sd3_folder: Path) -> None:
    plain = document(studio, tiny_sd3_folder)
    studio.run(plain)
    kept = studio.run(ended(plain, "sample", 5))
    record = studio.history.show("local", kept.outputs[0].generation).record
    assert stopped(record) == [5, 8]
    found = calls(record)
    assert found is not None and (found["calls"], found["earlier"]) == (0, [5, 5])


def test_a_relay_tells_who_painted_which_steps(studio: Studio, tiny_sd3_folder: Path) -> None:
    plain = document(studio, tiny_sd3_folder)
    edges = [edge for edge in plain.edges if edge.target != ("sample", "sigmas")]
    (given,) = (edge.source for edge in plain.edges if edge.target == ("sample", "sigmas"))
    edges += [
        Edge(given, ("relay", "sigmas")),
        Edge(("relay", "sigmas"), ("sample", "sigmas")),
        Edge(("relay", "wrap"), ("sample", "wraps")),
        Edge(("other", "model"), ("relay", "model")),
    ]
    nodes = (*plain.nodes, Node("other", "load_model", {"model": str(tiny_sd3_folder)}))
    for at, spans in ((0.25, [(1, 2), (3, 8)]), (0.0, [(1, 8)]), (1.0, [(1, 8)])):
        relay = Node("relay", "relay", {"at": at})
        made = studio.run(replace(plain, nodes=(*nodes, relay), edges=tuple(edges)))
        assert made.status == "finished", made.error
        (found,) = relays(studio.history.show("local", made.outputs[0].generation).record)
        parts: Any = found["parts"]
        assert found["steps"] == 8 and [(part["from"], part["to"]) for part in parts] == spans
        assert all(part["model"] for part in parts) and parts[0]["level"] == 1.0
        assert len(parts) == 1 or 0 < parts[1]["level"] < 1
    assert relays(studio.history.show("local", studio.run(plain).outputs[0].generation).record) == []

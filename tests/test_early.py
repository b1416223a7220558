""" "Keep this": a stopped run gives the picture that it showed, with its graph; replay gives it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studio import early
from studio.errors import StudioError
from studio.graph.document import Graph
from studio.pixels import read_picture
from studio.studio import Studio


@pytest.fixture
def document(studio: Studio, tiny_sd3_folder: Path) -> Graph:
    return studio.text_to_image("a red star", seed=4, steps=60, size=(128, 128), model=str(tiny_sd3_folder))


def begun(studio: Studio, document: Graph, steps: int = 5) -> str:
    """A run that goes on and has done some steps."""
    run = studio.submit(document)
    for event in studio.events(run):
        if event.kind == "progress" and event.payload["step"] >= steps:
            return run
    raise AssertionError("it was over before")


def over(studio: Studio, run: str) -> dict[str, object]:
    return list(studio.snapshots(run, interval=0.02))[-1]


@pytest.mark.parametrize("stopped", [False, True])
def test_what_a_run_shows_is_kept_with_its_graph_without_a_further_call(studio, document, stopped) -> None:
    run = begun(studio, document)
    if stopped:
        studio.cancel(run)
        assert over(studio, run)["job"]["state"] == "stopped"
    kept = early.keep_now(studio, run)
    assert over(studio, run)["job"]["state"] == "stopped"
    last = over(studio, kept)
    assert last["job"]["state"] == "done", last["error"]
    (made,) = last["outputs"]
    found = studio.history.show("local", made["generation"])
    notes = found.record["notes"]["sample"]
    after = found.record["params"]["keep_this"]["after"]
    assert 5 <= after < 60
    assert notes["stopped"] == {"after": after, "of": 60}
    assert notes["resumed"] == {"steps": after, "of": after} and notes["network"]["forwards"] == 0
    again = studio.replay(made["generation"])
    assert (again.verdict, again.max_difference) == ("equal", 0)


def test_the_kept_picture_is_the_one_of_the_same_number_of_steps(studio, document) -> None:
    run = begun(studio, document)
    made = over(studio, early.keep_now(studio, run))["outputs"][0]["generation"]
    after = studio.history.show("local", made).record["params"]["keep_this"]["after"]
    alone = studio.run(early.ended(document, "sample", after), use_cache=False)
    kept = read_picture(studio.history.picture("local", made).read_bytes())
    assert np.array_equal(kept.pixels, alone.outputs[0].image.pixels)


def test_the_whole_run_goes_on_from_where_it_was_stopped(studio, document) -> None:
    run = begun(studio, document)
    studio.cancel(run)
    over(studio, run)
    report = studio.run(document)
    assert report.notes["sample"]["resumed"]["steps"] >= 5
    fresh = studio.run(document, use_cache=False, keep=False)
    assert np.array_equal(report.outputs[0].image.pixels, fresh.outputs[0].image.pixels)
    assert "resumed" not in fresh.notes["sample"]


def test_nothing_is_kept_of_what_is_not_there(studio, document, tiny_sd3_folder) -> None:
    with pytest.raises(StudioError, match="not known"):
        early.keep_now(studio, "r_nothing")
    run = begun(studio, document)
    with pytest.raises(StudioError, match="not known"):
        early.keep_now(studio, run, "somebody else")
    studio.cancel(run)
    short = studio.text_to_image("a star", steps=2, size=(64, 64), model=str(tiny_sd3_folder))
    finished = studio.run(short)
    with pytest.raises(StudioError, match="nothing to keep"):
        early.keep_now(studio, finished.run)


def test_a_run_that_waits_has_nothing_to_keep(studio, document) -> None:
    first = begun(studio, document)
    second = studio.submit(document.set("canvas", "seed", 9))
    with pytest.raises(StudioError, match="nothing to keep"):
        early.keep_now(studio, second)
    studio.cancel(second)
    studio.cancel(first)


def test_a_second_stop_has_a_name_of_its_own_and_the_first_one_stays(studio, document) -> None:
    once = early.ended(document, "sample", 40)
    twice = early.ended(once, "sample", 3)
    assert {"keep_this", "keep_this_2"} <= set(twice.by_id)
    assert not [problem for problem in studio.check(twice) if problem.blocking]
    report = studio.run(twice, keep=False)
    assert report.notes["sample"]["stopped"] == {"after": 3, "of": 60}
    assert report.notes["sample"]["network"]["forwards"] == 3


def test_a_run_without_the_cache_is_kept_too(studio, document) -> None:
    run = begun(studio, document)
    studio.engine.cache.clear()
    last = over(studio, early.keep_now(studio, run))
    assert last["job"]["state"] == "done"

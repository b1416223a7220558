"""sweeps.py with the real studio and the tiny model: what is there is not run again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studio.graph.sweep import Axis, make_sweep
from studio.policy import Policy
from studio.studio import Studio
from studio.sweeps import Forecast, RunningSweep, forecast


@pytest.fixture
def studio(settings):
    made = Studio(settings, Policy.local())
    yield made
    made.close()


@pytest.fixture
def sweep(studio, tiny_sd3_folder):
    document = studio.workflow().set("model", "model", str(tiny_sd3_folder)).set("schedule", "steps", 2)
    document = document.set("canvas", "width", 64).set("canvas", "height", 64)
    return make_sweep(
        document, [Axis("canvas", "seed", (1, 2)), Axis("guidance", "cfg_scale", (1.0, 40.0, 3.0))]
    )


def work(studio, sweep) -> RunningSweep:
    running = RunningSweep(studio, sweep, "local")
    running.work()
    return running


def test_light_nodes_that_never_ran_leave_the_time_known(studio, sweep):
    plan = studio.plan(sweep.cells[0].document, owner="local")
    heavy = {n.kind for n in plan.nodes if n.resources}
    assert heavy and heavy < {n.kind for n in plan.nodes}
    for kind in heavy:
        assert forecast(studio, sweep, "local").seconds is None
        studio.engine.seen.took(kind, 2.0)
    assert forecast(studio, sweep, "local").seconds == pytest.approx(12.0 * len(heavy), rel=0.5)


def test_a_sweep_is_made_once_and_a_bad_cell_alone_fails(studio, sweep, settings):
    before = forecast(studio, sweep, "local")
    assert (before.cells, before.there, before.seconds) == (6, 0, None)
    running = work(studio, sweep)
    by_place = {cell.at: state for cell, state in zip(sweep.cells, running.cells, strict=True)}
    assert {at[1] for at, state in by_place.items() if state.state == "error"} == {1}
    assert "40.0" in by_place[0, 1].error["message"] and by_place[0, 1].error["socket"] == "cfg_scale"
    assert all(len(state.outputs) == 1 for at, state in by_place.items() if at[1] != 1)
    assert running.state == "done" and running.over.is_set()

    after = forecast(studio, sweep, "local")
    assert after.there == 4 and after.seconds is not None
    again = work(studio, sweep)
    assert [state.state for state in again.cells].count("cached") == 4
    assert [s.outputs for s in again.cells] == [s.outputs for s in running.cells]
    assert studio.history.count("local") == 4
    assert forecast(studio, sweep, "somebody else").there == 0

    studio.close()  # the history alone is enough: its keys say what a picture was made from
    other = Studio(settings, Policy.local())
    try:
        assert forecast(other, sweep, "local").there == 4
    finally:
        other.close()


def test_a_deleted_picture_is_made_again(studio, sweep):
    small = make_sweep(sweep.document, [Axis("canvas", "seed", (1, 2))])
    made = work(studio, small)
    studio.history.delete("local", made.cells[0].outputs[0]["generation"])
    assert forecast(studio, small, "local").there == 1
    assert [state.state for state in work(studio, small).cells] == ["done", "cached"]


def test_a_stopped_sweep_keeps_its_pictures(studio, sweep):
    small = make_sweep(sweep.document, [Axis("canvas", "seed", (1, 2, 3))])
    running = RunningSweep(studio, small, "local")
    running.work(lambda cell, state: running.stop())
    assert running.state == "stopped"
    assert [state.state for state in running.cells] == ["done", "idle", "idle"]
    assert [state.state for state in work(studio, small).cells] == ["cached", "done", "done"]


def test_pictures_of_a_batch_are_all_found(studio, sweep):
    pair = make_sweep(sweep.document.set("canvas", "batch", 2), [Axis("canvas", "seed", (1,))])
    first, second = work(studio, pair), work(studio, pair)
    assert first.cells[0].state == "done" and second.cells[0].state in ("cached", "done")
    assert first.cells[0].outputs == second.cells[0].outputs


def test_what_is_left_follows_the_pace_of_the_pictures_that_were_made(studio, sweep, monkeypatch):
    small = make_sweep(sweep.document, [Axis("canvas", "seed", (1, 2, 3))])
    running, told = RunningSweep(studio, small, "local"), []
    ahead = replace(forecast(studio, small, "local"), each=(2.0, 2.0, 2.0))
    monkeypatch.setattr("studio.sweeps.forecast", lambda *given: ahead)

    def after(cell, state):
        state.seconds = 6.0  # three times as long as was expected
        told.append(running.left)

    running.work(after)
    assert told[0] == pytest.approx(2 * 2.0 * (6 + 2) / (2 + 2))
    assert told[1] == pytest.approx(2.0 * (12 + 2) / (4 + 2)) and told[2] == 0


def test_what_is_left_is_unknown_until_something_tells_it(studio, sweep, monkeypatch):
    small = make_sweep(sweep.document, [Axis("canvas", "seed", (1, 2))])
    running, told = RunningSweep(studio, small, "local"), [RunningSweep(studio, small, "local").left]
    monkeypatch.setattr("studio.sweeps.forecast", lambda *given: Forecast(2, 0, None, each=(None, None)))

    def after(cell, state):
        told.append((running.left, state.seconds))

    running.work(after)
    assert told[0] is None and told[1][0] == pytest.approx(told[1][1]) and told[2][0] == 0

"""compare_tab.py: what a table comes to, a sweep as the page follows it, and one picture of it all."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from types import SimpleNamespace

import pytest

from studio.errors import StudioError
from studio.graph.document import dumps
from studio.pixels import read_picture
from studio.policy import Policy
from studio.ui.compare_tab import CompareTab
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures

STEPS = {"node": "s", "widget": "steps", "text": "2,3", "find": ""}
WORDS = {"node": "p", "widget": "text", "text": "red, blue", "find": "red"}


def tab_of(studio) -> CompareTab:
    owners = Owners(studio.settings.home, public=studio.policy.is_public)
    return CompareTab(studio, owners, Pictures(studio, owners))


def event(studio, *axes, **more):
    document = studio.workflow().set("p", "text", "a red star")
    return SimpleNamespace(_data={"n": 5, "document": dumps(document), "axes": list(axes), **more})


def told(tab, sent) -> dict:
    return json.loads(tab.estimate("", sent))["told"]


def follow(tab, sent, token="", each=lambda message: None) -> list[dict]:
    async def all_of() -> list[dict]:
        found = []
        async for text in tab.start(token, sent):
            found.append(json.loads(text))
            each(found[-1])
        return found

    return asyncio.run(all_of())


def test_a_table_is_told_before_anything_runs(fake):
    answer = told(tab_of(fake), event(fake, STEPS, WORDS))
    assert answer["n"] == 5 and answer["fault"] == ""
    assert (answer["cells"], answer["there"], answer["to_make"], answer["seconds"]) == (4, 0, 4, None)
    assert [axis["labels"] for axis in answer["axes"]] == [["2", "3"], ["red", "blue"]]
    assert [axis["title"] for axis in answer["table"]["axes"]] == ["Steps", "“red” in Prompt"]
    assert [cell["at"] for cell in answer["table"]["cells"]] == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert fake.runs == {}


def test_the_time_comes_from_stored_timings(fake):
    fake.seconds = 2.5
    assert told(tab_of(fake), event(fake, STEPS))["seconds"] == 5.0


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ({**STEPS, "text": "2,x"}, "'x' is not a whole number"),
        ({**STEPS, "text": ""}, "there are no values"),
        ({**WORDS, "find": "green"}, "“green” is not in"),
        ({**STEPS, "node": "nobody"}, "No node 'nobody'"),
    ],
)
def test_a_fault_stands_where_it_belongs(fake, axis, words):
    answer = told(tab_of(fake), event(fake, axis))
    assert words in answer["axes"][0]["fault"] + answer["fault"] and "table" not in answer


@pytest.mark.parametrize(
    "data", [{}, {"axes": [7]}, {"axes": [{"node": "s"}]}, {"axes": [STEPS] * 9}], ids=repr
)
def test_what_no_page_sends_is_refused(fake, data):
    sent = SimpleNamespace(_data={"document": dumps(fake.workflow()), **data})
    assert "no usable axes" in told(tab_of(fake), sent)["fault"]
    assert "no graph" in told(tab_of(fake), SimpleNamespace(_data={"axes": [STEPS]}))["fault"]
    assert follow(tab_of(fake), sent)[-1]["error"]["message"]


def test_a_public_host_allows_few_pictures(make_fake):
    studio = make_fake(Policy.public(), pace=0.001)
    tab = tab_of(studio)
    answer = json.loads(tab.estimate(tab._owners.issue(), event(studio, {**STEPS, "text": "1:10"})))["told"]
    assert "more than 9" in answer["axes"][0]["fault"]


def test_a_sweep_fills_the_table_and_ends(fake):
    tab = tab_of(fake)
    messages = follow(tab, event(fake, STEPS, WORDS))
    last = messages[-1]
    assert last["job"]["state"] == "done" and (last["job"]["cell"], last["job"]["cells"]) == (4, 4)
    assert len({message["run"] for message in messages}) == 1
    assert [m["seq"] for m in messages] == sorted({m["seq"] for m in messages})
    cells = last["sweep"]["cells"]
    assert {cell["state"] for cell in cells} == {"done"} and all(cell["picture"]["url"] for cell in cells)
    assert len({cell["picture"]["id"] for cell in cells}) == 4
    assert {p["id"] for m in messages for p in m.get("pictures", ())} == {
        cell["picture"]["id"] for cell in cells
    }
    assert any(m["job"]["state"] == "running" and m.get("at") for m in messages)


def test_what_is_there_is_not_made_again(fake):
    tab = tab_of(fake)
    follow(tab, event(fake, STEPS))
    before = len(fake.runs)
    more = {**STEPS, "text": "2,3,4"}
    answer = told(tab, event(fake, more))
    assert (answer["there"], answer["to_make"]) == (2, 1)
    assert [bool(cell.get("picture")) for cell in answer["table"]["cells"]] == [True, True, False]
    last = follow(tab, event(fake, more))[-1]
    assert len(fake.runs) == before + 1
    assert [cell["state"] for cell in last["sweep"]["cells"]] == ["cached", "cached", "done"]


def test_a_cell_that_fails_does_not_stop_the_others(fake):
    submit = fake.submit

    def fails_at_three(document, **named):
        if document.node("s").widgets["steps"] == 3:
            return submit(document.set("g", "scale", -1), **named)
        return submit(document, **named)

    fake.submit = fails_at_three
    last = follow(tab_of(fake), event(fake, {**STEPS, "text": "2,3,4"}))[-1]
    assert [cell["state"] for cell in last["sweep"]["cells"]] == ["done", "error", "done"]
    assert "out of range" in last["sweep"]["cells"][1]["says"]
    assert last["job"]["state"] == "done" and last["warnings"] == ["1 of 3 pictures could not be made."]
    last = follow(tab_of(fake), event(fake, {**STEPS, "text": "3"}))[-1]
    assert last["job"]["state"] == "error" and "out of range" in last["error"]["message"]


def test_stop_keeps_what_is_made_and_only_the_owner_can(make_fake):
    studio = make_fake(pace=0.02)
    tab = tab_of(studio)
    stopped = []

    def stop_at_the_second(message) -> None:
        if message["job"].get("cell") == 1 and not stopped:
            assert not tab.halt("", SimpleNamespace(_data={"run": "s_other"}))
            assert tab.live("") is not None
            stopped.append(tab.halt("", SimpleNamespace(_data={"run": message["run"]})))

    last = follow(tab, event(studio, {**STEPS, "text": "5:12"}), each=stop_at_the_second)[-1]
    assert stopped == [True] and last["job"]["state"] == "stopped" and last["job"]["cell"] < 8
    assert tab.live("") is None
    assert not tab.halt("", SimpleNamespace(_data={"run": last["run"]})), "it is over"
    answer = told(tab, event(studio, {**STEPS, "text": "5:12"}))
    assert answer["there"] == last["job"]["cell"] and answer["to_make"] == 8 - answer["there"]


def test_stopping_the_run_of_a_cell_stops_the_sweep(make_fake):
    studio = make_fake(pace=0.02)
    once = threading.Event()

    def cancel_the_run(message) -> None:
        if studio.runs and not once.is_set():
            once.set()
            studio.cancel(next(reversed(studio.runs)))

    last = follow(tab_of(studio), event(studio, {**STEPS, "text": "20,21"}), each=cancel_the_run)[-1]
    assert last["job"]["state"] == "stopped" and len(studio.runs) == 1


def test_one_sweep_of_an_owner_at_a_time(make_fake):
    studio = make_fake(pace=0.02)
    tab = tab_of(studio)
    answers = []

    def another(message) -> None:
        if not answers:
            answers.append(message)
            running = tab.live("")
            with pytest.raises(StudioError, match="Another comparison"):
                tab.sweeps.start(running.sweep, running.owner)

    assert follow(tab, event(studio, {**STEPS, "text": "3,4"}), each=another)[-1]["job"]["state"] == "done"
    assert answers


def test_the_sheet_holds_what_is_there(fake):
    tab = tab_of(fake)
    sent = event(fake, STEPS, WORDS, title="a red star")
    assert "no picture in this table" in json.loads(tab.sheet("", sent))["says"]
    follow(tab, event(fake, STEPS))
    data = json.loads(tab.sheet("", sent))["sheet"].removeprefix("data:image/png;base64,")
    picture = read_picture(base64.b64decode(data))
    assert picture.width > 2 * 256 and picture.height > 2 * 256


def test_nobody_sees_the_table_of_somebody_else(make_fake):
    studio = make_fake(Policy.public(), pace=0.001)
    tab = tab_of(studio)
    mine, other = tab._owners.issue(), tab._owners.issue()
    last = follow(tab, event(studio, STEPS), token=mine)[-1]
    assert last["job"]["state"] == "done"
    assert json.loads(tab.estimate(mine, event(studio, STEPS)))["told"]["there"] == 2
    assert json.loads(tab.estimate(other, event(studio, STEPS)))["told"]["there"] == 0
    assert not tab.halt(other, SimpleNamespace(_data={"run": last["run"]}))

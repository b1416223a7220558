"""class Studio: one path for every run, records before events, snapshots, cancelling, owners."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from studio.errors import BadDocument, StudioError
from studio.graph.document import Graph, Node
from studio.policy import Policy
from studio.reports import InvalidDocument
from studio.settings import Settings
from studio.studio import Studio

NOISY = "dpmpp_2m_sde"


@pytest.fixture
def document(studio: Studio, tiny_sd3_folder: Path) -> Graph:
    """A picture of the miniature in two steps."""
    return studio.text_to_image("a red star", seed=4, steps=2, size=(64, 64), model=str(tiny_sd3_folder))


@pytest.fixture
def long_document(studio: Studio, tiny_sd3_folder: Path) -> Graph:
    """A run of several seconds."""
    return studio.text_to_image("a red star", steps=200, size=(512, 512), model=str(tiny_sd3_folder))


def test_the_generation_is_stored_before_any_event_shows_it(studio: Studio, document: Graph) -> None:
    seen: list[tuple[str, list[str]]] = []

    def look(event: Any) -> None:
        ids = [made["generation"] for made in event.payload.get("outputs", ())]
        if ids:
            assert studio.history.get("local", ids[0]) is not None
        seen.append((event.kind, ids))

    report = studio.run(document, on_event=look)
    kinds = [kind for kind, _ in seen]
    assert kinds[0] == "queued"
    assert kinds.index("planned") < kinds.index("started")
    assert kinds[-1] == "done"
    shown = [ids for _, ids in seen if ids]
    assert shown == [[report.outputs[0].generation]]


def test_events_have_one_order_and_can_be_had_since_any_of_them(studio: Studio, document: Graph) -> None:
    run = studio.submit(document)
    events = list(studio.events(run))
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    middle = events[len(events) // 2].seq
    later = [event.seq for event in studio.events(run, since=middle)]
    assert later and min(later) > middle
    assert later[-1] == events[-1].seq


def test_an_unchanged_rerun_runs_no_node_takes_under_50_ms_and_makes_no_new_row(
    studio: Studio, document: Graph
) -> None:
    first = studio.run(document)
    seconds = []
    for _ in range(5):
        again = studio.run(document)
        assert {node.state for node in again.nodes.values()} == {"cached"}
        assert [o.generation for o in again.outputs] == [o.generation for o in first.outputs]
        seconds.append(again.engine_seconds)
    assert min(seconds) < 0.05  # the smallest, since other work on this machine only adds
    assert len(studio.history.list("local").items) == 1


def test_snapshots_show_progress_and_end_with_the_picture(studio: Studio, document: Graph) -> None:
    run = studio.submit(document)
    shots = list(studio.snapshots(run, interval=0.02))
    assert shots[-1]["job"]["state"] == "done"
    assert [shot["seq"] for shot in shots] == sorted(shot["seq"] for shot in shots)
    assert {node["state"] for node in shots[-1]["nodes"].values()} == {"done"}
    assert shots[-1]["nodes"]["sample"]["title"] == "Sample"
    made = shots[-1]["outputs"]
    assert [o["node"] for o in made] == ["save"]
    assert studio.history.get("local", made[0]["generation"]) is not None
    for shot in shots:
        json.dumps(shot, allow_nan=False)
        assert shot["job"]["state"] != "done" or shot["outputs"]
    assert studio.snapshot(run)["job"]["state"] == "done"
    assert studio.snapshot(run)["outputs"] == made


def test_previews_reach_the_snapshot_as_small_webp(studio: Studio, long_document: Graph) -> None:
    run = studio.submit(long_document)
    for shot in studio.snapshots(run, interval=0.05):
        image = shot["nodes"].get("sample", {}).get("image")
        if image:
            studio.cancel(run)
            assert image.startswith("data:image/webp;base64,")
            assert len(image) < 40_000
            break
    else:
        pytest.fail("no preview came")
    list(studio.events(run))


def test_cancelling_ends_within_two_seconds_and_stores_nothing(studio: Studio, long_document: Graph) -> None:
    run = studio.submit(long_document)
    begun = 0.0
    for event in studio.events(run):
        if event.kind == "progress" and not begun:
            begun = time.monotonic()
            assert studio.cancel(run, "somebody else") is False
            assert studio.cancel(run) is True
    assert begun
    assert time.monotonic() - begun < 2.0
    shot = studio.snapshot(run)
    assert shot["job"]["state"] == "stopped"
    assert shot["nodes"]["sample"]["state"] == "stopped"
    assert studio.history.list("local").items == ()
    assert studio.cancel(run) is False  # over already: harmless


def test_a_run_waits_for_its_turn_and_can_be_cancelled_there(
    studio: Studio, long_document: Graph, document: Graph
) -> None:
    first, second = studio.submit(long_document), studio.submit(document)
    assert studio.live_run() == first, "the one at work, or whose turn is next"
    assert studio.jobs.behind(first, "local") == 1 and studio.jobs.behind(second, "local") == 0
    assert studio.jobs.behind(first, "somebody else") == 0
    assert studio.snapshot(second)["job"]["state"] == "queued"
    assert studio.snapshot(second)["job"]["ahead"] == 1
    assert studio.cancel(second) is True
    assert [event.kind for event in studio.events(second)][-1] == "done"
    assert studio.snapshot(second)["job"]["state"] == "stopped"
    studio.cancel(first)
    list(studio.events(first))
    assert studio.live_run() is None


def test_runs_and_pictures_of_others_do_not_exist(studio: Studio, document: Graph) -> None:
    report = studio.run(document, owner="ann")
    generation = report.outputs[0].generation
    for ask in (
        lambda: list(studio.events(report.run, "bob")),
        lambda: studio.snapshot(report.run, "bob"),
        lambda: studio.document_of(generation, "bob"),
        lambda: studio.replay(generation, "bob"),
    ):
        with pytest.raises(StudioError):
            ask()
    assert studio.live_run("bob") is None
    bobs = studio.run(document, owner="bob")
    assert bobs.outputs[0].generation != generation
    assert bobs.nodes["sample"].state == "ran"  # a hit would tell bob of ann's prompt


def test_a_run_works_on_a_snapshot_and_parents_are_kept(studio: Studio, document: Graph) -> None:
    first = studio.run(document).outputs[0].generation
    child = studio.run(document.set("canvas", "seed", 5), parents=[(first, "variation")])
    kept = studio.history.show("local", child.outputs[0].generation)
    assert kept.parents == ((first, "variation"),)
    assert kept.record["parents"] == [[first, "variation"]]
    assert studio.document_of(first).node("canvas").widgets["seed"] == 4


def test_an_impossible_document_is_refused_with_every_problem(studio: Studio, document: Graph) -> None:
    wrong = document.set("schedule", "steps", 0).set("canvas", "width", 100)
    with pytest.raises(InvalidDocument) as caught:
        studio.submit(wrong)
    assert {(p.node, p.socket) for p in caught.value.problems if p.blocking} == {
        ("schedule", "steps"),
        ("canvas", "width"),
    }
    assert caught.value.nodes["save"].state == "skipped"
    assert studio.live_run() is None


def test_documents_beyond_the_limits_of_the_host_are_refused(settings: Settings) -> None:
    with_limits = Studio(settings, Policy.public())
    try:
        with pytest.raises(StudioError):
            with_limits.read_document(" " * 2_000_000)
        nodes = [{"id": f"n{i}", "kind": "cfg"} for i in range(65)]
        with pytest.raises(StudioError, match="64"):
            with_limits.submit(
                with_limits.read_document(
                    json.dumps({"format": "weft/graph", "version": 1, "nodes": nodes, "edges": []})
                ),
                targets=["n0"],
            )
    finally:
        with_limits.close()


def test_a_public_host_does_not_tell_what_lies_on_it(settings: Settings) -> None:
    """Neither a check nor a plan looks at a path that a document names (graph/check.py)."""
    host = Studio(settings, Policy.public())
    try:
        for kind, name in (("load_model", "model"), ("load_lora", "lora"), ("load_upscaler", "upscaler")):
            told = []
            for path in (settings.home, settings.home / "nothing"):
                document = Graph((Node("n", kind, {name: str(path)}),), ())
                found = [p for p in host.check(document, ["n"]) if p.socket == name]
                planned = host.engine.plan(document, ["n"])["n"].to_json()
                told.append(([(p.message, p.hint, p.blocking) for p in found], planned))
            assert told[0] == told[1], kind
            assert [blocking for _, _, blocking in told[0][0]] == [True], kind
    finally:
        host.close()


def test_a_ready_workflow_is_found_by_name_and_a_wrong_name_gets_a_hint(studio: Studio) -> None:
    assert studio.workflow().node("save").kind == "save_image"
    with pytest.raises(StudioError, match="text-to-image"):
        studio.workflow("text-to-imag")


def test_a_picture_is_a_workflow(studio: Studio, document: Graph, tmp_path: Path) -> None:
    report = studio.run(document)
    path = report.outputs[0].path
    assert path is not None
    assert studio.open_picture(path).node("prompt").widgets["text"] == "a red star"
    with pytest.raises(BadDocument):
        studio.open_picture(b"no picture")


def test_only_one_server_works_on_a_home_and_commands_beside_it(
    settings: Settings, policy: Policy, tiny_sd3_folder: Path
) -> None:
    server = Studio(settings, policy, serve=True)
    try:
        with pytest.raises(StudioError):
            Studio(settings, policy, serve=True)
        command = Studio(settings, policy)
        try:
            document = command.text_to_image("star", steps=1, size=(64, 64), model=str(tiny_sd3_folder))
            both = [threading.Thread(target=server.run, args=(document,), kwargs={"owner": "page"})]
            both[0].start()
            report = command.run(document)
            both[0].join(60)
            assert report.status == "finished"
            assert len(server.history.list("local").items) == 1
            assert len(server.history.list("page").items) == 1
        finally:
            command.close()
    finally:
        server.close()


def test_closing_stops_what_runs_and_a_second_close_does_nothing(
    settings: Settings, policy: Policy, tiny_sd3_folder: Path
) -> None:
    studio = Studio(settings, policy)
    studio.submit(studio.text_to_image("star", steps=200, size=(512, 512), model=str(tiny_sd3_folder)))
    begun = time.monotonic()
    studio.close()
    studio.close()
    assert time.monotonic() - begun < 15


def test_facts_for_the_page_need_no_weights(studio: Studio) -> None:
    assert studio.device_label() == "CPU"
    assert all({"ref", "vocabulary"} <= set(card) for card in studio.model_cards())
    assert studio.models.loaded == ()


@pytest.mark.parametrize(
    ("ref", "size", "wanted"),
    [
        ("hub:black-forest-labs/FLUX.1-schnell", None, {"steps": 4, "shift": 1.0, "cfg_scale": 1.0}),
        ("hub:black-forest-labs/FLUX.1-dev", (256, 256), {"steps": 50, "shift": 1.649, "guidance": 3.5}),
        ("hub:black-forest-labs/FLUX.1-dev", (1024, 1024), {"shift": 3.158}),
        ("embedded:scenes-flux", None, {"guidance": 3.0, "shift": 3.0, "cfg_scale": 1.0, "sampler": NOISY}),
        ("embedded:scenes-sd3", None, {"cfg_scale": 3.0, "guidance": None, "sampler": NOISY}),
        ("embedded:scenes-sd3-turbo", None, {"cfg_scale": 1.0, "steps": 4, "sampler": "euler"}),
        ("tiny:sd3", (64, 64), {"sampler": "euler"}),  # nothing is known of it
    ],
)
def test_a_model_is_set_up_by_its_preset_also_before_it_is_fetched(studio, ref, size, wanted):
    made = studio.text_to_image("a star", model=ref, size=size)
    found = {name: value for node in made.nodes for name, value in node.widgets.items()}
    assert {name: found.get(name) for name in wanted} == wanted


def test_what_is_asked_for_goes_before_what_the_model_brings(studio):
    made = studio.text_to_image("a star", model="embedded:scenes-sd3", sampler="heun", steps=7, cfg_scale=2.0)
    found = {name: value for node in made.nodes for name, value in node.widgets.items()}
    assert (found["sampler"], found["steps"], found["cfg_scale"], found["shift"]) == ("heun", 7, 2.0, 3.0)

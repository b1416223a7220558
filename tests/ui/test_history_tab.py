"""history_tab.py, pictures.py and facts.py: what the page shows of the past and of the models."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace

import pytest

from studio.errors import Cancelled
from studio.graph.events import Event
from studio.policy import Policy
from studio.ui.facts import facts, grouped
from studio.ui.history_tab import HistoryTab
from studio.ui.owners import Owners
from studio.ui.picture_detail import caches
from studio.ui.pictures import Pictures


def tab_of(studio) -> tuple[HistoryTab, Owners]:
    owners = Owners(studio.settings.home, public=studio.policy.is_public)
    return HistoryTab(studio, owners, Pictures(studio, owners)), owners


def paint(studio, text, owner="local"):
    run = studio.submit(studio.workflow().set("p", "text", text).set("s", "steps", 1), owner=owner)
    *_, last = studio.snapshots(run, owner, interval=0)
    return last["outputs"][0]["generation"]


def search(tab, token="", **data):
    return json.loads(tab.search(token, SimpleNamespace(_data=data)))


def test_the_search_finds_words_and_unfinished_words(fake):
    tab, _ = tab_of(fake)
    boat, star = paint(fake, "a yellow boat by the sea"), paint(fake, "a red star")
    assert [p["id"] for p in search(tab, text="")["pictures"]] == [star, boat]
    assert [p["id"] for p in search(tab, text="yell")["pictures"]] == [boat]
    assert search(tab, text='"; DROP TABLE -- *')["pictures"] == []


@pytest.mark.parametrize(
    "data",
    [{}, {"text": None}, {"text": 7, "at": []}, {"at": -5, "many": "x"}, {"seed": True, "since": "now"}],
    ids=repr,
)
def test_junk_from_the_browser_gives_the_newest_pictures(fake, data):
    tab, _ = tab_of(fake)
    paint(fake, "a red star")
    assert len(search(tab, **data)["pictures"]) == 1


def test_a_page_holds_what_was_asked_and_no_more(fake):
    tab, _ = tab_of(fake)
    made = [paint(fake, f"star {i}") for i in range(5)][::-1]
    answer = search(tab, at=1, many=2, ask=7, fresh=False)
    assert [p["id"] for p in answer["pictures"]] == made[1:3]
    assert answer["ask"] == 7 and answer["at"] == 1 and "days" not in answer
    assert len(search(tab, many=10**6)["pictures"]) == 5
    assert search(tab, at=10**12)["pictures"] == []


def test_a_fresh_search_counts_by_day_and_tells_what_can_be_chosen(fake):
    tab, _ = tab_of(fake)
    boat = paint(fake, "a yellow boat")
    paint(fake, "a red star")
    fake.history.tag("local", boat, "liked")
    answer = search(tab, fresh=True, zone=60)
    assert sum(n for _, n in answer["days"]) == 2
    assert answer["choices"]["tags"] == [["liked", "liked", 1]]
    assert answer["choices"]["models"] == [["embedded:scenes-sd3", "embedded:scenes-sd3", 2]]
    assert ["schedule", "Schedule", 2] in answer["choices"]["kinds"]


def test_the_filters_find_by_tag_seed_model_node_and_date(fake):
    tab, _ = tab_of(fake)
    boat, star = paint(fake, "a yellow boat"), paint(fake, "a red star")
    fake.history.tag("local", boat, "liked")
    now = fake.history.show("local", star).created
    for asked, found in (
        ({"tag": "liked"}, [boat]),
        ({"tag": "other"}, []),
        ({"seed": 1}, [star, boat]),
        ({"seed": 2}, []),
        ({"model": "embedded:scenes-sd3"}, [star, boat]),
        ({"model": "hub:a/b"}, []),
        ({"kind": "schedule"}, [star, boat]),
        ({"kind": "upscale"}, []),
        ({"since": now}, [star]),
        ({"until": now}, [boat]),
    ):
        assert [p["id"] for p in search(tab, **asked)["pictures"]] == found, asked
        assert search(tab, ids=True, **asked)["ids"] == found, asked


def test_visitors_see_their_own_pictures_only(make_fake):
    studio = make_fake(Policy.public(), pace=0.001)
    tab, owners = tab_of(studio)
    mine, other = owners.issue(), owners.issue()
    paint(studio, "mine alone", owners.owner(mine))
    assert len(search(tab, mine)["pictures"]) == 1 and search(tab, other)["pictures"] == []
    assert "not signed in" in search(tab, "")["says"]


def mark(tab, token="", **data):
    return json.loads(tab.mark(token, SimpleNamespace(_data=data)))


def test_a_picture_can_be_starred_and_found_by_its_star(fake):
    tab, _ = tab_of(fake)
    boat, star = paint(fake, "a yellow boat by the sea"), paint(fake, "a red star")
    assert mark(tab, generation=boat, what="star")["marked"]["picture"]["starred"]
    assert [p["id"] for p in search(tab, starred=True)["pictures"]] == [boat]
    assert [p["id"] for p in search(tab, starred="yes")["pictures"]] == [star, boat]
    assert not mark(tab, generation=boat, what="unstar")["marked"]["picture"]["starred"]


def test_a_deleted_picture_can_be_brought_back(fake):
    tab, _ = tab_of(fake)
    made = paint(fake, "a red star")
    assert mark(tab, generation=made, what="delete")["marked"]["picture"]["id"] == made
    assert search(tab)["pictures"] == []
    assert mark(tab, generation=made, what="undelete")["marked"]["picture"]["prompt"] == "a red star"
    assert [p["id"] for p in search(tab)["pictures"]] == [made]
    assert "any more" in mark(tab, generation=made, what="undelete")["says"]


@pytest.mark.parametrize("data", [{}, {"what": "delete"}, {"generation": 7, "what": "star"}], ids=repr)
def test_a_change_that_makes_no_sense_is_refused_in_words(fake, data):
    tab, _ = tab_of(fake)
    paint(fake, "a red star")
    assert "no usable change" in mark(tab, **data)["says"]
    assert "no usable change" in mark(tab, generation="x" * 32, what="destroy")["says"]


def test_nobody_changes_the_pictures_of_another_visitor(make_fake):
    studio = make_fake(Policy.public(), pace=0.001)
    tab, owners = tab_of(studio)
    mine, other = owners.issue(), owners.issue()
    made = paint(studio, "mine alone", owners.owner(mine))
    for what in ("star", "delete", "undelete"):
        assert "marked" not in mark(tab, other, generation=made, what=what)
    assert not search(tab, mine)["pictures"][0]["starred"]


def test_a_first_visit_gets_a_token_and_a_later_one_keeps_it(make_fake):
    tab, owners = tab_of(make_fake(Policy.public()))
    token, shelf = tab.shelf("")
    assert owners.knows(token) and json.loads(shelf) == {"pictures": []}
    assert tab.shelf(token)[0] == token
    assert tab.shelf("v" + "0" * 32)[0] != "v" + "0" * 32


def test_the_file_name_of_a_picture_is_our_own(fake):
    tab, _ = tab_of(fake)
    paint(fake, "../../Étoile\u202e <b>rouge</b> .exe" + "x" * 200)
    name = search(tab)["pictures"][0]["file"]
    assert (
        name.endswith(".png")
        and len(name) < 70
        and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    )


def test_a_deleted_picture_has_no_card(fake):
    _, owners = tab_of(fake)
    made = paint(fake, "a red star")
    fake.history.delete("local", made)
    assert Pictures(fake, owners).made("local", [made, "unknown"]) == []


def test_examples_use_only_words_the_model_knows(fake):
    known = facts(fake)["models"][0]
    words = {word for group in known["vocabulary"].values() for word in group}
    assert known["examples"]
    assert all(set(text.replace(",", "").split()) <= words for text in known["examples"])


def test_a_flat_or_missing_vocabulary_is_taken_as_it_is():
    assert grouped(["star", ",", "house"]) == {"All words": ["star", "house"]}
    assert grouped(None) == {} and grouped("star") == {}


def test_facts_name_no_path_of_the_server(fake):
    assert str(fake.settings.home) not in json.dumps(facts(fake))


def test_several_pictures_are_starred_tagged_and_deleted_at_once(fake):
    tab, _ = tab_of(fake)
    ids = [paint(fake, f"star {i}") for i in range(3)]
    assert all(p["starred"] for p in mark(tab, generations=ids, what="star")["marked"]["pictures"])
    tagged = mark(tab, generations=ids[:2], what="tag", text="  my   tag ")["marked"]["pictures"]
    assert [p["tags"] for p in tagged] == [["my tag"], ["my tag"]]
    assert fake.history.tags("local") == {"my tag": 2}
    mark(tab, generations=ids[:1], what="untag", text="my tag")
    assert fake.history.tags("local") == {"my tag": 1}
    assert mark(tab, generation=ids[0], what="note", text="good")["marked"]["picture"]["note"] == "good"
    assert len(mark(tab, generations=ids, what="delete")["marked"]["pictures"]) == 3
    assert search(tab)["pictures"] == []
    assert len(mark(tab, generations=ids, what="undelete")["marked"]["pictures"]) == 3
    assert len(search(tab)["pictures"]) == 3


@pytest.mark.parametrize(
    "ids", [[], "x", ["a", 7], ["x" * 65], ["y"] * 10_001, [None]], ids=lambda given: str(given)[:20]
)
def test_a_list_that_names_no_pictures_is_refused(fake, ids):
    tab, _ = tab_of(fake)
    paint(fake, "a red star")
    assert "no usable change" in mark(tab, generations=ids, what="delete")["says"]
    assert "says" in ask(tab.export, generations=ids)
    assert len(search(tab)["pictures"]) == 1


def test_one_unknown_picture_keeps_all_from_being_deleted(fake):
    tab, _ = tab_of(fake)
    made = paint(fake, "a red star")
    assert "says" in mark(tab, generations=[made, "0" * 32], what="delete")
    assert len(search(tab)["pictures"]) == 1


def ask(handler, token="", **data):
    return json.loads(handler(token, SimpleNamespace(_data=data)))


def test_a_picture_in_full_tells_settings_time_cache_and_family(fake):
    tab, _ = tab_of(fake)
    first = paint(fake, "a red star")
    run = fake.submit(fake.workflow().set("p", "text", "a blue star"), parents=[(first, "source")])
    *_, last = fake.snapshots(run, interval=0)
    child = last["outputs"][0]["generation"]
    found = ask(tab.look, generation=child)["detail"]
    settings = {title: dict(rows) for title, rows in found["settings"]}
    assert settings["Prompt"]["Text"] == "a blue star" and settings["Schedule"]["Steps"] == "20"
    assert found["work"][0]["node"] == "Schedule" and found["work"][0]["seconds"] > 0
    assert [row["seconds"] for row in found["work"][1:]] == [None] * 5
    assert ["Device", "cpu"] in found["machine"] and found["missing"] == []
    assert found["family"]["links"] == [[first, child, "source"]]
    assert set(found["family"]["members"]) == {first, child}
    fake.history.delete("local", first)
    assert ask(tab.look, generation=child)["detail"]["family"]["members"][first] is None


def replayed(tab, token="", **data):
    """The last message for History and all that the job line got."""

    async def all_of():
        return [pair async for pair in tab.replay(token, SimpleNamespace(_data=data))]

    pairs = asyncio.run(all_of())
    told = [
        [json.loads(text) for text in column if isinstance(text, str)] for column in zip(*pairs, strict=True)
    ]
    return told[0][-1] if told else {}, told[1] if told else []


def test_a_picture_is_made_again_with_proof_and_the_job_line_follows(fake, monkeypatch):
    tab, _ = tab_of(fake)
    made = paint(fake, "a red star")
    answer, told = replayed(tab, generation=made)
    proof = answer["proof"]
    assert proof["verdict"] == "equal" and proof["of"] == made and proof["words"] == "Equal, bit for bit."
    assert all(message["replay"] for message in told) and told[-1]["job"]["state"] == "done"
    unknown, _ = replayed(tab, generation="0" * 32)
    assert unknown["proof"]["verdict"] == "failed" and "No picture" in unknown["proof"]["words"]
    assert replayed(tab, stop=True) == ({}, [])

    def slow(generation, owner, on_event, should_stop):
        on_event(Event("r", 1, "started", "paint"))
        end = time.monotonic() + 30
        while not should_stop() and time.monotonic() < end:
            time.sleep(0.01)
        raise Cancelled()

    async def stopped():
        said = []
        async for pair in tab.replay("", SimpleNamespace(_data={"generation": made})):
            said.append(pair)
            async for _ in tab.replay("", SimpleNamespace(_data={"stop": True})):
                raise AssertionError("stopping says nothing")
        return said

    monkeypatch.setattr(fake, "replay", slow)
    said = asyncio.run(stopped())
    assert json.loads(said[0][1])["replay"] and said[0][1].count("paint")
    assert json.loads(said[-1][0])["proof"]["verdict"] == "stopped"


def test_an_export_is_a_zip_behind_a_signed_address(fake):
    import io
    import zipfile

    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    tab, _ = tab_of(fake)
    ids = [paint(fake, f"star {i}") for i in range(2)]
    told = ask(tab.export, generations=ids, strip=False)["export"]
    bare = ask(tab.export, generations=ids, strip=True)["export"]
    assert told["pictures"] == 2
    client = TestClient(Starlette(routes=tab.exports.routes()))
    answer = client.get("/" + told["url"])
    assert answer.headers["content-type"] == "application/zip"
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert "history.json" in names and sum(name.endswith(".png") for name in names) == 2
    alone = zipfile.ZipFile(io.BytesIO(client.get("/" + bare["url"]).content)).namelist()
    assert len(alone) == 2 and all(name.endswith(".png") for name in alone)
    assert client.get("/" + told["url"].split("?")[0] + "?k=" + "0" * 64).status_code == 404
    other = told["url"].replace("/local/", "/v" + "0" * 32 + "/")
    assert client.get("/" + other).status_code == 404


def test_nobody_looks_into_replays_or_exports_pictures_of_another(make_fake):
    studio = make_fake(Policy.public(), pace=0.001)
    tab, owners = tab_of(studio)
    mine, other = owners.issue(), owners.issue()
    made = paint(studio, "mine alone", owners.owner(mine))
    assert "detail" not in ask(tab.look, other, generation=made)
    assert replayed(tab, other, generation=made)[0]["proof"]["verdict"] == "failed"
    assert "export" not in ask(tab.export, other, generations=[made])
    assert ask(tab.search, other, ids=True)["ids"] == []


def test_a_picture_in_full_tells_what_a_step_cache_skipped_and_trusts_no_record():
    told = {
        "steps": 8,
        "pictures": {"0": {"skipped": [3, 5, "x", 99, True]}, "1": {"skipped": []}, "2": 7},
        "error_estimate": 0.1,
        "seconds_saved": float("nan"),
    }
    found = caches({"notes": {"sample": {"step_cache": told}, "warnings": ["a"], "other": {"step_cache": 1}}})
    assert [(row["picture"], row["skipped"]) for row in found] == [(1, [3, 5]), (2, []), (3, [])]
    assert (found[0]["steps"], found[0]["error_estimate"], found[0]["seconds_saved"]) == (8, 0.1, None)
    for steps in (None, 0, 10**9, True):
        assert caches({"notes": {"sample": {"step_cache": told | {"steps": steps}}}}) == []
    assert caches({}) == caches({"notes": 3}) == []

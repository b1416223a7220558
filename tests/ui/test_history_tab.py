"""history_tab.py, pictures.py and facts.py: what the page shows of the past and of the models."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from studio.policy import Policy
from studio.ui.facts import facts, grouped
from studio.ui.history_tab import HistoryTab
from studio.ui.owners import Owners
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
    "data", [{}, {"text": None}, {"text": 7, "before": []}, {"before": "x" * 300}], ids=repr
)
def test_junk_from_the_browser_gives_the_newest_pictures(fake, data):
    tab, _ = tab_of(fake)
    paint(fake, "a red star")
    assert len(search(tab, **data)["pictures"]) == 1


def test_a_made_up_cursor_is_answered_in_words(fake):
    tab, _ = tab_of(fake)
    assert isinstance(search(tab, before="nonsense")["says"], str)


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

"""Search: words of any script, filters, paging, and text that tries to be syntax."""
from __future__ import annotations

import itertools
import json
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.db.open import Db
from studio.errors import StudioError
from studio.history.generation import HELPERS
from studio.history.search import fts_words
from studio.history.store import Generation, History, Query
from studio.settings import ROOT

from .conftest import Add, graph_of, record_of

CREATED = itertools.count(1000.0)
ATTACKS = ['"', '""', "'", "star OR house", "star NOT red", "NEAR(star red)", "prompt:star", "sta*", "-star",
           "^star",
           "(star", "star)", "{star}", "star AND", "AND", "*", "%", "_", "\\",
           "'; DROP TABLE generations; --",
           '" OR owner:local', "star\0red", "\ud83d", "a" * 50_000, "a " * 50_000, "%%%", "' OR '1'='1"]


def ids(found: tuple[Generation, ...]) -> list[str]:
    return [item.id for item in found]


def find(history: History, text: str, **filters: object) -> list[str]:
    return ids(history.search("local", text, **filters).items)  # type: ignore[arg-type]


def test_every_word_must_be_there_in_any_order_and_field(history: History, add: Add) -> None:
    made = add("a red star above the sea", negative="rain", title="Evening")
    history.note("local", made.id, "for grandma")
    history.tag("local", made.id, "postcard")
    for text in ("star", "SEA red", "star, sea!", "grandma", "postcard evening", "rain", "  star  ",
                 "above-the"):
        assert find(history, text) == [made.id], text
    for text in ("sta", "star moon", "granny", "reds"):
        assert find(history, text) == [], text


def test_last_word_may_be_unfinished_when_asked(history: History, add: Add) -> None:
    made = add("a red star")
    assert find(history, "red st", prefix=True) == [made.id]
    assert find(history, "re star", prefix=True) == []
    assert find(history, "st ", prefix=True) == []


def test_accents_case_emoji_and_scripts_without_spaces_are_found(history: History, add: Add) -> None:
    french, emoji = add("Étoile à l'été"), add("\N{WHITE MEDIUM STAR} night", seed=1)
    japanese, thai = add("赤い星と青い家", seed=2), add("ดาวสีแดง", seed=3)
    assert find(history, "etoile ete") == [french.id]
    assert find(history, "ÉTOILE") == [french.id]
    assert find(history, "\N{WHITE MEDIUM STAR}") == [emoji.id]
    assert find(history, "青い家") == find(history, "星") == [japanese.id]
    assert find(history, "สีแดง") == [thai.id]
    assert find(history, "星 100%") == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_is_never_syntax(history: History, add: Add, attack: str) -> None:
    add("a red star", owner="ben")
    mine = add("a blue house", seed=1)
    for prefix in (False, True):
        assert find(history, attack, prefix=prefix) in ([], [mine.id])
    assert ids(history.list("local").items) == [mine.id]
    for filters in ({"tag": attack}, {"model": attack}, {"node_kind": attack}, {"parent": attack},
                    {"run": attack}):
        assert find(history, "", **filters) == []


def test_signs_alone_find_nothing_and_no_text_finds_all(history: History, add: Add) -> None:
    made = add("a red star !!!")
    assert find(history, "!!! ???") == []
    assert find(history, "star - !!!") == [made.id]
    assert find(history, "   ") == find(history, "") == [made.id]


@given(words=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_prompt_is_found_by_each_of_its_words(history: History, add: Add, words: list[str]) -> None:
    prompt = " ".join(words)
    made = add(prompt, created=next(CREATED))
    for word in prompt.split():
        indexed, literal = fts_words(word)
        found = find(history, word)
        if indexed or literal:
            assert made.id in found, (prompt, word)
        else:
            assert not any(unicodedata.category(letter)[0] in "LN" for letter in word)
    history.delete("local", made.id)


def test_what_stands_beside_a_result_can_be_left_out(history: History, add: Add) -> None:
    made = [add("a", title=title, node=node, seed=number).id for number, (title, node) in enumerate((
        ("weft", "save"), ("my own name", "save_2"), ("before", "save"), ("variation-1", "save_1"),
        ("mask", "inner/save"), ("before", "save_before"), ("word-maps", "inner/save_maps")))]
    plain, helpers = made[:5], made[5:]
    assert ids(history.find("local", Query(helpers=False)).items) == plain[::-1]
    assert ids(history.find("local", Query(helpers=True)).items) == helpers[::-1]
    assert [item.id for item in history.list("local").items if item.helper] == helpers[::-1]
    assert sum(n for _, n in history.days("local", Query(helpers=False))) == 5


def test_the_ready_workflows_name_their_helpers_as_the_history_knows_them() -> None:
    results = {"in-the-mask"}  # a picture of its own, made from another of the same run
    named = {(node["id"], node["widgets"]["name"])
             for path in (ROOT / "assets" / "workflows").glob("*.json")
             for node in json.loads(path.read_text("utf-8"))["nodes"] if node["kind"] == "save_image"}
    assert {name for id, name in named if id != "save"} - results == set(HELPERS)


def test_filters_narrow_and_combine(history: History, add: Add) -> None:
    parent = add("one", seed=1, created=100.0, graph=graph_of(kind="img2img"), run="r1")
    child = add("two", seed=2, created=200.0, parents=((parent.id, "variation"),), model="other",
                record={**record_of(), "model": {"ref": "hub:x/y", "digest": "d2"}})
    history.star("local", child.id)
    history.tag("local", child.id, "sea")
    expected: list[tuple[dict[str, object], list[str]]] = [
        ({"seed": 1}, [parent.id]), ({"seed": 3}, []), ({"seed": 2**70}, []), ({"starred": True}, [child.id]),
        ({"starred": False}, [parent.id]), ({"tag": "sea"}, [child.id]),
        ({"node_kind": "img2img"}, [parent.id]),
        ({"node_kind": "prompt"}, [child.id, parent.id]), ({"since": 150.0}, [child.id]),
        ({"until": 150.0}, [parent.id]), ({"since": 100.0, "until": 100.0}, []),
        ({"parent": parent.id}, [child.id]),
        ({"run": "r1"}, [parent.id]), ({"model": "other"}, [child.id]), ({"model": "hub:x/y"}, [child.id]),
        ({"model": "d2"}, [child.id]), ({"model": "d1"}, [parent.id]),
        ({"width": 24, "height": 16}, [child.id, parent.id]),
        ({"width": 16}, []), ({"missing": False}, [child.id, parent.id]), ({"missing": True}, []),
        ({"seed": 2, "starred": True, "text": "two"}, [child.id]), ({"seed": 1, "starred": True}, [])]
    for filters, found in expected:
        assert ids(history.find("local", Query(**filters)).items) == found, filters  # type: ignore[arg-type]
        assert history.count("local", Query(**filters)) == len(found), filters  # type: ignore[arg-type]
    assert history.models("local") == {"embedded:scenes-sd3": 1, "other": 1}


def test_paging_gives_each_picture_once_also_with_equal_times_and_new_arrivals(history: History,
                                                                               add: Add) -> None:
    made = {add(str(seed), seed=seed, created=float(seed // 4)).id for seed in range(23)}
    seen: list[Generation] = []
    before = None
    while True:
        page = history.list("local", limit=5, before=before)
        seen += page.items
        if page.next is None:
            break
        before = page.next
        add("newer", created=1000.0)
    assert len(seen) == 23 and {item.id for item in seen} == made
    assert [(item.created, item.id) for item in seen] == sorted(((i.created, i.id) for i in seen),
                                                                reverse=True)


@pytest.mark.parametrize("before", ["", "x", "~", "nan~'", "\ud83d~x"])
def test_what_is_no_place_in_the_list_is_named(history: History, before: str) -> None:
    with pytest.raises(StudioError, match="place in the list"):
        history.list("local", before=before)


def test_hostile_place_in_the_list_shows_nothing_of_others(history: History, add: Add) -> None:
    add(owner="ben")
    assert history.list("local", before="1e12~' OR 1=1 --").items == ()


@pytest.mark.parametrize("limit", [0, -1, 501, 10**9])
def test_page_size_is_bounded(history: History, limit: int) -> None:
    with pytest.raises(StudioError, match="1 to 500"):
        history.list("local", limit=limit)


def test_list_and_text_search_use_indexes(db: Db) -> None:
    plan = " ".join(row["detail"] for row in db.rows(
        "EXPLAIN QUERY PLAN SELECT g.* FROM generations g WHERE g.owner = 'a' AND g.deleted IS NULL "
        "ORDER BY g.created DESC, g.id DESC LIMIT 5"))
    assert "generations_by_time" in plan and "TEMP B-TREE" not in plan


def test_days_count_what_fits_by_local_day(history: History, add: Add) -> None:
    day = 86400.0
    add("late", created=10 * day - 10)
    add("early", created=10 * day + 10)
    add("a boat", created=12 * day)
    assert history.days("local") == ((12, 1), (10, 1), (9, 1))
    assert history.days("local", zone=60.0) == ((12, 1), (10, 2))
    assert history.days("local", Query(text="boat")) == ((12, 1),)
    assert history.days("ben") == ()


def test_rows_can_be_passed_over_and_ids_asked_for(history: History, add: Add) -> None:
    made = [add("x", seed=i, created=float(i + 1)).id for i in range(5)][::-1]
    assert [item.id for item in history.find("local", Query(), limit=2, skip=3).items] == made[3:]
    assert history.ids("local") == tuple(made) and history.ids("local", limit=2) == tuple(made[:2])
    assert history.ids("local", Query(seed=3)) == (made[1],)
    assert history.kinds("local") == {"prompt": 5, "sample": 5}

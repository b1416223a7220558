"""Where a picture comes from and what was made of it."""
from __future__ import annotations

from studio.history.lineage import ancestors, descendants
from studio.history.store import History

from .conftest import Add


def test_ancestors_and_descendants_are_found_nearest_first(history: History, add: Add) -> None:
    first = add("first", created=1.0)
    second = add("second", created=2.0, parents=((first.id, "variation"),))
    third = add("third", created=3.0, parents=((second.id, "upscale"),))
    assert [(kin.id, kin.role, kin.depth) for kin in ancestors(history, "local", third.id)] == [
        (second.id, "upscale", 1), (first.id, "variation", 2)]
    assert [(kin.id, kin.depth) for kin in descendants(history, "local", first.id)] == [(second.id, 1),
                                                                                        (third.id, 2)]
    assert [kin.id for kin in ancestors(history, "local", third.id, depth=1)] == [second.id]


def test_deleted_parent_stays_as_a_tombstone_between_its_relatives(history: History, add: Add) -> None:
    first = add("first", created=1.0)
    second = add("second", created=2.0, parents=((first.id, "variation"),))
    third = add("third", created=3.0, parents=((second.id, "upscale"),))
    history.delete("local", second.id)
    kin = ancestors(history, "local", third.id)
    assert [(one.id, one.deleted, one.generation is None) for one in kin] == [
        (second.id, True, True), (first.id, False, False)]


def test_circle_and_diamond_end_and_count_each_once(history: History, add: Add) -> None:
    a, b, c = ("a" * 32, "b" * 32, "c" * 32)
    add("a", id=a, parents=((b, "source"), (c, "source")))
    add("b", id=b, parents=((c, "source"),))
    add("c", id=c, parents=((a, "source"),))
    assert sorted(kin.id for kin in ancestors(history, "local", a)) == [b, c]
    assert {kin.id: kin.depth for kin in ancestors(history, "local", a)} == {b: 1, c: 1}


def test_relatives_of_another_owner_are_not_told(history: History, add: Add) -> None:
    secret = add("secret", owner="ben")
    mine = add("mine", parents=((secret.id, "reuse"),))
    assert ancestors(history, "local", mine.id) == []


def test_a_family_holds_both_directions_and_the_links_between(history: History, add: Add) -> None:
    first = add("first", created=1.0)
    second = add("second", created=2.0, parents=((first.id, "source"),))
    third = add("third", created=3.0, parents=((second.id, "reuse"), (first.id, "source")))
    add("a stranger", created=4.0)
    found = history.family("local", second.id)
    assert set(found.members) == {first.id, second.id, third.id} and found.start == second.id
    assert set(found.links) == {(first.id, second.id, "source"), (second.id, third.id, "reuse"),
                                (first.id, third.id, "source")}
    history.delete("local", first.id)
    assert history.family("local", second.id).members[first.id] is None

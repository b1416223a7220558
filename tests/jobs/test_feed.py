"""Events in memory: order, forgetting, waiting."""
from __future__ import annotations

import threading

from studio.graph.events import Event
from studio.jobs.feed import Feed


def event(kind: str, node: str = "", value: int = 0) -> Event:
    return Event("other", 99, kind, node, payload={"value": value})


def test_numbers_are_the_feeds_own_and_since_is_exact() -> None:
    feed = Feed("r")
    for kind in ("queued", "planned", "started", "finished"):
        feed.append(event(kind))
    assert [(one.run, one.seq, one.kind) for one in feed.since(2)] == [("r", 3, "started"),
                                                                       ("r", 4, "finished")]
    assert feed.since(4) == [] and len(feed.since(0)) == 4


def test_only_the_newest_progress_and_preview_of_a_node_are_kept() -> None:
    feed = Feed("r")
    feed.append(event("started", "a"))
    for value in range(1000):
        feed.append(event("progress", "a", value))
        feed.append(event("preview", "a", value))
        feed.append(event("progress", "b", value))
    feed.append(event("finished", "a"))
    kept = feed.since(0)
    assert [(one.kind, one.node, one.payload["value"]) for one in kept] == [
        ("started", "a", 0), ("progress", "a", 999), ("preview", "a", 999), ("progress", "b", 999),
        ("finished", "a", 0)]
    assert [one.seq for one in kept] == sorted(one.seq for one in kept)
    assert kept[-1].seq == 3002


def test_after_done_nothing_is_added() -> None:
    feed = Feed("r")
    feed.append(event("done"))
    feed.append(event("finished"))
    assert feed.closed and [one.kind for one in feed.since(0)] == ["done"]
    assert feed.wait(1) == []


def test_feed_goes_on_after_stored_events() -> None:
    feed = Feed("r", [Event("r", 7, "started", "a")])
    assert feed.append(event("finished", "a")).seq == 8


def test_waiting_ends_with_news_or_with_time() -> None:
    feed, found = Feed("r"), []
    assert feed.wait(0, timeout=0.0) == []
    waiting = threading.Thread(target=lambda: found.extend(feed.wait(0)))
    waiting.start()
    feed.append(event("queued"))
    waiting.join(10)
    assert [one.kind for one in found] == ["queued"]


def test_listeners_hear_until_they_leave() -> None:
    feed, heard = Feed("r"), []

    def listener() -> None:
        heard.append(len(feed.since(0)))

    feed.listen(listener)
    feed.append(event("queued"))
    feed.unlisten(listener)
    feed.append(event("done"))
    assert heard == [1]

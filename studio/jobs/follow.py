"""Following runs, "since n": from memory while this process runs them, else from the database (E30)."""
from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Container, Iterator

from studio.graph.events import Event
from studio.jobs.feed import Feed
from studio.jobs.queue import LIVE, OVER, Job, Queue, unknown_run

REMEMBERED = 64  # feeds of finished runs kept in memory
_LOOK = 0.25     # seconds between two looks at a run of another process


class Feeds:
    """The feeds of this process' runs, and the way to those of other processes and of the past."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._feeds: dict[str, Feed] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"Feeds({len(self._feeds)})"

    def of(self, run: str) -> Feed:
        """The feed of a run, made from what the database knows if there is none."""
        with self._lock:
            if run not in self._feeds:
                self._feeds[run] = Feed(run, self._queue.journal.events(run))
            return self._feeds[run]

    def renew(self, run: str) -> Feed:
        """A new feed that goes on from the database: for a run that is queued, the first time or again."""
        with self._lock:
            self._feeds.pop(run, None)
            return self.of(run)

    def tidy(self) -> None:
        """Forget the feeds of all but the latest finished runs; who asks for older ones gets the database."""
        with self._lock:
            for old in [run for run, feed in self._feeds.items() if feed.closed][:-REMEMBERED]:
                del self._feeds[old]

    def close_settled(self, running: Container[str]) -> None:
        """Say `done` about waiting runs that another process cancelled."""
        with self._lock:
            waiting = [feed for run, feed in self._feeds.items() if not feed.closed and run not in running]
        for feed in waiting:
            status = self._queue.status(feed.run)
            # Asked after the status: a run of this process leaves `running` only when its own `done` is said.
            if status in OVER and feed.run not in running and not feed.closed:
                feed.append(Event(feed.run, 0, "done", payload={"status": status, "error": None}))

    def events(self, run: str, owner: str, since: int, timeout: float | None) -> Iterator[Event]:
        """See `Runner.events`."""
        self._owned(run, owner)
        return self._events(run, owner, since, timeout)

    async def follow(self, run: str, owner: str, since: int) -> AsyncIterator[Event]:
        """See `Runner.follow`."""
        self._owned(run, owner)
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(news.set)

        feed: Feed | None = None
        try:
            while True:
                if feed is None and (feed := self._feeds.get(run)) is not None:
                    feed.listen(wake)
                news.clear()
                events = feed.since(since) if feed is not None else self._queue.journal.events(run, since)
                for event in events:
                    since = event.seq
                    yield event
                    if event.kind == "done":
                        return
                if events:
                    continue
                if feed is None:
                    if self._owned(run, owner).status not in LIVE:
                        return
                    await asyncio.sleep(_LOOK)
                elif feed.closed:
                    return
                else:
                    await news.wait()
        finally:
            if feed is not None:
                feed.unlisten(wake)

    def wait(self, run: str, owner: str, timeout: float | None) -> Job:
        """See `Runner.wait`."""
        end = None if timeout is None else time.monotonic() + timeout
        since = 0
        while self._owned(run, owner).status in LIVE:
            left = None if end is None else end - time.monotonic()
            feed = self._feeds.get(run)
            if (left is not None and left <= 0) or (feed is not None and feed.closed):
                break
            for event in self._news(run, owner, since, left):
                since = event.seq
        return self._owned(run, owner)

    def _events(self, run: str, owner: str, since: int, timeout: float | None) -> Iterator[Event]:
        while events := self._news(run, owner, since, timeout):
            for event in events:
                since = event.seq
                yield event
                if event.kind == "done":
                    return

    def _news(self, run: str, owner: str, since: int, timeout: float | None) -> list[Event]:
        """The events after `since`; waits for one, at most `timeout` seconds, while there may be one."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            feed = self._feeds.get(run)
            if feed is not None:
                return feed.wait(since, None if end is None else max(0.0, end - time.monotonic()))
            job = self._owned(run, owner)  # asked before the events: `done` follows it
            if events := self._queue.journal.events(run, since):
                return events
            if job.status not in LIVE or (end is not None and time.monotonic() >= end):
                return []
            time.sleep(_LOOK)  # another process runs it: the database is asked now and then

    def _owned(self, run: str, owner: str) -> Job:
        job = self._queue.get(run, owner)
        if job is None:
            raise unknown_run(run)
        return job

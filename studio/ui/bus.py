"""The channel from Python to the page: JSON messages and the subscription to a run."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress

from studio.errors import StudioError

Json = Mapping[str, object]


def dump(message: object) -> str:
    """JSON for a gr.HTML value. `<` is escaped: gradio warns of script tags, and a prompt may hold one."""
    return json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )


def status(snapshot: Json, pictures: Sequence[Json] = ()) -> str:
    """A run's snapshot (ui.md 4.1) as the page gets it, with the pictures it made."""
    return dump({**snapshot, "pictures": list(pictures)})


def failure(error: StudioError, *, run: str | None = None, seq: int = 0, title: str = "") -> str:
    """The snapshot of a run that could not even be queued, or whose events were lost."""
    words = {
        "message": error.message,
        "hint": error.hint,
        "node": error.node,
        "socket": error.socket,
        "title": title,
    }
    return dump(
        {"run": run, "seq": seq, "job": {"state": "error"}, "nodes": {}, "warnings": [], "error": words}
    )


async def relay(snapshots: Iterator[Json]) -> AsyncIterator[Json]:
    """The newest item of a blocking iterator, whenever there is a newer one; the last item is never lost.

    The iterator runs in a thread of its own, so that no waiting page holds one of the server's workers.
    Items that came while the page was busy are dropped: each snapshot is complete. Its StudioError is
    raised here.
    """
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    left = threading.Event()
    newest: list[Json] = []
    fault: list[StudioError] = []
    over = threading.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the server's loop is gone: nobody waits any more
            loop.call_soon_threadsafe(ready.set)

    def pump() -> None:
        try:
            for snapshot in snapshots:
                if left.is_set():
                    return
                newest[:] = [snapshot]
                wake()
        except StudioError as error:
            fault.append(error)
        finally:
            over.set()
            wake()

    threading.Thread(target=pump, name="weft-page", daemon=True).start()
    try:
        while True:
            await ready.wait()
            ready.clear()
            ended = over.is_set()  # read before the item: an item that came with the end is still handed out
            if newest:
                yield newest.pop()
            if ended:
                break
    finally:
        left.set()
    if fault:
        raise fault[0]

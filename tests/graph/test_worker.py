"""Threads, guards, async nodes and resource groups (E27-E29)."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.graph.context import Context
from studio.graph.document import Graph
from studio.graph.events import EventLog
from studio.graph.spec import node

Wire = Callable[..., Graph]
DIAMOND = """
    n: number
    left: add a=n
    right: add a=n
    sum: add a=left, b=right
    out: show a=sum
"""


def test_same_key_of_two_runs_at_once_computes_once(lab: Any, wire: Wire) -> None:
    engine = lab.engine()
    graph = wire("s: slow\n out: show a=s")
    reports: list[Any] = []
    threads = [threading.Thread(target=lambda: reports.append(engine.run(graph))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert lab.entered.wait(5)
    time.sleep(0.05)  # the others reach the same node; none of them may start it
    lab.release.set()
    for thread in threads:
        thread.join(10)
    assert lab.calls.count("slow") == 1
    assert [r.status for r in reports] == ["finished"] * 3
    assert sorted(r.states()["s"] for r in reports) == ["cached", "cached", "ran"]


def test_waiter_of_a_failed_computation_gets_the_error(lab: Any, wire: Wire) -> None:
    @node
    def breaks(*, ctx: Context) -> int:
        """Waits, then fails."""
        lab.calls.append("breaks")
        lab.entered.set()
        lab.release.wait(5)
        raise StudioError("It broke.", hint="Mend it.")

    engine = lab.engine(breaks)
    graph = wire("s: breaks\n out: show a=s")
    reports: list[Any] = []
    threads = [threading.Thread(target=lambda: reports.append(engine.run(graph))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert lab.entered.wait(5)
    time.sleep(0.05)
    lab.release.set()
    for thread in threads:
        thread.join(10)
    assert [r.errors[0].message for r in reports] == ["It broke.", "It broke."]
    assert lab.calls == ["breaks"]


def test_global_state_is_as_before_after_a_node_that_changes_it(lab: Any, wire: Wire, tmp_path: Path) -> None:
    @node
    def rude() -> int:
        """Touches what is not its own."""
        random.seed(1)
        os.chdir(tmp_path)
        os.environ["WEFT_RUDE"] = "1"
        return 1

    state, folder = random.getstate(), Path.cwd()
    log = EventLog("r")
    assert lab.engine(rude).run(wire("r: rude\n out: show a=r"), log=log).status == "finished"
    assert random.getstate() == state
    assert Path.cwd() == folder
    assert "WEFT_RUDE" not in os.environ
    said = " ".join(e.payload["message"] for e in log.since(0) if e.kind == "log")
    assert "Rude" in said
    assert "working folder" in said


def test_guard_surrounds_every_node(lab: Any, wire: Wire) -> None:
    inside: list[str] = []

    class Guard:
        def __enter__(self) -> None:
            inside.append("in")

        def __exit__(self, *exc: object) -> None:
            inside.append("out")

    lab.engine(guard=Guard).run(wire("n: number\n f: fail a=n\n out: show a=f"))
    assert inside == ["in", "out", "in", "out"]


def test_async_nodes_overlap_and_a_resource_group_limits_them(lab: Any, wire: Wire) -> None:
    together: list[int] = []
    now = 0
    lock = threading.Lock()

    def make(name: str, resources: str) -> Callable[..., Any]:
        async def wait(a: int) -> int:
            """Waits a moment."""
            nonlocal now
            with lock:
                now += 1
                together.append(now)
            await asyncio.sleep(0.1)
            with lock:
                now -= 1
            return a

        wait.__name__ = name
        return node(id=name, resources=resources)(wait)

    graph = "n: number\n a: {k} a=n\n b: {k} a=m\n m: number\n sum: add a=a, b=b\n out: show a=sum"
    engine = lab.engine(make("free", ""), make("single", "net:1"))
    assert engine.run(wire(graph.format(k="free"), m={"value": 2})).status == "finished"
    assert max(together) == 2
    together.clear()
    assert engine.run(wire(graph.format(k="single"), m={"value": 3}, n={"value": 4})).status == "finished"
    assert max(together) == 1

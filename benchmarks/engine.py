"""What the engine itself costs: `python benchmarks/engine.py` prints one JSON object (seconds, median). The
last figure is the limit of the 12 nodes: the same functions, called directly.

Processor seconds stand beside wall seconds: wall time on a shared machine measures the neighbours too.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.graph.cache import Cache
from studio.graph.disk_cache import DiskCache
from studio.graph.document import Edge, Graph, Limits, Node
from studio.graph.engine import Engine
from studio.graph.registry import Registry
from studio.graph.spec import node

CHAIN = 10_000


@node
def start(value: int = 0) -> int:
    """A number."""
    return value


@node
def add(a: int, b: int = 1) -> int:
    """A sum."""
    return a + b


@node(output=True)
def end(a: int) -> int:
    """The result."""
    return a


def chain(length: int) -> Graph:
    """A chain of `length` nodes."""
    kinds = ["start", *["add"] * (length - 2), "end"]
    nodes = tuple(Node(f"n{i}", kind) for i, kind in enumerate(kinds))
    edges = tuple(Edge((a.id, "int"), (b.id, "a")) for a, b in itertools.pairwise(nodes))
    return Graph(nodes, edges)


def measured(call: Callable[[int], object], runs: int) -> dict[str, float]:
    """Median wall and processor seconds of calls with 0, 1, 2, ..."""
    wall, cpu = [], []
    for i in range(runs):
        w, c = time.perf_counter(), time.process_time()
        call(i)
        wall.append(time.perf_counter() - w)
        cpu.append(time.process_time() - c)
    return {"wall": round(statistics.median(wall), 5), "cpu": round(statistics.median(cpu), 5)}


def direct(value: int) -> int:
    """The 12-node chain as plain calls."""
    result = start(value)
    for _ in range(10):
        result = add(result)
    return end(result)


def fresh(engine: Engine, graph: Graph) -> Callable[[int], object]:
    """Runs in which every node has something new to do."""
    return lambda i: engine.run(graph.set("n0", "value", i + 1))


def same(engine: Engine, graph: Graph) -> Callable[[int], object]:
    """Runs of an unchanged document."""
    engine.run(graph)
    return lambda i: engine.run(graph)


def main() -> None:
    """Measure and print."""
    registry = Registry.of(start, add, end)
    long, short = chain(CHAIN), chain(12)
    engine = Engine(registry, limits=Limits(nodes=CHAIN))
    found: dict[str, object] = {"chain_nodes": CHAIN}
    found["chain_check_and_plan"] = measured(lambda i: engine.plan(long.set("n0", "value", i + 10**6)), 5)
    with tempfile.TemporaryDirectory() as folder:
        for mode in ("off", "classic", "lru", "disk"):
            disk = DiskCache(Path(folder)) if mode == "disk" else None
            one = Engine(registry, cache=Cache(mode, disk=disk))
            found[f"12_nodes_all_run_{mode}"] = measured(fresh(one, short), 31)
            if mode != "off":
                again = measured(same(one, short), 31)
                found[f"12_nodes_unchanged_{mode}"] = {**again, "ran": len(one.run(short).ran)}
        second = Engine(registry, cache=Cache("disk", disk=DiskCache(Path(folder))))
        begun = time.perf_counter()
        ran = second.run(short).ran
        took = round(time.perf_counter() - begun, 5)
        found["12_nodes_unchanged_fresh_engine_on_disk"] = {"wall": took, "ran": len(ran)}
    # one call is shorter than the clock's own cost
    many = measured(lambda i: [direct(i + k) for k in range(1000)], 31)
    found["limit_of_12_nodes_direct_calls"] = {name: round(took / 1000, 8) for name, took in many.items()}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

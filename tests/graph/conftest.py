"""Tiny nodes that count their calls, and a short way to write graphs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from studio.graph.context import Context
from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.graph.registry import Registry
from studio.graph.spec import BLOCKED, node
from studio.graph.widgets import Number, Prompt, Seed


@dataclass(frozen=True)
class Blob:
    """A value with bytes, so that sizes matter."""

    data: bytes


@dataclass(frozen=True)
class Model:
    """Stands for loaded weights: kept in memory only."""

    name: str


class BlobCodec:
    """What the studio's tensor codec is to tensors."""

    name = "blob"

    def handles(self, value: object) -> bool:
        return isinstance(value, Blob)

    def digest(self, value: Blob) -> str:
        import hashlib

        return hashlib.sha256(b"blob" + value.data).hexdigest()

    def nbytes(self, value: Blob) -> int:
        return len(value.data)

    def readonly(self, value: Blob) -> Blob:
        return value

    def dump(self, value: Blob) -> bytes | None:
        return value.data

    def load(self, data: bytes) -> Blob:
        return Blob(bytes(data))


@dataclass
class Lab:
    """Nodes of one test. `calls` lists the titles of nodes in the order they ran."""

    calls: list[str] = field(default_factory=list)
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    entered: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def registry(self, **more: Callable[..., Any]) -> Registry:
        return Registry.of(*{**self.functions, **more}.values())

    def engine(self, *more: Callable[..., Any], **options: Any) -> Engine:
        registry = self.registry(**{f.spec.kind: f for f in more})  # type: ignore[attr-defined]
        options.setdefault("codecs", [BlobCodec()])
        options.setdefault("check_inputs", True)
        return Engine(registry, **options)


@pytest.fixture
def lab() -> Lab:
    """Fresh nodes, so that no test sees the calls of another."""
    made = Lab()

    def count(what: str) -> None:
        made.calls.append(what)

    @node(group="Test")
    def number(value: Annotated[int, Number(-1000, 10**9)] = 1) -> int:
        """A number."""
        count("number")
        return value

    @node
    def text(text: Prompt = "a star") -> str:
        """Words."""
        count("text")
        return text

    @node
    def add(a: int, b: int = 1) -> int:
        """A sum."""
        count("add")
        return a + b

    @node
    def sign(a: int) -> int:
        """-1, 0 or 1: many inputs, few results."""
        count("sign")
        return (a > 0) - (a < 0)

    @node
    def blob(size: Annotated[int, Number(0, 10**8)] = 10, fill: Annotated[int, Number(0, 255)] = 0) -> Blob:
        """Bytes."""
        count("blob")
        return Blob(bytes([fill]) * size)

    @node
    def join(first: Blob, second: Blob) -> Blob:
        """Bytes of both."""
        count("join")
        return Blob(first.data + second.data)

    @node(share=True)
    def load(name: str = "tiny") -> Model:
        """A model."""
        count("load")
        return Model(name)

    @node
    def use(model: Model, a: int) -> Blob:
        """A result of a model."""
        count("use")
        return Blob(f"{model.name} {a}".encode())

    @node
    def draw(top: int = 10**6, *, seed: Seed = 0, ctx: Context) -> int:
        """A random number from a seed of its own."""
        count("draw")
        return seed + top

    @node(random=True)
    def dice(top: int = 10**9, *, ctx: Context) -> int:
        """A random number from the run's seed."""
        count("dice")
        return int(ctx.rng.integers(top))

    @node(always_run=True)
    def clock(value: int = 7) -> int:
        """Always runs."""
        count("clock")
        return value

    @node
    def fail(a: int) -> int:
        """Always fails."""
        count("fail")
        raise ValueError("no luck")

    @node
    def block(a: int) -> int:
        """No result."""
        count("block")
        return BLOCKED  # type: ignore[no-any-return]

    @node
    def slow(steps: int = 1000, *, ctx: Context) -> int:
        """Takes steps until it is released or stopped."""
        count("slow")
        made.entered.set()
        for i in range(steps):
            if made.release.wait(0.005):
                break
            ctx.step(i + 1, steps)
        return steps

    @node(output=True)
    def show(a: int, name: str = "x") -> int:
        """An output."""
        count(f"show {name}")
        return a

    @node(output=True)
    def keep(blob: Blob, name: str = "x") -> Blob:
        """An output of bytes."""
        count("keep")
        return blob

    for function in (
        number,
        text,
        add,
        sign,
        blob,
        join,
        load,
        use,
        draw,
        dice,
        clock,
        fail,
        block,
        slow,
        show,
        keep,
    ):
        made.functions[function.spec.kind] = function  # type: ignore[attr-defined]
    return made


def wire(text: str, **widgets: dict[str, Any]) -> Graph:
    """A graph from lines `id: kind input=source.output, input=source.output`; widgets by node id."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        id, _, rest = line.partition(":")
        kind, _, inputs = rest.strip().partition(" ")
        nodes.append(Node(id.strip(), kind, widgets.get(id.strip(), {})))
        for pair in filter(None, map(str.strip, inputs.split(","))):
            name, _, source = pair.partition("=")
            maker, _, out = source.partition(".")
            edges.append(Edge((maker, out or "int"), (id.strip(), name.strip())))
    return Graph(tuple(nodes), tuple(edges))


@pytest.fixture(name="wire")
def _wire() -> Callable[..., Graph]:
    return wire

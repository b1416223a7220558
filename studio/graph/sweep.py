"""Sweeps (E40): one document, lists of values for some of its inputs, and a document for each combination.

Nothing runs here. Cells stand in the order in which they are best made: an input on which much depends (a
model, a prompt) varies slowest, so that what it costs is paid once for each of its values.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from studio.errors import StudioError, did_you_mean
from studio.graph.axis_values import LISTED_BY_BAR, example, listed
from studio.graph.definitions import Specs, local
from studio.graph.document import Graph
from studio.graph.node_spec import Param
from studio.graph.topology import reached
from studio.graph.widgets import shown

MOST_AXES = 3
MOST_CELLS = 1000


@dataclass(frozen=True)
class Axis:
    """One input and the values that it takes. `find`: the values stand for these words of its text."""

    node: str
    widget: str
    values: tuple[Any, ...]
    label: str = ""
    find: str = ""

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The values as short texts."""
        return tuple(_short(value) for value in self.values)

    @property
    def title(self) -> str:
        """What varies, in words."""
        return f"“{self.find}” in {self.label}" if self.find else self.label


@dataclass(frozen=True)
class Cell:
    """One combination. `at`: the place on each axis, in the order of the axes."""

    at: tuple[int, ...]
    document: Graph


@dataclass(frozen=True)
class Sweep:
    """The table of a sweep. `cells` stand in the order in which they are made."""

    document: Graph
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each axis has."""
        return tuple(len(axis.values) for axis in self.axes)

    def labels(self, cell: Cell) -> tuple[str, ...]:
        """The values of a cell, a text for each axis."""
        return tuple(axis.labels[place] for axis, place in zip(self.axes, cell.at, strict=True))

    def name(self, cell: Cell) -> str:
        """The values of a cell in one line: "Steps 8, Guidance 3"."""
        parts = []
        for axis, text in zip(self.axes, self.labels(cell), strict=True):
            replaced = text if text == axis.find else f"{axis.find} → {text}"
            parts.append(replaced if axis.find else f"{axis.label} {text}")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"Sweep({' x '.join(f'{a.node}.{a.widget} {len(a.values)}' for a in self.axes)})"


def read_axis(document: Graph, specs: Specs, text: str, *, most: int = MOST_CELLS) -> Axis:
    """The axis of a text: `NODE.SOCKET=VALUES` or `NODE.SOCKET:WORDS->VALUES`.

    A node that has one text, and an exposed input by its label, may stand alone: `prompt:red->blue,green`.
    Raises StudioError.
    """
    words = re.fullmatch(r"([^=]+?):([^=]+?)->(.*)", text, re.DOTALL)
    plain = re.fullmatch(r"([^=]+?)=(.*)", text, re.DOTALL)
    if words is None and plain is None:
        raise StudioError(
            f"{text[:80]!r} is no axis.",
            hint='Write NODE.SOCKET=1,2,3 or "prompt:red->blue,green".',
        )
    where, find, values = words.groups() if words is not None else (plain[1], "", plain[2])  # type: ignore[index]
    node, widget = _place(document, specs, where.strip())
    return make_axis(document, specs, node, widget, values, find.strip(), most=most)


def make_axis(
    document: Graph,
    specs: Specs,
    node: str,
    widget: str,
    values: str | Sequence[object],
    find: str = "",
    *,
    most: int = MOST_CELLS,
) -> Axis:
    """The axis over one input. `values`: a list, or a text that lists them.

    In a text, values stand between commas, those of a text or prompt between bars or on lines of their own;
    `4:20:4` is a range with its end, `*4` means four seeds from the one in the document (of a choice: all).
    `find`: words of the text that each value takes the place of; upper and lower case count as equal.
    Raises StudioError that names node and socket.
    """
    param, label = _param(document, specs, node, widget)
    sort = param.widget.sort
    now = document.node(node).widgets.get(widget, param.default)

    def wrong(message: str, hint: str = "") -> StudioError:
        return StudioError(f"{label}: {message}", hint=hint, node=node, socket=widget)

    if find and sort not in LISTED_BY_BAR:
        raise wrong("only words of a text can be replaced.", hint="List its values instead.")
    try:
        given = listed(values, param, now, bool(find), most) if isinstance(values, str) else list(values)
    except ValueError as error:
        raise wrong(*error.args) from None
    if not given:
        raise wrong(
            "there are no values.", hint="Write at least one, for example " + example(param, bool(find))
        )
    if len(given) > most:
        raise wrong(f"there are more than {most:,} values.", "Give fewer.")
    for place, value in enumerate(given):
        found = param.problem(value)
        if found is not None:
            raise wrong(*found)
        if any(_same(value, other) for other in given[:place]):
            raise wrong(f"{shown(value)} is there twice.", hint="Each value makes a picture of its own.")
    return Axis(node, widget, tuple(given), label, find)


def make_sweep(
    document: Graph,
    axes: Sequence[Axis],
    *,
    most: int = MOST_CELLS,
    seconds: Callable[[str], float | None] = lambda kind: None,
) -> Sweep:
    """Every combination of the axes as a document. `seconds`: how long a kind of node takes, None if unknown.

    Raises StudioError for no axis, too many axes or cells, one input twice, and words that are not there.
    """
    if not axes:
        raise StudioError("Nothing varies yet.", hint="Choose an input and give it two or more values.")
    if len(axes) > MOST_AXES:
        raise StudioError(f"{len(axes)} inputs vary; at most {MOST_AXES} can at once.")
    count = math.prod(len(axis.values) for axis in axes)
    if count > most:
        raise StudioError(
            f"This makes {' × '.join(str(len(a.values)) for a in axes)} = {count:,} pictures; "
            f"at most {most:,} are possible.",
            hint="Give fewer values.",
        )
    taken: set[tuple[str, str, str]] = set()
    for axis in axes:
        place = (axis.node, axis.widget, axis.find.casefold())
        if place in taken:
            raise StudioError(f"{axis.title} varies twice.", node=axis.node, socket=axis.widget)
        taken.add(place)
    slowest = sorted(range(len(axes)), key=lambda i: _behind(document, axes[i].node, seconds), reverse=True)
    cells = []
    for places in itertools.product(*(range(len(axes[i].values)) for i in slowest)):
        at = tuple(place for _, place in sorted(zip(slowest, places, strict=True)))
        cells.append(Cell(at, _patched(document, axes, at)))
    return Sweep(document, tuple(axes), tuple(cells))


def _patched(document: Graph, axes: Sequence[Axis], at: Sequence[int]) -> Graph:
    """The document of one cell. Words change at once: none is found in what another put there."""
    chosen = [(axis, axis.values[place]) for axis, place in zip(axes, at, strict=True)]
    for axis, value in chosen:
        if not axis.find:
            document = document.set(axis.node, axis.widget, value)
    for node, widget in dict.fromkeys((axis.node, axis.widget) for axis, _ in chosen if axis.find):
        pairs = [(a, str(v)) for a, v in chosen if a.find and (a.node, a.widget) == (node, widget)]
        text = str(document.node(node).widgets.get(widget) or "")
        for axis, _ in pairs:
            if not _word(axis.find).search(text):
                known = re.findall(r"\w+", text)
                raise StudioError(
                    f"{axis.label}: “{axis.find}” is not in “{_short(text)}”.",
                    hint=did_you_mean(axis.find, known) or "Choose words that are there.",
                    node=node,
                    socket=widget,
                )
        every = re.compile("|".join(f"({_word(axis.find).pattern})" for axis, _ in pairs), re.IGNORECASE)
        words = [value for _, value in pairs]
        document = document.set(node, widget, every.sub(lambda m: words[m.lastindex - 1], text))  # type: ignore[operator]  # noqa: B023
    return document


def _behind(document: Graph, node: str, seconds: Callable[[str], float | None]) -> tuple[float, int]:
    """What has to be made again when an input of `node` changes: seconds as far as known, and nodes."""
    uses: dict[str, list[str]] = {}
    for edge in document.edges:
        uses.setdefault(edge.source[0], []).append(edge.target[0])
    seen = reached(uses, [node])
    return sum(seconds(document.node(id).kind) or 0.0 for id in seen if id in document.by_id), len(seen)


def _word(find: str) -> re.Pattern[str]:
    """Whole words only: "red" is not found in "scattered"."""
    return re.compile(rf"(?<!\w){re.escape(find)}(?!\w)", re.IGNORECASE)


def _place(document: Graph, specs: Specs, where: str) -> tuple[str, str]:
    node, _, widget = where.rpartition(".")
    if node:
        return node, widget
    labels = {e.label.casefold(): (e.node, e.widget) for e in document.exposed if e.label}
    if where in document.by_id:
        spec = local(document, specs).find(document.node(where).kind)
        texts = [p.name for p in spec.params if p.widget.sort in LISTED_BY_BAR] if spec else []
        if len(texts) == 1:
            return where, texts[0]
    if where.casefold() in labels:
        return labels[where.casefold()]
    raise StudioError(
        f"There is no input {where[:60]!r} in this workflow.",
        hint=did_you_mean(where, [*document.by_id, *labels])
        or "Write NODE.SOCKET, for example schedule.steps.",
    )


def _param(document: Graph, specs: Specs, node: str, widget: str) -> tuple[Param, str]:
    """The widget of an input and its name for people. Raises StudioError where it cannot vary."""
    found = document.node(node)
    spec = local(document, specs).find(found.kind)
    if spec is None:
        raise StudioError(f"The node kind {found.kind!r} is not installed here.", node=node)
    param = next((p for p in spec.params if p.name == widget), None)
    if param is None:
        names = [p.name for p in spec.params]
        raise StudioError(
            f"Node {node!r} has no input {widget!r} that can vary.",
            hint=did_you_mean(widget, names) or f"It has: {', '.join(names) or 'none'}.",
            node=node,
            socket=widget,
        )
    fed = next((e for e in document.edges if e.target == (node, widget)), None)
    if fed is not None:
        raise StudioError(
            f"{node}.{widget} is fed by {fed.source[0]!r}, so it cannot vary.",
            hint=f"Vary an input of {fed.source[0]!r} instead.",
            node=node,
            socket=widget,
        )
    shown_as = next(
        (e.label for e in document.exposed if (e.node, e.widget) == (node, widget) and e.label), ""
    )
    return param, shown_as or param.label or widget


def _same(a: object, b: object) -> bool:
    return type(a) is type(b) and a == b


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        value = value.get("name") or "picture"
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= 60 else text[:59] + "…"

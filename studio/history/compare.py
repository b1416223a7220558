"""Two pictures: which ingredients of their records and graphs differ, and how far apart their pixels are."""
from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studio.history.generation import Generation

_COLUMNS = ("prompt", "negative", "seed", "model", "width", "height")
_UNSAID = ("timings", "notes")  # they differ from run to run and change no pixel
_PRESENTATION = ("pos", "title", "groups", "notes", "kinds", "exposed")
ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    """One ingredient that differs: where, as a dotted path like `record.versions.torch`."""

    where: str
    left: object
    right: object


@dataclass(frozen=True)
class PixelComparison:
    """`max_difference` is 0..255, `psnr` in dB, infinite when equal; both mean nothing when sizes differ."""

    equal: bool
    same_size: bool
    max_difference: int
    psnr: float


def compare(left: Generation, right: Generation, left_graph: str = "",
            right_graph: str = "") -> list[Difference]:
    """What differs between two pictures' columns, records and (if handed in) graphs, in a stable order."""
    found = [Difference(name, getattr(left, name), getattr(right, name)) for name in _COLUMNS
             if getattr(left, name) != getattr(right, name)]
    found += compare_records(left.record, right.record)
    if left_graph or right_graph:
        found += compare_graphs(left_graph, right_graph)
    return found


def compare_records(left: Mapping[str, object], right: Mapping[str, object]) -> list[Difference]:
    """What differs between two records, timings and notes left aside."""
    return list(_walk("record", _without(left, _UNSAID), _without(right, _UNSAID)))


def compare_graphs(left: str, right: str) -> list[Difference]:
    """What differs between two documents, node by node; positions and titles left aside."""
    return list(_walk("graph", _flat(left), _flat(right)))


def compare_pixels(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> PixelComparison:
    """How far apart two pictures are; PSNR over all channels with peak 255."""
    if left.shape != right.shape:
        return PixelComparison(equal=False, same_size=False, max_difference=255, psnr=0.0)
    gap = np.abs(left.astype(np.int16) - right.astype(np.int16))
    biggest = int(gap.max(initial=0))
    if biggest == 0:
        return PixelComparison(equal=True, same_size=True, max_difference=0, psnr=math.inf)
    error = float(np.mean(np.square(gap, dtype=np.float64)))
    return PixelComparison(equal=False, same_size=True, max_difference=biggest,
                           psnr=10 * math.log10(255**2 / error))


def _walk(where: str, left: object, right: object) -> Iterator[Difference]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for name in sorted({*left, *right}):
            yield from _walk(f"{where}.{name}", left.get(name, ABSENT), right.get(name, ABSENT))
    elif left != right or type(left) is not type(right):
        yield Difference(where, left, right)


def _without(record: Mapping[str, object], names: tuple[str, ...]) -> dict[str, object]:
    return {name: value for name, value in record.items() if name not in names}


def _flat(text: str) -> dict[str, object]:
    """A document as nodes by id, each with kind, widgets and its incoming edges."""
    data = json.loads(text) if text else {}
    nodes: dict[str, object] = {}
    fed: dict[str, dict[str, object]] = {}
    for edge in data.get("edges", []):
        (source, output), (target, socket) = edge["from"], edge["to"]
        fed.setdefault(target, {})[socket] = f"{source}.{output}"
    for node in data.get("nodes", []):
        kept = {name: value for name, value in node.items() if name not in (*_PRESENTATION, "id", "widgets")}
        nodes[node["id"]] = {**kept, **node.get("widgets", {}), **fed.get(node["id"], {})}
    return nodes

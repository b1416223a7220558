"""JSON of strangers: bounded depth, no NaN or Infinity, no key twice."""
from __future__ import annotations

import json
import math
import re

from studio.errors import BadDocument

MAX_DEPTH = 64
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def loads_object(text: str, what: str, *, depth: int = MAX_DEPTH) -> dict[str, object]:
    """The JSON object in `text`; BadDocument names `what` and the trouble."""
    if (deepest := _depth(text)) > depth:
        raise BadDocument(f"{what} is nested {deepest} deep; at most {depth} is possible.")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BadDocument(f"{what} is not sound JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadDocument(f"{what} is not a JSON object.")
    return value


def _depth(text: str) -> int:
    """The deepest nesting of brackets outside of strings; linear and without recursion."""
    now = deepest = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        mark = match.group()
        if mark in ("[", "{"):
            now += 1
            deepest = max(deepest, now)
        elif mark in ("]", "}"):
            now -= 1
    return deepest


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number that JSON knows")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large")
    return value

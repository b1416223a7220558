"""Strict JSON for documents of strangers: bounded size and depth, no NaN, no duplicate keys, no recursion."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.errors import BadDocument

# A text (closed or not: the possessive quantifiers keep an unclosed one linear) or one bracket.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class Limits:
    """How large a document may be; the numbers of a host stand in its Policy."""

    nodes: int = 10_000
    edges: int = 40_000
    bytes: int = 50_000_000
    depth: int = 64


def read_json(text: str | bytes, limits: Limits) -> Any:
    """The value of a JSON text. BadDocument names the trouble and its line."""
    text = _decoded(text, limits)
    depth = deepest = 0
    for token in _TOKENS.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > limits.depth:
                line = text.count("\n", 0, token.start()) + 1
                raise BadDocument(
                    f"The file nests deeper than {limits.depth} levels (line {line}).",
                    hint="A workflow needs about six; this one was not made by Weft.",
                )
        elif first in "]}":
            depth -= 1
    try:
        data = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        trouble = (
            "The file ends too early: it is truncated"
            if end and text.strip()
            else f"Not valid JSON: {error.msg}"
        )
        if not text.strip():
            trouble = "The file is empty"
        raise BadDocument(
            f"{trouble} (line {error.lineno}, column {error.colno}).",
            hint="Save the workflow again, or take an earlier copy.",
        ) from None
    if "\\ud" in text or "\\uD" in text:
        _refuse_half_characters(data)
    return data


def copied(data: Any, limits: Limits) -> Any:
    """A deep copy of parsed JSON, made without recursion; BadDocument for what JSON cannot say or what is too
    deep."""
    result: list[Any] = [None]
    stack: list[tuple[Any, Any, Any, int]] = [(data, result, 0, 0)]
    while stack:
        value, holder, key, depth = stack.pop()
        if depth > limits.depth:
            raise BadDocument(
                f"The document nests deeper than {limits.depth} levels.",
                hint="A workflow needs about six; this one was not made by Weft.",
            )
        if isinstance(value, Mapping):
            fresh: dict[str, Any] = {}
            for name, item in value.items():
                if not isinstance(name, str):
                    raise BadDocument(f"A key must be text, not {name!r}.")
                fresh[name] = None  # keeps the order; the stack fills it
                stack.append((item, fresh, name, depth + 1))
            holder[key] = fresh
        elif isinstance(value, (list, tuple)):
            items: list[Any] = [None] * len(value)
            stack.extend((item, items, i, depth + 1) for i, item in enumerate(value))
            holder[key] = items
        elif (
            value is None
            or isinstance(value, (str, bool, int))
            or (isinstance(value, float) and math.isfinite(value))
        ):
            holder[key] = value
        else:
            raise BadDocument(
                f"{repr(value)[:60]} is not a JSON value.",
                hint="Write a finite number, a text, true, false or null.",
            )
    return result[0]


def _decoded(text: str | bytes, limits: Limits) -> str:
    size = len(text)
    if size > limits.bytes:
        raise BadDocument(f"The workflow has {size:,} bytes; at most {limits.bytes:,} are allowed.")
    try:
        if isinstance(text, bytes):
            return text.decode("utf-8-sig")
        text.encode("utf-8")
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        raise BadDocument(
            f"The file is not UTF-8 text (byte {at}).", hint="Is it a workflow, or a picture?"
        ) from None
    return text.removeprefix("\ufeff")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadDocument(f"The key {twice[:60]!r} stands twice in one object.", hint="Keep one of the two.")
    return data


def _constant(name: str) -> Any:
    raise BadDocument(f"{name} is not a number that JSON knows.", hint="Write a finite number.")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadDocument(f"{text[:40]} is too large for a number.", hint="Write a finite number.")
    return value


def _int(text: str) -> int:
    if len(text) > 40:
        raise BadDocument(f"A number has {len(text)} digits.", hint="At most 40 are read.")
    return int(text)


def _refuse_half_characters(data: Any) -> None:
    try:
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise BadDocument(
            "A text holds half a character (a lone surrogate).", hint="Type the text again."
        ) from None


__all__ = ["Limits", "copied", "read_json"]

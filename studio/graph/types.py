"""Which socket type fits which (E3): exact, declared sub-type, whole number to decimal, one to a list of
it."""

from __future__ import annotations

import re
from collections.abc import Collection

ANY = "any"
"""Fits everything; allowed, and recorded as a note by `check`."""


def type_name(cls: type) -> str:
    """The socket type of a Python class: its `__weft_type__`, else its name; `object` is "any"."""
    simple = {object: ANY, bool: "Bool", int: "Int", float: "Float", str: "Text"}
    if cls in simple:
        return simple[cls]
    own = cls.__dict__.get("__weft_type__")
    return own if isinstance(own, str) else cls.__name__


def type_line(cls: type) -> tuple[str, ...]:
    """The names of a class and of its base classes, nearest first: what it may be plugged into."""
    return tuple(type_name(base) for base in cls.__mro__ if base is not object)


def output_name(cls: type, many: bool = False) -> str:
    """The name of an unnamed output: `TokenSpan` gives "token_span", a list of them "token_spans"."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type_name(cls)).lower()
    return f"{name}s" if many else name


def misfit(line: Collection[str], source_many: bool, target: str, target_many: bool) -> str:
    """Why an output of type line `line` does not fit a socket of type `target`; empty text if it does."""
    first = next(iter(line), ANY)
    if source_many and not target_many and target != ANY:
        return f"a list of {first} does not fit one {target}"
    if target == ANY or first == ANY or target in line:
        return ""
    if target == "Float" and first == "Int":
        return ""
    return f"{first} does not fit {target}"

"""How a found schedule is kept with its model: kind, key and what is read back (history/calibrations.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from studio.errors import StudioError
from studio.sampling import schedules
from studio.sampling.search.find import Found
from studio.values import Guidance, Sigmas

KIND = "schedule"


def key_of(steps: int, width: int, height: int, guidance: Guidance) -> str:
    """Under which circumstances a list was found: "8 steps, 256 x 256, euler, Guidance(cfg, ...)"."""
    return f"{steps} steps, {width} x {height}, euler, {guidance!r}"


def row_of(found: Found, key: str, n: int, held_out: str) -> dict[str, Any]:
    """What is kept of a search: the fields of `Found`, its list and gain, and how it came about.

    n: pictures it was searched on. held_out: what the held-out ones were, in words.
    """
    own = {"sigmas": list(found.sigmas.values), "gain": found.gain, "kind": KIND, "key": key}
    return asdict(found) | own | {"n": n, "held_out": held_out}


def read(value: Mapping[str, object] | None) -> Sigmas | None:
    """The list of a stored result; None if there is none, or a damaged one."""
    levels = (value or {}).get("sigmas")
    if not isinstance(levels, list | tuple) or not all(isinstance(v, int | float) for v in levels):
        return None
    try:
        found = schedules.custom(levels)
    except StudioError:
        return None
    return Sigmas(found.values, "boss") if found.steps and found.values[0] <= 1 + 1e-5 else None

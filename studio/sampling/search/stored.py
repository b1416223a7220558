"""How a found schedule is kept with its model: kind, key and what is read back (history/calibrations.py)."""

from __future__ import annotations

from collections.abc import Mapping

from studio.errors import StudioError
from studio.sampling import schedules
from studio.values import Guidance, Sigmas

KIND = "schedule"


def key_of(steps: int, width: int, height: int, guidance: Guidance) -> str:
    """Under which circumstances a list was found: "8 steps, 256 x 256, euler, Guidance(cfg, ...)"."""
    return f"{steps} steps, {width} x {height}, euler, {guidance!r}"


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

"""Checks of the numbers that a control is made with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from studio.controls.control import in_range
from studio.errors import StudioError
from studio.values import Step


def within(name: str, value: float, low: float, high: float, *, socket: str = "") -> None:
    """StudioError unless `value` is a finite number from `low` to `high`; infinite bounds bound nothing."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        given = f"{value:g}" if number else repr(value)
        range_ = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise StudioError(
            f"{name} is {given}; it must be a number {range_}.", socket=socket or name.replace(" ", "_")
        )


def window(start: float, end: float) -> None:
    """StudioError unless `start` and `end` are a range of a run's share of steps."""
    within("start", start, 0, 1)
    within("end", end, 0, 1)
    if start > end:
        raise StudioError(
            f"start is {start:g}, after the end at {end:g}.", hint="Exchange them.", socket="start"
        )


def some_step(what: str, start: float, end: float, steps: Sequence[Step], *, socket: str) -> None:
    """StudioError if a range that is not empty holds no step of this run."""
    if start < end and steps and not any(in_range(step, start, end) for step in steps):
        total = steps[0].total
        raise StudioError(
            f"{what} from {start:g} to {end:g} of the run is less than one of its {total} steps.",
            hint=f"One step is {1 / total:.2g}: widen the range, or take more steps.",
            socket=socket,
        )

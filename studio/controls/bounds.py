"""Checks of what a control is made with: numbers, and tensors kept from before."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from studio.controls.control import in_range
from studio.errors import StudioError
from studio.values import Step

if TYPE_CHECKING:
    import torch


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


def some_step(
    what: str,
    start: float,
    end: float,
    steps: Sequence[Step],
    *,
    socket: str,
    acts: Callable[[Step, float, float], bool] = in_range,
) -> None:
    """StudioError if a range that is not empty holds no step of this run; `acts`: what a range holds."""
    if start < end and steps and not any(acts(step, start, end) for step in steps):
        total = steps[0].total
        raise StudioError(
            f"{what} from {start:g} to {end:g} of the run is less than one of its {total} steps.",
            hint=f"One step is {1 / total:.2g}: widen the range, or take more steps.",
            socket=socket,
        )


def repeated(kept: torch.Tensor, own: torch.Tensor, what: str, *, hint: str, socket: str) -> torch.Tensor:
    """`kept` (four axes, the first the batch) as often as fills the batch of `own`.

    StudioError unless the other axes are equal and the batch is a multiple; `what`: whose shape it is, with
    its verb, to begin the sentence.
    """
    if kept.shape[1:] != own.shape[1:] or len(own) % len(kept):
        raise StudioError(
            f"{what} the shape {tuple(kept.shape)}; this run has {tuple(own.shape)}.",
            hint=hint,
            socket=socket,
        )
    return kept.repeat(len(own) // len(kept), 1, 1, 1)

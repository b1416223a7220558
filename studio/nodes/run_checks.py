"""What can be told of the noise levels of a run before it: lists that do not join, starts without noise."""

from __future__ import annotations

import math
from collections.abc import Iterator

from studio.api import Refusal, Sigmas, StudioError, View
from studio.sampling import schedules
from studio.sampling.relay import joined

# Below this noise level an empty canvas is no start; lists of some spacings begin at 0.999.
NOISE = 0.99
# Spacings that have no shift.
UNSHIFTED = ("scm",)
USUAL_SHIFT = 3.0


def known_sigmas(view: View, socket: str = "sigmas") -> Sigmas | None:
    """The list that feeds a socket, worked out from settings; None where only the run can tell."""
    fed = view.feeding(socket)
    if len(fed) != 1:
        return None
    given = fed[0].widgets
    try:
        if fed[0].kind == "schedule":
            names = ("spacing", "steps", "shift", "strength")
            spacing, steps, shift, strength = (given[name] for name in names)
            return schedules.from_strength(schedules.schedule(spacing, steps, float(shift)), strength)
        if fed[0].kind == "schedule_from_list":
            return schedules.from_strength(schedules.written(given["levels"]), given["strength"])
        if fed[0].kind == "relay":
            return _relayed(fed[0])
    except (StudioError, KeyError, TypeError, ValueError):
        # said elsewhere, or fed by an edge
        return None
    return None


def _relayed(view: View) -> Sigmas | None:
    first = known_sigmas(view)
    second = known_sigmas(view, "second") if view.feeding("second") else first
    return None if first is None or second is None else joined(first, second, view.widgets["at"])[0]


def review_start(view: View) -> Iterator[Refusal]:
    """An empty canvas whose schedule does not begin in pure noise: there is no picture below the noise."""
    sigmas = known_sigmas(view)
    if sigmas is None or {source.kind for source in view.feeding("latent")} != {"empty_latent"}:
        return
    raised = "Raise the strength to 1, begin the list at 1, or start from an encoded picture."
    if sigmas.steps == 0:
        yield Refusal("There is nothing to keep: strength 0 needs a picture.", raised, "sigmas")
    elif sigmas.values[0] < NOISE:
        yield Refusal(
            f"The schedule begins at noise level {sigmas.values[0]:.2g}, and the canvas is empty: nothing "
            "good comes of it.",
            raised,
            "sigmas",
            "warning",
        )


def review_joined(view: View) -> Iterator[Refusal]:
    """Lists of a relay that do not join, and a share that is less than one step."""
    first, share = known_sigmas(view), view.widgets.get("at")
    second = known_sigmas(view, "second") if view.feeding("second") else first
    if first is None or second is None or not isinstance(share, int | float):
        return
    try:
        joined(first, second, share)
    except StudioError as error:
        yield Refusal(error.message, error.hint, error.socket)
        return
    if share > 0 and second.steps and math.floor(share * second.steps + 1e-9) == 0:
        yield Refusal(
            f"{share:g} of {second.steps} steps is less than one: the first model does nothing.",
            f"One step is {math.ceil(100 / second.steps) / 100:g}; 0 lets the second model paint alone.",
            "at",
            "warning",
        )


def review_schedule(view: View) -> Iterator[Refusal]:
    """A shift that the spacing has no use for."""
    spacing, shift = view.widgets.get("spacing"), view.widgets.get("shift", USUAL_SHIFT)
    if spacing in UNSHIFTED and shift not in (1, USUAL_SHIFT):
        yield Refusal(
            f"The spacing {spacing} has no shift: {shift:g} changes nothing.",
            "Take another spacing, such as flow, or leave the shift.",
            "shift",
            "warning",
        )

"""Schedules of one's own, and the shift that fits a size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from studio.api import Context, Latent, Number, Refusal, Sigmas, Slider, StudioError, Text, View, node
from studio.models.size_shift import LEAST, MOST
from studio.nodes.prompt import refused
from studio.sampling import schedules


def review_list(view: View) -> Iterator[Refusal]:
    """What the list itself has wrong."""
    written = view.widgets.get("levels")
    if isinstance(written, str):
        try:
            schedules.written(written)
        except StudioError as error:
            yield refused(error, "levels")


@node(group="Sampling", title="Schedule from a list", review=review_list)
def schedule_from_list(
    levels: Annotated[str, Text(lines=2, max=20_000)] = "1, 0.9, 0.75, 0.5, 0.25, 0",
    strength: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    *,
    ctx: Context,
) -> Sigmas:
    """Noise levels of your own.

    levels: numbers that fall from 1 to 0, with commas between them
    strength: for starting from a picture: 0 keeps it untouched, 1 ignores it
    """
    sigmas = schedules.written(levels)
    ctx.policy.check_steps(sigmas.steps, socket="levels")
    return schedules.from_strength(sigmas, strength)


@node(group="Sampling", title="Shift for a size")
def shift_for_size(
    latent: Latent,
    shift: Annotated[float, Slider(0.1, 30, 0.1)] = 3.0,
    native: Annotated[int, Number(64, 2048, 16)] = 256,
    *,
    ctx: Context,
) -> float:
    """The shift that a picture larger or smaller than the model's own needs; for the shift of Schedule.

    latent: the canvas, or the encoded picture; its size decides
    shift: the model's own, at its own size
    native: that size, pixels a side
    """
    found = schedules.shift_by_size(latent.width * latent.height, native * native, shift)
    held = min(max(found, LEAST), MOST)
    if held != found:
        ctx.warn(f"This size asks for a shift of {found:.4g}; {held:g} is taken, the most or least there is.")
    return held

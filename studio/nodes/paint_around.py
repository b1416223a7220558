"""Paint a scene around a pasted picture: one-way cyclic placing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import numpy as np

from studio.api import (
    Conditioning,
    Context,
    Guidance,
    Image,
    Latent,
    Mask,
    Model,
    Number,
    Refusal,
    Sigmas,
    Slider,
    View,
    node,
)
from studio.models.family import parts_of
from studio.nodes.guidance_checks import review_guidance
from studio.pixels import flatten, resize
from studio.sampling.cow import cow, steps_of_cow
from studio.sampling.previews import preview
from studio.values import Inversion, StepResult

GREY = 128


class Pasted(NamedTuple):
    """A picture on a canvas, and where on it."""

    image: Image
    mask: Mask


def review_levels(view: View) -> Iterator[Refusal]:
    """Levels of the cycles that do not follow each other."""
    found = [view.widgets.get(name) for name in ("until", "low", "high")]
    until, low, high = (value if isinstance(value, (int, float)) else None for value in found)
    if low is not None and high is not None and low > high:
        yield Refusal(f"A cycle cannot go up from {low:g} to {high:g}.", "Raise high, or lower low.", "high")
    if until is not None and low is not None and until > low:
        yield Refusal(f"until {until:g} lies above low {low:g}.", "Lower until.", "until")
    yield from review_guidance(view)


@node(group="Edit a picture", title="Paste picture")
def paste_picture(
    image: Image,
    width: Annotated[int, Number(64, 2048, 16)] = 256,
    height: Annotated[int, Number(64, 2048, 16)] = 256,
    x: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
    y: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
    size: Annotated[float, Slider(0.05, 1, 0.01)] = 0.5,
    *,
    ctx: Context,
) -> Pasted:
    """Lay a picture on a grey canvas, with a mask of where it lies: the start of "Paint around picture".

    width: of the canvas, in pixels
    height: of the canvas, in pixels
    x: 0 = at the left edge, 0.5 = in the middle, 1 = at the right edge
    y: 0 = at the upper edge, 1 = at the lower edge
    size: how large it is, as a share of the canvas
    """
    ctx.policy.check_pixels(width, height, 1, socket="width")
    scale = size * min(width / image.width, height / image.height)
    wide, high = (max(round(side * scale), 1) for side in (image.width, image.height))
    left, top = round(x * (width - wide)), round(y * (height - high))
    canvas = np.full((height, width, 3), GREY, np.uint8)
    canvas[top : top + high, left : left + wide] = resize(flatten(image), wide, high).pixels
    mask = np.zeros((height, width), np.float32)
    mask[top : top + high, left : left + wide] = 1
    return Pasted(Image(canvas), Mask(mask))


@node(group="Edit a picture", title="Paint around picture (COW)", resources="gpu", review=review_levels)
def paint_around(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    picture: Latent,
    sigmas: Sigmas,
    guidance: Guidance,
    mask: Mask | None = None,
    inversion: Inversion | None = None,
    cycles: Annotated[int, Slider(0, 50, 1)] = 10,
    low: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
    high: Annotated[float, Slider(0, 1, 0.01)] = 0.7,
    until: Annotated[float, Slider(0, 1, 0.01)] = 0.4,
    *,
    ctx: Context,
) -> Latent:
    """Let a scene grow around a pasted picture that stays in its place: it spreads, and nothing enters it.

    positive: the whole scene, the pasted picture included
    picture: the encoded canvas with the picture on it
    mask: where the pasted picture lies, white
    inversion: the canvas's own path; empty = a straight line to noise
    cycles: how often the run goes up and down again, so that the scene fits; 0 = once down
    low: where the cycles end, as the share of the steps that are left
    high: where they begin
    until: the pasted picture is kept until this share of the steps is left; 0 = to the end, pixel by pixel
    """
    parts = parts_of(model)
    total = steps_of_cow(sigmas, cycles, low, high, until)
    ctx.policy.check_steps(total, socket="cycles")
    done = 0

    def report(result: StepResult) -> None:
        nonlocal done
        done += 1
        ctx.step(done, total, lambda: preview(parts, result.denoised))

    return cow(
        parts,
        positive,
        negative,
        picture,
        sigmas,
        guidance,
        mask=mask,
        cycles=cycles,
        low=low,
        high=high,
        until=until,
        path=inversion,
        on_step=report,
    )

"""A differentiable judge of colours at places, the built-in scorer of the scene world.

How much of a colour there is at a point falls with the distance in RGB, 1 / (1 + (d / NEAR)^2), slowly enough
that a wrong colour still has a slope; at a place, its mean under a window the size of a ninth of the picture.
The score is the mean over the wanted things of the log of that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from studio.errors import StudioError
from studio.values import Scorer

# Where a colour counts half (RGB 0..1), and the standard deviation of a place's window (share of the side).
NEAR, WINDOW = 0.22, 0.1

Colour = tuple[float, float, float]
# (RGB 0..1, centre x, y in 0..1 or None for anywhere)
Thing = tuple[Colour, "tuple[float, float] | None"]


def colour_place(things: Sequence[Thing]) -> Scorer:
    """The score of pictures (picture, 3, height, width, 0..1) of any size: 0 = all things fill their place
    with their colour, below 0 otherwise. StudioError without things."""
    if not things:
        raise StudioError(
            "There is no colour to look for.",
            hint="Name one, such as 'a red star on the left'.",
            socket="text",
        )

    def score(pixels: torch.Tensor) -> torch.Tensor:
        found = [_present(pixels, colour, place).log() for colour, place in things]
        return torch.stack(found).mean(0)

    return Scorer("colour_place", score, (("things", tuple(_flat(thing) for thing in things)),))


def _flat(thing: Thing) -> tuple[float, ...]:
    colour, place = thing
    return (*colour, *(place or ()))


def _present(pixels: torch.Tensor, colour: Colour, place: tuple[float, float] | None) -> torch.Tensor:
    """How much of a colour there is at a place, 0..1, picture by picture; anywhere = at its best place."""
    wanted = torch.tensor(colour, dtype=pixels.dtype, device=pixels.device).reshape(1, 3, 1, 1)
    near = 1 / (1 + (pixels - wanted).square().sum(1) / NEAR**2)
    height, width = near.shape[1:]
    ys, xs = (
        (torch.arange(length, dtype=pixels.dtype, device=pixels.device) + 0.5) / length
        for length in (height, width)
    )

    def at(x: float, y: float) -> torch.Tensor:
        window = torch.exp(-((ys[:, None] - y) ** 2 + (xs[None] - x) ** 2) / (2 * WINDOW**2))
        return (near * (window / window.sum())).sum((1, 2))

    if place is not None:
        return at(*place)
    ninths = [at(x / 6, y / 6) for y in (1, 3, 5) for x in (1, 3, 5)]
    return torch.stack(ninths).amax(0)

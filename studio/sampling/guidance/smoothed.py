"""Smoothed-energy guidance (SEG, arXiv 2408.00760): away from a network whose attention is blurred over the
picture in some blocks.

Scores are linear in the queries, so that a Gaussian blur of the score map over the asking tokens is a blur of
the queries themselves (the paper, section 4.2); an infinite one is their mean. Blurred are the queries of the
picture as attention gets them, after norm and position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from studio.controls.bounds import within
from studio.controls.control import AttentionControl, Call, Need, Write
from studio.errors import StudioError
from studio.models.family import Site
from studio.sampling.guidance.weak import attention_changed, away_from
from studio.values import Guidance, Step

MOST_BLUR = 64.0


def smoothed_energy(
    guidance: Guidance | None = None,
    scale: float = 1.5,
    blocks: Sequence[int] = (),
    start: float = 0.0,
    end: float = 1.0,
    blur: float = 0.0,
) -> Guidance:
    """`guidance` away from the network with blurred attention in `blocks` (numbers of joint blocks; none =
    those that suit). scale 0..10, 0 = neutral.

    blur: the Gaussian's sigma in tokens, up to 64; 0 = infinite: all queries are their mean.
    """
    within("blur", blur, 0, MOST_BLUR)
    around = attention_changed(
        "Smoothed-energy guidance", blocks, lambda sites, roles: BlurQueries(sites, blur, roles)
    )
    given = (("blocks", tuple(blocks)), ("blur", float(blur)))
    return away_from("smoothed", guidance, around, scale, start, end, given)


@dataclass(frozen=True)
class BlurQueries(AttentionControl):
    """Blurred queries of the picture's tokens at `sites` (numbers), in every row of the call."""

    technique: ClassVar[str] = ""

    sites: tuple[int, ...]
    blur: float = 0.0
    roles: tuple[str, ...] = ("weak",)

    @property
    def name(self) -> str:
        return "smoothed energy"

    def needs(self, site: Site, step: Step) -> Need:
        return Need.EDIT if site.index in self.sites else Need.NONE

    def writes(self, site: Site, step: Step) -> tuple[Write, ...]:
        return tuple(Write(role, "image", "q") for role in self.roles)

    def edit(self, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        span = call.layout.span("image")
        q = call.q.clone()
        q[:, :, span] = blurred(call.q[:, :, span], call.layout.grid, self.blur)
        return q, call.k, call.v


def blurred(q: torch.Tensor, grid: tuple[int, int], blur: float) -> torch.Tensor:
    """Queries (row, head, token, channel) of a grid of tokens (rows, columns) under a Gaussian of `blur`
    tokens; 0 = infinite. At the edges the weights that lie outside are left out."""
    if blur == 0:
        return q.mean(2, keepdim=True).expand_as(q)
    if math.prod(grid) != q.shape[2]:
        raise StudioError(f"The picture's {q.shape[2]} tokens are no grid of {grid[0]} x {grid[1]}.")
    for axis, length in enumerate(grid):
        at = torch.arange(length, dtype=torch.float32, device=q.device)
        weights = torch.exp(-((at[:, None] - at[None]) ** 2) / (2 * blur**2))
        weights = (weights / weights.sum(1, keepdim=True)).to(q.dtype)
        rows, heads, _, channels = q.shape
        square = q.reshape(rows, heads, *grid, channels).movedim(2 + axis, -2)
        q = (weights @ square).movedim(-2, 2 + axis).reshape(rows, heads, -1, channels)
    return q

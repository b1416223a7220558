"""What a run leaves behind besides its picture: maps, clean estimates, the path of an inversion.

`studio.values` has all of these names too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from studio.errors import StudioError

if TYPE_CHECKING:
    import torch

    from studio.values import Conditioning, Latent, Sigmas


@dataclass(frozen=True, eq=False)
class SeenMap:
    """One map that a control read: whose (`name`), where (`site`, its `index` among the joint sites, `block`,
    `kind`), when (`step`, `sigma`), for which row role; `values`: batch, grid row, grid column, group, fp32
    on CPU. A mean over several sites or steps has the empty site or the step -1. `labels`: what the groups
    stand for, empty if unknown. A map of the whole picture (no grid) is batch, 1, 1, group."""

    name: str
    role: str
    values: torch.Tensor = field(repr=False)
    site: str = ""
    block: int = -1
    kind: str = ""
    step: int = -1
    sigma: float = 0.0
    index: int = -1
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Estimate:
    """The clean estimate of a step: `latent` is batch, channel, height, width, fp32 on CPU."""

    step: int
    sigma: float
    latent: torch.Tensor = field(repr=False)


@dataclass(frozen=True, eq=False)
class KeptValues:
    """The attention values of one network call on a picture's path: `step` of the inversion's schedule,
    whether at its middle (`half`), and the `site`. `image`, `text`: batch, head, token, channel, fp32 on
    CPU."""

    step: int
    half: bool
    site: str
    image: torch.Tensor = field(repr=False)
    text: torch.Tensor = field(repr=False)


@dataclass(frozen=True, eq=False)
class Inversion:
    """A picture's path up to noise, as a network led by `positive` sees it.

    `states`: level, batch, channel, height, width, fp32 on CPU: number j lies at `sigmas.values[j]`, the last
    one is the picture. `sampler`: the one that walks this path back. `values`: attention values of the first
    steps of the way back.
    """

    latent: Latent
    positive: Conditioning
    sigmas: Sigmas
    sampler: str
    states: torch.Tensor = field(repr=False)
    values: tuple[KeptValues, ...] = ()

    def level(self, sigma: float) -> int:
        """The number of a noise level; StudioError if the path has none there."""
        for index, known in enumerate(self.sigmas.values):
            if abs(known - sigma) < 1e-6:
                return index
        raise StudioError(
            f"The picture was inverted with another schedule: its path has no noise level {sigma:.4g}.",
            hint="Connect one Schedule to both Invert picture and Sample.",
            socket="sigmas",
        )

    def at(self, sigma: float) -> torch.Tensor:
        """The state at a noise level: batch, channel, height, width."""
        return self.states[self.level(sigma)]


@dataclass(frozen=True, eq=False)
class Seen:
    """What was looked at during a run; empty unless an attachment asked for it."""

    maps: tuple[SeenMap, ...] = ()
    estimates: tuple[Estimate, ...] = ()

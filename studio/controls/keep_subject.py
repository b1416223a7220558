"""Keep the subject: the keys and values of a subject in a reference picture are shown to the new picture at
the sites that carry it (arXiv 2507.15249, FreeCus, ICCV 2025).

The reference is a trajectory of its own beside the target: after each step it is set back to the picture at
its noise level, so that nothing is stored and no sites are counted. FreeCus runs it on a schedule with mu ->
-mu, cleaner than the target at the same step: the odds of noise, sigma / (1 - sigma), are divided by
e^(2 mu), which is the square of the shift. Network and latent of the reference are both at that level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from studio.controls.bounds import some_step, window, within
from studio.controls.control import (
    AttentionControl,
    Branch,
    Call,
    Extension,
    Maps,
    Need,
    Write,
    in_range,
)
from studio.controls.sites import check_sites
from studio.controls.spans import pairs
from studio.controls.tokens import mask_share
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Conditioning, Mask, Step

ROLE = "reference"
# a shift of 10, squared
MOST_CLEANER = 100.0


@dataclass(frozen=True, eq=False)
class KeepSubject(AttentionControl):
    """`picture`: the encoded reference, 1, channel, height, width, of the size that is painted; `noise` of
    the same shape is laid over it at every level. `prompt`: what the reference shows. `mask`: where the
    subject is, None = the whole picture.

    `strength`: weight of the subject's tokens in the attention of the new picture, 0 = not there, 1 = as they
    are. `key_scale`, `text_scale`: factors on the keys of the subject and of the text (1.1 in FreeCus; the
    text's alone changes a picture). `cleaner`: what the reference's odds of noise are divided by, 1 = as
    noisy as the target, for Euler otherwise. `sites`: joint sites; `start`, `end`: shares of the run.
    """

    technique: ClassVar[str] = "subject"
    step_end_in_memory: ClassVar[bool] = False

    picture: torch.Tensor = field(repr=False)
    noise: torch.Tensor = field(repr=False)
    prompt: Conditioning
    sites: tuple[int, ...]
    mask: Mask | None = None
    strength: float = 1.0
    key_scale: float = 1.1
    text_scale: float = 1.1
    start: float = 0.0
    end: float = 1.0
    cleaner: float = 1.0
    negative: Conditioning | None = None

    def __post_init__(self) -> None:
        window(self.start, self.end)
        within("strength", self.strength, 0, 10)
        within("key_scale", self.key_scale, 0, 10)
        within("text_scale", self.text_scale, 0, 10)
        within("cleaner", self.cleaner, 1, MOST_CLEANER)
        if self.picture.shape[0] != 1 or self.picture.shape != self.noise.shape:
            raise StudioError(
                f"The reference is {tuple(self.picture.shape)} with noise of {tuple(self.noise.shape)}.",
                hint="Give one encoded picture, and noise of the same shape.",
                socket="reference",
            )

    @property
    def only_sampler(self) -> str:
        # stages between two levels of the run would leave the reference's own schedule
        return "" if self.cleaner == 1 else "euler"

    @property
    def empty(self) -> bool:
        """Whether the mask shows nothing."""
        return self.mask is not None and not self.mask.values.any()

    def is_neutral(self) -> bool:
        nothing = self.empty and self.text_scale == 1
        return nothing or self.strength == 0 or not self.sites or self.start == self.end

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        check_sites(self.sites, sites, socket="blocks")
        some_step("Keeping the subject", self.start, self.end, steps, socket="end")

    def branches(self) -> tuple[Branch, ...]:
        level = None if self.cleaner == 1 else self.level
        return (Branch(ROLE, self.prompt, self.negative, self._at, level),)

    def needs(self, site: Site, step: Step) -> Need:
        if not (site.joint and site.index in self.sites and in_range(step, self.start, self.end)):
            return Need.NONE
        edit = Need.NONE if self.text_scale == 1 else Need.EDIT
        return edit | (Need.NONE if self.empty else Need.EXTEND)

    def writes(self, site: Site, step: Step) -> tuple[Write, ...]:
        return (Write("target", "text", "k"),) if Need.EDIT in self.needs(site, step) else ()

    def edit(self, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows, text = list(call.layout.rows("target")), call.layout.span("text")
        if not rows:
            return call.q, call.k, call.v
        k = call.k.clone()
        k[rows, :, text] = call.k[rows, :, text] * self.text_scale
        return call.q, k, call.v

    def extend(self, call: Call) -> Sequence[Extension]:
        rows, reference = pairs(call.layout, "target", ROLE)
        if not rows:
            return ()
        tokens = torch.arange(call.layout.size("image"), device=call.k.device)
        if self.mask is not None:
            tokens = tokens[subject_tokens(self.mask, call.layout.grid).to(tokens.device)]
        tokens = tokens + call.layout.span("image").start
        k, v = (x[reference][:, :, tokens] for x in (call.k, call.v))
        return (Extension(self.name, tuple(rows), k * self.key_scale, v, self.strength),)

    def step_end(
        self, latents: Mapping[str, torch.Tensor], step: Step, maps: Maps
    ) -> Mapping[str, torch.Tensor]:
        now = latents[ROLE]
        return {ROLE: self._at(step.sigma_next).to(now).expand_as(now)}

    def level(self, sigma: float) -> float:
        """The reference's noise level where the run stands at `sigma`, both 0..1; 0 and 1 stay."""
        return sigma if self.cleaner == 1 else sigma / (sigma + self.cleaner * (1 - sigma))

    def _at(self, sigma: float) -> torch.Tensor:
        """The reference where the run stands at `sigma`: 1, channel, height, width, fp32."""
        level = torch.tensor(self.level(sigma), dtype=torch.float32)
        return level * self.noise.float() + (1.0 - level) * self.picture.float()


def subject_tokens(mask: Mask, grid: tuple[int, int]) -> torch.Tensor:
    """The image tokens that a mask touches at all, bool, row by row over the grid."""
    return torch.from_numpy(mask_share(mask, grid).reshape(-1) > 0)

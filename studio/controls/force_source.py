"""The source of an edit kept on a real picture's own path: after every step its latent is what the inversion
found at that noise level (controls.md 7 (a), "Real images").

So attention edits and blends, made for two generated pictures, work on a real one; the target should start
from the inverted latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from studio.controls.control import AttentionControl, Branch, Maps
from studio.models.family import Site
from studio.values import Inversion, Step

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ForceSource(AttentionControl):
    """Forces the trajectory "source" to `inversion.states`; an edit beside it must have the prompt with which
    the picture was inverted. Any sampler; the run's noise levels must be among the inversion's."""

    technique: ClassVar[str] = "force"
    # a sampler remembers clean estimates or slopes, and what is stored are noisy states
    step_end_in_memory: ClassVar[bool] = False

    inversion: Inversion

    def branches(self) -> tuple[Branch, ...]:
        return (Branch("source", self.inversion.positive, start=self.inversion.at),)

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        for step in steps:
            self.inversion.level(step.sigma)
            self.inversion.level(step.sigma_next)

    def step_end(
        self, latents: Mapping[str, torch.Tensor], step: Step, maps: Maps
    ) -> Mapping[str, torch.Tensor]:
        source = latents["source"]
        return {"source": self.inversion.at(step.sigma_next).to(source).expand_as(source)}

"""Text-localised layers: other words at a few sites only (arXiv 2502.09935, "Precise Parameter Localization
for Textual Generation in Diffusion Models", ICLR 2025).

Some sites carry one kind of content, such as the written word or a colour. There the picture's own row takes
the keys and values of the text from a row that follows the other prompt; everything else stays as it was.
The paper calls our picture the source and the other prompt the target; which span SD3 substitutes is our
reading of it: the text, not the whole sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from studio.controls.bounds import some_step, window
from studio.controls.control import Branch, Call, Need, Several, Write, in_range
from studio.controls.sites import check_sites
from studio.controls.spans import copied
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Conditioning, Step


@dataclass(frozen=True)
class TextLayers(Several):
    """`words` is the other prompt, a trajectory "source" of its own; the run's picture is the one that
    changes.

    `sites`: indices of joint sites, none = nothing changes. `start`, `end`: shares of the run, 0..1; starting
    later keeps more of the picture.
    """

    technique: ClassVar[str] = "text_layers"

    words: Conditioning
    sites: tuple[int, ...]
    start: float = 0.0
    end: float = 1.0
    negative: Conditioning | None = None
    led_by: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        window(self.start, self.end)

    @property
    def only_name(self) -> str:
        return f"{self.technique} in blocks {', '.join(map(str, self.sites))}"

    def is_neutral(self) -> bool:
        return not self.sites or self.start == self.end

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        check_sites(self.sites, sites, socket="blocks")
        some_step("The words act", self.start, self.end, steps, socket="start")

    def branches(self) -> tuple[Branch, ...]:
        return (Branch("source", self.words, self.negative),)

    def needs(self, site: Site, step: Step) -> Need:
        here = site.joint and site.index in self.sites and in_range(step, self.start, self.end)
        return Need.EDIT if here else Need.NONE

    def writes(self, site: Site, step: Step) -> tuple[Write, ...]:
        if self.needs(site, step) is Need.NONE:
            return ()
        return Write("target", "text", "k"), Write("target", "text", "v")

    def edit(self, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        k, v = (copied(x, call.layout, ("text",), "target", "source") for x in (call.k, call.v))
        return call.q, k, v


def with_pooled(prompt: Conditioning, words: Conditioning) -> Conditioning:
    """A prompt's tokens with the pooled vector of the other prompt: with all sites replaced the picture is
    then the other prompt's. StudioError for families without a pooled vector."""
    if prompt.pooled is None or words.pooled is None:
        raise StudioError(
            f"Prompts of family {prompt.family!r} have no pooled vector.",
            hint="Choose 'own'.",
            socket="pooled",
        )
    return replace(prompt, pooled=words.pooled)

"""Normalized Attention Guidance: a negative prompt inside attention (arXiv 2505.21179).

For models without classifier-free guidance, and for few steps: the negative prompt stands behind the prompt
in the same network call, and each image token asks twice, once the prompt and once the negative prompt. No
second network pass. Deviation from the released code: both share the time embedding and the pooled vector of
the positive row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from studio.controls.bounds import some_step, window, within
from studio.controls.control import (
    POSITIVE,
    AttentionControl,
    Call,
    Need,
    Outputs,
    Owns,
    Pass,
    PassSet,
    TextSegment,
    in_range,
)
from studio.controls.crop import Box, crop_region
from studio.controls.tokens import ORDER, Prompt, cover, joint_mask, reference_spans
from studio.errors import StudioError
from studio.models.family import Site, TokenLayout
from studio.values import Conditioning, Region, Step

L1, L2 = "l1", "l2"
MOST_SCALE = 30.0
# Up to which part of the steps NAG acts in the ready workflow of twenty steps, and where it is measured:
# beside guidance later steps change what was right, without it nothing (docs/measured.md). Few need all.
UNTIL = 0.7


@dataclass(frozen=True)
class Avoid(AttentionControl):
    """What NAG and NASA share: the negative texts, and the pass of the image over them.

    `negative`: for the whole picture, cut to its own tokens; None = none. `regions`: (region, its negative
    text) pairs, seen by the region's image tokens alone. Rows of a negative prompt are left out.
    """

    negative: Conditioning | None = None
    regions: tuple[tuple[Region, Conditioning], ...] = ()
    start: float = 0.0
    end: float = 1.0
    overlap: str = ORDER
    # the pass of one network call and where it counts, shared by its sites; gone with its layout
    _made: WeakKeyDictionary[TokenLayout, dict[object, tuple[Pass, torch.Tensor | None]]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        window(self.start, self.end)

    def mixed(self, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        """What an image token gets from its two answers; row, head, token, channel each."""
        raise NotImplementedError

    def is_neutral(self) -> bool:
        return not (self._everywhere() or self._kept()) or self.start >= self.end

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        some_step("What you avoid", self.start, self.end, steps, socket="end")

    def segments(self, step: Step) -> tuple[TextSegment, ...]:
        if not in_range(step, self.start, self.end):
            return ()
        whole = self._everywhere()
        found = [] if whole is None else [TextSegment(f"{self.name}.avoid", whole)]
        active = self._active(step)
        return (*found, *(TextSegment(f"{self.name}.avoid.{i}", self.regions[i][1]) for i in active))

    def steady(self, step: Step) -> object:
        return tuple(segment.name for segment in self.segments(step))

    def cropped(self, part: Box) -> Avoid:
        """What is avoided everywhere, and what in the regions of this part."""
        found = ((crop_region(region, part), text) for region, text in self.regions)
        return replace(self, regions=tuple((region, text) for region, text in found if region is not None))

    def needs(self, site: Site, step: Step) -> Need:
        return Need.PASSES if site.joint and self.segments(step) else Need.NONE

    def owns(self, site: Site, step: Step) -> tuple[Owns, ...]:
        return (Owns(POSITIVE, outer=True),)

    def passes(self, call: Call) -> tuple[PassSet, ...]:
        made = self._made.setdefault(call.layout, {})
        key = (self._active(call.step), call.q.dtype)
        if key not in made:
            made[key] = self._pass(call, key[0])

        own, here = made[key]

        def combine(inner: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
            assert inner is not None
            texts = {span: tokens for span, tokens in outputs[0].items() if span.startswith("text/")}
            image = self.mixed(inner["image"], outputs[0]["image"])
            return {**texts, "image": image if here is None else torch.where(here, image, inner["image"])}

        return (PassSet(call.layout.rows(*POSITIVE), (own,), combine, outer=True),)

    def _pass(self, call: Call, active: tuple[int, ...]) -> tuple[Pass, torch.Tensor | None]:
        """Image and negative texts over image, references and negative texts; and the image tokens that any
        negative text speaks to, token, 1; None = all. No region's border stands in the way: those are the
        positive prompt's."""
        layout = call.layout
        prompts = []
        if self._everywhere() is not None:
            span = f"text/seg:{self.name}.avoid"
            prompts.append(Prompt(span, layout.size(span), np.ones(layout.size("image"))))
        share = cover(tuple(self.regions[i][0] for i in active), layout.grid, self.overlap).share
        for own, i in zip(share, active, strict=True):
            span = f"text/seg:{self.name}.avoid.{i}"
            bias = math.log(self.regions[i][0].strength)
            prompts.append(Prompt(span, layout.size(span), own, bias))
        references = reference_spans(layout)
        others = sum(layout.size(name) for name in references)
        mask = joint_mask(prompts, layout.size("image"), others=others, dtype=call.q.dtype)
        if mask is not None and others:
            mask = mask[:-others]
        mask = None if mask is None or (mask.dtype == torch.bool and bool(mask.all())) else mask
        texts = tuple(prompt.span for prompt in prompts)
        made = Pass(
            (*texts, "image"),
            (*texts, "image", *references),
            None if mask is None else mask.to(call.q.device)[None, None],
        )
        spoken_to = np.logical_or.reduce([prompt.share > 0 for prompt in prompts])
        here = None if bool(spoken_to.all()) else torch.from_numpy(spoken_to)[:, None].to(call.q.device)
        return made, here

    def _everywhere(self) -> Conditioning | None:
        return self.negative if self.negative is not None and self.negative.text.strip() else None

    def _kept(self) -> tuple[int, ...]:
        """The regions that avoid anything, by their place in the list."""
        return tuple(
            i
            for i, (region, negative) in enumerate(self.regions)
            if negative.text.strip() and region.strength > 0 and region.start < region.end
        )

    def _active(self, step: Step) -> tuple[int, ...]:
        regions = [region for region, _ in self.regions]
        return tuple(i for i in self._kept() if in_range(step, regions[i].start, regions[i].end))


@dataclass(frozen=True)
class Nag(Avoid):
    """Z~ = Z+ + (s - 1) (Z+ - Z-), cut back to `tau` times the norm of Z+, and `alpha` of it added in.

    s `scale` 1..30 (1 = nothing), `tau` > 0, `alpha` 0..1 (0 = nothing), `norm`: l1 over all channels of a
    token as in the paper, or l2 as in the released code.
    """

    technique: ClassVar[str] = "nag"
    scale: float = 5.0
    tau: float = 2.5
    alpha: float = 0.25
    norm: str = L1

    def __post_init__(self) -> None:
        super().__post_init__()
        within("scale", self.scale, 1, MOST_SCALE)
        within("tau", self.tau, 0.1, 100)
        within("alpha", self.alpha, 0, 1)
        if self.norm not in (L1, L2):
            raise StudioError(f"Norm {self.norm!r} is not possible.", hint=f"Possible: {L1}, {L2}.")

    def is_neutral(self) -> bool:
        return super().is_neutral() or self.scale == 1 or self.alpha == 0

    def mixed(self, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        # written as differences, so that equal answers give exactly the positive one
        pushed = torch.add(positive, positive - negative, alpha=self.scale - 1)
        ratio = self._size(pushed) / self._size(positive).clamp_min(1e-12)
        pushed *= (self.tau / ratio.clamp_min(self.tau)).to(pushed.dtype)
        return torch.lerp(positive, pushed, self.alpha)

    def _size(self, tokens: torch.Tensor) -> torch.Tensor:
        """The norm of each token over heads and channels: row, 1, token, 1; fp32."""
        wide = tokens.float()
        if self.norm == L1:
            return wide.abs().sum(dim=(1, 3), keepdim=True)
        return wide.square().sum(dim=(1, 3), keepdim=True).sqrt()

"""Perturbed-attention guidance (PAG, arXiv 2403.17377): away from a network in which, in some blocks, every
token sees itself alone.

`tokens` "image": the identity holds among the picture's tokens, which still see the text, as in diffusers'
PAG pipeline for SD3; "all": every token of the joint sequence, as its PerturbedAttentionGuidance does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from studio.controls.control import AttentionControl, Call, Need, Outputs, Owns, Pass, PassSet
from studio.errors import StudioError, did_you_mean
from studio.models.family import Site
from studio.sampling.guidance.weak import attention_changed, away_from
from studio.values import Guidance, Step

TOKENS = ("image", "all")


def perturbed_attention(
    guidance: Guidance | None = None,
    scale: float = 1.5,
    blocks: Sequence[int] = (),
    start: float = 0.0,
    end: float = 1.0,
    tokens: str = "image",
) -> Guidance:
    """`guidance` away from the network with perturbed attention in `blocks` (numbers of joint blocks; none =
    those that suit). scale 0..10, 0 = neutral."""
    if tokens not in TOKENS:
        hint = did_you_mean(tokens, TOKENS) or f"Possible: {', '.join(TOKENS)}."
        raise StudioError(f"There are no tokens {tokens!r}.", hint=hint, socket="tokens")
    around = attention_changed(
        "Perturbed-attention guidance", blocks, lambda sites, roles: SeeItself(sites, tokens)
    )
    given = (("blocks", tuple(blocks)), ("tokens", tokens))
    return away_from("perturbed", guidance, around, scale, start, end, given)


@dataclass(frozen=True)
class SeeItself(AttentionControl):
    """The identity as attention map at `sites` (numbers), in every row of the call."""

    technique: ClassVar[str] = ""

    sites: tuple[int, ...]
    tokens: str = "image"

    @property
    def name(self) -> str:
        return "perturbed attention"

    def needs(self, site: Site, step: Step) -> Need:
        return Need.PASSES if site.index in self.sites else Need.NONE

    def owns(self, site: Site, step: Step) -> tuple[Owns, ...]:
        return (Owns(),)

    def passes(self, call: Call) -> tuple[PassSet, ...]:
        layout = call.layout
        spans = sorted(layout.spans, key=lambda name: layout.spans[name].start)
        own = [name for name in spans if self.tokens == "all" or name.startswith("image")]
        rest = [name for name in spans if name not in own]
        mine = sum(layout.size(name) for name in own)
        itself = torch.eye(mine, dtype=torch.bool, device=call.q.device)
        others = sum(layout.size(name) for name in rest)
        seen = torch.ones(mine, others, dtype=torch.bool, device=call.q.device)
        passes = [Pass(tuple(own), (*own, *rest), torch.cat([itself, seen], 1)[None, None])]
        if rest:
            passes.append(Pass(tuple(rest), tuple(spans)))

        def combine(inner: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
            return {span: tokens for found in outputs for span, tokens in found.items()}

        return (PassSet(tuple(range(len(layout.roles))), tuple(passes), combine),)

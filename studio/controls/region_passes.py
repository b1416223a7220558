"""The attention passes of regions: who looks at whom, and how several looks become one (controls.md 7 (b)).

Where regions are kept apart there is a pass with borders and one without; the image takes (1 - ratio) of the
first and ratio of the second (arXiv 2411.02395). With ratio 0 nothing passes a border.

A region of strength s below 1 that is kept apart is so by s: its tokens take 1 - s of the answers without
borders (ours; a strength that only quietened its words would leave it without any). So towards 0 all is the
plain picture. Above 1, and where there are no borders, log(s) is added to the scores of its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from studio.controls.control import Call, Outputs, Pass, PassSet
from studio.controls.tokens import Bools, Prompt, joint_mask, reference_spans
from studio.models.family import TokenLayout

Rows = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Share:
    """What the answers without borders count, 0..1. `image`: one number, or one a token (token, 1); `rest`:
    for texts and references."""

    image: float | torch.Tensor
    rest: float

    @property
    def nothing(self) -> bool:
        return not isinstance(self.image, torch.Tensor) and self.rest == 0


@dataclass(frozen=True, eq=False)
class Weighed(PassSet):
    """`weights`: what each pass with queries of the picture counts for it; a number, or token, 1."""

    weights: tuple[float | torch.Tensor, ...] = (1.0,)


def share_of(ratio: float, strengths: Sequence[float], member: Bools, like: torch.Tensor) -> Share:
    """The share of the base at `ratio`, for regions of these strengths; member: region, token. What lies in
    no region, and all that is no picture, is kept apart as far as the strongest region is."""
    strong = np.minimum(np.array(strengths, dtype=np.float64), 1.0)
    rest = ratio + (1 - ratio) * (1 - float(strong.max(initial=0.0)))
    if not len(strong) or bool((strong == 1).all()):
        return Share(rest, rest)
    own = np.where(member, strong[:, None], 0.0).max(axis=0)
    shares = np.where(member.any(axis=0), ratio + (1 - ratio) * (1 - own), rest)
    return Share(torch.from_numpy(shares)[:, None].to(like.device, like.dtype), rest)


def pass_of(call: Call, prompts: Sequence[Prompt], apart: torch.Tensor | None) -> Pass:
    """One pass of these prompts, the image and its references. `apart` (token, token; bool): which image
    tokens see each other, None = all."""
    layout = call.layout
    references = reference_spans(layout)
    others = sum(layout.size(name) for name in references)
    mask = joint_mask(prompts, layout.size("image"), others=others, apart=apart, dtype=call.q.dtype)
    keys = (*(prompt.span for prompt in prompts), "image", *references)
    queries = (*(prompt.span for prompt in prompts if prompt.asks), "image", *references)
    return Pass(queries, keys, None if mask is None else mask.to(call.q.device)[None, None])


def strict_set(
    call: Call, rows: Rows, prompts: Sequence[Prompt], apart: torch.Tensor, share: Share
) -> Weighed:
    """Rows that read the regions' prompts, kept apart; the base text sees and, by `share`, tells all."""
    own = pass_of(call, prompts, apart)
    references = reference_spans(call.layout)
    queries = ("text",) if share.nothing else ("text", "image", *references)
    base = Pass(queries, ("text", "image", *references))

    def combine(_: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
        base, own = outputs
        return {**own, **_mixed(own, base, share), "text": base["text"]}

    return Weighed(rows, (base, own), combine, weights=_weights(share))


def negative_set(
    call: Call, rows: Rows, prompts: Sequence[Prompt], apart: torch.Tensor, share: Share
) -> Weighed:
    """Rows of the negative prompt, with the same borders; `prompts`: what single regions avoid.

    All regions read the negative prompt, so within the borders it sees only itself: what it had seen of one
    region it would tell the others in the next block. By `share` it is as without borders.
    """
    whole = call.layout.size("text")
    everywhere = Prompt("text", whole, torch.ones(call.layout.size("image")).numpy(), asks=False)
    own = pass_of(call, (everywhere, *prompts), apart)
    alone = Pass(("text",), ("text",))
    references = reference_spans(call.layout)
    spans = ("text", "image", *references)
    passes = (own, alone) if share.nothing else (own, alone, Pass(spans, spans))

    def combine(_: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
        own, text = {**outputs[0], **outputs[1]}, outputs[1]["text"]
        if share.nothing:
            return own
        base = outputs[2]
        return {**own, **_mixed(own, base, share), "text": torch.lerp(text, base["text"], share.rest)}

    return Weighed(rows, passes, combine)


def image_set(call: Call, rows: Rows, apart: torch.Tensor, share: Share) -> Weighed:
    """Rows at a site of the image alone: the same borders, without texts."""
    layout, references = call.layout, reference_spans(call.layout)
    spans = ("image", *references)
    others = sum(layout.size(name) for name in references)
    mask = joint_mask((), layout.size("image"), others=others, apart=apart)
    own = Pass(spans, spans, None if mask is None else mask.to(call.q.device)[None, None])
    passes = (own,) if share.nothing else (own, Pass(spans, spans))

    def combine(_: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
        return {**outputs[0], **_mixed(outputs[0], outputs[-1], share)}

    return Weighed(rows, passes, combine)


def unmasked_set(
    layout: TokenLayout, biases: Mapping[str, float], rows: Rows, ratio: float, like: torch.Tensor
) -> Weighed:
    """A block or step without borders: everything sees everything, all prompts included, and takes `ratio`
    of what it would be without them. `biases`: what is added to the scores of each prompt, by its name."""
    references = reference_spans(layout)
    shown = ("text", "image", *references)
    spans = ("text", *(f"text/seg:{name}" for name in biases), "image", *references)
    mask = None
    if any(biases.values()):
        added = {f"text/seg:{name}": bias for name, bias in biases.items()}
        keys = [torch.full((layout.size(name),), added.get(name, 0.0)) for name in spans]
        mask = torch.cat(keys).to(like.device, like.dtype)[None, None, None]
    everything = Pass(spans, spans, mask)
    if ratio == 0:
        return Weighed(rows, (everything,), lambda _, outputs: outputs[0])

    def combine(_: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
        base, own = outputs
        return {**own, **{name: torch.lerp(own[name], base[name], ratio) for name in base}}

    return Weighed(rows, (Pass(shown, shown), everything), combine, weights=(ratio, 1 - ratio))


def _weights(share: Share) -> tuple[Any, ...]:
    """Of the pass without borders and of the one with them."""
    return (1.0,) if share.nothing else (share.image, 1 - share.image)


def _mixed(own: Outputs, base: Outputs, share: Share) -> dict[str, torch.Tensor]:
    """(1 - share) own + share base, for the image and its references."""
    if share.nothing:
        return {}
    return {
        name: torch.lerp(own[name], base[name], share.image if name == "image" else share.rest)  # type: ignore[arg-type]
        for name in own
        if name.partition("/")[0] == "image"
    }

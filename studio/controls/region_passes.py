"""The attention passes of regions: who looks at whom, and how several looks become one (controls.md 7 (b)).

Where regions are kept apart there is a pass with borders and one without; the image takes (1 - ratio) of the
first and ratio of the second (arXiv 2411.02395). With ratio 0 nothing passes a border.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from studio.controls.control import Call, Outputs, Pass, PassSet
from studio.controls.tokens import Prompt, joint_mask, reference_spans
from studio.models.family import TokenLayout

Rows = tuple[int, ...]


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
    call: Call, rows: Rows, prompts: Sequence[Prompt], apart: torch.Tensor, ratio: float
) -> PassSet:
    """Rows that read the regions' prompts, kept apart; the base text sees and, by `ratio`, tells all."""
    own = pass_of(call, prompts, apart)
    references = reference_spans(call.layout)
    queries = ("text",) if ratio == 0 else ("text", "image", *references)
    base = Pass(queries, ("text", "image", *references))

    def combine(_: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
        base, own = outputs
        return {**own, **_mixed(own, base, ratio), "text": base["text"]}

    return PassSet(rows, (base, own), combine)


def negative_set(
    call: Call, rows: Rows, prompts: Sequence[Prompt], apart: torch.Tensor, ratio: float
) -> PassSet:
    """Rows of the negative prompt, with the same borders; `prompts`: what single regions avoid.

    All regions read the negative prompt, so within the borders it sees only itself: what it had seen of one
    region it would tell the others in the next block. By `ratio` it is as without borders.
    """
    whole = call.layout.size("text")
    everywhere = Prompt("text", whole, torch.ones(call.layout.size("image")).numpy(), asks=False)
    own = pass_of(call, (everywhere, *prompts), apart)
    alone = Pass(("text",), ("text",))
    references = reference_spans(call.layout)
    spans = ("text", "image", *references)
    passes = (own, alone) if ratio == 0 else (own, alone, Pass(spans, spans))

    def combine(_: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
        own, text = {**outputs[0], **outputs[1]}, outputs[1]["text"]
        if ratio == 0:
            return own
        base = outputs[2]
        return {**own, **_mixed(own, base, ratio), "text": torch.lerp(text, base["text"], ratio)}

    return PassSet(rows, passes, combine)


def image_set(
    layout: TokenLayout, rows: Rows, apart: torch.Tensor, ratio: float, like: torch.Tensor
) -> PassSet:
    """Rows at a site of the image alone: the same borders, without texts."""
    references = reference_spans(layout)
    spans = ("image", *references)
    others = sum(layout.size(name) for name in references)
    mask = joint_mask((), layout.size("image"), others=others, apart=apart)
    own = Pass(spans, spans, None if mask is None else mask.to(like.device)[None, None])
    passes = (own,) if ratio == 0 else (own, Pass(spans, spans))

    def combine(_: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
        return {**outputs[0], **_mixed(outputs[0], outputs[-1], ratio)}

    return PassSet(rows, passes, combine)


def unmasked_set(layout: TokenLayout, names: Iterable[str], rows: Rows) -> PassSet:
    """A block or step without borders: everything sees everything, all prompts included."""
    spans = ("text", *(f"text/seg:{name}" for name in names), "image", *reference_spans(layout))
    return PassSet(rows, (Pass(spans, spans),), lambda _, outputs: outputs[0])


def _mixed(own: Outputs, base: Outputs, ratio: float) -> dict[str, torch.Tensor]:
    """(1 - ratio) own + ratio base, for the image and its references."""
    if ratio == 0:
        return {}
    return {
        name: torch.lerp(own[name], base[name], ratio) for name in own if name.partition("/")[0] == "image"
    }

"""Negative prompts that need no guidance and no second pass of the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from studio.api import Attachment, Choice, Context, Model, Prompt, Refusal, Slider, View, node
from studio.controls.nasa import WARNING, Nasa
from studio.controls.negative import L1, L2, Nag
from studio.controls.tokens import ORDER, SHARE
from studio.models.family import parts_of
from studio.models.text import encode_prompt
from studio.models.words import segment_conditioning
from studio.nodes.prompt import outline, review_cut
from studio.nodes.regions import named, review_texts, warn_of_text
from studio.values import Conditioning, Layout, Region


def review_avoid(view: View) -> Iterator[Refusal]:
    """Beside the range and the regions' texts: what to avoid is longer than the model reads."""
    yield from review_texts(view)
    text = view.widgets.get("avoid")
    if isinstance(text, str):
        yield from review_cut(outline(view), text, "avoid")


@node(group="Steer", title="Avoid (NAG)", technique="nag", review=review_avoid)
def nag(
    model: Model,
    avoid: Prompt = "",
    layout: Layout | None = None,
    scale: Annotated[float, Slider(1, 30, 0.5)] = 5.0,
    tau: Annotated[float, Slider(0.1, 20, 0.1)] = 2.5,
    alpha: Annotated[float, Slider(0, 1, 0.05)] = 0.25,
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    norm: Annotated[str, Choice(L1, L2)] = L1,
    overlap: Annotated[str, Choice(ORDER, SHARE)] = ORDER,
    *,
    ctx: Context,
) -> Attachment:
    """Keep things out of the picture without guidance and without a second pass: for fast models, and for
    those that know no negative prompt. Beside guidance with a negative prompt both act.

    avoid: what should not be there
    layout: its regions avoid what their own negative prompts say, each at its place
    scale: how hard it pushes away; 1 = not at all
    tau: how far it may go; too much makes colours burn
    alpha: how much of it is used; 0 = nothing
    start: from which part of the steps on
    end: up to which part of the steps; of many steps 0.7 is enough, costs less and keeps more of the rest
    norm: how size is measured; l1 as in the paper, l2 as in its code
    overlap: as at Regions: order lets the later region avoid alone where two lie over each other; share both
    """
    negative, regions = _texts(model, avoid, layout, ctx)
    return Nag(  # type: ignore[return-value]
        negative, regions, start, end, overlap, scale=scale, tau=tau, alpha=alpha, norm=norm
    )


@node(group="Steer", title="Avoid (NASA)", technique="nasa", review=review_avoid)
def nasa(
    model: Model,
    avoid: Prompt = "",
    layout: Layout | None = None,
    alpha: Annotated[float, Slider(0, 1, 0.01)] = 0.1,
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    overlap: Annotated[str, Choice(ORDER, SHARE)] = ORDER,
    *,
    ctx: Context,
) -> Attachment:
    """An older way to keep things out, for comparing. Pictures may turn grey or noisy; Avoid (NAG) does the
    same job without that.

    avoid: what should not be there
    layout: its regions avoid what their own negative prompts say, each at its place
    alpha: how much of it is taken away; 0 = nothing
    start: from which part of the steps on
    end: up to which part of the steps
    overlap: as at Regions: order lets the later region avoid alone where two lie over each other; share both
    """
    negative, regions = _texts(model, avoid, layout, ctx)
    control = Nasa(negative, regions, start, end, overlap, alpha=alpha)
    if not control.is_neutral():
        ctx.warn(WARNING)
    return control  # type: ignore[return-value]


def _texts(
    model: Model, avoid: str, layout: Layout | None, ctx: Context
) -> tuple[Conditioning | None, tuple[tuple[Region, Conditioning], ...]]:
    """What to avoid everywhere and in regions, encoded; says which words the model does not know."""
    parts = parts_of(model)
    ctx.policy.check_prompt(avoid, socket="avoid")
    if avoid.strip():
        for warning in encode_prompt(parts, avoid, model.title, ctx.kept)[1]:
            ctx.warn(warning)
    for place, region in enumerate(layout.regions if layout else (), 1):
        warn_of_text(parts, model.title, named(region, place), region.negative, ctx)
    regions = [region for region in (layout.regions if layout else ()) if region.negative.strip()]
    return (
        segment_conditioning(parts, avoid, kept=ctx.kept) if avoid.strip() else None,
        tuple((r, segment_conditioning(parts, r.negative, kept=ctx.kept)) for r in regions),
    )

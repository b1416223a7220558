"""Change a real picture: FlowEdit, inversion and what builds on it, steering."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, NamedTuple, cast

from studio.api import (
    Attachment,
    Choice,
    Conditioning,
    Context,
    Guidance,
    Latent,
    Mask,
    Model,
    Number,
    Refusal,
    Sampler,
    Sigmas,
    Slider,
    StudioError,
    View,
    Wrap,
    node,
)
from studio.controls.force_source import ForceSource
from studio.controls.inject_v import InjectValues
from studio.models.family import parts_of
from studio.nodes.guidance_checks import review_guidance
from studio.nodes.progress import telling
from studio.nodes.sample import Sampled, sampled
from studio.nodes.steer_checks import review_kept, review_put_back
from studio.nodes.together import review_attachments
from studio.sampling.flow_edit import MOST_AVERAGED, flow_edit
from studio.sampling.guidance.flowchef import FORCE, flowchef
from studio.sampling.inversion import METHODS, invert, inverted
from studio.sampling.lead import latent_mask
from studio.sampling.previews import preview
from studio.sampling.rf_inversion import rf_inversion as restyle
from studio.values import Inversion, StepResult


class Inverted(NamedTuple):
    """The noise that a picture became, and its whole path there."""

    latent: Latent
    inversion: Inversion


def review_range(view: View) -> Iterator[Refusal]:
    """A range that ends before it starts."""
    start, end = view.widgets.get("start"), view.widgets.get("end")
    if isinstance(start, (int, float)) and isinstance(end, (int, float)) and start > end:
        yield Refusal(f"The range ends at {end:g}, before its start at {start:g}.", "Swap them.", "end")
    yield from review_attachments(view)
    yield from review_guidance(view)


def review_flow_edit(view: View) -> Iterator[Refusal]:
    """Attachments that FlowEdit cannot use."""
    yield from review_attachments(view)
    for source in view.feeding("attachments"):
        if source.technique in ("force", "inject_v", "subject"):
            yield Refusal(
                f"{source.title!r} works with Sample, not with FlowEdit, which needs no stored path.",
                "Disconnect it.",
                "attachments",
            )


@node(group="Edit a picture", title="Edit picture (FlowEdit)", resources="gpu", review=review_flow_edit)
def edit_picture(
    model: Model,
    source: Conditioning,
    target: Conditioning,
    negative: Conditioning,
    picture: Latent,
    sigmas: Sigmas,
    mask: Mask | None = None,
    attachments: list[Attachment] = [],  # noqa: B006 - read only
    strength: Annotated[float, Slider(0, 1, 0.01)] = 0.66,
    source_scale: Annotated[float, Slider(0, 30, 0.1)] = 1.5,
    target_scale: Annotated[float, Slider(0, 30, 0.1)] = 5.5,
    free: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    average: Annotated[int, Slider(1, MOST_AVERAGED, 1)] = 1,
    *,
    ctx: Context,
) -> Sampled:
    """Change a real picture by describing it before and after; what both prompts share stays.

    source: what the picture shows now
    target: what it should show: the same words, with the change
    negative: what both should avoid; usually empty
    picture: an encoded picture
    mask: where the picture may change, white; empty = everywhere
    attachments: edits, local blend, regions or word weights that should also act
    strength: how far the change may go: the share of the steps that edit; 0 = untouched
    source_scale: how firmly the old prompt is read; for SD3 about 3.5
    target_scale: how firmly the new prompt is followed; for SD3 about 13.5
    free: the share of the steps, at the end, that follow the new prompt alone; 0 keeps most of the picture
    average: noises averaged in each step: steadier, and as many times slower
    """
    parts = parts_of(model)
    steps = [math.floor(share * sigmas.steps + 1e-9) for share in (strength, free)]
    ctx.policy.check_steps(steps[0] * average, socket="average")
    if strength and not steps[0]:
        ctx.warn(f"A strength of {strength:g} is less than one of {sigmas.steps} steps: nothing changes.")

    run = flow_edit(
        parts,
        source,
        target,
        negative,
        picture,
        sigmas,
        n_max=steps[0],
        n_min=min(steps),
        n_avg=average,
        source_scale=source_scale,
        target_scale=target_scale,
        mask=mask,
        attachments=attachments,
        on_step=telling(parts, ctx),
    )
    return sampled(run, ctx)


@node(group="Edit a picture", title="Invert picture", resources="gpu", review=review_kept)
def invert_picture(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    picture: Latent,
    sigmas: Sigmas,
    method: Annotated[str, Choice(*METHODS)] = "midpoint",
    scale: Annotated[float, Slider(0, 30, 0.1)] = 1.0,
    keep_values: Annotated[int, Number(0, 100, 1)] = 1,
    keep_from: Annotated[float, Slider(0, 1, 0.05)] = 0.5,
    *,
    ctx: Context,
) -> Inverted:
    """Find the noise from which the model would have painted this picture; Sample goes on from it.

    positive: what the picture shows
    negative: only counts at a scale other than 1
    picture: an encoded picture
    sigmas: the same Schedule as that of Sample
    method: use the sampler of the same name; midpoint is RF-Solver, midpoint_reuse FireFlow at half its cost
    scale: guidance on the way to noise; 1 comes back most exactly
    keep_values: for "Put values back": of how many steps the model's inner values are kept; needs memory
    keep_from: from where in the network on; 0.5 = its second half
    """
    parts = parts_of(model)
    inversion = invert(
        parts,
        positive,
        negative,
        picture,
        sigmas,
        method=method,
        scale=scale,
        keep_values=keep_values,
        keep_from=keep_from,
        on_step=telling(parts, ctx, latents=True),
    )
    return Inverted(inverted(inversion), inversion)


@node(group="Edit a picture", title="Follow the picture", technique="force")
def follow_picture(inversion: Inversion) -> Attachment:
    """Lets "Edit by prompt" work on a real picture: its source stays on the picture's own path.

    inversion: from Invert picture, whose latent starts Sample; its prompt is the source of the edit
    """
    return cast(Attachment, ForceSource(inversion))


@node(group="Edit a picture", title="Put values back", technique="inject_v", review=review_put_back)
def inject_values(
    inversion: Inversion, steps: Annotated[int, Number(0, 100, 1)] = 1, words: bool = True
) -> Attachment:
    """Keeps a real picture's structure: in the first steps the model's inner values are those of the picture.

    inversion: from Invert picture; use the sampler of its method
    steps: how many first steps; 1 is usual, up to 5 keep more; 0 = none
    words: whether the values of the prompt's words are put back too
    """
    return cast(Attachment, InjectValues(inversion, steps, words))


@node(group="Edit a picture", title="Restyle picture (RF-Inversion)", resources="gpu", review=review_range)
def restyle_picture(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    picture: Latent,
    sigmas: Sigmas,
    sampler: Sampler,
    guidance: Guidance,
    mask: Mask | None = None,
    attachments: list[Attachment] = [],  # noqa: B006 - read only
    faithful: Annotated[float, Slider(0, 1, 0.01)] = 0.9,
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.01)] = 0.25,
    decay: Annotated[float, Slider(0, 10, 0.1)] = 0.0,
    gamma: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
    *,
    ctx: Context,
) -> Sampled:
    """Paint a real picture anew in another style or with another subject, keeping its build.

    positive: what the new picture should show
    picture: an encoded picture
    mask: where the picture may change, white; empty = everywhere
    faithful: how strongly the first steps are drawn to the picture (eta); 0 = not at all, 1 = wholly
    start: where the pull begins, as a share of the steps
    end: where it ends; later is more faithful
    decay: how quickly the pull weakens over the run; 0 = not at all
    gamma: how typical the noise is made from which the new picture grows
    """
    parts = parts_of(model)
    total = 2 * sigmas.steps
    acting = [math.floor(share * sigmas.steps + 1e-9) for share in (start, end)]
    if faithful and start < end and acting[0] == acting[1]:
        ctx.warn(f"From {start:g} to {end:g} lies none of {sigmas.steps} steps: nothing is pulled.")

    def there(result: StepResult) -> None:
        ctx.step(result.step.index + 1, total, lambda: preview(parts, result.latent))

    def back(result: StepResult) -> None:
        ctx.step(sigmas.steps + result.step.index + 1, total, lambda: preview(parts, result.denoised))

    run = restyle(
        parts,
        positive,
        negative,
        picture,
        sigmas,
        sampler,
        guidance,
        gamma=gamma,
        eta=faithful,
        start=start,
        end=end,
        decay=decay,
        mask=mask,
        attachments=attachments,
        on_invert=there,
        on_step=back,
    )
    return sampled(run, ctx)


@node(group="Edit a picture", title="Steer to picture (FlowChef)")
def steer_to_picture(
    picture: Latent,
    mask: Mask | None = None,
    force: Annotated[float, Slider(0, 1, 0.005)] = FORCE,
    end: Annotated[float, Slider(0, 1, 0.01)] = 0.2,
    hold: Annotated[int, Number(0, 1000, 1)] = 1,
    repeats: Annotated[int, Slider(1, 20, 1)] = 1,
    guide_inside: bool = False,
) -> Wrap:
    """Steers a run towards a picture in its first steps; for the wraps of Sample, with the sampler euler.

    picture: an encoded picture in the size of the canvas
    mask: where the new picture is free, white; elsewhere it is drawn to the old one; empty = drawn everywhere
    force: how much of the way to the picture a step goes (kappa); 0 = none, 1 = all of it. A little
        goes far while all is noise: more than 0.03 keeps what should change, 0.1 breaks the picture. Fewer
        steps bear more
    end: where steering ends, as a share of the steps; 1 = never
    hold: how many first steps are drawn to the whole picture, inside the mask too
    repeats: how often a step is steered, without any cost: twice is about twice the force
    guide_inside: with a mask: guidance counts inside it only, as published; the rest follows the prompt alone
    """
    if picture.tensor is None:
        raise StudioError(
            "There is no picture to steer towards: the canvas is empty.",
            hint="Connect Encode picture.",
            socket="picture",
        )
    inside = latent_mask(mask, picture, picture.tensor)
    return flowchef(picture, force, end, hold, repeats, inside, guide_inside)

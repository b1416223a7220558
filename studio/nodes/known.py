"""Inverse problems in pixels: what is known of a picture, and the picture behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from studio.api import (
    Choice,
    Conditioning,
    Context,
    Guidance,
    Image,
    Mask,
    Model,
    Refusal,
    Seed,
    Sigmas,
    Slider,
    View,
    Wrap,
    node,
)
from studio.models.family import parts_of
from studio.nodes.progress import telling
from studio.nodes.sample import Sampled, sampled
from studio.sampling.guidance.flowchef_known import flowchef_known
from studio.sampling.measurement import (
    BLURS,
    MOST_RADIUS,
    MOST_SHRINK,
    Kernel,
    Measurement,
    blur_kernel,
    degraded,
    kernel_of,
)
from studio.sampling.red_diff import red_diff_known


class Degraded(NamedTuple):
    """A picture made worse, and what is known by it."""

    image: Image
    known: Measurement


def review_known(view: View) -> Iterator[Refusal]:
    """Nothing left to find, or two blurs."""
    nothing = view.widgets.get("blur") == "none" or view.widgets.get("radius") == 0
    if (
        nothing
        and view.widgets.get("shrink") == 1
        and not view.feeding("mask")
        and not view.feeding("kernel")
    ):
        yield Refusal(
            "Nothing is blurred, shrunk or missing: the picture itself comes back.",
            "Choose a blur, raise shrink, or connect a mask.",
            "blur",
            "warning",
        )
    if view.feeding("kernel") and not nothing:
        yield Refusal(
            "The picture of the blur counts, not the chosen one.",
            "Set blur to none, or disconnect the picture.",
            "blur",
            "warning",
        )


@node(group="Edit a picture", title="What is known", review=review_known)
def known_picture(
    image: Image,
    mask: Mask | None = None,
    kernel: Image | None = None,
    blur: Annotated[str, Choice(*BLURS)] = "none",
    radius: Annotated[float, Slider(0, MOST_RADIUS, 0.1)] = 2.0,
    angle: Annotated[float, Slider(-180, 180, 1)] = 0.0,
    shrink: Annotated[int, Slider(1, MOST_SHRINK, 1)] = 1,
    *,
    ctx: Context,
) -> Measurement:
    """Says how a picture came to be worse than it should be, so that the one behind it can be found.

    image: the picture that is left: blurred, small, or with holes
    mask: what is missing, white, in the full size; empty = nothing is
    kernel: a small picture of what a point of light became, bright on black, in place of blur
    blur: gaussian = soft, disc = out of focus, motion = the hand moved
    radius: how far it is blurred, in pixels of the full size; of a motion half its length
    angle: of a motion, in degrees; 0 = to the right, 90 = up
    shrink: how many times smaller it is than the picture that is sought
    """
    found = Measurement(image, _kernel(kernel, blur, radius, angle), shrink, _known(mask))
    ctx.policy.check_pixels(found.width, found.height, socket="shrink")
    return found


@node(group="Edit a picture", title="Make worse")
def degrade_picture(
    image: Image,
    mask: Mask | None = None,
    kernel: Image | None = None,
    blur: Annotated[str, Choice(*BLURS)] = "gaussian",
    radius: Annotated[float, Slider(0, MOST_RADIUS, 0.1)] = 2.0,
    angle: Annotated[float, Slider(-180, 180, 1)] = 0.0,
    shrink: Annotated[int, Slider(1, MOST_SHRINK, 1)] = 1,
) -> Degraded:
    """Blurs a picture, shrinks it and cuts holes, to see how well it can be brought back.

    image: its sides are multiples of shrink
    mask: what goes missing, white; empty = nothing
    kernel: a small picture of what a point of light becomes, in place of blur
    blur: gaussian = soft, disc = out of focus, motion = the hand moved
    radius: how far, in pixels; of a motion half its length; 0 = not at all
    angle: of a motion, in degrees
    shrink: how many times smaller
    """
    weights, known = _kernel(kernel, blur, radius, angle), _known(mask)
    worse = (
        image if not weights and shrink == 1 and known is None else degraded(image, weights, shrink, known)
    )
    return Degraded(worse, Measurement(worse, weights, shrink, known))


@node(group="Edit a picture", title="Steer to what is known (FlowChef)")
def steer_to_known(
    model: Model,
    known: Measurement,
    force: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    repeats: Annotated[int, Slider(1, 20, 1)] = 2,
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
) -> Wrap:
    """Steers a run so that its picture, made worse in the same way, is the given one; for the wraps of
    Sample, with the sampler euler. Guidance (cfg_scale) of 1 keeps closest to the picture.

    model: the one that samples; its decoder tells latents from pixels
    force: how much of the best step is taken (kappa); 0 = none
    repeats: steps towards the picture in each step of the run; each costs two decodings and a gradient
    start: where steering begins, as a share of the steps
    end: where it ends; 1 = never
    """
    return flowchef_known(parts_of(model), known, force, repeats, start, end)


@node(group="Edit a picture", title="Find what is behind (RED-Diff)", resources="gpu")
def restore_known(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    known: Measurement,
    sigmas: Sigmas,
    guidance: Guidance,
    weight: Annotated[float, Slider(0, 10, 0.05)] = 0.25,
    rate: Annotated[float, Slider(0, 1, 0.01)] = 0.1,
    seed: Seed = 0,
    *,
    ctx: Context,
) -> Sampled:
    """Improves a guess step by step, between what is known and what the model finds likely.

    positive: what the picture shows
    sigmas: more steps find more; strength 1 is usual
    weight: of the model beside what is known; 0 = the guess comes back untouched
    rate: how far a step goes
    seed: decides the noise that the model is shown
    """
    parts = parts_of(model)
    ctx.policy.check_steps(sigmas.steps, socket="sigmas")

    run = red_diff_known(
        parts,
        positive,
        negative,
        known,
        sigmas,
        guidance,
        seed=seed,
        weight=weight,
        rate=rate,
        on_step=telling(parts, ctx, latents=True),
    )
    return sampled(run, ctx)


class Canvas(NamedTuple):
    """The size of the picture that is sought, for Empty canvas."""

    width: int
    height: int


@node(group="Edit a picture", title="Size of what is sought")
def known_size(known: Measurement) -> Canvas:
    """Width and height of the picture behind what is known, for the canvas of Sample."""
    return Canvas(known.width, known.height)


@node(group="Edit a picture", title="Guess without a model")
def guess_known(known: Measurement) -> Image:
    """What is known in the full size: enlarged by Lanczos, holes in the mean colour; to compare with."""
    return known.guess()


@node(group="Edit a picture", title="Put back what is known")
def put_back_known(image: Image, known: Measurement, on: bool = True) -> Image:
    """Gives a found picture the known pixels as they were, or the known means of its blocks; what was blurred
    stays as it was found.

    image: the decoded picture
    on: off = the picture as it is
    """
    return known.put_back(image) if on else image


def _kernel(kernel: Image | None, blur: str, radius: float, angle: float) -> Kernel:
    return kernel_of(kernel) if kernel is not None else blur_kernel(blur, radius, angle)


def _known(mask: Mask | None) -> Mask | None:
    return None if mask is None else Mask(1 - mask.values)

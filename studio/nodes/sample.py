"""Canvas, schedule, sampler, and the node that paints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from studio.api import (
    Attachment,
    Choice,
    Conditioning,
    Context,
    Guidance,
    Latent,
    Model,
    Number,
    Refusal,
    Sampler,
    Seed,
    Sigmas,
    Slider,
    View,
    Wrap,
    node,
)
from studio.errors import StudioError
from studio.models.family import check_sides, parts_of
from studio.nodes.anytime import review_nested
from studio.nodes.batched import Batched, note_stop
from studio.nodes.guidance_checks import other_sampler, review_guidance, sampler_name
from studio.nodes.preset_checks import review_preset
from studio.nodes.progress import telling
from studio.nodes.prompt import outline, strange_prompts
from studio.nodes.relay import review_relays
from studio.nodes.run_checks import review_schedule, review_start
from studio.nodes.steer_checks import review_steering
from studio.nodes.together import review_attachments, run_steps
from studio.nodes.upscale_checks import review_tiles
from studio.sampling import samplers, schedules
from studio.sampling.loop import Run, sample_run
from studio.sampling.prefix import Prefix
from studio.values import Seen


class Sampled(NamedTuple):
    """What a run gives: the latent, and what attachments looked at on the way."""

    latent: Latent
    seen: Seen


@node(group="Sampling", title="Empty canvas")
def empty_latent(
    width: Annotated[int, Number(64, 2048, 16)] = 256,
    height: Annotated[int, Number(64, 2048, 16)] = 256,
    batch: Annotated[int, Number(1, 64)] = 1,
    seed: Seed = 0,
    *,
    ctx: Context,
) -> Latent:
    """An empty canvas; the run starts from noise that only the seed decides.

    width: pixels
    height: pixels
    batch: how many pictures are made at once; picture k has the seed + k
    seed: the same seed and settings give the same picture
    """
    ctx.policy.check_pixels(width, height, batch, socket="width")
    return Latent(width, height, batch, seed)


@node(group="Sampling", title="Schedule", review=review_schedule)
def schedule(
    steps: Annotated[int, Slider(1, 200, 1)] = 20,
    spacing: Annotated[str, Choice(*schedules.SCHEDULES)] = "flow_diffusers",
    shift: Annotated[float, Slider(0.1, 30, 0.1)] = 3.0,
    strength: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    *,
    ctx: Context,
) -> Sigmas:
    """How the noise is taken away: how many steps, and where they lie.

    steps: more steps are slower and finer
    spacing: where the steps lie; flow_diffusers fits SD3, flux fits FLUX, scm goes with the scm sampler
    shift: above 1 spends more steps on composition, below 1 on detail
    strength: for starting from a picture: 0 keeps it untouched, 1 ignores it
    """
    ctx.policy.check_steps(steps, socket="steps")
    return schedules.from_strength(schedules.schedule(spacing, steps, shift), strength)


@node(group="Sampling", title="Sampler")
def choose_sampler(
    sampler: Annotated[
        str,
        Choice(
            "euler",
            "heun",
            "midpoint",
            "midpoint_reuse",
            "dpmpp_2m",
            "dpmpp_3m",
            "unipc",
            "ab2",
            "ab3",
            "ab4",
            "ghvb",
            "euler_ancestral",
            "dpmpp_2m_sde",
            "lcm",
            "scm",
        ),
    ] = "euler",
) -> Sampler:
    """The rule that steps from one noise level to the next.

    sampler: begin with euler. More exact at the same cost: dpmpp_2m, or midpoint_reuse; at twice the cost:
    heun. New noise at every step: euler_ancestral. For a model made for a few steps: lcm
    """
    return samplers.sampler(sampler)


def review_canvas(view: View) -> Iterator[Refusal]:
    """A size that the model cannot paint; in tiles other rules hold, which need its weights."""
    model = outline(view)
    if model is None or model.sides is None or any(wrap.kind == "tiles" for wrap in view.feeding("wraps")):
        return
    for canvas in view.feeding("latent"):
        sides = [canvas.widgets.get(name) for name in ("width", "height")]
        if canvas.kind == "empty_latent" and all(isinstance(side, int) for side in sides):
            try:
                check_sides(*model.sides, *sides)  # type: ignore[arg-type]
            except StudioError as error:
                yield Refusal(error.message, error.hint, error.socket, at=canvas)


def _other_samplers(view: View, sampler: str) -> Iterator[Refusal]:
    """What is made for, or was found with, another sampler; "" = which one is not known."""
    if not sampler:
        return
    for wrap in view.feeding("wraps"):
        steers = wrap.kind in ("steer_to_picture", "steer_to_known") and wrap.widgets.get("force")
        if steers and sampler != "euler":
            yield other_sampler(wrap, "euler", sampler)
    for control in view.feeding("attachments"):
        cleaner = control.widgets.get("cleaner", 1)
        if control.kind == "keep_subject" and cleaner != 1 and sampler != "euler":
            yield other_sampler(control, "euler", sampler)
        method = next((str(s.widgets.get("method", "")) for s in control.feeding("inversion")), "")
        if control.technique == "inject_v" and method and sampler != method:
            yield other_sampler(control, method, sampler)
    for source in view.feeding("sigmas"):
        found = source.kind == "search_schedule" or source.widgets.get("spacing") == "found"
        if found and sampler != "euler":
            yield Refusal(
                f"{source.title!r} was searched with the sampler euler; nobody measured it with {sampler}.",
                "Choose euler.",
                "sampler",
                "warning",
            )


def review_sample(view: View) -> Iterator[Refusal]:
    """Attachments that do not go together, and what needs another sampler or another start."""
    yield from review_attachments(view)
    yield from review_tiles(view)
    yield from review_canvas(view)
    yield from review_start(view)
    yield from review_steering(view)
    sampler = next(map(sampler_name, view.feeding("sampler")), "")
    yield from review_nested(view, sampler)
    others = list(_other_samplers(view, sampler))
    yield from others
    model = outline(view)
    yield from review_guidance(view, sampler, run_steps(view))
    yield from review_relays(view, model, sampler)
    # what must be another sampler is not advised on besides
    yield from review_preset(view, model, "" if others else sampler)
    yield from strange_prompts(view, model, ", and the run has", "Connect one Load model to both.")
    starts = {source.kind for source in view.feeding("latent")}
    for control in view.feeding("attachments"):
        if control.technique in ("force", "inject_v") and starts and "invert_picture" not in starts:
            yield Refusal(
                f"{control.title!r} follows an inverted picture, but the run starts from another latent.",
                "Connect the latent of Invert picture to Sample.",
                "latent",
                "warning",
            )


@node(
    group="Sampling",
    title="Sample",
    resources="gpu",
    review=review_sample,
    together=Batched(lambda run, ctx: sampled(run, ctx)),
)
def sample(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    sigmas: Sigmas,
    sampler: Sampler,
    guidance: Guidance,
    wraps: list[Wrap] = [],  # noqa: B006 - read only
    attachments: list[Attachment] = [],  # noqa: B006 - read only
    *,
    ctx: Context,
) -> Sampled:
    """Paint: take the noise away step by step, led by the prompt.

    positive: what the picture should show
    negative: what it should avoid
    latent: an empty canvas, or an encoded picture together with a strength below 1
    wraps: steering of each step, such as filling only a part of the picture
    attachments: controls that steer this picture or look into the model while it paints
    """
    parts = parts_of(model)
    run = sample_run(
        parts,
        positive,
        negative,
        latent,
        sigmas,
        sampler,
        guidance,
        wraps=wraps,
        attachments=attachments,
        on_step=telling(parts, ctx),
        prefix=Prefix(ctx.kept, f"{model.digest} {ctx.code}"),
        strict=ctx.numerics == "strict",
    )
    note_stop(sampler, sigmas, ctx)
    return sampled(run, ctx)


def sampled(run: Run, ctx: Context) -> Sampled:
    """What a node gives of a run; what its controls did and what it cost is noted for the record."""
    if run.calls:
        ctx.note("network", dict(run.calls))
    if run.resumed:
        ctx.note("resumed", {"steps": run.resumed, "of": run.steps})
    told: dict[str, Any] = dict(run.report)
    if "relay" in told:
        ctx.note("relay", told.pop("relay"))
    for follower in told.pop("followers", ()):
        ctx.note(str(follower["name"]), {key: value for key, value in follower.items() if key != "name"})
        if follower.get("warning"):
            ctx.warn(follower["warning"])
    for control in told.get("controls", ()):
        # of a run that was taken up the first steps are not known
        if control.get("warning") and not run.resumed:
            ctx.warn(control["warning"])
    if told:
        ctx.note("controls", told)
    return Sampled(run.latent, run.seen)

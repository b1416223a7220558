"""Few steps where they count: searched for a model, or taken from what was found."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from studio.api import Choice, Conditioning, Context, Guidance, Latent, Model, Sigmas, Slider, node
from studio.models.family import parts_of
from studio.sampling import schedules
from studio.sampling.search import stored
from studio.sampling.search.find import Case, Found, find_schedule

FOUND = "found"


class Searched(NamedTuple):
    """A schedule, and what the search says of it."""

    sigmas: Sigmas
    report: str


@node(group="Sampling", title="Search a schedule (BOSS)", resources="gpu")
def search_schedule(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    guidance: Guidance,
    others: list[Conditioning] = [],  # noqa: B006 - read only
    steps: Annotated[int, Slider(1, 50, 1)] = 8,
    fine: Annotated[int, Slider(2, 200, 1)] = 40,
    shift: Annotated[float, Slider(0.1, 30, 0.1)] = 3.0,
    generations: Annotated[int, Slider(0, 50, 1)] = 0,
    strength: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    *,
    ctx: Context,
) -> Searched:
    """Finds where a few steps of the sampler euler count most, and takes them only if they beat the plain
    schedule on the canvas it searched on. The list is kept with the model: Schedule offers it from then on.

    latent: the canvas to search on, from pure noise; the more pictures in its batch, the surer the result
    others: prompts that take no part in the search and tell what the list is worth; without any, the same
    prompt from other noise tells it
    steps: how many steps the schedule will have
    fine: steps of the slow run that it is compared with; they cost most of the time
    shift: of the plain schedule
    generations: how often what was found is varied to find something better (AutoDiffusion), four lists each
    time; 0 = not at all
    strength: as in Schedule; how much of what was found is used
    """
    ctx.policy.check_steps(fine, socket="fine")
    levels, plain = schedules.flow_diffusers(fine, shift), schedules.flow_diffusers(steps, shift)
    canvas = Latent(latent.width, latent.height, latent.batch, latent.seed)
    elsewhere = Latent(latent.width, latent.height, latent.batch, (latent.seed + latent.batch) % 2**53)
    found = find_schedule(
        parts_of(model),
        [Case(positive, negative, canvas)],
        guidance,
        levels,
        plain,
        held_out=[Case(other, negative, elsewhere) for other in others or [positive]],
        generations=generations,
        on_step=ctx.step,
    )
    key = stored.key_of(steps, latent.width, latent.height, guidance)
    others_are = "other prompts and seeds" if others else "other seeds"
    row = stored.row_of(found, key, latent.batch, others_are)
    settings = {"steps": steps, "shift": shift, "size": [latent.width, latent.height]}
    about = {"ref": model.ref, "digest": model.digest}
    kept = ctx.models.keep_calibration(model, stored.KIND, key, row | {"settings": settings, "model": about})
    report = _said(found, others_are, kept)
    ctx.note("schedule", {"sigmas": list(found.sigmas.values), "report": report})
    return Searched(schedules.from_strength(found.sigmas, strength), report)


def _said(found: Found, others: str, kept: bool) -> str:
    """The result in words: on the canvas of the search, then on what took no part in it."""
    where = "The list is kept with the model." if kept else "The list is not kept on this host."
    if not found.found:
        return (
            f"The plain schedule stays: what was found ends {found.evolved_error:.4g} from the fine run, "
            f"the plain one {found.plain_error:.4g} (mean square). {where}"
        )
    own = 1 - found.evolved_error / found.plain_error
    held, before = found.held_out_error or 0.0, found.held_out_plain_error or 0.0
    return (
        f"Ends {found.evolved_error:.4g} away from the fine run, the plain schedule {found.plain_error:.4g} "
        f"(mean square): {own:.0%} closer. On {others}, which took no part, {held:.4g} against {before:.4g}: "
        f"{_gain(found.gain)}. {where}"
    )


def _gain(gain: float | None) -> str:
    if gain is None:
        return "neither differs from the fine run"
    return f"{gain:.0%} closer" if gain >= 0 else f"{-gain:.0%} farther, so do not trust it"


@node(group="Sampling", title="Found schedule", always_run=True)
def found_schedule(
    model: Model,
    latent: Latent,
    guidance: Guidance,
    steps: Annotated[int, Slider(1, 50, 1)] = 8,
    spacing: Annotated[str, Choice(FOUND, *schedules.SCHEDULES)] = FOUND,
    shift: Annotated[float, Slider(0.1, 30, 0.1)] = 3.0,
    strength: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    *,
    ctx: Context,
) -> Sigmas:
    """The schedule that was searched for this model, size, guidance and number of steps (Search a schedule,
    or eval schedule); the plain one, with a warning, if there is none.

    latent: the canvas; its size decides
    steps: more steps are slower and finer
    spacing: found = the steps that were searched for this model; the others are those of Schedule
    shift: above 1 spends more steps on composition, below 1 on detail; without effect on what was found
    strength: for starting from a picture: 0 keeps it untouched, 1 ignores it
    """
    ctx.policy.check_steps(steps, socket="steps")
    if spacing != FOUND:
        return schedules.from_strength(schedules.schedule(spacing, steps, shift), strength)
    key = stored.key_of(steps, latent.width, latent.height, guidance)
    sigmas = stored.read(ctx.models.calibration(model, stored.KIND, key))
    if sigmas is None:
        ctx.warn(
            f"Nobody has searched a schedule for {model.title} ({key}): run Search a schedule (BOSS), or "
            f"`python -m studio eval schedule --steps {steps}`. The plain one is used."
        )
        sigmas = schedules.flow_diffusers(steps, shift)
    return schedules.from_strength(sigmas, strength)

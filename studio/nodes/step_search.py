"""Few steps where they count: searched for a model, or taken from what was found."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from studio.api import Conditioning, Context, Guidance, Latent, Model, Sigmas, Slider, node
from studio.models.family import parts_of
from studio.sampling import schedules
from studio.sampling.search import stored
from studio.sampling.search.find import Case, Found, find_schedule


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
    steps: Annotated[int, Slider(1, 50, 1)] = 8,
    fine: Annotated[int, Slider(2, 200, 1)] = 40,
    shift: Annotated[float, Slider(0.1, 20, 0.1)] = 3.0,
    generations: Annotated[int, Slider(0, 50, 1)] = 0,
    strength: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    *,
    ctx: Context,
) -> Searched:
    """Finds where a few steps of the sampler euler count most, and keeps them only if they beat the plain
    schedule on the canvas it searched on.

    latent: the canvas to search on, from pure noise; the more pictures in its batch, the surer the result
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
    case = Case(positive, negative, canvas)
    found = find_schedule(
        parts_of(model), [case], guidance, levels, plain, generations=generations, on_step=ctx.step
    )
    report = _said(found)
    ctx.note("schedule", {"sigmas": list(found.sigmas.values), "report": report})
    return Searched(schedules.from_strength(found.sigmas, strength), report)


def _said(found: Found) -> str:
    if not found.found:
        return (
            f"The plain schedule stays: what was found ends {found.evolved_error:.4g} from the fine run, "
            f"the plain one {found.plain_error:.4g} (mean square)."
        )
    return (
        f"Ends {found.evolved_error:.4g} away from the fine run, the plain schedule {found.plain_error:.4g} "
        f"(mean square): {found.gain or 0:.0%} closer."
    )


@node(group="Sampling", title="Found schedule", always_run=True)
def found_schedule(
    model: Model,
    latent: Latent,
    guidance: Guidance,
    steps: Annotated[int, Slider(1, 50, 1)] = 8,
    strength: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    *,
    ctx: Context,
) -> Sigmas:
    """The schedule that was searched for this model, size, guidance and number of steps (eval schedule); the
    plain one, with a warning, if there is none.

    latent: the canvas; its size decides
    steps: more steps are slower and finer
    strength: for starting from a picture: 0 keeps it untouched, 1 ignores it
    """
    ctx.policy.check_steps(steps, socket="steps")
    key = stored.key_of(steps, latent.width, latent.height, guidance)
    sigmas = stored.read(ctx.models.calibration(model, stored.KIND, key))
    if sigmas is None:
        ctx.warn(
            f"Nobody has searched a schedule for {model.title} ({key}): run `python -m studio eval schedule "
            f"--steps {steps}`. The plain one is used."
        )
        shift = model.card.get("shift", 3.0)
        sigmas = schedules.flow_diffusers(steps, shift if isinstance(shift, int | float) else 3.0)
    return schedules.from_strength(sigmas, strength)

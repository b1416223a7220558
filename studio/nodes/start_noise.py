"""The noise from which pictures of one problem are best restored."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from studio.api import Conditioning, Context, Guidance, Image, Model, Number, Seed, Sigmas, Slider, node
from studio.models.family import parts_of
from studio.nodes.known import Measurement
from studio.sampling.measurement import degraded
from studio.sampling.search import start_noise
from studio.sampling.search.start_noise import Method, Restoring


class FoundNoise(NamedTuple):
    """The seed of a noise, and what the search says of it."""

    seed: int
    report: str


@node(group="Edit a picture", title="Search a start noise", resources="gpu")
def search_start_noise(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    picture: Image,
    known: Measurement,
    sigmas: Sigmas,
    guidance: Guidance,
    others: list[Image] = [],  # noqa: B006 - read only
    candidates: Annotated[int, Number(1, start_noise.MOST_CANDIDATES)] = 4,
    first: Seed = 1,
    force: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    repeats: Annotated[int, Slider(1, 20, 1)] = 2,
    *,
    ctx: Context,
) -> FoundNoise:
    """Tries some seeds on pictures that are known, made worse as yours was, and gives the seed whose results
    come nearest; for the canvas of every picture with the same problem.

    positive: what the pictures have in common; an empty prompt suits any
    picture: a good one in the size of what is sought
    others: more of them; three or four are usual, so that the noise is not that of one picture alone
    known: the problem: its blur and how many times smaller; its picture does not count
    candidates: how many seeds are tried; each restores every picture once
    first: the first seed; the others follow it
    force: as in Steer to what is known
    repeats: as in Steer to what is known
    """
    ctx.policy.check_steps(sigmas.steps, socket="sigmas")
    method = Method(sigmas, guidance, force, repeats)
    cases = [Restoring(positive, negative, alike(known, image), image) for image in (picture, *others)]
    seeds = [first + index for index in range(candidates)]
    found = start_noise.find_noise(parts_of(model), cases, method, seeds, on_step=ctx.step)
    report = (
        f"Seed {found.seed}: distance {found.distances[found.seed]:.4g}, the mean of {candidates} seeds "
        f"{sum(found.distances.values()) / candidates:.4g} over {len(cases)} pictures."
    )
    ctx.note("start_noise", {"seed": found.seed, "report": report})
    return FoundNoise(found.seed, report)


@node(group="Edit a picture", title="Found start noise", always_run=True)
def found_start_noise(
    model: Model,
    known: Measurement,
    sigmas: Sigmas,
    guidance: Guidance,
    force: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    repeats: Annotated[int, Slider(1, 20, 1)] = 2,
    otherwise: Seed = 1,
    *,
    ctx: Context,
) -> int:
    """The seed that was searched for this model and problem (eval start-noise), for the seed of the canvas;
    with a warning another one, if nobody has searched.

    known: the problem: blur, size and how many times smaller decide, the picture does not
    force: as in Steer to what is known
    repeats: as in Steer to what is known
    otherwise: the seed where none was found
    """
    key = start_noise.key_of(known, Method(sigmas, guidance, force, repeats))
    seed = start_noise.read(ctx.models.calibration(model, start_noise.KIND, key))
    if seed is None:
        ctx.warn(
            f"Nobody has searched a start noise for {model.title} ({key}): run `python -m studio eval "
            f"start-noise`. Seed {otherwise} is used."
        )
        return otherwise
    return seed


def alike(known: Measurement, image: Image) -> Measurement:
    """The same problem with another picture."""
    worse = degraded(image, known.kernel, known.shrink, known.known)
    return Measurement(worse, known.kernel, known.shrink, known.known)

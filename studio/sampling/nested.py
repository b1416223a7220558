"""Nested diffusion (arXiv 2305.19066, algorithm 2): an anytime sampler. Every outer step asks a short run of
its own for a finished picture, shows it, and goes on with it in the place of the network's clean estimate.

The calls of the network are those of the schedule: `inner` of them make one outer step, which reaches as far
as they do, and its short run takes them over all that is left of the schedule down to 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from studio.errors import StudioError
from studio.sampling.one_step import sample_euler
from studio.sampling.stepping import advance, steps_of
from studio.values import Denoise, Noise, Resume, Sampler, Sigmas, StepResult

MOST_INNER = 50


def nested(inner: int = 4) -> Sampler:
    """The sampler with `inner` calls of the network for one finished picture, 1..50; 1 is euler."""
    if not 1 <= inner <= MOST_INNER:
        raise StudioError(
            f"{inner} steps for one picture are not possible.",
            hint=f"Possible: 1 (euler) to {MOST_INNER}; 4 is usual.",
            socket="inner",
        )
    if inner == 1:
        return Sampler("euler", sample_euler)
    return Sampler("nested", partial(sample_nested, inner=inner), (("inner", inner),))


def sample_nested(
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    resume: Resume | None = None,
    inner: int = 4,
) -> Iterator[StepResult]:
    """One call a step, one result a call: between two outer steps the latent stands still, and the clean
    estimate shown is the last finished picture (before the first one: the estimate of the call).

    inner: calls of one outer step, 1..50; 1 = sample_euler, bit for bit. Noise levels between those of the
    schedule lie on straight lines.
    """
    start, latent, memory = resume or (0, latent, ())
    inside = start % inner != 0
    y = memory[0] if inside else latent
    finished = memory[-1] if len(memory) > inside else None
    for step in steps_of(sigmas, start):
        first = step.index - step.index % inner
        levels = inner_levels(sigmas, first, min(inner, sigmas.steps - first))
        nth = step.index - first
        if nth == 0:
            y = latent
        denoised = denoise(y, step.at(levels[nth]))
        if nth + 2 < len(levels):
            y = advance(y, denoised, replace(step, sigma=levels[nth], sigma_next=levels[nth + 1]))
            shown = denoised if finished is None else finished
            yield StepResult(step, latent, shown, (y,) if finished is None else (y, finished))
            continue
        finished = denoised
        latent = advance(latent, finished, replace(step, sigma=levels[0]))
        yield StepResult(step, latent, finished, (finished,))


def inner_levels(sigmas: Sigmas, first: int, count: int) -> tuple[float, ...]:
    """`count` + 1 noise levels from that of step `first` down to 0, evenly over the steps that are left."""
    left, values = sigmas.steps - first, sigmas.values
    levels = []
    for nth in range(count + 1):
        whole, rest = divmod(nth * left, count)
        level = values[first + whole]
        if rest:
            level += (values[first + whole + 1] - level) * rest / count
        levels.append(level)
    return tuple(levels)

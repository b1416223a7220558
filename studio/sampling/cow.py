"""COW, Cyclic One-Way Diffusion (arXiv 2306.08247, section 4), for flows: a pasted picture keeps its place
and its pixels while the rest of the canvas grows around it.

Between a low and a high noise level the run goes up and down several times; before every step the condition's
area is put back on its own stored path, so that what it is flows outwards and nothing flows in.
Going up from s1 to s2 keeps the flow's marginals: a x + sqrt(s2^2 - a^2 s1^2) e with a = (1 - s2) / (1 - s1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from studio.errors import StudioError
from studio.models.family import Parts
from studio.sampling.denoiser import make_predict
from studio.sampling.lead import latent_mask
from studio.sampling.loop import (
    check_finite,
    check_flow,
    check_picture,
    keep,
    start_latent,
    step_noise,
)
from studio.sampling.samplers import advance
from studio.sampling.trajectories import Trajectories
from studio.values import (
    Conditioning,
    Denoise,
    Guidance,
    Inversion,
    Latent,
    Mask,
    Sigmas,
    Step,
    StepResult,
)

MOST_CYCLES = 50


def cow(
    parts: Parts,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    sigmas: Sigmas,
    guidance: Guidance,
    *,
    mask: Mask | None,
    cycles: int = 10,
    low: float = 0.5,
    high: float = 0.7,
    until: float = 0.4,
    path: Inversion | None = None,
    on_step: Callable[[StepResult], None] | None = None,
) -> Latent:
    """Paint around the condition in `latent`, a picture with it pasted in; Euler.

    mask: 1 = the condition, whose pixels stay; None = nothing is put back. low, high: shares of the steps
    that are left where a cycle ends and begins; until: the share where the condition is put back last. path:
    the condition's path by inversion (same schedule); None = a straight line to the seed's noise.
    Without cycles and mask this is sampling from the picture with strength `low`.
    """
    plan = _plan(sigmas, cycles, low, high, until)
    check_flow(parts, sigmas)
    picture = check_picture(parts, latent)
    inside = latent_mask(mask, latent, picture)
    if path is not None and path.states.shape[2:] != picture.shape[1:]:
        raise StudioError(
            "The inverted picture has another size than the canvas.",
            hint="Invert the canvas itself.",
            socket="path",
        )
    if plan.low == sigmas.steps:
        return latent
    with torch.inference_mode():
        tail = Sigmas(sigmas.values[plan.low :], sigmas.name)
        state = start_latent(parts, latent, tail)
        rows = Trajectories(batch=latent.batch).rows(positive, negative)
        denoise = guidance.guide(make_predict(parts), rows)
        canvas = _Canvas(parts, latent, picture.to(parts.device), inside, path, sigmas, denoise, on_step)
        for cycle in range(cycles):
            state = canvas.up(state, plan, cycle)
            for index in range(plan.high, plan.low):
                state = canvas.down(state, index, True)
        for index in range(plan.low, sigmas.steps):
            state = canvas.down(state, index, index <= plan.until)
        if plan.until == sigmas.steps:
            state = canvas.put_back(state, sigmas.steps)
        check_finite(state)
        return keep(latent, state, parts)


@dataclass(frozen=True)
class _Plan:
    """Numbers of noise levels: a cycle goes from `high` down to `low`; the condition is put back last at
    `until`. `total`: steps of the run, cycles included."""

    high: int
    low: int
    until: int
    total: int


class _Canvas:
    """The state between two steps of the run."""

    def __init__(
        self,
        parts: Parts,
        latent: Latent,
        picture: torch.Tensor,
        inside: torch.Tensor | None,
        path: Inversion | None,
        sigmas: Sigmas,
        denoise: Denoise,
        on_step: Callable[[StepResult], None] | None,
    ) -> None:
        self._picture = picture
        self._inside = None if inside is None else inside.to(picture)
        self._path = path
        self._sigmas = sigmas
        self._denoise = denoise
        self._on_step = on_step
        self._noise = step_noise(picture, latent.seed)
        self._end = start_latent(
            parts, Latent(latent.width, latent.height, latent.batch, latent.seed), sigmas
        )

    def up(self, state: torch.Tensor, plan: _Plan, cycle: int) -> torch.Tensor:
        """From the low level to the high one, with fresh noise."""
        low, high = self._sigmas.values[plan.low], self._sigmas.values[plan.high]
        share = (1 - high) / (1 - low)
        return share * state + math.sqrt(high**2 - share**2 * low**2) * self._noise("cow", cycle)

    def down(self, state: torch.Tensor, index: int, hold: bool) -> torch.Tensor:
        """One Euler step of the schedule, the condition put back before it."""
        sigmas = self._sigmas
        step = Step(index, sigmas.steps, sigmas.values[index], sigmas.values[index + 1])
        if hold:
            state = self.put_back(state, index)
        denoised = self._denoise(state, step)
        state = advance(state, denoised, step)
        if self._on_step is not None:
            self._on_step(StepResult(step, state, denoised))
        return state

    def put_back(self, state: torch.Tensor, level: int) -> torch.Tensor:
        """The condition's area on its own path at a noise level."""
        if self._inside is None:
            return state
        sigma = self._sigmas.values[level]
        if self._path is None:
            own = (1 - sigma) * self._picture + sigma * self._end
        else:
            own = self._path.at(sigma).to(state)
        return self._inside * own + (1 - self._inside) * state


def steps_of_cow(sigmas: Sigmas, cycles: int, low: float, high: float, until: float) -> int:
    """How many steps a run takes, cycles included."""
    return _plan(sigmas, cycles, low, high, until).total


def _plan(sigmas: Sigmas, cycles: int, low: float, high: float, until: float) -> _Plan:
    if type(cycles) is not int or not 0 <= cycles <= MOST_CYCLES:
        raise StudioError(
            f"{cycles} cycles are not possible.", socket="cycles", hint=f"Possible: 0 to {MOST_CYCLES}."
        )
    if not 0 <= until <= low <= high <= 1:
        raise StudioError(
            f"low {low}, high {high} and until {until} do not fit together.",
            socket="high" if low > high else "until",
            hint="They are shares of the steps that are left: 0 <= until <= low <= high <= 1.",
        )
    levels = [sigmas.steps - math.floor(share * sigmas.steps + 1e-9) for share in (high, low, until)]
    if cycles and sigmas.values[levels[1]] >= 1:
        raise StudioError("A cycle cannot go up from pure noise.", socket="low", hint="Lower low.")
    # however few steps there are, a cycle has one
    levels[0] = min(levels[0], max(levels[1] - 1, 0))
    total = cycles * (levels[1] - levels[0]) + sigmas.steps - levels[1]
    return _Plan(levels[0], levels[1], levels[2], total)

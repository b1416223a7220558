"""Inversion: the path of a real picture up to noise, walked along the network's own velocity (controls.md 7
(o)).

dx/ds = v(x, s) from 0 upwards; the sampler of the same name walks it back. There and back, Euler goes wrong
by the first order of the step, the midpoint rule (RF-Solver, arXiv 2411.04746) and the midpoint rule with its
last slope as predictor (FireFlow, arXiv 2412.07517) by the third.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import torch

from studio.controls.inject_v import KeepValues
from studio.errors import StudioError, did_you_mean
from studio.models.family import Parts, adapter_for
from studio.sampling.controlled import attached_controls, plain
from studio.sampling.denoiser import make_predict
from studio.sampling.lead import Velocity, led_velocity
from studio.sampling.loop import check_finite, check_flow, check_picture
from studio.sampling.trajectories import TARGET
from studio.values import Conditioning, Inversion, Latent, Sigmas, Step, StepResult

METHODS = ("euler", "midpoint", "midpoint_reuse")


def walk(
    velocity: Velocity, state: torch.Tensor, levels: Sequence[float], method: str
) -> Iterator[tuple[Step, torch.Tensor]]:
    """The states at all levels after the first, one by one, each with the step that led there.

    `levels`: noise levels in the order of the walk, up or down. euler: one call a step, at its start;
    midpoint: two; midpoint_reuse: one, at the middle, and one more at the start of the walk.
    """
    slope: torch.Tensor | None = None
    total = len(levels) - 1
    for index in range(total):
        step = Step(index, total, levels[index], levels[index + 1])
        if slope is None or method != "midpoint_reuse":
            slope = velocity(state, step)
        if method != "euler":
            middle = (step.sigma + step.sigma_next) / 2
            slope = velocity(state + (middle - step.sigma) * slope, step.at(middle))
        state = state + (step.sigma_next - step.sigma) * slope
        yield step, state


def invert(
    parts: Parts,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    sigmas: Sigmas,
    *,
    method: str = "midpoint",
    scale: float = 1.0,
    keep_values: int = 0,
    keep_from: float = 0.5,
    on_step: Callable[[StepResult], None] | None = None,
) -> Inversion:
    """Walk the picture in `latent` from 0 to the first level of the schedule.

    `positive` says what it shows; with `scale` 1 (see `led_velocity`) `negative` is not used. `keep_values`:
    of how many first steps of the way back the attention values are kept, 0..steps, at the joint sites from
    the share `keep_from` (0..1) of them on.
    """
    check_method(method)
    if sigmas.steps == 0:
        raise StudioError(
            "A schedule without steps leads nowhere.", hint="Raise the strength above 0.", socket="sigmas"
        )
    check_flow(parts, sigmas)
    picture = check_picture(parts, latent)
    keeper = _keeper(parts, sigmas, keep_values, keep_from)
    levels = sigmas.values[::-1]
    steps = [Step(i, sigmas.steps, levels[i], levels[i + 1]) for i in range(sigmas.steps)]
    with torch.inference_mode(), ExitStack() as stack:
        controlled = stack.enter_context(
            attached_controls(parts, [] if keeper is None else [keeper], steps, latent.batch)
        )
        beside = controlled.trajectories
        predict = make_predict(parts, controlled.attached, beside)
        rows = beside.rows(positive, negative)
        velocity = led_velocity(parts, predict, rows, beside, {TARGET: scale})
        states = [picture.to(parts.device)]
        for step, state in walk(velocity, states[0], levels, method):
            states.append(state)
            if on_step is not None:
                on_step(StepResult(step, state, state))
        check_finite(states[-1])
        kept = () if keeper is None else keeper.kept(sigmas)
        return Inversion(latent, positive, sigmas, method, plain(torch.stack(states[::-1])), kept)


def inverted(inversion: Inversion) -> Latent:
    """The noise that the picture became, as a latent from which sampling goes on."""
    top = plain(inversion.states[0])
    return inversion.latent.with_tensor(top, inversion.latent.family, inversion.sigmas.values[0])


def check_method(method: str) -> None:
    if method not in METHODS:
        raise StudioError(
            f"No way to invert is called {method!r}.",
            socket="method",
            hint=did_you_mean(method, METHODS) or f"Possible: {', '.join(METHODS)}.",
        )


def _keeper(parts: Parts, sigmas: Sigmas, count: int, share: float) -> KeepValues | None:
    if type(count) is not int or not 0 <= count <= sigmas.steps:
        raise StudioError(
            f"The values of {count} steps cannot be kept.",
            socket="keep_values",
            hint=f"Possible: 0 to {sigmas.steps}, the number of steps.",
        )
    if not 0 <= share <= 1:
        raise StudioError(
            f"Keeping values from {share} of the network on is not possible.",
            socket="keep_from",
            hint="Possible: 0 to 1; 0.5 = the second half.",
        )
    if count == 0:
        return None
    joint = [site for site in adapter_for(parts.transformer).sites(parts.transformer) if site.joint]
    chosen = joint[min(int(share * len(joint)), len(joint) - 1) :]
    return KeepValues(tuple(site.name for site in chosen), sigmas.values[: count + 1])

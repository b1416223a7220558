"""RF-Inversion (arXiv 2410.10792): inversion and sampling under optimal control, for free restyling of a real
picture.

On the way up the velocity is drawn towards the line to a fixed noise n: v + gamma ((n - x) / (1 - s) - v). On
the way back it is drawn towards the picture y: v + eta ((x - y) / s - v), which on clean estimates is
D + eta (y - D): a wrap. eta 0 is plain sampling from the inverted noise, eta 1 throughout gives y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from studio.controls.control import AttentionControl, in_range
from studio.errors import StudioError
from studio.models.device import start_noise
from studio.models.family import Parts
from studio.sampling.controlled import plain
from studio.sampling.denoiser import make_predict
from studio.sampling.inversion import walk
from studio.sampling.lead import latent_mask, led_velocity
from studio.sampling.loop import Run, check_finite, check_flow, check_picture, sample_run
from studio.sampling.trajectories import TARGET, Trajectories
from studio.values import (
    Attachment,
    Conditioning,
    Denoise,
    Guidance,
    Latent,
    Mask,
    Sampler,
    Sigmas,
    Step,
    StepResult,
    Wrap,
)


def rf_inversion(
    parts: Parts,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    sigmas: Sigmas,
    sampler: Sampler,
    guidance: Guidance,
    *,
    gamma: float = 0.5,
    eta: float = 0.9,
    start: float = 0.0,
    end: float = 0.25,
    decay: float = 0.0,
    mask: Mask | None = None,
    attachments: Sequence[Attachment | AttentionControl] = (),
    on_invert: Callable[[StepResult], None] | None = None,
    on_step: Callable[[StepResult], None] | None = None,
) -> Run:
    """Restyle the picture in `latent`: `rf_invert`, then a run that is pulled back by `pull_to`.

    With a mask the picture changes inside it alone; outside it is pulled wholly at every step. `attachments`
    act on the way back.
    """
    picture = check_picture(parts, latent)
    wrap = pull_to(picture, eta, start=start, end=end, decay=decay, free=latent_mask(mask, latent, picture))
    if sigmas.steps == 0:
        return Run({TARGET: latent})
    noisy = rf_invert(parts, latent, sigmas, gamma=gamma, on_step=on_invert)
    return sample_run(
        parts,
        positive,
        negative,
        noisy,
        sigmas,
        sampler,
        guidance,
        wraps=[wrap],
        attachments=attachments,
        on_step=on_step,
    )


def rf_invert(
    parts: Parts,
    latent: Latent,
    sigmas: Sigmas,
    *,
    gamma: float = 0.5,
    on_step: Callable[[StepResult], None] | None = None,
) -> Latent:
    """The noise behind a picture, seen with the empty prompt, as a latent at the schedule's first level.

    gamma: 0..1; 0 = plain Euler inversion, 1 = the noise of the latent's seed itself.
    """
    _check_share("gamma", gamma)
    check_flow(parts, sigmas)
    picture = check_picture(parts, latent)
    shape = parts.family.latent_shape(parts, latent.batch, latent.width, latent.height)
    levels = sigmas.values[::-1]
    with torch.inference_mode():
        noise = start_noise(shape, latent.seed).to(parts.device)
        empty, _ = parts.family.encode_text(parts, "")
        beside = Trajectories(batch=latent.batch)
        rows = beside.rows(empty, empty)
        network = led_velocity(parts, make_predict(parts), rows, beside, {TARGET: 1.0})

        def drawn(state: torch.Tensor, step: Step) -> torch.Tensor:
            v = network(state, step)
            return v + gamma * ((noise - state) / (1 - step.sigma) - v) if gamma else v

        state = picture.to(parts.device)
        for step, reached in walk(drawn, state, levels, "euler"):
            state = reached
            if on_step is not None:
                on_step(StepResult(step, state, state))
        check_finite(state)
        return latent.with_tensor(plain(state), latent.family, sigmas.values[0])


def pull_to(
    picture: torch.Tensor,
    eta: float,
    *,
    start: float = 0.0,
    end: float = 1.0,
    decay: float = 0.0,
    free: torch.Tensor | None = None,
) -> Wrap:
    """Clean estimates drawn towards a picture: D + eta_i (y - D), eta_i = eta (1 - i / N)^decay.

    picture: batch, channel, height, width. eta: 0..1, acts in the steps [start, end), fractions of the run.
    free: where eta acts as said; outside it is 1 at every step. Neutral with eta 0 and nothing to hold.
    """
    _check_share("eta", eta)
    _check_share("start", start)
    _check_share("end", end)
    if not (math.isfinite(decay) and 0 <= decay <= 10):
        raise StudioError(f"A decay of {decay} is not possible.", socket="decay", hint="Possible: 0 to 10.")
    holds = free is not None and not bool((free == 1).all())

    def wrap(denoise: Denoise) -> Denoise:
        if not holds and (eta == 0 or start >= end):
            return denoise

        def pulled(latent: torch.Tensor, step: Step) -> torch.Tensor:
            denoised = denoise(latent, step)
            active = eta * (1 - step.index / step.total) ** decay if in_range(step, start, end) else 0.0
            share: float | torch.Tensor = active
            if free is not None and holds:
                share = 1 - free.to(denoised) * (1 - active)
            elif active == 0:
                return denoised
            return denoised + share * (picture.to(denoised) - denoised)

        return pulled

    params = (("eta", float(eta)), ("start", float(start)), ("end", float(end)), ("decay", float(decay)))
    return Wrap("rf_inversion", wrap, params)


def _check_share(name: str, given: float) -> None:
    if not (math.isfinite(given) and 0 <= given <= 1):
        raise StudioError(f"A {name} of {given} is not possible.", socket=name, hint="Possible: 0 to 1.")

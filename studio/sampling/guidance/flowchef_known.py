"""FlowChef on an inverse problem (arXiv 2412.00100, algorithm 1, section 4): a run steered so that its clean
estimates, measured as the given picture was, give that picture.

x <- x - kappa s grad |A d(D) - y|^2 with the velocity held: no gradient goes through the network, only
through the decoder d. Where it differs: s is the length at which the distance is least along the gradient
(`data_term.downhill`), so that kappa is a share, 0..1, for every model and measurement. On Euler's update the
same is another clean estimate: D + dx s / (s - s').
"""

from __future__ import annotations

import torch

from studio.controls.bounds import window, within
from studio.controls.control import in_range
from studio.errors import StudioError
from studio.models.family import Parts
from studio.sampling.data_term import downhill
from studio.sampling.guidance.reference import content
from studio.sampling.measurement import Measurement
from studio.values import Denoise, Step, Wrap

MOST_REPEATS = 100


def flowchef_known(
    parts: Parts,
    measurement: Measurement,
    kappa: float = 1.0,
    repeats: int = 2,
    start: float = 0.0,
    end: float = 1.0,
) -> Wrap:
    """Steer clean estimates to `measurement` in the steps from `start` to `end` (shares of the run).

    kappa: 0..1, the share of the best step along the gradient, 0 = neutral; repeats: 1..100 of them in every
    step, each two decodings and one gradient. For Euler.
    """
    within("kappa", kappa, 0, 1)
    window(start, end)
    if type(repeats) is not int or not 1 <= repeats <= MOST_REPEATS:
        raise StudioError(
            f"{repeats} repeats are not possible.", hint=f"Possible: 1 to {MOST_REPEATS}.", socket="repeats"
        )
    neutral = kappa == 0 or start >= end

    def wrap(denoise: Denoise) -> Denoise:
        if neutral:
            return denoise
        wanted = measurement.wanted().to(parts.device)

        def steered(latent: torch.Tensor, step: Step) -> torch.Tensor:
            denoised = denoise(latent, step)
            if not in_range(step, start, end):
                return denoised
            check_fits(parts, measurement, latent)
            moved = torch.zeros(denoised.shape, device=denoised.device)
            for _ in range(repeats):
                moved = moved + kappa * downhill(parts, measurement, wanted, denoised.float() + moved)[0]
            # times s / (s - s'): the sampler goes only that share of the way to its estimate
            reach = step.sigma / (step.sigma - step.sigma_next)
            return denoised + (moved * reach).to(denoised.dtype)

        return steered

    params = (
        ("kappa", float(kappa)),
        ("repeats", repeats),
        ("start", float(start)),
        ("end", float(end)),
        ("known", told(measurement)),
    )
    return Wrap("flowchef_known", wrap, params, "" if neutral else "euler")


def check_fits(parts: Parts, measurement: Measurement, latent: torch.Tensor) -> None:
    """StudioError unless the canvas of this latent is the picture that is sought."""
    shape = parts.family.latent_shape(parts, 1, measurement.width, measurement.height)
    if tuple(latent.shape[1:]) != shape[1:]:
        raise StudioError(
            f"What is known is of a picture of {measurement.width}x{measurement.height} pixels; the canvas "
            "is another size.",
            hint=f"Set the canvas to {measurement.width}x{measurement.height}.",
            socket="wraps",
        )


def told(measurement: Measurement) -> str:
    """What tells a measurement from others."""
    return ":".join(
        [
            content(measurement.wanted()),
            content(measurement.weights()),
            content(torch.tensor(measurement.kernel or 0.0, dtype=torch.float64)),
            str(measurement.shrink),
        ]
    )

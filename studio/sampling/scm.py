"""The sampler of continuous-time consistency models (sCM, arXiv 2410.11081, section 3.1; SANA-Sprint, arXiv
2503.09641), in the coordinates of a flow.

TrigFlow has x_t = cos(t) x0 + sin(t) z, t from pi / 2 to 0; divided by cos(t) + sin(t) it is a flow with
s = sin(t) / (sin(t) + cos(t)). There the step, x' = cos(t') D + sin(t') n, is (1 - s') D + s' n: that of LCM.
What is left of it are its levels, evenly spaced in the angle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from studio.errors import StudioError
from studio.sampling.stepping import steps_of
from studio.values import Denoise, Noise, Resume, Sigmas, StepResult

# 1.5708 is SCMScheduler's default, the angle at which there is only noise; its middle angle of two steps.
MOST_ANGLE, MIDDLE = 1.5708, 1.3
MOST_STEPS = 1000


def sample_scm(
    denoise: Denoise, latent: torch.Tensor, sigmas: Sigmas, *, noise: Noise, resume: Resume | None = None
) -> Iterator[StepResult]:
    """The clean estimate, noised anew to the next angle; the last step is the clean estimate itself."""
    start, latent, _ = resume or (0, latent, ())
    for step in steps_of(sigmas, start):
        denoised = denoise(latent, step)
        angle = angle_of(step.sigma_next)
        if angle == 0:
            latent = denoised.to(latent.dtype)
        else:
            cosine, sine = math.cos(angle), math.sin(angle)
            mixed = cosine * denoised + sine * noise("consistency", step.index)
            latent = (mixed / (cosine + sine)).to(latent.dtype)
        yield StepResult(step, latent, denoised)


def scm(steps: int, shift: float = 1.0) -> Sigmas:
    """Levels of `steps` (1..1000) even angles, as SCMScheduler's; of two steps the middle one lies at 1.3.
    The shift has no part in it."""
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise StudioError(
            f"{steps} steps are not possible.", hint=f"Possible: 1 to {MOST_STEPS}.", socket="steps"
        )
    angles = (
        [MOST_ANGLE, MIDDLE] if steps == 2 else [MOST_ANGLE * (1 - index / steps) for index in range(steps)]
    )
    return Sigmas((*(level_of(angle) for angle in angles), 0.0), "scm")


def level_of(angle: float) -> float:
    """The noise level of a flow at an angle of TrigFlow, 0..pi/2; the cosine just below 0 that the angle
    1.5708 has counts as 0."""
    cosine = max(math.cos(angle), 0.0)
    return math.sin(angle) / (math.sin(angle) + cosine)


def angle_of(level: float) -> float:
    """The angle of TrigFlow at a noise level of a flow, 0..1."""
    return math.atan2(level, 1 - level)

"""The samplers by name, and the loop that drains one: pure generator functions of (denoise, latent, sigmas),
one StepResult a step (sampling 2.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from studio.errors import StudioError, did_you_mean
from studio.sampling.adams import adams, sample_ghvb, sample_hb
from studio.sampling.ancestral import sample_euler_ancestral, sample_lcm, sample_tcd
from studio.sampling.dpm_solver import sample_dpmpp_2m, sample_dpmpp_2m_sde, sample_dpmpp_3m
from studio.sampling.edm import sample_edm
from studio.sampling.one_step import sample_euler, sample_heun, sample_midpoint, sample_midpoint_reuse
from studio.sampling.scm import sample_scm
from studio.sampling.stepping import advance as advance
from studio.sampling.stepping import precise as precise
from studio.sampling.stepping import steps_of as steps_of
from studio.sampling.stepping import velocity as velocity
from studio.sampling.unipc import sample_unipc
from studio.values import Denoise, Noise, Resume, SampleFunction, Sampler, Sigmas, StepResult


@dataclass(frozen=True)
class Range:
    """What a setting of a sampler may be: `low` to `high`, and what it is where nobody says."""

    low: float
    high: float
    default: float

    def check(self, name: str, given: object) -> None:
        """StudioError unless `given` is a number of the default's type in the range."""
        whole = isinstance(self.default, int)
        right = type(given) is int or (isinstance(given, float) and not whole and math.isfinite(given))
        if not right or not self.low <= given <= self.high:  # type: ignore[operator]
            kind = "whole numbers " if whole else ""
            raise StudioError(
                f"A {name} of {given} is not possible.",
                socket=name,
                hint=f"Possible: {kind}{self.low:g} to {self.high:g}.",
            )


SAMPLERS: Mapping[str, SampleFunction] = {
    "euler": sample_euler,
    "heun": sample_heun,
    "midpoint": sample_midpoint,
    "midpoint_reuse": sample_midpoint_reuse,
    "dpmpp_2m": sample_dpmpp_2m,
    "dpmpp_3m": sample_dpmpp_3m,
    "unipc": sample_unipc,
    "ab2": adams(2),
    "ab3": adams(3),
    "ab4": adams(4),
    "hb": sample_hb,
    "ghvb": sample_ghvb,
    "edm": sample_edm,
    "euler_ancestral": sample_euler_ancestral,
    "dpmpp_2m_sde": sample_dpmpp_2m_sde,
    "tcd": sample_tcd,
    "lcm": sample_lcm,
    "scm": sample_scm,
}

_MOMENTUM = {"order": Range(1, 4, 2), "beta": Range(0.05, 1, 0.8)}
SETTINGS: Mapping[str, Mapping[str, Range]] = {
    "dpmpp_3m": {"curve": Range(0, 1, 1.0)},
    "unipc": {"order": Range(1, 3, 2)},
    "hb": _MOMENTUM,
    "ghvb": _MOMENTUM,
    "edm": {
        "churn": Range(0, 100, 0.0),
        "low": Range(0, 1, 0.0),
        "high": Range(0, 1, 1.0),
        "spread": Range(0.9, 1.1, 1.0),
    },
    "euler_ancestral": {"eta": Range(0, 1, 1.0)},
    "dpmpp_2m_sde": {"eta": Range(0, 1, 1.0)},
    "tcd": {"gamma": Range(0, 1, 0.3)},
}
"""The settings of the samplers that have any."""


def sampler(name: str, **settings: float) -> Sampler:
    """A sampler by its name in `SAMPLERS`, with its settings in `SETTINGS`; what is not given has its
    default."""
    if name not in SAMPLERS:
        raise StudioError(
            f"No sampler called {name!r}.",
            socket="sampler",
            hint=did_you_mean(name, SAMPLERS) or f"Possible: {', '.join(SAMPLERS)}.",
        )
    known = SETTINGS.get(name, {})
    for key, given in settings.items():
        if key not in known:
            raise StudioError(
                f"The sampler {name!r} has no setting {key!r}.",
                socket=key,
                hint=f"It has {', '.join(known) or 'none'}.",
            )
        known[key].check(key, given)
    if not known:
        return Sampler(name, SAMPLERS[name])
    whole: dict[str, Any] = {key: type(r.default)(settings.get(key, r.default)) for key, r in known.items()}
    return Sampler(name, partial(SAMPLERS[name], **whole), tuple(whole.items()))


def run_sampler(
    sampler: Sampler,
    denoise: Denoise,
    latent: torch.Tensor,
    sigmas: Sigmas,
    *,
    noise: Noise,
    on_step: Callable[[StepResult], None] | None = None,
    resume: Resume | None = None,
    change: Callable[[StepResult], StepResult | None] | None = None,
) -> torch.Tensor:
    """Drain a sampler; returns the last latent. `on_step` sees every result and changes nothing.

    `change` may give back what takes a result's place: the sampler is then started again from there. A
    sampler that stops early gives the clean estimate of its last step.
    """
    if resume is not None:
        latent = resume[1]
    while True:
        for result in sampler.run(denoise, latent, sigmas, noise=noise, resume=resume):
            changed = None if change is None else change(result)
            result = changed or result
            latent = result.latent
            if on_step is not None:
                on_step(result)
            if sampler.stop_after and result.step.index + 1 >= sampler.stop_after:
                return result.latent if result.step.sigma_next == 0 else result.denoised.to(latent.dtype)
            if changed is not None:
                resume = (result.step.index + 1, latent, result.memory)
                break
        else:
            return latent

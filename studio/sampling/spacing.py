"""Schedules that spread the levels of a flow list otherwise: Karras, exponential, beta, align your steps.

Karras, exponential and beta keep the two ends of `flow_diffusers`, so that the shift decides where they start
and end; they are what FlowMatchEulerDiscreteScheduler makes with the option of that name.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from studio.errors import StudioError
from studio.values import Sigmas

Floats = npt.NDArray[np.float64]
RHO = 7.0
ALPHA = BETA = 0.6


def karras(ends: tuple[float, float], steps: int, rho: float = RHO) -> Sigmas:
    """(a + i / (N - 1) (b - a))^rho, a and b the ends to the 1 / rho; arXiv 2206.00364, equation 5.

    ends: first and last level above 0. rho: above 0; larger puts more steps at low noise.
    """
    if not (math.isfinite(rho) and 0 < rho <= 100):
        raise StudioError(f"A rho of {rho} is not possible.", socket="rho", hint="Possible: above 0 to 100.")
    high, low = (end ** (1 / rho) for end in ends)
    return _listed((high + np.linspace(0, 1, steps) * (low - high)) ** rho, "karras")


def exponential(ends: tuple[float, float], steps: int) -> Sigmas:
    """Even in log sigma: `karras` with rho to infinity."""
    return _listed(np.exp(np.linspace(math.log(ends[0]), math.log(ends[1]), steps)), "exponential")


def beta(ends: tuple[float, float], steps: int, a: float = ALPHA, b: float = BETA) -> Sigmas:
    """Quantiles of a Beta(a, b) distribution between the ends, arXiv 2407.12173: dense at both; 1, 1 = even.

    a, b: 0.1..10.
    """
    for name, given in (("a", a), ("b", b)):
        if not (math.isfinite(given) and 0.1 <= given <= 10):
            raise StudioError(f"{name} = {given} is not possible.", socket=name, hint="Possible: 0.1 to 10.")
    high, low = ends
    return _listed(low + (high - low) * beta_quantile(1 - np.linspace(0, 1, steps), a, b), "beta")


def align_your_steps(steps: int, shift: float = 1.0, *, xl: bool = False) -> Sigmas:
    """The list found for Stable Diffusion 1.5 (or XL), arXiv 2404.14507, at the same log-SNR of a flow.

    Its 10 levels are interpolated log-linearly for other numbers of steps, and the first is 1. `shift` moves
    them as it moves any flow list; 1 = as published. No list was published for flow models.
    """
    from diffusers.schedulers import AysSchedules

    found = AysSchedules["StableDiffusionXLSigmas" if xl else "StableDiffusionSigmas"][:-1]
    at = np.linspace(0, 1, steps) if steps > 1 else np.zeros(1)
    ratios = shift * np.exp(np.interp(at, np.linspace(0, 1, len(found)), np.log(found)))
    values = ratios / (1 + ratios)
    values[0] = 1.0
    return _listed(values, "ays_xl" if xl else "ays")


def beta_quantile(share: Floats, a: float, b: float) -> Floats:
    """The inverse of the regularised incomplete beta function, 0..1, to 1e-12; by bisection."""
    share = np.asarray(share, np.float64)
    low, high = np.zeros_like(share), np.ones_like(share)
    for _ in range(60):
        middle = (low + high) / 2
        below = beta_share(middle, a, b) < share
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    # the ends themselves are exact
    return np.where(share <= 0, 0.0, np.where(share >= 1, 1.0, (low + high) / 2))


def beta_share(x: Floats, a: float, b: float) -> Floats:
    """The regularised incomplete beta function I_x(a, b) by its power series, mirrored above 1/2."""
    x = np.asarray(x, np.float64)
    upper = x > 0.5
    mirrored = np.where(upper, 1 - x, x)
    return np.where(upper, 1 - _series(mirrored, b, a), _series(mirrored, a, b))


def _series(x: Floats, a: float, b: float) -> Floats:
    """x^a / B(a, b) times the sum of (1 - b)_k / k! x^k / (a + k); x at most 1/2."""
    whole = math.gamma(a) * math.gamma(b) / math.gamma(a + b)
    total, term = np.zeros_like(x), np.ones_like(x)
    for k in range(60):
        total = total + term / (a + k)
        term = term * x * (k + 1 - b) / (k + 1)
    return np.asarray(x**a * total / whole)


def _listed(values: Floats, name: str) -> Sigmas:
    # fp32 as in the scheduler
    return Sigmas((*(float(v) for v in values.astype(np.float32)), 0.0), name)

"""Schedules: functions to `Sigmas`, descending and ending in 0 (sampling 2.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from studio.errors import StudioError, did_you_mean
from studio.sampling import spacing
from studio.sampling.scm import scm
from studio.values import Sigmas

MAX_STEPS = 1000
TRAIN_STEPS = 1000


def flow(steps: int, shift: float = 1.0) -> Sigmas:
    """Evenly spaced from 1 to 0, then shifted: sigma = s u / (1 + (s - 1) u). `steps` 1..1000; shift 1 =
    none."""
    _check(steps, shift)
    return Sigmas((*(_shifted(1 - i / steps, shift) for i in range(steps)), 0.0), "flow")


def flow_diffusers(steps: int, shift: float = 1.0) -> Sigmas:
    """What FlowMatchEulerDiscreteScheduler.set_timesteps makes, bit by bit; the SD3 pipelines use it.

    Its end point is shifted twice: the last sigma before 0 is smaller than in `flow`.
    """
    values = _twice_shifted(steps, shift).astype(np.float32)
    return Sigmas((*(float(v) for v in values), 0.0), "flow_diffusers")


def karras(steps: int, shift: float = 1.0) -> Sigmas:
    """`spacing.karras` between the ends of `flow_diffusers`, bit by bit as use_karras_sigmas makes it."""
    return spacing.karras(_ends(steps, shift), steps)


def exponential(steps: int, shift: float = 1.0) -> Sigmas:
    """`spacing.exponential` between the ends of `flow_diffusers`, as use_exponential_sigmas makes it."""
    return spacing.exponential(_ends(steps, shift), steps)


def beta(steps: int, shift: float = 1.0) -> Sigmas:
    """`spacing.beta` between the ends of `flow_diffusers`, as use_beta_sigmas makes it."""
    return spacing.beta(_ends(steps, shift), steps)


def ays(steps: int, shift: float = 1.0) -> Sigmas:
    """`spacing.align_your_steps` of Stable Diffusion 1.5."""
    _check(steps, shift)
    return spacing.align_your_steps(steps, shift)


def ays_xl(steps: int, shift: float = 1.0) -> Sigmas:
    """`spacing.align_your_steps` of Stable Diffusion XL."""
    _check(steps, shift)
    return spacing.align_your_steps(steps, shift, xl=True)


def flux(steps: int, shift: float = 1.0) -> Sigmas:
    """The list that FluxPipeline hands to its scheduler, shifted by it, bit by bit: like `flow`, in fp32."""
    _check(steps, shift)
    even = np.linspace(1.0, 1 / steps, steps).astype(np.float32)
    values = shift * even / (1 + (shift - 1) * even)
    return Sigmas((*(float(v) for v in values), 0.0), "flux")


def flux_by_size(steps: int, tokens: int, base_shift: float = 0.5, max_shift: float = 1.15) -> Sigmas:
    """FluxPipeline's list with dynamic shifting, bit by bit: more image tokens, more time at high noise.

    The shift is e^mu, mu on the line through (256, `base_shift`) and (4096, `max_shift`) at `tokens` image
    tokens. StudioError unless `tokens` is at least 1 and both shifts are finite, -5 to 5.
    """
    _check(steps, 1.0)
    if type(tokens) is not int or tokens < 1:
        raise StudioError(f"A picture of {tokens} tokens is not possible.", hint="It has at least 1.")
    for name, value in (("base_shift", base_shift), ("max_shift", max_shift)):
        if not (math.isfinite(value) and abs(value) <= 5):
            raise StudioError(f"A {name} of {value} is not possible.", hint="Possible: -5 to 5.", socket=name)
    slope = (max_shift - base_shift) / (4096 - 256)
    factor = math.exp(tokens * slope + (base_shift - slope * 256))
    even = np.linspace(1.0, 1 / steps, steps).astype(np.float32)
    values = factor / (factor + (1 / even - 1) ** 1.0)
    return Sigmas((*(float(v) for v in values), 0.0), "flux_by_size")


def shift_by_size(pixels: int, native: int, shift: float) -> float:
    """The shift for a picture of `pixels` from that for one of `native` pixels: s sqrt(pixels / native).

    Stable Diffusion 3 (arXiv 2403.03206, section 5.3.2): more pixels of one noise level show more of the
    picture, so the level must be higher to hide as much.
    """
    if min(pixels, native) < 1:
        raise StudioError(f"A picture of {min(pixels, native)} pixels is not possible.", socket="native")
    _check(1, shift)
    return shift * math.sqrt(pixels / native)


def custom(values: Sequence[float]) -> Sigmas:
    """A list of one's own; raises a StudioError if it rises, holds NaN or does not end in 0."""
    if len(values) > MAX_STEPS + 1:
        raise StudioError(
            f"The list has {len(values):,} sigmas; at most {MAX_STEPS + 1} are possible.", hint="Shorten it."
        )
    return Sigmas(tuple(values))


def written(text: str) -> Sigmas:
    """`custom` of numbers written with commas, semicolons or spaces between them; a flow's, 1 to 0."""
    words = text.replace(",", " ").replace(";", " ").split()
    if not words:
        raise StudioError("The list of noise levels is empty.", hint="For example 1, 0.75, 0.5, 0.25, 0.")
    values = []
    for place, word in enumerate(words, 1):
        try:
            values.append(float(word))
        except ValueError:
            raise StudioError(
                f"{word[:40]!r}, entry {place} of the list, is not a number.",
                hint="For example 1, 0.75, 0.5, 0.25, 0.",
            ) from None
    sigmas = custom(values)
    if sigmas.values[0] > 1:
        raise StudioError(
            f"The list starts at {sigmas.values[0]:g}; noise levels go from 1 to 0.", hint="Start at 1."
        )
    return sigmas


def from_strength(sigmas: Sigmas, strength: float) -> Sigmas:
    """The last part of a schedule, for starting from a picture; `strength` 0..1, 1 = all of it, 0 = no step.

    Starts at the index that diffusers takes: int(max(N - min(N strength, N), 0)).
    """
    if not (math.isfinite(strength) and 0 <= strength <= 1):
        raise StudioError(
            f"The strength {strength} is outside 0..1.",
            socket="strength",
            hint="0 keeps the picture, 1 starts from pure noise.",
        )
    if strength == 1:
        return sigmas
    return Sigmas(sigmas.values[sigmas.steps - steps_left(sigmas.steps, strength) :], sigmas.name)


def steps_left(steps: int, strength: float) -> int:
    """How many of a schedule's steps `from_strength` leaves; strength 0..1."""
    return steps - int(max(steps - min(steps * strength, steps), 0))


SCHEDULES: Mapping[str, Callable[[int, float], Sigmas]] = {
    "flow_diffusers": flow_diffusers,
    "flow": flow,
    "flux": flux,
    "karras": karras,
    "exponential": exponential,
    "beta": beta,
    "ays": ays,
    "ays_xl": ays_xl,
    "scm": scm,
}


def schedule(name: str, steps: int, shift: float) -> Sigmas:
    """A schedule by its name in `SCHEDULES`."""
    if name not in SCHEDULES:
        raise StudioError(
            f"No schedule called {name!r}.",
            socket="kind",
            hint=did_you_mean(name, SCHEDULES) or f"Possible: {', '.join(SCHEDULES)}.",
        )
    return SCHEDULES[name](steps, shift)


def _shifted(sigma: float, shift: float) -> float:
    # exactly, where the fraction would be rounded
    return 1.0 if sigma == 1 else shift * sigma / (1 + (shift - 1) * sigma)


def _ends(steps: int, shift: float) -> tuple[float, float]:
    """The first level of `flow_diffusers` and the last one above 0, in fp64."""
    values = _twice_shifted(steps, shift)
    return float(values[0]), float(values[-1])


def _twice_shifted(steps: int, shift: float) -> spacing.Floats:
    _check(steps, shift)
    # the scheduler works out its own range in fp32, then makes the list in fp64
    train = np.linspace(1, TRAIN_STEPS, TRAIN_STEPS, dtype=np.float32)[::-1] / np.float32(TRAIN_STEPS)
    train = np.float32(shift) * train / (1 + np.float32(shift - 1) * train)
    even = np.linspace(float(train[0]) * TRAIN_STEPS, float(train[-1]) * TRAIN_STEPS, steps) / TRAIN_STEPS
    return np.asarray(shift * even / (1 + (shift - 1) * even))


def _check(steps: int, shift: float) -> None:
    if type(steps) is not int or not 1 <= steps <= MAX_STEPS:
        raise StudioError(
            f"{steps} steps are not possible.", hint=f"Possible: 1 to {MAX_STEPS}.", socket="steps"
        )
    if not (math.isfinite(shift) and 0 < shift <= 100):
        raise StudioError(
            f"A shift of {shift} is not possible.",
            hint="Possible: above 0 up to 100; 1 = no shift.",
            socket="shift",
        )

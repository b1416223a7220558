"""Optimal start noise for restoring (arXiv 2305.15357): one noise for all pictures of a problem.

The best boundary condition of one picture's restoring is nearly that of the others, so it can be searched
once: of K candidates the one whose results are nearest to the truth, averaged over a few known pictures.
Where it differs: candidates are seeds, so that the found noise fits every size and is written down in one
number, and the distance is `unlikeness` in place of LPIPS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studio.errors import StudioError
from studio.models.family import Parts
from studio.models.pictures import decode_latent
from studio.sampling.guidance.flowchef_known import flowchef_known
from studio.sampling.loop import sample_run
from studio.sampling.measurement import Measurement
from studio.sampling.samplers import sampler
from studio.values import Conditioning, Guidance, Image, Latent, Sigmas, StepResult

KIND = "start_noise"
MOST_CANDIDATES = 64
SCALES = 3
# Constants of SSIM (Wang et al. 2004) for values 0..1, over windows of 8 x 8.
C1, C2, WINDOW = 0.01**2, 0.03**2, 8
Grey = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Restoring:
    """One picture to restore: what is known of it, its prompts, and the picture itself."""

    positive: Conditioning
    negative: Conditioning
    known: Measurement
    truth: Image


@dataclass(frozen=True)
class Method:
    """How it is restored: FlowChef with these settings, Euler over `sigmas`."""

    sigmas: Sigmas
    guidance: Guidance
    kappa: float = 1.0
    repeats: int = 2


@dataclass(frozen=True)
class BestNoise:
    """`seed`: the candidate with the least mean distance; `distances`: of every candidate over the searched
    pictures. `held_out`: the same over pictures that took no part, () without any."""

    seed: int
    distances: Mapping[int, float]
    held_out: Mapping[int, float]

    @property
    def gain(self) -> float | None:
        """By which share the found noise beats the mean of all candidates: on held-out pictures if there are
        any; None where there is nothing to beat."""
        told = self.held_out or self.distances
        mean = float(np.mean(list(told.values())))
        return None if mean == 0 else 1 - told[self.seed] / mean


def find_noise(
    parts: Parts,
    cases: Sequence[Restoring],
    method: Method,
    seeds: Sequence[int],
    *,
    held_out: Sequence[Restoring] = (),
    on_step: Callable[[int, int], None] | None = None,
) -> BestNoise:
    """The seed of `seeds` with which the cases come out best; the first of equals. `on_step(i, total)` is
    called after every step of a run and may raise to stop."""
    if not cases:
        raise StudioError("There is nothing to search on.", hint="Give at least one picture.")
    if not 1 <= len(seeds) <= MOST_CANDIDATES or len(set(seeds)) != len(seeds):
        raise StudioError(
            f"{len(seeds)} candidates are not possible.",
            socket="candidates",
            hint=f"Possible: 1 to {MOST_CANDIDATES}, all different.",
        )
    total = len(seeds) * (len(cases) + len(held_out)) * max(method.sigmas.steps, 1)
    done = 0

    def tick(_: StepResult) -> None:
        nonlocal done
        done += 1
        if on_step is not None:
            on_step(done, total)

    def distance(seed: int, some: Sequence[Restoring]) -> float:
        made = (restored(parts, case, method, seed, on_step=tick) for case in some)
        return float(np.mean([unlikeness(m, case.truth) for m, case in zip(made, some, strict=True)]))

    searched = {seed: distance(seed, cases) for seed in seeds}
    best = min(seeds, key=lambda seed: searched[seed])
    return BestNoise(best, searched, {seed: distance(seed, held_out) for seed in seeds} if held_out else {})


def restored(
    parts: Parts,
    case: Restoring,
    method: Method,
    seed: int,
    *,
    on_step: Callable[[StepResult], None] | None = None,
) -> Image:
    """The picture that FlowChef finds from this seed's noise, with what is known put back."""
    known = case.known
    run = sample_run(
        parts,
        case.positive,
        case.negative,
        Latent(known.width, known.height, 1, seed),
        method.sigmas,
        sampler("euler"),
        method.guidance,
        wraps=(flowchef_known(parts, known, method.kappa, method.repeats),),
        on_step=on_step,
    )
    return known.put_back(decode_latent(parts, run.latent))


def key_of(known: Measurement, method: Method) -> str:
    """Under which circumstances a noise was found: the same for every picture of a problem."""
    blur = "none" if not known.kernel else f"{len(known.kernel)}x{len(known.kernel[0])} {known.kernel_name}"
    holes = ", holes" if known.known is not None else ""
    return (
        f"shrink {known.shrink}, blur {blur}{holes}, {known.width} x {known.height}, {method.sigmas.steps} "
        f"steps, flowchef {method.kappa:g} x {method.repeats}, {method.guidance!r}"
    )


def read(value: Mapping[str, object] | None) -> int | None:
    """The seed of a stored result; None if there is none, or a damaged one."""
    seed = (value or {}).get("seed")
    return seed if type(seed) is int and 0 <= seed < 2**53 else None


def unlikeness(one: Image, other: Image) -> float:
    """A distance of two pictures of one size, 0 = equal: over three scales, each half of the one before, the
    mean of 1 - SSIM of the grey pictures and of the difference of their gradients."""
    a, b = (_grey(image) for image in (one, other))
    found = []
    for scale in range(SCALES):
        if scale:
            if min(a.shape) < 2 * WINDOW:
                break
            a, b = _halved(a), _halved(b)
        found.append((1 - _ssim(a, b)) + _gradients_apart(a, b))
    return float(np.mean(found))


def _grey(image: Image) -> Grey:
    weights = np.array([0.299, 0.587, 0.114])
    grey: Grey = image.pixels[..., :3].astype(np.float64) @ weights / 255
    return grey


def _halved(grey: Grey) -> Grey:
    height, width = (side // 2 * 2 for side in grey.shape)
    small: Grey = grey[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    return small


def _gradients_apart(a: Grey, b: Grey) -> float:
    apart = [np.abs(np.diff(a, axis=k) - np.diff(b, axis=k)) for k in (0, 1)]
    return float(np.mean([part.mean() if part.size else 0.0 for part in apart]))


def _ssim(a: Grey, b: Grey) -> float:
    side = min(WINDOW, *a.shape)
    height, width = (n - n % side for n in a.shape)

    def windows(values: Grey) -> Grey:
        cut = values[:height, :width].reshape(height // side, side, width // side, side)
        return cut.transpose(0, 2, 1, 3).reshape(-1, side * side)

    x, y = windows(a), windows(b)
    mx, my = x.mean(1), y.mean(1)
    both = ((x - mx[:, None]) * (y - my[:, None])).mean(1)
    top, low = (2 * mx * my + C1) * (2 * both + C2), (mx**2 + my**2 + C1) * (x.var(1) + y.var(1) + C2)
    return float((top / low).mean())

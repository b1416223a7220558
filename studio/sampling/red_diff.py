"""RED-Diff (arXiv 2305.04391, algorithm 1): an inverse problem solved with a frozen model as regulariser.

A picture mu is sought whose measurement A mu is y and that the model finds likely. For every noise level,
from high to low, mu is noised, the model gives its clean estimate D, and Adam follows
A'(A mu - y) + weight (mu - D): with the published weight of the noise levels, sigma / (1 - sigma), the
regulariser's gradient is exactly that pull to D. A acts on the latent (`red_diff`: known points, or means
over blocks of them) or on pixels, through the decoder (`red_diff_known`: blur, shrinking, mask). There the
data term's gradient has the length of its best step (`data_term.downhill`), so that one weight suits every
model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from studio.errors import StudioError
from studio.models.family import Parts, check_size
from studio.models.pictures import encode_picture
from studio.sampling.controlled import check_sampler
from studio.sampling.data_term import downhill
from studio.sampling.denoiser import Calls, make_predict
from studio.sampling.guidance.coarse import block_means
from studio.sampling.loop import Run, check_finite, check_flow, check_picture, keep, step_noise
from studio.sampling.measurement import Measurement
from studio.sampling.samplers import steps_of
from studio.sampling.trajectories import TARGET, Trajectories
from studio.values import Conditioning, Guidance, Latent, Sigmas, StepResult

BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True, eq=False)
class Measured:
    """A: what of a latent is known. `known`: weights 0..1 on its grid (1 = known), None = all; then means
    over `block` x `block` points (1 = the points themselves)."""

    known: torch.Tensor | None = None
    block: int = 1

    def __call__(self, latent: torch.Tensor) -> torch.Tensor:
        """A latent, on the latent's own grid: means are repeated."""
        if self.known is not None:
            latent = latent * self.known.to(latent)
        return latent if self.block == 1 else block_means(latent, self.block)

    def put_back(self, content: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """`latent` with the measurement of `content`; itself where points and blocks are both measured."""
        if self.known is not None and self.block > 1:
            return latent
        if self.known is not None:
            known = self.known.to(latent)
            return known * content + (1 - known) * latent
        return latent + self(content - latent)

    def back(self, latent: torch.Tensor) -> torch.Tensor:
        """A' of something on the latent's grid."""
        latent = latent if self.block == 1 else block_means(latent, self.block)
        return latent if self.known is None else latent * self.known.to(latent)


def red_diff(
    parts: Parts,
    positive: Conditioning,
    negative: Conditioning,
    picture: Latent,
    sigmas: Sigmas,
    guidance: Guidance,
    measured: Measured,
    *,
    weight: float = 0.25,
    rate: float = 0.1,
    on_step: Callable[[StepResult], None] | None = None,
) -> Run:
    """The picture that `measured` cannot tell from `picture` and that the model finds likely.

    weight: of the model beside the measurement, 0 = none: then the picture comes back itself. rate: Adam's,
    in units of the latent. One evaluation of the network a noise level; no gradient goes through it.
    `Run.report`: "data", the mean squared distance of the measurements before every step and after the last;
    then, with known points or blocks alone, the measurement is put back exactly.
    """
    check_rates(weight, rate)
    check_size(parts, picture.width, picture.height)
    start = check_picture(parts, picture)
    if weight == 0 or rate == 0 or sigmas.steps == 0:
        return Run({TARGET: picture}, report={"red_diff": {"data": [0.0]}})
    content = start.to(parts.device)
    wanted = measured(content)

    def data(mu: torch.Tensor) -> tuple[torch.Tensor, float]:
        distance = measured(mu) - wanted
        return measured.back(distance), float(distance.square().mean())

    return _solved(
        parts,
        positive,
        negative,
        picture,
        sigmas,
        guidance,
        content,
        data,
        lambda mu: measured.put_back(content, mu),
        weight,
        rate,
        on_step,
    )


def red_diff_known(
    parts: Parts,
    positive: Conditioning,
    negative: Conditioning,
    known: Measurement,
    sigmas: Sigmas,
    guidance: Guidance,
    *,
    seed: int = 0,
    weight: float = 0.25,
    rate: float = 0.1,
    on_step: Callable[[StepResult], None] | None = None,
) -> Run:
    """The latent of the picture that fits to what is known of it and that the model finds likely.

    It starts from `known.guess()`, encoded; weight or rate 0 gives that back. `Run.report`: as of `red_diff`,
    with the mean squared distance of pixels 0..1. A step costs an evaluation of the network, two decodings
    and a gradient of the decoder.
    """
    check_rates(weight, rate)
    guess = known.guess()
    picture = encode_picture(parts, guess, seed=seed)
    if (picture.width, picture.height) != (known.width, known.height):
        step = parts.family.size_step(parts)
        raise StudioError(
            f"The picture that is sought has {known.width}x{known.height} pixels; this model makes "
            f"multiples of {step}.",
            hint=f"The nearest below is {picture.width}x{picture.height}: cut the picture.",
            socket="known",
        )
    if weight == 0 or rate == 0 or sigmas.steps == 0:
        return Run({TARGET: picture}, report={"red_diff": {"data": [round(known.difference(guess), 6)]}})
    assert picture.tensor is not None
    wanted = known.wanted().to(parts.device)

    def data(mu: torch.Tensor) -> tuple[torch.Tensor, float]:
        way, before = downhill(parts, known, wanted, mu)
        return -way, float(before.mean())

    return _solved(
        parts,
        positive,
        negative,
        picture,
        sigmas,
        guidance,
        picture.tensor.to(parts.device),
        data,
        lambda mu: mu,
        weight,
        rate,
        on_step,
    )


def check_rates(weight: float, rate: float) -> None:
    """StudioError unless both numbers are possible."""
    for name, given, high in (("weight", weight, 100.0), ("rate", rate, 10.0)):
        if not (math.isfinite(given) and 0 <= given <= high):
            raise StudioError(
                f"A {name} of {given} is not possible.", socket=name, hint=f"Possible: 0 to {high:g}."
            )


def _solved(
    parts: Parts,
    positive: Conditioning,
    negative: Conditioning,
    picture: Latent,
    sigmas: Sigmas,
    guidance: Guidance,
    mu: torch.Tensor,
    data: Callable[[torch.Tensor], tuple[torch.Tensor, float]],
    finish: Callable[[torch.Tensor], torch.Tensor],
    weight: float,
    rate: float,
    on_step: Callable[[StepResult], None] | None,
) -> Run:
    """Adam from `mu` on; `data(mu)`: the gradient of the data term and its value."""
    check_flow(parts, sigmas)
    check_sampler(guidance.name, guidance.only_sampler, "")
    calls, told = Calls(), []
    with torch.inference_mode():
        rows = Trajectories(batch=picture.batch).rows(positive, negative)
        denoise = guidance.guide(make_predict(parts, calls=calls), rows)
        noise = step_noise(mu, picture.seed)
        mu, first, second = mu.clone(), torch.zeros_like(mu), torch.zeros_like(mu)
        for step in steps_of(sigmas):
            noised = (1 - step.sigma) * mu + step.sigma * noise("red_diff", step.index)
            estimate = denoise(noised, step).to(mu)
            slope, before = data(mu)
            told.append(before)
            slope = slope + weight * (mu - estimate)
            first = BETAS[0] * first + (1 - BETAS[0]) * slope
            second = BETAS[1] * second + (1 - BETAS[1]) * slope.square()
            count = step.index + 1
            mean, square = first / (1 - BETAS[0] ** count), second / (1 - BETAS[1] ** count)
            mu = mu - rate * mean / (square.sqrt() + EPSILON)
            if on_step is not None:
                on_step(StepResult(step, mu, estimate))
        told.append(data(mu)[1])
        mu = finish(mu)
        check_finite(mu)
        report = {"red_diff": {"data": [round(value, 6) for value in told]}}
        return Run({TARGET: keep(picture, mu, parts)}, report=report, calls=calls.as_json())

"""How fast the samplers' error falls with the number of steps; multistep ones from an exact history, because
their first steps are of lower order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from studio.sampling.adams import adams_weights, ghvb_weights
from studio.sampling.samplers import sampler
from studio.values import Denoise, Sampler, Sigmas, Step
from tests.sampling import analytic
from tests.sampling.analytic import no_noise

Z = torch.linspace(-2, 2, 9, dtype=torch.float64)
HIGH, LOW, BEFORE = 0.8, 0.1, 4
Memory = Callable[[Sequence[float]], tuple[torch.Tensor, ...]]


def levels(count: int, bend: float) -> list[float]:
    """`BEFORE` levels above HIGH, then `count` steps down to LOW, even or, with `bend`, denser below; and
    two more, because the last steps before 0 may be of lower order."""
    run = [LOW + (HIGH - LOW) * (1 - i / count) ** bend for i in range(-BEFORE, count + 1)]
    return [*run, 0.9 * LOW, 0.8 * LOW]


def observed_order(
    made: Sampler,
    denoise: Denoise,
    exact: Callable[[float], torch.Tensor],
    memory: Memory = lambda passed: (),
    bend: float = 1.0,
    counts: Sequence[int] = (32, 64, 128),
) -> float:
    """Minus the slope of log error over log steps. `memory` gets the levels already passed, newest first."""
    errors = []
    for count in counts:
        sigmas = Sigmas((*levels(count, bend), 0.0))
        resume = (BEFORE, exact(HIGH), memory(sigmas.values[:BEFORE][::-1]))
        for result in made.run(denoise, exact(HIGH), sigmas, noise=no_noise, resume=resume):
            if result.step.sigma_next == sigmas.values[-4]:
                errors.append(float((result.latent - exact(LOW)).abs().max()))
                break
    return -float(np.polyfit(np.log(counts), np.log(errors), 1)[0])


# the Gaussian


def path(sigma: float) -> torch.Tensor:
    return analytic.exact(Z, sigma)


def estimate(sigma: float) -> torch.Tensor:
    return analytic.denoise(path(sigma), Step(0, 1, sigma, 0.0))


def estimates(count: int) -> Memory:
    return lambda passed: tuple(estimate(sigma) for sigma in passed[:count])


def unipc_memory(order: int) -> Memory:
    return lambda passed: (path(passed[0]), *(estimate(sigma) for sigma in passed[:order]))


# x' = cos(t) x with t from 0 to TIME: the Gaussian makes some methods look better than they are

TIME = 0.6


def time_of(sigma: float) -> float:
    return TIME * (HIGH - sigma) / (HIGH - LOW)


def wave(sigma: float) -> torch.Tensor:
    return torch.full((3,), math.exp(math.sin(time_of(sigma))), dtype=torch.float64)


def wave_slope(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return -TIME * math.cos(time_of(sigma)) / (HIGH - LOW) * x


def wave_denoise(x: torch.Tensor, step: Step) -> torch.Tensor:
    return x - step.sigma * wave_slope(x, step.sigma)


def wave_velocities(count: int, beta: float = 1.0) -> Memory:
    """Velocities of the past; with `beta` smoothed as if even steps had gone on forever."""

    def memory(passed: Sequence[float]) -> tuple[torch.Tensor, ...]:
        if beta == 1:
            return tuple(wave_slope(wave(sigma), sigma) for sigma in passed[:count])
        h, found = passed[0] - passed[1], []
        for sigma in passed[:count]:
            past = [(beta * (1 - beta) ** k, sigma - k * h) for k in range(120)]
            found.append(sum(weight * wave_slope(wave(at), at) for weight, at in past))
        return tuple(found)

    return memory


@pytest.mark.parametrize("bend", [1.0, 1.5])
@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("midpoint", 2), ("edm", 2)])
def test_samplers_without_history_have_their_order(name, order, bend):
    assert observed_order(sampler(name), wave_denoise, wave, bend=bend) == pytest.approx(order, abs=0.12)


@pytest.mark.parametrize("bend", [1.0, 1.5])
@pytest.mark.parametrize(
    ("made", "memory", "low", "high"),
    [
        (sampler("dpmpp_2m"), estimates(1), 1.85, 2.15),
        (sampler("dpmpp_3m"), estimates(2), 2.7, 3.3),
        # as the authors' code has it, its second difference counts half
        (sampler("dpmpp_3m", curve=0.5), estimates(2), 1.6, 2.5),
        # the corrector raises the order by one
        (sampler("unipc", order=1), unipc_memory(1), 1.85, 2.15),
        (sampler("unipc", order=2), unipc_memory(2), 2.7, 3.3),
        (sampler("unipc", order=3), unipc_memory(3), 3.4, 4.6),
    ],
    ids=["2m", "3m", "3m-half", "unipc1", "unipc2", "unipc3"],
)
def test_multistep_samplers_in_lambda_have_their_order(made, memory, low, high, bend):
    found = observed_order(made, analytic.denoise, path, memory, bend, counts=(64, 128, 256))
    assert low < found < high


@pytest.mark.parametrize("bend", [1.0, 1.5])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_adams_bashforth_has_its_order_on_even_and_uneven_steps(order, bend):
    made = sampler("ghvb", order=order, beta=1.0)
    found = observed_order(made, wave_denoise, wave, wave_velocities(max(order - 1, 1)), bend)
    assert found == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("beta", [0.8, 0.5])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_momentum_keeps_the_order_of_ghvb_and_takes_that_of_hb(order, beta):
    made = sampler("ghvb", order=order, beta=beta)
    found = observed_order(made, wave_denoise, wave, wave_velocities(max(order - 1, 1), beta))
    assert found == pytest.approx(order, abs=0.3)
    heavy = observed_order(sampler("hb", order=order, beta=beta), wave_denoise, wave)
    assert heavy == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize(
    ("count", "weights"),
    [
        (1, [1]),
        (2, [3 / 2, -1 / 2]),
        (3, [23 / 12, -16 / 12, 5 / 12]),
        (4, [55 / 24, -59 / 24, 37 / 24, -9 / 24]),
    ],
)
def test_on_even_steps_the_weights_are_the_known_ones(count, weights):
    sigmas = Sigmas((0.5, 0.4, 0.3, 0.2, 0.1, 0.0))
    assert adams_weights(sigmas, Step(3, 5, 0.2, 0.1), count) == pytest.approx(weights, abs=1e-9)


@pytest.mark.parametrize("beta", [1.0, 0.8, 0.35])
def test_on_even_steps_the_momentum_weights_are_the_published_ones(beta):
    sigmas = Sigmas((0.5, 0.4, 0.3, 0.2, 0.1, 0.0))
    published = {
        1: [beta],
        2: [(2 + beta) / 2, -(2 - beta) / 2],
        3: [(18 + 5 * beta) / 12, -(24 - 8 * beta) / 12, (6 - beta) / 12],
        4: [
            (46 + 9 * beta) / 24,
            -(78 - 19 * beta) / 24,
            (42 - 5 * beta) / 24,
            -(10 - beta) / 24,
        ],
    }
    for count, weights in published.items():
        found = ghvb_weights(sigmas, Step(3, 5, 0.2, 0.1), count, beta)
        assert found == pytest.approx([w / beta for w in weights], abs=1e-9)

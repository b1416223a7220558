"""BOSS against brute force, and a search that is never worse than the plain list."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_latent
from studio.sampling.samplers import run_sampler, sampler
from studio.sampling.schedules import flow, flow_diffusers
from studio.sampling.search import stored
from studio.sampling.search.boss import cheapest, chosen, even_levels, jump_costs, total_cost
from studio.sampling.search.evolution import evolve
from studio.sampling.search.find import Case, calls_of, find_schedule
from studio.values import Latent, StepResult
from tests.sampling.analytic import denoise, exact, no_noise

FINE = 12


def fine_run(seed: int = 0, steps: int = FINE) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Latents at every level of a fine Euler run of the analytic model, and the velocities there."""
    start = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    results: list[StepResult] = []
    run_sampler(sampler("euler"), denoise, start, flow(steps, 3.0), noise=no_noise, on_step=results.append)
    latents = [start, *(result.latent for result in results)]
    slopes = [
        (latent - result.denoised) / result.step.sigma
        for latent, result in zip(latents[:-1], results, strict=True)
    ]
    return latents, slopes


def costs_of(seed: int = 0) -> np.ndarray:
    return jump_costs(fine_run(seed)[0], flow(FINE, 3.0))


def test_a_cost_is_how_far_euler_lands_from_the_fine_run():
    latents, slopes = fine_run()
    sigmas, costs = flow(FINE, 3.0).values, costs_of()
    for j, k in ((0, 5), (3, 4), (2, FINE), (FINE - 1, FINE)):
        landed = latents[j] + (sigmas[k] - sigmas[j]) * slopes[j]
        assert costs[j, k] == pytest.approx(float(((latents[k] - landed) ** 2).mean()), abs=1e-12)
    assert np.isinf(costs[np.tril_indices(FINE + 1)]).all()


@pytest.mark.parametrize("steps", range(1, FINE + 1))
def test_the_way_found_is_the_cheapest_of_all(steps):
    costs = costs_of()
    ways = [(0, *middle, FINE) for middle in combinations(range(1, FINE), steps - 1)]
    best = min(total_cost(costs, way) for way in ways)
    found = cheapest(costs, steps)
    assert found in ways and total_cost(costs, found) == pytest.approx(best, abs=1e-15)
    assert total_cost(costs, found) <= total_cost(costs, even_levels(FINE, steps))


def test_as_many_steps_as_the_fine_run_is_the_fine_run_at_no_cost():
    costs = costs_of()
    assert cheapest(costs, FINE) == tuple(range(FINE + 1)) and total_cost(costs, range(FINE + 1)) == 0
    assert chosen(flow(FINE, 3.0), range(FINE + 1)).values == flow(FINE, 3.0).values


def test_equal_ways_are_decided_the_same_every_time():
    flat = np.where(np.triu(np.ones((6, 6)), 1) > 0, 1.0, np.inf)
    assert cheapest(flat, 3) == cheapest(flat, 3) == (0, 1, 2, 5)


@pytest.mark.parametrize("steps", [0, FINE + 1])
def test_steps_that_a_fine_run_cannot_give_are_refused(steps):
    with pytest.raises(StudioError, match="cannot be found in a fine run of 12"):
        cheapest(costs_of(), steps)


def test_on_the_analytic_model_the_list_found_ends_nearer_than_the_even_one():
    sigmas, latents = flow(60, 1.0), fine_run_of_60()
    levels = cheapest(jump_costs(latents, sigmas), 5)
    start = torch.randn(4000, generator=torch.Generator().manual_seed(77), dtype=torch.float64)

    def error(values) -> float:
        end = run_sampler(sampler("euler"), denoise, start, values, noise=no_noise)
        return float(((end - exact(start, 0.0)) ** 2).mean())

    assert error(chosen(sigmas, levels)) < 0.9 * error(chosen(sigmas, even_levels(60, 5)))


def fine_run_of_60() -> list[torch.Tensor]:
    start = torch.randn(500, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    seen: list[torch.Tensor] = [start]
    run_sampler(
        sampler("euler"),
        denoise,
        start,
        flow(60, 1.0),
        noise=no_noise,
        on_step=lambda result: seen.append(result.latent),
    )
    return seen


@pytest.fixture(scope="module")
def cases(tiny_parts):
    def case(text: str, seed: int) -> Case:
        positive, _ = tiny_parts.family.encode_text(tiny_parts, text)
        negative, _ = tiny_parts.family.encode_text(tiny_parts, "")
        return Case(positive, negative, Latent(64, 64, 2, seed))

    return [case("a red star", 1), case("a blue house", 9)]


def distance(parts, case, sigmas, fine) -> float:
    ends = [
        sample_latent(parts, case.positive, case.negative, case.latent, s, sampler("euler"), cfg(2.0)).tensor
        for s in (sigmas, fine)
    ]
    return float(((ends[0].double() - ends[1].double()) ** 2).mean())


def noted(steps: list[tuple[int, int]]) -> Callable[[int, int], None]:
    """What keeps each (i, total) that a search reports."""
    return lambda i, total: steps.append((i, total))


def test_a_search_says_what_its_list_does_and_is_never_worse_than_the_plain_one(tiny_parts, cases):
    fine, plain = flow_diffusers(10, 3.0), flow_diffusers(3, 3.0)
    steps = []
    found = find_schedule(
        tiny_parts, cases[:1], cfg(2.0), fine, plain, held_out=cases[1:], on_step=noted(steps)
    )
    assert found.sigmas.steps == 3 and found.cost <= found.even_cost
    assert 0 < len(steps) <= calls_of(fine, plain, 1, 1)
    assert steps == [(i, calls_of(fine, plain, 1, 1)) for i in range(1, len(steps) + 1)]
    ours, theirs = (distance(tiny_parts, cases[0], s, fine) for s in (found.sigmas, plain))
    assert ours == pytest.approx(min(found.evolved_error, found.plain_error), rel=1e-4)
    assert theirs == pytest.approx(found.plain_error, rel=1e-4) and ours <= theirs
    held = distance(tiny_parts, cases[1], found.sigmas, fine)
    assert held == pytest.approx(found.held_out_error, rel=1e-4)
    if found.found:
        assert set(found.sigmas.values) <= set(fine.values) and found.gain is not None
    else:
        assert found.sigmas == plain and found.gain == 0


def test_evolution_is_never_worse_than_its_seeds_and_the_same_every_time():
    costs = costs_of()
    asked: list[tuple[int, ...]] = []

    def score(levels):
        asked.append(levels)
        return total_cost(costs, levels)

    even = even_levels(FINE, 4)
    none, start = evolve(score, [even], generations=0)
    assert none == even
    best, least = evolve(score, [even], generations=30)
    assert least < start and least == total_cost(costs, best)
    # what dynamic programming proves to be the best cannot be beaten
    assert least >= total_cost(costs, cheapest(costs, 4))
    assert evolve(score, [cheapest(costs, 4)], generations=10)[0] == cheapest(costs, 4)
    assert (best, least) == evolve(score, [even], generations=30)
    for levels in asked:
        assert levels == tuple(sorted(set(levels))) and (levels[0], levels[-1], len(levels)) == (0, FINE, 5)


@pytest.mark.parametrize("seed", [(0, 7), (0, 1, 2), (0, 1, 2, 3)])
def test_evolution_with_nothing_to_vary_keeps_what_there_is(seed):
    found, _ = evolve(lambda levels: float(len(levels)), [seed], generations=3)
    assert found == seed


def test_evolution_goes_on_from_boss(tiny_parts, cases):
    fine, plain, steps = flow_diffusers(8, 3.0), flow_diffusers(3, 3.0), []
    alone = find_schedule(tiny_parts, cases[:1], cfg(2.0), fine, plain)
    found = find_schedule(
        tiny_parts, cases[:1], cfg(2.0), fine, plain, generations=3, children=2, on_step=noted(steps)
    )
    assert alone.evolved_error == alone.boss_error == found.boss_error
    assert found.evolved_error <= found.boss_error and len(steps) <= calls_of(fine, plain, 1, tried=6)
    assert steps == [(i, calls_of(fine, plain, 1, tried=6)) for i in range(1, len(steps) + 1)]
    ours = distance(tiny_parts, cases[0], found.sigmas, fine)
    assert ours == pytest.approx(min(found.evolved_error, found.plain_error), rel=1e-4)


def test_a_list_that_runs_worse_is_not_kept(tiny_parts, cases):
    # nothing is nearer to the fine run than itself
    fine = flow_diffusers(4, 3.0)
    found = find_schedule(tiny_parts, cases[:1], cfg(2.0), fine, fine)
    assert not found.found and found.sigmas == fine and found.plain_error == 0 and found.gain is None


@pytest.mark.parametrize(("fine", "plain"), [(3, 4), (201, 4)])
def test_fine_runs_that_cannot_be_are_refused(tiny_parts, cases, fine, plain):
    with pytest.raises(StudioError, match="fine run of"):
        find_schedule(tiny_parts, cases, cfg(2.0), flow(fine), flow(plain))
    with pytest.raises(StudioError, match="nothing to search on"):
        find_schedule(tiny_parts, [], cfg(2.0), flow(8), flow(4))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"sigmas": "1, 0"},
        {"sigmas": [1.0, "x"]},
        {"sigmas": [1.0, 1.5, 0.0]},
        {"sigmas": [float("nan"), 0.0]},
        {"sigmas": [0.0]},
        {"sigmas": [14.6, 0.0]},
        {"sigmas": []},
    ],
)
def test_damaged_results_count_as_none(value):
    assert stored.read(value) is None


def test_a_stored_list_is_read_back():
    sigmas = stored.read({"sigmas": [1.0, 0.5, 0.0]})
    assert sigmas is not None and sigmas.values == (1.0, 0.5, 0.0) and sigmas.name == "boss"
    assert stored.key_of(8, 256, 128, cfg(3.0)) != stored.key_of(8, 256, 128, cfg(2.0))

"""The search for the steps that run in full."""

from __future__ import annotations

import itertools

import pytest
import torch

from studio.blocks.masks import best_steps, distances, total
from studio.errors import StudioError


@pytest.fixture(scope="module", params=[0, 1])
def cost(request: pytest.FixtureRequest) -> list[list[float]]:
    """Features that turn quickly at first."""
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 5, 3, generator=generator)
    return distances([a * 0.5**t + b * (1 - 0.5**t) for t in range(8)], order=request.param)


@pytest.mark.parametrize("full", range(1, 9))
def test_the_search_is_as_good_as_trying_all(cost: list[list[float]], full: int) -> None:
    every = [(0, *rest) for rest in itertools.combinations(range(1, 8), full - 1)]
    found = best_steps(cost, full)
    assert len(found) == full and found[0] == 0
    assert total(cost, found) == pytest.approx(min(total(cost, steps) for steps in every), abs=1e-12)


def test_full_steps_lie_where_features_move_and_beat_even_ones(cost: list[list[float]]) -> None:
    found = best_steps(cost, 4)
    assert found[:2] == (0, 1) and total(cost, found) < total(cost, (0, 2, 4, 6))
    assert total(cost, range(8)) == 0


def test_a_line_costs_nothing_at_order_one() -> None:
    a, b = torch.randn(2, 7, generator=torch.Generator().manual_seed(2))
    cost = distances([a + t * b for t in range(6)], order=1)
    assert total(cost, (0, 1, 3)) < 1e-9


@pytest.mark.parametrize("full", [0, 9, -1])
def test_numbers_that_do_not_fit_are_refused(cost: list[list[float]], full: int) -> None:
    with pytest.raises(StudioError, match="do not fit a run of 8 steps"):
        best_steps(cost, full)

"""Forecasts of a feature: on which curves they are exact."""

from __future__ import annotations

import pytest
import torch

from studio.blocks.forecast import History


def after(order: int, form: str, places: list[float], curve: list[float]) -> History:
    """A history of a polynomial with these coefficients at some places."""
    history = History(order, form)
    for place in places:
        history.record(torch.full((3,), value(curve, place), dtype=torch.float64), place)
    return history


def value(curve: list[float], at: float) -> float:
    return sum(factor * at**power for power, factor in enumerate(curve))


@pytest.mark.parametrize("places", [[0.0, 1.0, 2.0, 5.0], [0.0, 3.0, 6.0, 9.0], [-0.9, -0.7, -0.2, -0.1]])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_newton_is_exact_for_polynomials_of_its_order_at_any_spacing(order: int, places: list[float]) -> None:
    curve = [2.0, -3.0, 4.0][: order + 1]
    found = after(order, "newton", places, curve).forecast(places[-1] + 2)
    assert torch.allclose(found, torch.full_like(found, value(curve, places[-1] + 2)))


@pytest.mark.parametrize("order", [0, 1])
def test_taylor_is_exact_for_constant_and_linear_features(order: int) -> None:
    curve = [2.0, -3.0][: order + 1]
    found = after(order, "taylor", [0, 1, 2, 5], curve).forecast(7)
    assert torch.allclose(found, torch.full_like(found, value(curve, 7)))


def test_the_error_of_taylor_on_a_quadratic_is_the_published_forms_own() -> None:
    """-1/2 D2 d Delta at equal spacing (sampling.md 4.2): -6 for Delta = 3, d = 1, D2 = 4."""
    found = after(2, "taylor", [0, 3, 6], [0, 0, 2]).forecast(7)
    assert torch.allclose(found - value([0, 0, 2], 7), torch.full_like(found, -6.0))


def test_less_history_than_the_order_asks_for_is_used_as_far_as_it_goes() -> None:
    assert torch.equal(after(2, "newton", [4], [7]).forecast(9), torch.full((3,), 7.0, dtype=torch.float64))


def test_half_precision_is_kept_in_fp32() -> None:
    history = History(1, "newton")
    history.record(torch.ones(2, dtype=torch.bfloat16), 0)
    assert history.forecast(1).dtype == torch.float32

"""The embedded guidance number: how it reaches the rows, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from studio.errors import StudioError
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.embedded import embedded_guidance, with_number
from studio.values import Conditioning, Row, Step

TEXT = Conditioning("x", "flux", torch.zeros(1, 1, 1))
ROWS = (Row(TEXT, "uncond"), Row(TEXT, "cond"))
STEP = Step(0, 1, 0.5, 0.0)


def watched(rule):
    """The estimate of a rule over a made-up network, and the rows that it asked for."""
    asked = []

    def predict(latent, step, rows):
        asked.append([(row.role, row.guidance) for row in rows])
        return tuple(latent * (1 + sum(row.guidance, start=0.0) + (row.role == "cond")) for row in rows)

    return rule.guide(predict, ROWS)(torch.ones(1, 1, 2, 2), STEP), asked


def test_one_pass_with_the_number_on_the_positive_row():
    estimate, asked = watched(embedded_guidance(3.5))
    assert asked == [[("cond", (3.5,))]]
    assert torch.equal(estimate, torch.full((1, 1, 2, 2), 1 - 0.5 * 5.5, dtype=torch.float64))


def test_real_guidance_on_top_gives_both_rows_the_number():
    estimate, asked = watched(embedded_guidance(2.0, 4.0))
    assert asked == [[("uncond", (2.0,)), ("cond", (2.0,))]]
    assert torch.equal(estimate, torch.full((1, 1, 2, 2), 1 - 0.5 * (3 + 4 * 1), dtype=torch.float64))


def test_plain_cfg_names_no_number():
    _, asked = watched(cfg(1.0))
    assert asked == [[("cond", ())]]


@pytest.mark.parametrize("given", [-1.0, 31.0, math.nan, math.inf])
def test_impossible_numbers_are_refused(given):
    with pytest.raises(StudioError, match="guidance of") as caught:
        embedded_guidance(given)
    assert caught.value.socket == "guidance"
    with pytest.raises(StudioError, match="cfg_scale of"):
        embedded_guidance(3.5, given)


def test_rules_compare_by_their_numbers():
    assert embedded_guidance(2.0) == embedded_guidance(2.0) != embedded_guidance(2.5)
    assert repr(embedded_guidance(2.0)) == "Guidance(embedded, cfg_scale=1.0, guidance=2.0)"


def test_one_number_serves_all_trajectories_or_each_has_its_own():
    more = (TEXT, TEXT)
    assert Row(TEXT, "cond").guidances == (None,)
    assert Row(TEXT, "cond", more).guidances == (None, None, None)
    assert Row(TEXT, "cond", more, (2.0,)).guidances == (2.0, 2.0, 2.0)
    assert Row(TEXT, "cond", more, (1.0, 2.0, 3.0)).guidances == (1.0, 2.0, 3.0)
    with pytest.raises(StudioError, match="2 guidance numbers do not fit 3"):
        _ = Row(TEXT, "cond", more, (1.0, 2.0)).guidances


def test_any_rule_hands_its_number_to_the_network_in_every_row():
    estimate, asked = watched(with_number(cfg(4.0), 2.0))
    plain, _ = watched(embedded_guidance(2.0, 4.0))
    assert asked == watched(embedded_guidance(2.0, 4.0))[1] and torch.equal(estimate, plain)
    some = with_number(cfg(4.0, 0.0, 0.5), 2.0)
    early, late = (some.at(Step(i, 4, 1 - i / 4, 0.75 - i / 4)) for i in (0, 3))
    assert late == (("guidance", 2.0),) and early[-1:] == late and len(early) > 1
    with pytest.raises(StudioError, match="guidance of nan"):
        with_number(cfg(4.0), math.nan)

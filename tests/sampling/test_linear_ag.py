"""LinearAG: exact on linear data, CFG without a fit, half of the rows, and only for its own schedule."""

from __future__ import annotations

import pytest
import torch

from studio.errors import Cancelled, StudioError
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.linear_ag import calibrate, estimate, estimated_steps, fit, linear_ag
from studio.sampling.schedules import flow
from studio.values import Latent, Step
from tests.sampling.guidance_help import ROWS, Network, made, normal, state_of

STEPS = 6


def test_every_other_step_of_the_first_half_and_all_of_the_second():
    assert estimated_steps(10) == (1, 3, 5, 6, 7, 8, 9)
    assert estimated_steps(6) == (1, 3, 4, 5) and estimated_steps(2) == (1,) and estimated_steps(1) == ()


def test_an_estimate_by_hand():
    cs, us = [torch.tensor([1.0]), torch.tensor([2.0])], [torch.tensor([10.0])]
    assert float(estimate(((0.5, 3.0), (0.1,)), cs, us)) == pytest.approx(0.5 + 6 + 1)


def linear_paths(count=2):
    """u_t = 0.5 c_t + 0.3 c_(t-1) + 0.2 u_(t-1), exactly."""
    paths = []
    for number in range(count):
        cs = [t.double() for t in normal(STEPS, (1, 4, 6, 6), seed=number)]
        us = [normal(1, (1, 4, 6, 6), seed=50 + number)[0].double()]
        for t in range(1, STEPS):
            us.append(0.5 * cs[t] + 0.3 * cs[t - 1] + 0.2 * us[t - 1])
        paths.append(list(zip(cs, us, strict=True)))
    return paths


def test_linear_data_is_met_exactly():
    factors, errors = fit(linear_paths())
    assert [index for index, _, _ in factors] == list(estimated_steps(STEPS))
    assert max(errors) < 1e-10
    (fresh,) = linear_paths(3)[2:]
    cs, us = [c for c, _ in fresh], [u for _, u in fresh]
    for t, mine, theirs in factors:
        assert (estimate((mine, theirs), cs[: t + 1], us[:t]) - us[t]).abs().max() < 1e-8


def test_the_error_is_that_of_what_is_left():
    paths = linear_paths()
    for path in paths:
        path[1] = (path[1][0], path[1][1] + torch.randn(1, 4, 6, 6, dtype=torch.float64))
    _, errors = fit(paths)
    assert errors[0] > 0.1


def test_paths_of_different_lengths_are_refused():
    paths = linear_paths()
    with pytest.raises(StudioError, match="different numbers of steps"):
        fit([paths[0], paths[1][:-1]])


def test_without_a_fit_or_with_scale_one_it_is_cfg(tiny_parts):
    sigmas = flow(STEPS, 3.0)
    factors, _ = fit(linear_paths())
    assert linear_ag(3.0) == cfg(3.0)
    plain, calls = made(tiny_parts, cfg(1.0), steps=STEPS)
    found, own = made(tiny_parts, linear_ag(1.0, sigmas, factors), steps=STEPS)
    assert torch.equal(found, plain) and own == calls


def calibrated(parts, sigmas, **more):
    positive, negative = (encode_prompt(parts, text, "it")[0] for text in ("a red star", "blue house"))
    return calibrate(parts, [positive], negative, Latent(64, 64, 1, 11), sigmas, 3.0, **more)


def test_a_calibrated_run_is_near_cfg_at_half_the_rows(tiny_parts):
    sigmas = flow(STEPS, 3.0)
    before = state_of(tiny_parts.transformer)
    factors, errors = calibrated(tiny_parts, sigmas, paths=3)
    assert state_of(tiny_parts.transformer) == before and len(errors) == 4
    rule = linear_ag(3.0, sigmas, factors)
    guided, _ = made(tiny_parts, cfg(3.0), steps=STEPS)
    alone, _ = made(tiny_parts, cfg(1.0), steps=STEPS)
    found, calls = made(tiny_parts, rule, steps=STEPS)
    assert calls["by_role"] == {"uncond": 2, "cond": STEPS}
    assert (found - guided).abs().mean() < 0.3 * (alone - guided).abs().mean()
    assert torch.equal(made(tiny_parts, rule, steps=STEPS)[0], found)


def test_calibration_stops_when_told_and_is_the_same_again(tiny_parts):
    sigmas = flow(STEPS, 3.0)
    seen = []

    def stop(index, total):
        seen.append((index, total))
        if index == 3:
            raise Cancelled()

    with pytest.raises(Cancelled):
        calibrated(tiny_parts, sigmas, on_step=stop)
    assert seen == [(1, 6), (2, 6), (3, 6)]
    assert calibrated(tiny_parts, sigmas) == calibrated(tiny_parts, sigmas)


def test_another_schedule_and_another_sampler_are_refused(tiny_parts):
    rule = linear_ag(3.0, flow(STEPS, 3.0), fit(linear_paths())[0])
    with pytest.raises(StudioError, match=r"fitted to 6 steps.*step 1 of this run \(5 steps\)"):
        made(tiny_parts, rule)
    with pytest.raises(StudioError, match="fitted to 6 steps"):
        made(tiny_parts, linear_ag(3.0, flow(STEPS, 1.0), fit(linear_paths())[0]), steps=STEPS)
    with pytest.raises(StudioError, match="'euler' alone"):
        made(tiny_parts, rule, steps=STEPS, name="heun")


def test_a_run_that_goes_back_or_begins_late_guesses_from_nothing_it_does_not_know():
    sigmas = flow(STEPS, 1.0)
    steps = [Step(i, STEPS, sigmas.values[i], sigmas.values[i + 1]) for i in range(STEPS)]
    c, u = normal(2)
    network = Network(c, u)
    denoise = linear_ag(3.0, sigmas, fit(linear_paths())[0]).guide(network, ROWS)
    for index in (3, 4, 3, 4):  # cycles that never saw the first steps
        denoise(torch.zeros_like(c), steps[index])
    assert network.asked == [["uncond", "cond"]] * 4
    for index in (0, 1, 0, 1, 2, 3):
        denoise(torch.zeros_like(c), steps[index])
    pair, alone = ["uncond", "cond"], ["cond"]
    assert network.asked[4:] == [pair, alone, pair, alone, pair, alone]


def test_fits_are_values():
    sigmas, (factors, _) = flow(STEPS, 3.0), fit(linear_paths())
    rule = linear_ag(3.0, sigmas, factors)
    assert rule == linear_ag(3.0, sigmas, factors) != linear_ag(4.0, sigmas, factors)
    assert hash(rule) and rule.remembers and rule.only_sampler == "euler"

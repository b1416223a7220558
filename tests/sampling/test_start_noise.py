"""The search for a start noise: the best on its own pictures, the same twice; a distance that is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.measurement import Measurement, blur_kernel, degraded
from studio.sampling.schedules import flow
from studio.sampling.search.start_noise import (
    BestNoise,
    Method,
    Restoring,
    find_noise,
    key_of,
    read,
    restored,
    unlikeness,
)
from studio.values import Image, Mask


def picture(seed=0, side=64):
    return Image(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def cases(tiny_parts):
    texts = [encode_prompt(tiny_parts, text, "it")[0] for text in ("a red star", "")]
    return [
        Restoring(*texts, Measurement(degraded(picture(k), (), 4), (), 4), picture(k)) for k in range(2)
    ]  # fmt: skip


METHOD = Method(flow(2, 3.0), cfg(1.0), repeats=1)


def test_the_found_seed_is_the_best_on_its_pictures_and_the_same_twice(tiny_parts, cases):
    seeds, told = (3, 4, 5), []
    found = find_noise(
        tiny_parts, cases[:1], METHOD, seeds, held_out=cases[1:], on_step=lambda *at: told.append(at)
    )
    by_hand = {
        seed: unlikeness(restored(tiny_parts, cases[0], METHOD, seed), cases[0].truth) for seed in seeds
    }
    assert found.distances == by_hand and found.seed == min(seeds, key=by_hand.__getitem__)
    assert found.distances[found.seed] <= np.mean(list(by_hand.values()))
    assert told == [(k, 12) for k in range(1, 13)] and set(found.held_out) == set(seeds)
    again = find_noise(tiny_parts, cases[:1], METHOD, seeds, held_out=cases[1:])
    assert again == found


def test_gain_is_over_the_mean_of_all_and_of_held_out_pictures_first():
    assert BestNoise(1, {1: 1.0, 2: 3.0}, {}).gain == pytest.approx(0.5)
    assert BestNoise(1, {1: 1.0, 2: 3.0}, {1: 3.0, 2: 1.0}).gain == pytest.approx(-0.5)
    assert BestNoise(1, {1: 0.0}, {}).gain is None


def test_it_can_be_stopped(tiny_parts, cases):
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_noise(tiny_parts, cases, METHOD, (1, 2), on_step=stop)


@pytest.mark.parametrize("seeds", [(), (1, 1), tuple(range(65))])
def test_impossible_candidates_are_refused(tiny_parts, cases, seeds):
    with pytest.raises(StudioError, match=f"{len(seeds)} candidates"):
        find_noise(tiny_parts, cases, METHOD, seeds)
    with pytest.raises(StudioError, match="nothing to search on"):
        find_noise(tiny_parts, (), METHOD, (1,))


def test_the_key_tells_problems_and_methods_apart_and_not_pictures(cases):
    blurs = [blur_kernel("gaussian", 2.0), blur_kernel("gaussian", 2.1)]
    problems = [
        cases[0].known,
        *(Measurement(picture(), blur) for blur in blurs),
        Measurement(picture(), known=Mask(np.eye(64, dtype=np.float32))),
    ]
    keys = {key_of(problem, METHOD) for problem in problems}
    keys |= {key_of(problems[0], Method(METHOD.sigmas, cfg(1.0), 0.5, repeats=1))}
    keys |= {key_of(problems[0], Method(flow(3), cfg(1.0), repeats=1))}
    assert len(keys) == 6 and key_of(cases[1].known, METHOD) == key_of(cases[0].known, METHOD)


@pytest.mark.parametrize("value", [None, {}, {"seed": "3"}, {"seed": -1}, {"seed": 1.5}, {"seed": True}])
def test_damaged_results_are_none(value):
    assert read(value) is None
    assert read({"seed": 7}) == 7


def test_the_distance_is_zero_for_equal_pictures_and_grows_with_blur_and_noise():
    from PIL import Image as Pillow
    from PIL import ImageFilter

    scene = np.zeros((96, 96, 3), np.uint8)
    scene[20:60, 30:70] = (200, 60, 20)
    truth = Image(scene)
    blurred = [
        Image(np.array(Pillow.fromarray(scene).filter(ImageFilter.GaussianBlur(radius)))) for radius in (1, 3)
    ]
    assert unlikeness(truth, truth) == 0
    assert (
        0
        < unlikeness(truth, blurred[0])
        < unlikeness(truth, blurred[1])
        < unlikeness(truth, picture(side=96))
    )
    assert unlikeness(truth, blurred[0]) == pytest.approx(unlikeness(blurred[0], truth))
    dot = Image(np.zeros((1, 1, 3), np.uint8))
    assert unlikeness(dot, dot) == 0 and torch.isfinite(
        torch.tensor(unlikeness(picture(side=9), picture(1, 9)))
    )

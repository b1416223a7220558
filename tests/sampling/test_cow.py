"""COW: without cycles it is img2img, a full mask keeps the condition, the marginals of going up are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.errors import Cancelled, StudioError
from studio.models.text import encode_prompt
from studio.sampling.cow import cow, steps_of_cow
from studio.sampling.guidance.cfg import cfg, row_of
from studio.sampling.inversion import invert
from studio.sampling.loop import sample_latent
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Guidance, Latent, Mask, Sigmas

STEPS = 10
SIGMAS = flow(STEPS, 2.0)
FULL = Mask(np.ones((64, 64), np.float32))


def left():
    values = np.zeros((64, 64), np.float32)
    values[:, :32] = 1
    return Mask(values)


@pytest.fixture
def paint(tiny_parts, tiny_picture):
    prompts = [encode_prompt(tiny_parts, text, "it")[0] for text in ("a blue house", "")]

    def run(latent=tiny_picture, guidance=None, **kwargs):
        settings = {"cycles": 2, "low": 0.5, "high": 0.7, "until": 0.4, "mask": None, **kwargs}
        return cow(tiny_parts, *prompts, latent, SIGMAS, guidance or cfg(2.0), **settings)

    return run


def watching(states):
    """A guidance that notes what the network is shown."""

    def guide(predict, rows):
        denoise = cfg(1.0).guide(predict, (row_of(rows, "cond"),))

        def seen(latent, step):
            states.append((step.index, latent.clone()))
            return denoise(latent, step)

        return seen

    return Guidance("watching", guide)


def test_without_cycles_and_mask_it_is_sampling_from_the_picture(paint, tiny_parts, tiny_picture):
    prompts = [encode_prompt(tiny_parts, text, "it")[0] for text in ("a blue house", "")]
    tail = Sigmas(SIGMAS.values[STEPS // 2 :])
    plain = sample_latent(tiny_parts, *prompts, tiny_picture, tail, sampler("euler"), cfg(2.0))
    made = paint(cycles=0, until=0.0)
    assert torch.equal(made.tensor, plain.tensor) and made.seed == tiny_picture.seed
    assert torch.equal(paint(cycles=0, low=0.0, high=0.0, until=0.0).tensor, tiny_picture.tensor)


def test_a_full_mask_held_to_the_end_gives_the_condition_bit_by_bit(paint, tiny_picture):
    assert torch.equal(paint(mask=FULL, until=0.0).tensor, tiny_picture.tensor)


def test_a_full_mask_is_the_condition_down_to_the_level_where_it_is_let_go(paint, tiny_picture):
    states = []
    made = paint(mask=FULL, guidance=watching(states))
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(tiny_picture.seed))
    assert [index for index, _ in states] == [3, 4, 3, 4, 5, 6, 7, 8, 9]
    for index, state in states:
        sigma = SIGMAS.values[index]
        own = (1 - sigma) * tiny_picture.tensor + sigma * noise
        assert torch.equal(state, own) == (index <= 6), index
    assert not torch.equal(made.tensor, tiny_picture.tensor)


def test_the_condition_is_held_in_its_place_alone(paint, tiny_picture):
    made = paint(mask=left(), until=0.0).tensor
    assert torch.equal(made[..., :4], tiny_picture.tensor[..., :4])
    assert not torch.equal(made[..., 4:], tiny_picture.tensor[..., 4:])


def test_going_up_keeps_the_marginals_of_the_flow(paint, tiny_picture):
    """At the upper level the state is the picture's share plus noise of that level, as when a run starts."""
    batch = 8
    states = []
    many = replace(tiny_picture, batch=batch, tensor=tiny_picture.tensor.repeat(batch, 1, 1, 1), source=None)
    paint(many, cycles=1, guidance=watching(states))
    index, state = states[0]
    sigma = SIGMAS.values[index]
    noise = state - (1 - sigma) * many.tensor
    assert index == 3 and float(noise.std()) == pytest.approx(sigma, rel=0.05)
    assert abs(float(noise.mean())) < 0.05


def test_each_cycle_has_noise_of_its_own_that_the_seed_decides(paint, tiny_picture):
    first, again = (paint(cycles=2).tensor for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, paint(cycles=3).tensor)
    assert not torch.equal(first, paint(replace(tiny_picture, seed=6)).tensor)


def test_the_condition_may_follow_its_inverted_path(paint, tiny_parts, tiny_picture):
    prompts = [encode_prompt(tiny_parts, text, "it")[0] for text in ("a red star", "")]
    path = invert(tiny_parts, *prompts, tiny_picture, SIGMAS, method="euler")
    states = []
    paint(mask=FULL, path=path, guidance=watching(states))
    assert all(torch.equal(state, path.states[index]) for index, state in states if index <= 6)
    other = invert(tiny_parts, *prompts, tiny_picture, flow(4, 1.0), method="euler")
    with pytest.raises(StudioError, match="another schedule"):
        paint(mask=FULL, path=other)


def test_a_cycle_has_a_step_however_near_its_levels_are(paint):
    seen = []
    paint(cycles=1, low=0.5, high=0.55, on_step=seen.append)
    assert [result.step.index for result in seen] == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("cycles", "total"), [(0, 5), (1, 7), (10, 25)])
def test_the_steps_are_counted_with_the_cycles(paint, cycles, total):
    seen = []
    paint(cycles=cycles, on_step=seen.append)
    assert len(seen) == total == steps_of_cow(SIGMAS, cycles, 0.5, 0.7, 0.4)


def test_a_stop_in_a_cycle_stops(paint):
    def stop(result):
        raise Cancelled()

    with pytest.raises(Cancelled):
        paint(on_step=stop)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cycles": 51}, "51 cycles"),
        ({"cycles": -1}, "-1 cycles"),
        ({"low": 0.8}, "do not fit"),
        ({"until": 0.6}, "do not fit"),
        ({"high": 1.2}, "do not fit"),
        ({"low": float("nan")}, "do not fit"),
        ({"low": 1.0, "high": 1.0}, "up from pure noise"),
        ({"mask": Mask(np.ones((8, 8), np.float32))}, "8x8 pixels"),
        ({"latent": Latent(64, 64)}, "empty"),
    ],
)
def test_bad_input_is_refused_before_the_network_runs(paint, tiny_parts, recorded, given, words):
    with recorded(tiny_parts.transformer) as calls, pytest.raises(StudioError, match=words):
        paint(**given)
    assert not calls

"""RF-Inversion: eta 0 samples plainly from the inverted noise, eta 1 gives the picture, gamma 1 the noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.models.device import start_noise
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.inversion import invert
from studio.sampling.loop import sample_latent
from studio.sampling.rf_inversion import pull_to, rf_inversion, rf_invert
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Latent, Mask, Sigmas, Step

STEPS = 6
SIGMAS = flow(STEPS, 1.5)


@pytest.fixture
def prompts(tiny_parts):
    return [encode_prompt(tiny_parts, text, "it")[0] for text in ("a blue house", "")]


@pytest.fixture
def restyle(tiny_parts, tiny_picture, prompts):
    def run(latent=tiny_picture, name="euler", sigmas=SIGMAS, **kwargs):
        return rf_inversion(
            tiny_parts, *prompts, latent, sigmas, sampler(name), cfg(2.0), **kwargs
        ).latent.tensor

    return run


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_eta_0_is_plain_sampling_from_the_inverted_noise(restyle, tiny_parts, tiny_picture, prompts, name):
    noisy = rf_invert(tiny_parts, tiny_picture, SIGMAS, gamma=0.5)
    plain = sample_latent(tiny_parts, *prompts, noisy, SIGMAS, sampler(name), cfg(2.0)).tensor
    assert torch.equal(restyle(name=name, eta=0.0), plain)
    assert torch.equal(restyle(name=name, eta=0.9, start=0.5, end=0.5), plain)


@pytest.mark.parametrize("name", ["euler", "heun", "midpoint"])
def test_eta_1_throughout_gives_the_picture(restyle, tiny_picture, name):
    made = restyle(name=name, eta=1.0, end=1.0)
    assert (made - tiny_picture.tensor).abs().max() <= 1e-6


def test_a_clean_estimate_drawn_to_the_picture_is_the_published_velocity():
    generator = torch.Generator().manual_seed(0)
    x, y, v = (torch.randn(1, 4, 4, 4, dtype=torch.float64, generator=generator) for _ in range(3))
    step, eta = Step(1, 4, 0.6, 0.4), 0.7
    drawn = pull_to(y, eta).wrap(lambda latent, step: latent - step.sigma * v)(x, step)
    published = v + eta * ((x - y) / step.sigma - v)
    assert ((x - drawn) / step.sigma - published).abs().max() < 1e-12


def test_eta_decays_over_the_run():
    zero, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    drawn = pull_to(one, 0.8, decay=2.0, end=0.75).wrap(lambda latent, step: latent * 0)
    shares = [float(drawn(zero, Step(i, 4, 1 - i / 4, 0.75 - i / 4))) for i in range(4)]
    assert shares == pytest.approx([0.8, 0.8 * 0.75**2, 0.8 * 0.5**2, 0.0])


def test_a_neutral_pull_is_the_inner_denoise_itself():
    def denoise(latent, step):
        return latent

    picture = torch.zeros(1, 4, 8, 8)
    assert pull_to(picture, 0.0).wrap(denoise) is denoise
    assert pull_to(picture, 0.9, start=0.4, end=0.4).wrap(denoise) is denoise
    assert pull_to(picture, 0.0, free=torch.ones(1, 1, 8, 8)).wrap(denoise) is denoise
    assert pull_to(picture, 0.0, free=torch.zeros(1, 1, 8, 8)).wrap(denoise) is not denoise


def test_gamma_0_is_euler_inversion_and_gamma_1_the_noise_of_the_seed(tiny_parts, tiny_picture):
    empty, _, _ = encode_prompt(tiny_parts, "", "it")
    plain = invert(tiny_parts, empty, empty, tiny_picture, SIGMAS, method="euler")
    assert torch.equal(rf_invert(tiny_parts, tiny_picture, SIGMAS, gamma=0.0).tensor, plain.states[0])
    noise = start_noise(tuple(tiny_picture.tensor.shape), tiny_picture.seed)
    drawn = rf_invert(tiny_parts, tiny_picture, SIGMAS, gamma=1.0)
    assert (drawn.tensor - noise).abs().max() < 1e-5 and drawn.sigma == 1.0


def test_a_stronger_pull_stays_nearer_to_the_picture(restyle, tiny_picture):
    far = [float((restyle(eta=eta, end=0.8) - tiny_picture.tensor).abs().mean()) for eta in (0.0, 0.5, 0.95)]
    assert far[0] > far[1] > far[2]


def test_outside_the_mask_the_picture_stays(restyle, tiny_picture):
    values = np.zeros((64, 64), np.float32)
    values[:, 32:] = 1
    made = restyle(mask=Mask(values), eta=0.2)
    half = made.shape[-1] // 2
    assert (made - tiny_picture.tensor)[..., :half].abs().max() <= 1e-6
    assert (made - tiny_picture.tensor)[..., half:].abs().max() > 0.01
    ones = Mask(np.ones((64, 64), np.float32))
    assert torch.equal(restyle(mask=ones), restyle())


def test_strength_zero_is_the_picture_itself(tiny_parts, tiny_picture, prompts):
    made = rf_inversion(tiny_parts, *prompts, tiny_picture, Sigmas((0.0,)), sampler("euler"), cfg(2.0))
    assert made.latent is tiny_picture


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"eta": 1.5}, "eta of 1.5"),
        ({"eta": float("nan")}, "eta of nan"),
        ({"gamma": -0.1}, "gamma of -0.1"),
        ({"start": 2.0}, "start of 2"),
        ({"end": -1.0}, "end of -1"),
        ({"decay": 11.0}, "decay of 11"),
        ({"mask": Mask(np.ones((8, 8), np.float32))}, "8x8 pixels"),
        ({"latent": Latent(64, 64)}, "empty"),
    ],
)
def test_bad_input_is_refused_before_the_network_runs(restyle, tiny_parts, recorded, given, words):
    with recorded(tiny_parts.transformer) as calls, pytest.raises(StudioError, match=words):
        restyle(**given)
    assert not calls

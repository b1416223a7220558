"""Steering by a differentiable scorer: the gradient by hand, neutral is nothing, the score rises."""

from __future__ import annotations

import math

import pytest
import torch

from studio.errors import StudioError
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.text import encode_prompt
from studio.nodes.scorers import things_of
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.colour_place import NEAR, colour_place
from studio.sampling.guidance.scorer import LONGEST, UNIT, by_score, pixels_of, slope
from studio.sampling.loop import sample_latent
from studio.sampling.previews import rgb_map
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow_diffusers
from studio.scenes.world import COLOURS, PLACES
from studio.values import Latent, Scorer, Step
from tests.sampling.guidance_help import made, state_of

RED = (1.0, 0.0, 0.0)
BRIGHT = Scorer("bright", lambda pixels: pixels.mean((1, 2, 3)))


def test_the_gradient_by_hand(tiny_parts):
    """Brightness through the linear map: the same push in every point, the mean of a channel's factors."""
    denoised = torch.zeros(2, 4, 8, 8, dtype=torch.float64)
    found = slope(tiny_parts, BRIGHT, denoised, "preview")
    by_hand = torch.tensor(rgb_map(tiny_parts)[:-1].mean(1)).reshape(1, 4, 1, 1) * 4  # n / points
    assert torch.allclose(found, by_hand.expand_as(found), atol=1e-6)
    step = Step(0, 4, 0.8, 0.5)
    pushed = by_score(tiny_parts, BRIGHT, 0.05).wrap(lambda latent, step: denoised)(denoised, step)
    assert torch.allclose(pushed.float(), 0.05 * UNIT * 0.8 * by_hand.expand_as(found), atol=1e-6)


def test_no_push_is_longer_than_the_limit(tiny_parts):
    steep = Scorer("steep", lambda pixels: 1e6 * pixels.mean((1, 2, 3)))
    zero = torch.zeros(1, 4, 8, 8, dtype=torch.float64)
    pushed = by_score(tiny_parts, steep, 10.0).wrap(lambda latent, step: zero)(zero, Step(0, 4, 0.8, 0.5))
    assert math.isclose(float(pushed.square().mean().sqrt()), LONGEST, rel_tol=1e-5)


def test_neutral_is_the_plain_run_bit_by_bit(tiny_parts):
    plain, calls = made(tiny_parts, cfg(3.0))
    for wrap in (by_score(tiny_parts, BRIGHT, 0.0), by_score(tiny_parts, BRIGHT, 1.0, 0.3, 0.3)):

        def denoise(latent, step):
            return latent

        assert wrap.wrap(denoise) is denoise
        found, own = made(tiny_parts, cfg(3.0), wraps=[wrap])
        assert torch.equal(found, plain) and own == calls


@pytest.mark.parametrize("through", ["preview", "decoder"])
def test_the_score_rises_without_a_call_and_without_a_trace(tiny_parts, through):
    before = state_of(tiny_parts.transformer), state_of(tiny_parts.vae)
    scores, graphs = [], []
    for strength in (0.0, 0.2, 0.6):
        wrap = by_score(tiny_parts, BRIGHT, strength, end=1.0, through=through)
        found, calls = made(
            tiny_parts,
            cfg(3.0),
            wraps=[wrap],
            on_step=lambda result: graphs.append(result.latent.requires_grad),
        )
        scores.append(float(BRIGHT.score(pixels_of(tiny_parts, found, through))[0].detach()))
        assert calls["forwards"] == 5
    assert scores[0] < scores[1] < scores[2] and not any(graphs)
    assert (state_of(tiny_parts.transformer), state_of(tiny_parts.vae)) == before
    assert all(parameter.grad is None for parameter in tiny_parts.vae.parameters())


def test_pictures_of_a_batch_do_not_depend_on_each_other(tiny_parts):
    scorer = colour_place([(RED, (0.2, 0.5))])
    wrap = by_score(tiny_parts, scorer, 2.0, end=1.0)
    together, _ = made(tiny_parts, cfg(3.0), batch=2, wraps=[wrap])
    for k in range(2):
        alone, _ = made(tiny_parts, cfg(3.0), seed=2 + k, wraps=[wrap])
        assert (together[k] - alone[0]).abs().max() < 1e-5


def test_a_scorer_that_gives_something_else_or_nothing_finite_is_named(tiny_parts):
    for scorer, words in (
        (Scorer("odd", lambda pixels: pixels.mean()), "'odd' gave"),
        (Scorer("wild", lambda pixels: (pixels * math.nan).mean((1, 2, 3))), "'wild' is not finite"),
    ):
        with pytest.raises(StudioError, match=words):
            made(tiny_parts, cfg(3.0), wraps=[by_score(tiny_parts, scorer)])


def test_impossible_settings_are_refused(tiny_parts):
    for settings, words in (
        ({"strength": 11.0}, "strength is 11"),
        ({"start": 0.7, "end": 0.2}, "start is 0.7"),
        ({"through": "decode"}, "no way 'decode'"),
    ):
        with pytest.raises(StudioError, match=words):
            by_score(tiny_parts, BRIGHT, **settings)


# colours at places


def picture(colour, place=None, size=48):
    """Grey, with a disc of a colour at a place."""
    pixels = torch.full((1, 3, size, size), 0.5)
    if place is not None:
        at = (torch.arange(size) + 0.5) / size
        disc = (at[None] - place[0]) ** 2 + (at[:, None] - place[1]) ** 2 < 0.15**2
        pixels[0, :, disc] = torch.tensor(colour)[:, None]
    return pixels


def test_a_picture_full_of_the_colour_scores_highest_and_one_without_it_lowest():
    scorer = colour_place([(RED, (0.5, 0.5))])
    full = torch.tensor(RED).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)
    assert math.isclose(float(scorer.score(full)), 0.0, abs_tol=1e-5)
    away = torch.tensor([0.0, 1.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)
    assert math.isclose(float(scorer.score(away)), -math.log(1 + 3 / NEAR**2), abs_tol=1e-4)


@pytest.mark.parametrize("place", sorted(PLACES))
def test_each_place_and_colour_is_told_from_the_others(place):
    red, blue = (tuple(v / 255 for v in COLOURS[name]) for name in ("red", "blue"))
    scorer = colour_place([(red, PLACES[place])])
    here = float(scorer.score(picture(red, PLACES[place])))
    assert here > float(scorer.score(picture(blue, PLACES[place]))) + 1
    for other in PLACES:
        if other != place:
            assert here > float(scorer.score(picture(red, PLACES[other]))) + 1
    anywhere = colour_place([(red, None)])
    assert math.isclose(float(anywhere.score(picture(red, PLACES[place]))), here, abs_tol=1e-5)


def test_it_does_not_depend_on_the_size_of_the_picture():
    scorer = colour_place([(RED, (0.2, 0.8))])
    small, large = (float(scorer.score(picture(RED, (0.2, 0.8), size))) for size in (32, 128))
    assert abs(small - large) < 0.05


def test_things_come_from_the_words_of_the_scene_world():
    things = things_of("a red star on the left and a blue house on the right, at night")
    assert [place for _, place in things] == [PLACES["left"], PLACES["right"]]
    assert things_of("a green tree")[0][1] is None
    for text in ("", "a star on the left", "purple"):
        with pytest.raises(StudioError, match="no thing with a colour"):
            things_of(text)
    with pytest.raises(StudioError, match="no colour"):
        colour_place([])


@pytest.mark.model
def test_on_the_embedded_model_the_steered_pictures_score_higher(embedded_folder):
    store = ModelStore(device="cpu")
    parts = parts_of(store.load("embedded:scenes-sd3"))
    assert embedded_folder.is_dir()
    positive, negative = (encode_prompt(parts, text, "it")[0] for text in ("a star", ""))
    scorer = colour_place(things_of("a red star at the top left"))
    sigmas = flow_diffusers(10, 3.0)
    scores = []
    for strength in (0.0, 1.0):
        latent = sample_latent(
            parts, positive, negative, Latent(256, 256, 2, 3), sigmas, sampler("euler"), cfg(3.0),
            wraps=[by_score(parts, scorer, strength)],
        )  # fmt: skip
        with torch.inference_mode():
            pixels = parts.family.decode(parts, latent.tensor) / 2 + 0.5
        scores.append(scorer.score(pixels))
    store.close()
    assert bool((scores[1] > scores[0] + 0.3).all())


def test_scorers_and_wraps_are_values(tiny_parts):
    one, other = colour_place([(RED, None)]), colour_place([(RED, (0.5, 0.5))])
    assert one == colour_place([(RED, None)]) != other
    assert by_score(tiny_parts, one) != by_score(tiny_parts, other)
    assert repr(one).startswith("Scorer(colour_place")

"""The one loop: seeds, batches, starting from pictures, stopping, and values that do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.errors import Cancelled, StudioError
from studio.models.device import place, start_noise
from studio.models.folders import check_folder
from studio.models.loading import load_folder
from studio.models.pictures import decode_latent, encode_picture
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_latent, start_latent, step_noise
from studio.sampling.previews import preview, rgb_map
from studio.sampling.samplers import sampler
from studio.sampling.schedules import custom, flow, from_strength
from studio.values import Attachment, Conditioning, Image, Latent, Wrap


@pytest.fixture(scope="module")
def parts(tiny_sd3_folder):
    return load_folder(check_folder(tiny_sd3_folder), place("cpu"))


def run(parts, canvas, sigmas=None, scale=3.0, name="euler", **kwargs):
    positive, _, _ = encode_prompt(parts, "a red star", "it")
    negative, _, _ = encode_prompt(parts, "", "it")
    return sample_latent(
        parts, positive, negative, canvas, sigmas or flow(4, 3.0), sampler(name), cfg(scale), **kwargs
    )


def picture(width=64, height=64):
    return Image(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def test_one_seed_gives_one_picture_and_another_seed_another(parts):
    first, again, other = (run(parts, Latent(64, 64, seed=seed)).tensor for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 0.1


def test_picture_k_of_a_batch_is_the_picture_of_the_seed_plus_k(parts):
    batch = run(parts, Latent(64, 64, batch=3, seed=5)).tensor
    for k in range(3):
        alone = run(parts, Latent(64, 64, seed=5 + k)).tensor
        # another batch shape takes other kernels: 3e-7 a call, enlarged by the guidance
        assert (batch[k : k + 1] - alone).abs().max() < 5e-6


def test_start_noise_is_that_of_a_cpu_generator_of_the_seed(parts):
    expected = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(12))
    assert torch.equal(start_latent(parts, Latent(64, 64, seed=12), flow(4)), expected)


def test_the_global_rng_is_neither_used_nor_changed(parts):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(parts, Latent(64, 64)).tensor
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(run(parts, Latent(64, 64)).tensor, first)


def test_the_latent_handed_in_is_not_changed(parts):
    encoded = encode_picture(parts, picture(), seed=1)
    before = encoded.tensor.clone()
    run(parts, encoded, from_strength(flow(6, 3.0), 0.5))
    assert torch.equal(encoded.tensor, before)


def test_strength_zero_returns_the_picture_untouched(parts):
    given = picture(70, 67)
    encoded = encode_picture(parts, given)
    result = run(parts, encoded, from_strength(flow(6, 3.0), 0.0))
    assert result is encoded
    assert decode_latent(parts, result) is given


def test_more_strength_goes_further_from_the_picture(parts):
    encoded = encode_picture(parts, picture(), seed=1)
    far = [
        float((run(parts, encoded, from_strength(flow(20, 3.0), s)).tensor - encoded.tensor).abs().mean())
        for s in (0.1, 0.5, 1.0)
    ]
    assert far[0] < far[1] < far[2]


def test_the_start_from_a_picture_mixes_it_with_noise(parts):
    encoded = encode_picture(parts, picture(), seed=4)
    noise = start_noise((1, 4, 8, 8), 4)
    sigmas = custom((0.25, 0.0))
    assert torch.allclose(
        start_latent(parts, encoded, sigmas), 0.25 * noise + 0.75 * encoded.tensor, atol=1e-6
    )


def test_strength_zero_on_an_empty_canvas_is_an_error(parts):
    with pytest.raises(StudioError, match="strength 0 needs a picture"):
        run(parts, Latent(64, 64), custom((0.0,)))


@pytest.mark.parametrize(("size", "nearest"), [((250, 64), "256"), ((64, 8), "16"), ((100_000, 64), "512")])
def test_impossible_sizes_name_the_nearest_possible_one(parts, size, nearest):
    with pytest.raises(StudioError, match=f"multiples of 16 from 16 to 512; the nearest is {nearest}"):
        run(parts, Latent(*size))


def test_sigmas_beyond_one_are_refused_for_flow(parts):
    with pytest.raises(StudioError, match="from 1 to 0"):
        run(parts, Latent(64, 64), custom((14.6, 0.0)))


def test_a_conditioning_of_another_family_or_width_is_refused(parts):
    good, _, _ = encode_prompt(parts, "a star", "it")
    other = replace(good, family="flux")
    narrow = Conditioning("thin", "sd3", torch.zeros(1, 16, 8), torch.zeros(1, 32))
    longer = replace(good, embeds=torch.zeros(1, 20, 32))
    for negative, words in ((other, "'flux'"), (narrow, "8 channels"), (longer, "16 and 20")):
        with pytest.raises(StudioError, match=words):
            sample_latent(parts, good, negative, Latent(64, 64), flow(2), sampler("euler"), cfg(3.0))


def test_a_latent_of_another_shape_is_refused(parts):
    with pytest.raises(StudioError, match="shape"):
        run(parts, Latent(64, 64, tensor=torch.zeros(1, 16, 8, 8), family="sd3"))


def test_a_stop_inside_the_run_leaves_the_model_ready_for_the_next(parts):
    expected = run(parts, Latent(64, 64)).tensor

    def stop(result):
        if result.step.index == 1:
            raise Cancelled()

    with pytest.raises(Cancelled):
        run(parts, Latent(64, 64), on_step=stop)
    assert torch.equal(run(parts, Latent(64, 64)).tensor, expected)


def test_wraps_and_attachments_act_around_the_run(parts):
    log = []

    class Attached:
        def __enter__(self):
            log.append("in")

        def __exit__(self, *_):
            log.append("out")

    def black(denoise):
        def inner(latent, step):
            return denoise(latent, step) * 0

        return inner

    result = run(
        parts,
        Latent(64, 64),
        wraps=[Wrap("black", black)],
        attachments=[Attachment("log", lambda network: Attached())],
    )
    assert log == ["in", "out"] and not result.tensor.any()


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0, 31.0])
def test_impossible_guidance_is_refused(scale):
    with pytest.raises(StudioError, match="0 to 30"):
        cfg(scale)


def test_guidance_changes_the_picture_and_prints_its_scale(parts):
    weak, strong = (run(parts, Latent(64, 64), scale=scale).tensor for scale in (1.0, 8.0))
    assert (weak - strong).abs().max() > 0.05
    assert repr(cfg(3.0)) == "Guidance(cfg, cfg_scale=3.0)" and cfg(3.0) == cfg(3) != cfg(4.0)


def test_step_noise_depends_on_purpose_step_and_picture_alone():
    like = torch.empty(2, 4, 3, 3)
    noise = step_noise(like, 9)
    assert torch.equal(noise("churn", 2), step_noise(like, 9)("churn", 2))
    assert torch.equal(noise("churn", 2)[:1], step_noise(like[:1], 9)("churn", 2))
    assert not torch.equal(noise("churn", 2), noise("churn", 3))
    assert not torch.equal(noise("churn", 2), noise("other", 2))
    assert not torch.equal(noise("churn", 2)[0], noise("churn", 2)[1])


def test_a_preview_is_small_and_follows_the_card(parts):
    factors = [[0.2, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.2], [0.0, 0.0, 0.0]]
    carded = replace(parts, card={"latent_rgb": {"factors": factors, "bias": [0.5, 0.5, 0.5]}}, notes={})
    latent = torch.zeros(1, 4, 8, 16)
    latent[:, 0] = 2.5
    shown = preview(carded, latent)
    assert (shown.width, shown.height) == (192, 96)
    assert (shown.pixels == np.array([255, 128, 128])).all()


def test_without_a_card_the_preview_is_fitted_and_near_the_decoded_picture(parts):
    bare = replace(parts, card={}, notes={})
    latent = run(parts, Latent(64, 64))
    decoded = decode_latent(parts, latent).pixels.astype(float)
    blocks = decoded.reshape(8, 8, 8, 8, 3).mean((1, 3))
    shown = preview(bare, latent.tensor, side=8).pixels.astype(float)
    assert np.abs(blocks - shown).mean() < np.abs(blocks - 128).mean()
    assert rgb_map(bare) is rgb_map(bare)


def test_a_latent_that_is_not_finite_shows_grey(parts):
    shown = preview(parts, torch.full((1, 4, 8, 8), float("nan")))
    assert (shown.pixels == 128).all()


@pytest.mark.parametrize("broken", ["none", {"factors": [[1]], "bias": 3}, {"factors": []}])
def test_a_broken_map_on_the_card_falls_back_to_the_fit(parts, broken):
    assert rgb_map(replace(parts, card={"latent_rgb": broken}, notes={})).shape == (5, 3)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5])
def test_impossible_seeds_are_refused(parts, seed):
    with pytest.raises(StudioError, match="0 to 9007199254740991"):
        run(parts, Latent(64, 64, seed=seed))

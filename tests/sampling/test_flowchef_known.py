"""FlowChef and RED-Diff on what is known of a picture, through the decoder: neutral is nothing, the distance
falls, the model is as before.

The decoders of the miniatures make values far outside of 0..1, so that distances are measured before they are
cut.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.models.pictures import decode_latent, encode_picture
from studio.models.text import encode_prompt
from studio.sampling.data_term import downhill
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.flowchef_known import flowchef_known
from studio.sampling.loop import sample_run
from studio.sampling.measurement import Measurement, blur_kernel, degraded
from studio.sampling.red_diff import red_diff_known
from studio.sampling.samplers import advance, sampler
from studio.sampling.schedules import flow, from_strength
from studio.values import Image, Latent, Mask, Step
from tests.controls.attaching import state

STEPS = 6


@pytest.fixture(scope="module")
def decoded(tiny_parts):
    """A picture that the decoder can make, so that a latent with distance 0 exists."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    latent = encode_picture(tiny_parts, Image(noise))
    return decode_latent(tiny_parts, Latent(64, 64, 1, 0, latent.tensor, latent.family))


def hole():
    known = np.ones((64, 64), np.float32)
    known[16:48, 16:40] = 0
    return Mask(known)


PROBLEMS = {
    "blurred": (blur_kernel("gaussian", 1.5), 1, None),
    "small": ((), 4, None),
    "hole": ((), 1, hole()),
    "all": (blur_kernel("motion", 2, 30), 2, hole()),
}


def measurement(image, name):
    return Measurement(degraded(image, *PROBLEMS[name]), *PROBLEMS[name])


def distance(parts, known, latent):
    """The mean squared distance before pixels are cut to 0..1."""
    return float(downhill(parts, known, known.wanted(), latent.tensor)[1].mean())


@pytest.fixture
def texts(tiny_parts):
    return [encode_prompt(tiny_parts, text, "it")[0] for text in ("a red star", "")]


@pytest.fixture
def run(tiny_parts, texts):
    def sampled(*wraps, name="euler", size=64, batch=1):
        canvas = Latent(size, size, batch, 2)
        return sample_run(
            tiny_parts, *texts, canvas, flow(STEPS, 3.0), sampler(name), cfg(1.0), wraps=wraps
        ).latent  # fmt: skip

    return sampled


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_step_downhill_lowers_the_distance_and_is_the_best_one_along_its_line(tiny_parts, decoded, name):
    known = measurement(decoded, name)
    wanted = known.wanted()
    point = torch.randn(2, *encode_picture(tiny_parts, decoded).tensor.shape[1:],
                        generator=torch.Generator().manual_seed(4))  # fmt: skip
    before = point.clone()
    way, value = downhill(tiny_parts, known, wanted, point)
    assert torch.equal(point, before) and not way.requires_grad and value.shape == (2,)
    there = downhill(tiny_parts, known, wanted, point + way)[1]
    assert bool((there < 0.8 * value).all())
    for share in (0.2, 2.2):
        assert bool((there < downhill(tiny_parts, known, wanted, point + share * way)[1]).all())


def test_the_way_is_the_gradients(tiny_parts, decoded):
    """Against autograd on a loss of its own, and each picture of a batch as if alone."""
    known = measurement(decoded, "small")
    shape = encode_picture(tiny_parts, decoded).tensor.shape
    point = torch.randn(2, *shape[1:], generator=torch.Generator().manual_seed(4)).requires_grad_(True)
    pixels = tiny_parts.family.decode(tiny_parts, point) / 2 + 0.5
    loss = (torch.nn.functional.avg_pool2d(pixels, 4) - known.wanted()).square().sum()
    (slope,) = torch.autograd.grad(loss, point)
    way, value = downhill(tiny_parts, known, known.wanted(), point.detach())
    for k in range(2):
        turn = torch.cosine_similarity(-slope[k].flatten(), way[k].flatten(), 0)
        assert turn > 1 - 1e-5
        alone, own = downhill(tiny_parts, known, known.wanted(), point.detach()[k : k + 1])
        assert torch.allclose(alone[0], way[k], atol=1e-4) and torch.allclose(own[0], value[k])


def test_neutral_is_the_plain_run_bit_by_bit(run, tiny_parts, decoded):
    plain = run()
    known = measurement(decoded, "small")
    for wrap in (
        flowchef_known(tiny_parts, known, 0.0),
        flowchef_known(tiny_parts, known, start=0.5, end=0.5),
    ):
        assert wrap.wrap(len) is len and wrap.only_sampler == ""
        assert torch.equal(run(wrap).tensor, plain.tensor)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_steered_run_fits_to_what_is_known_and_leaves_the_model_as_it_was(run, tiny_parts, decoded, name):
    known = measurement(decoded, name)
    networks = (tiny_parts.transformer, tiny_parts.vae)
    before = [state(network) for network in networks]
    plain, steered = run(), run(flowchef_known(tiny_parts, known, repeats=3))
    assert [state(network) for network in networks] == before
    assert all(parameter.grad is None for network in networks for parameter in network.parameters())
    apart = [distance(tiny_parts, known, latent) for latent in (plain, steered)]
    assert apart[1] < apart[0] / 3
    back = known.put_back(decode_latent(tiny_parts, steered))
    if name == "hole":
        where = hole().values.astype(bool)
        assert np.array_equal(back.pixels[where], decoded.pixels[where])
    assert torch.equal(steered.tensor, run(flowchef_known(tiny_parts, known, repeats=3)).tensor)


def test_more_repeats_fit_better_and_a_batch_is_its_pictures(run, tiny_parts, decoded):
    known = measurement(decoded, "small")
    few, many = (
        distance(tiny_parts, known, run(flowchef_known(tiny_parts, known, repeats=count))) for count in (1, 6)
    )
    assert many < few
    both = run(flowchef_known(tiny_parts, known), batch=2)
    assert torch.allclose(both.tensor[:1], run(flowchef_known(tiny_parts, known)).tensor, atol=1e-3)


def test_eulers_step_moves_by_what_the_descent_found(tiny_parts, decoded):
    """x' is that of the plain step, moved by the displacement: the velocity was held."""
    known = measurement(decoded, "blurred")
    shape = encode_picture(tiny_parts, decoded).tensor.shape
    x, v = (torch.randn(shape, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    step = Step(0, 5, 0.8, 0.6)

    def denoise(latent, step):
        return latent - step.sigma * v

    way, _ = downhill(tiny_parts, known, known.wanted(), denoise(x, step))
    steered = flowchef_known(tiny_parts, known, 0.7, 1).wrap(denoise)(x, step)
    moved = advance(x, steered, step) - advance(x, denoise(x, step), step)
    assert torch.allclose(moved, 0.7 * way, atol=1e-5)


def test_what_cannot_be_is_refused(run, tiny_parts, decoded):
    known = measurement(decoded, "small")
    wrong = (
        ({"kappa": 1.5}, "kappa"),
        ({"kappa": float("nan")}, "kappa"),
        ({"repeats": 0}, "0 repeats"),
        ({"start": 0.9, "end": 0.1}, "start"),
    )
    for more, said in wrong:
        with pytest.raises(StudioError, match=said):
            flowchef_known(tiny_parts, known, **more)
    with pytest.raises(StudioError, match="heun"):
        run(flowchef_known(tiny_parts, known), name="heun")
    with pytest.raises(StudioError, match="64x64 pixels") as caught:
        run(flowchef_known(tiny_parts, known), size=96)
    assert "canvas" in caught.value.hint


def test_wraps_of_different_measurements_differ(tiny_parts, decoded):
    made = {repr(flowchef_known(tiny_parts, measurement(decoded, name))) for name in PROBLEMS}
    assert len(made) == len(PROBLEMS)


@pytest.mark.parametrize("more", [{"weight": 0.0}, {"rate": 0.0}, {"sigmas": from_strength(flow(4), 0.0)}])
def test_red_diffs_neutral_is_the_guess(tiny_parts, texts, decoded, more):
    known = measurement(decoded, "hole")
    made = red_diff_known(tiny_parts, *texts, known, **({"sigmas": flow(4), "guidance": cfg(1.0)} | more))
    assert decode_latent(tiny_parts, made.latent) == known.guess() and not made.calls


@pytest.mark.parametrize("name", PROBLEMS)
def test_red_diffs_data_term_falls(tiny_parts, texts, decoded, name):
    known = measurement(decoded, name)
    before = [state(network) for network in (tiny_parts.transformer, tiny_parts.vae)]
    made = red_diff_known(tiny_parts, *texts, known, flow(30, 3.0), cfg(1.0), weight=0.01, rate=0.1)
    told = made.report["red_diff"]["data"]
    assert len(told) == 31 and made.calls["forwards"] == 30
    # of runs of ten steps: the first ones start at the guess, which may fit by chance where A loses much
    assert np.mean(told[-10:]) < max(np.mean(told[:10]), np.mean(told[10:20]))
    assert [state(network) for network in (tiny_parts.transformer, tiny_parts.vae)] == before
    again = red_diff_known(tiny_parts, *texts, known, flow(30, 3.0), cfg(1.0), weight=0.01, rate=0.1)
    assert torch.equal(made.latent.tensor, again.latent.tensor)


def test_red_diff_refuses_sizes_that_the_model_does_not_make(tiny_parts, texts):
    odd = Measurement(Image(np.zeros((33, 47, 3), np.uint8)), shrink=2)
    with pytest.raises(StudioError, match="94x66 pixels"):
        red_diff_known(tiny_parts, *texts, odd, flow(2), cfg(1.0))

"""Runs by tiles: one tile is the plain run, the network sees tiles alone, noise is shared, regions cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.controls.inject_qk import InjectQK
from studio.controls.negative import Nag
from studio.controls.regional import Regional, RegionText
from studio.controls.reweight import WordWeight
from studio.errors import StudioError
from studio.models.text import encode_prompt
from studio.sampling.denoiser import make_predict
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.coarse import block_means, coarse_guide
from studio.sampling.loop import sample_latent, sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow, from_strength
from studio.sampling.tiled import Tiles, by_tiles, check_canvas, tiles_of, tiles_wrap
from studio.values import Attachment, Latent, Mask, Region, Row, Step, TokenSpan

STEPS = 3


@pytest.fixture
def prompts(tiny_parts):
    return tuple(encode_prompt(tiny_parts, text, "it")[0] for text in ("a red star", ""))


@pytest.fixture
def run(tiny_parts, prompts):
    def sampled(*wraps, size=(128, 96), batch=1, name="euler", scale=2.0, latent=None, sigmas=None, **more):
        return sample_latent(
            tiny_parts, *prompts, latent or Latent(*size, batch, 2), sigmas or flow(STEPS, 3.0),
            sampler(name), cfg(scale), wraps=wraps, **more,
        ).tensor  # fmt: skip

    return sampled


def shapes_of(parts, call):
    """What the network is given while `call()` runs, as (height, width) of image tokens or points."""
    seen = []
    handle = parts.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["hidden_states"].shape)), with_kwargs=True
    )
    try:
        call()
    finally:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_one_tile_over_all_is_the_plain_run_bit_by_bit(run, name):
    assert torch.equal(run(tiles_wrap(128, 32), name=name, size=(128, 128)), run(name=name, size=(128, 128)))
    assert torch.equal(run(tiles_wrap(256), name=name, size=(64, 48)), run(name=name, size=(64, 48)))


def test_the_network_sees_tiles_of_one_size_and_nothing_grows_with_the_picture(tiny_parts, run):
    small = shapes_of(tiny_parts, lambda: run(tiles_wrap(64, 16), size=(128, 64)))
    large = shapes_of(tiny_parts, lambda: run(tiles_wrap(64, 16), size=(256, 192)))
    alone = shapes_of(tiny_parts, lambda: run(size=(64, 64)))
    assert set(small) == set(large) == set(alone)
    # a stride of 48 pixels: three tiles over 128, five over 256, four over 192
    assert len(small) == 3 * STEPS and len(large) == 5 * 4 * STEPS


def test_tiles_reach_sizes_beyond_the_model(tiny_parts, run):
    limit = tiny_parts.family.size_limit(tiny_parts)
    if limit > 2048:
        pytest.skip("this family has no limit that a test can pass")
    size = (limit + 64, 64)
    with pytest.raises(StudioError, match="not possible"):
        run(size=size)
    assert run(tiles_wrap(64, 16), size=size).shape[-1] * 8 >= limit


def test_a_velocity_that_knows_no_borders_is_joined_exactly(tiny_parts, prompts, monkeypatch):
    """A network that works point by point gives the same by tiles, whatever the order of the tiles."""
    family = type(tiny_parts.family)
    monkeypatch.setattr(family, "velocity", lambda self, parts, latent, step, text, rows, levels=None: (
        torch.cat([latent.sin() * step.sigma] * rows)
    ))  # fmt: skip
    latent = torch.randn(1, *tiny_parts.family.latent_shape(tiny_parts, 1, 256, 192)[1:])
    tiles = tiles_of(tiny_parts, 256, 192, tiles_wrap(64, 16).tiles)
    step, rows = Step(0, 1, 0.7, 0.0), [Row(prompts[0], "cond"), Row(prompts[1], "uncond")]
    found = by_tiles(tiny_parts, tiles, (), [step], 1, "euler")(latent, step, rows)
    turned = Tiles(tiles.windows[::-1], tiles.height, tiles.width)
    again = by_tiles(tiny_parts, turned, (), [step], 1, "euler")(latent, step, rows)
    for one, other in zip(found, again, strict=True):
        assert (one - latent.sin() * 0.7).abs().max() < 1e-6
        assert (one - other).abs().max() < 1e-6


def test_each_tile_is_the_networks_answer_to_its_part(tiny_parts, prompts):
    shape = tiny_parts.family.latent_shape(tiny_parts, 2, 128, 64)
    latent = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    step, rows = Step(0, 1, 0.7, 0.0), [Row(prompts[0], "cond"), Row(prompts[1], "uncond")]
    tiles = tiles_of(tiny_parts, 128, 64, tiles_wrap(64, 0).tiles)
    with torch.inference_mode():
        found = by_tiles(tiny_parts, tiles, (), [step], 2, "euler")(latent, step, rows)
        half = shape[-1] // 2
        for side in (slice(0, half), slice(half, None)):
            alone = make_predict(tiny_parts)(latent[..., side].contiguous(), step, rows)
            for whole, own in zip(found, alone, strict=True):
                assert torch.equal(whole[..., side], own)


def test_a_batch_starts_every_picture_from_its_own_noise(run):
    both = run(tiles_wrap(64, 16), batch=2)
    alone = run(tiles_wrap(64, 16))
    assert (both[:1] - alone).abs().max() < 1e-5
    assert not torch.allclose(both[0], both[1])


def test_the_model_is_as_before(tiny_parts, run):
    before = run(size=(64, 64))
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in tiny_parts.transformer.modules()]
    run(tiles_wrap(64, 16), attachments=[regions(tiny_parts)])
    after = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in tiny_parts.transformer.modules()]
    assert hooks == after and torch.equal(before, run(size=(64, 64)))


@pytest.mark.parametrize(
    ("size", "side", "said"),
    [((128, 96), 20, "Tiles of 20 pixels"), ((128, 96), 8, "Tiles of 8 pixels"),
     ((128, 100), 64, "height of 100"), ((8, 64), 64, "width of 8")],
)  # fmt: skip
def test_sizes_that_cannot_be_are_refused_with_the_nearest(tiny_parts, size, side, said):
    step = tiny_parts.family.size_step(tiny_parts)
    if step != 16:
        pytest.skip("sizes are written for steps of 16")
    with pytest.raises(StudioError, match=said) as caught:
        check_canvas(tiny_parts, *size, tiles_wrap(side, 4).tiles)
    assert "nearest" in caught.value.hint


def test_tiles_must_move_on_and_there_is_one_set_of_them(run):
    for side, overlap in ((64, 64), (64, 80), (0, 0)):
        with pytest.raises(StudioError, match="do not move on"):
            tiles_wrap(side, overlap)
    with pytest.raises(StudioError, match="one set of tiles"):
        run(tiles_wrap(64), tiles_wrap(32))


def test_what_needs_the_whole_picture_is_refused(tiny_parts, run, prompts):
    edit = InjectQK(prompts[0], 0.5, None, frozenset(), "qiki", "")
    for attachment in (edit, Attachment("a cache", lambda network: None)):
        with pytest.raises(StudioError, match="cannot be cut into tiles"):
            run(tiles_wrap(64, 16), attachments=[attachment])
        assert tiles_wrap(64).tiles is not None


def regions(parts, **more):
    star = encode_prompt(parts, "a red star", "it")[0]
    blue = encode_prompt(parts, "a blue ring on the left", "it")[0]
    left = Region("a", "a red star", (0, 0, 0.5, 1))
    right = Region("b", "a blue ring on the left", (0.5, 0, 1, 1))
    return Regional("", (RegionText(left, star), RegionText(right, blue)), **more)


def test_regions_come_along_as_each_tile_sees_them(tiny_parts, run):
    """Two tiles side by side without overlap: each is the plain run of its own region."""
    steps = flow(1)
    whole = run(tiles_wrap(64, 0), size=(128, 64), sigmas=steps, attachments=[regions(tiny_parts)])
    control = regions(tiny_parts)
    left, right = control.cropped((0, 0, 0.5, 1)), control.cropped((0.5, 0, 1, 1))
    assert [text.region.id for text in left.regions] == ["a"] and left.regions[0].region.box == (0, 0, 1, 1)
    assert [text.region.id for text in right.regions] == ["b"]
    half = whole.shape[-1] // 2
    canvas = sample_start(tiny_parts)
    for side, own in ((slice(0, half), left), (slice(half, None), right)):
        part = Latent(64, 64, 1, 0, canvas[..., side].contiguous(), tiny_parts.family.name, sigma=1.0)
        alone = run(latent=part, sigmas=steps, attachments=[own])
        assert (alone - whole[..., side]).abs().max() < 1e-5
    assert not torch.allclose(whole, run(tiles_wrap(64, 0), size=(128, 64), sigmas=steps))


def sample_start(parts):
    from studio.models.device import start_noise

    return start_noise(parts.family.latent_shape(parts, 1, 128, 64), 2)


def test_masks_are_cropped_by_their_own_pixels(tiny_parts):
    values = np.zeros((10, 20), np.float32)
    values[:5, :10] = 1
    star = encode_prompt(tiny_parts, "a red star", "it")[0]
    control = Regional("", (RegionText(Region("a", "a red star", mask=Mask(values)), star),))
    assert np.array_equal(
        control.cropped((0, 0, 0.5, 1)).regions[0].region.mask.values, values[:, :10]
    )
    assert control.cropped((0.5, 0, 1, 1)).regions == ()
    assert control.cropped((0.5, 0, 1, 1)).is_neutral()


def test_what_means_the_same_everywhere_goes_with_tiles(tiny_parts, run, prompts):
    plain = run(tiles_wrap(64, 16))
    weight = WordWeight(((TokenSpan("red", (2,)), 3.0),))
    assert weight.cropped((0, 0, 0.5, 1)) is weight
    avoid = Nag(negative=encode_prompt(tiny_parts, "blue", "it")[0])
    for control in (weight, avoid):
        assert not torch.equal(plain, run(tiles_wrap(64, 16), attachments=[control]))
        with pytest.raises(StudioError):
            run(tiles_wrap(64, 16), attachments=[replace_range(control)])


def replace_range(control):
    """The same in a range without any of three steps: refused by tiles as by a plain run."""
    return replace(control, start=0.1, end=0.2)


def test_calls_are_counted_tile_by_tile(tiny_parts, prompts):
    made = sample_run(
        tiny_parts, *prompts, Latent(128, 64, 1, 2), flow(STEPS), sampler("euler"), cfg(2.0),
        wraps=[tiles_wrap(64, 16)],
    )  # fmt: skip
    assert made.calls["forwards"] == 3 * STEPS


def test_strength_zero_gives_the_latent_itself(tiny_parts, run):
    tensor = torch.randn(tiny_parts.family.latent_shape(tiny_parts, 1, 128, 96))
    latent = Latent(128, 96, 1, 0, tensor, tiny_parts.family.name)
    assert run(tiles_wrap(64), latent=latent, sigmas=from_strength(flow(4), 0.0)) is tensor


def encoded(parts, size=(128, 96)):
    tensor = torch.randn(
        parts.family.latent_shape(parts, 1, *size), generator=torch.Generator().manual_seed(4)
    )
    return Latent(*size, 1, 0, tensor, parts.family.name)


def test_without_force_the_coarse_guide_is_the_plain_run(tiny_parts, run):
    plain = run()
    for wrap in (coarse_guide(encoded(tiny_parts), 0.0), coarse_guide(encoded(tiny_parts), 1.0, end=0.0)):
        assert torch.equal(run(wrap), plain)


@pytest.mark.parametrize("block", [1, 4, 5])
def test_with_all_force_the_result_has_the_means_of_the_guide(tiny_parts, run, block):
    guide = encoded(tiny_parts)
    made = run(coarse_guide(guide, 1.0, block), tiles_wrap(64, 16))
    assert (block_means(made, block) - block_means(guide.tensor, block)).abs().max() < 1e-4
    if block == 1:
        assert (made - guide.tensor).abs().max() < 1e-4
    else:
        assert (made - guide.tensor).abs().mean() > 0.1


def test_block_means_are_those_of_whole_and_cut_blocks():
    values = torch.arange(15.0).reshape(1, 1, 3, 5)
    means = block_means(values, 2)
    assert means.shape == values.shape
    assert means[0, 0, 0, 0] == values[0, 0, :2, :2].mean() and means[0, 0, 2, 4] == 14
    assert torch.allclose(block_means(means, 2), means)


def test_a_guide_that_does_not_fit_is_refused(tiny_parts, run):
    with pytest.raises(StudioError, match="shape"):
        run(coarse_guide(encoded(tiny_parts, (64, 64))))
    for more in ({"force": 2.0}, {"end": float("nan")}, {"block": 0}, {"block": 65}):
        with pytest.raises(StudioError, match="not possible"):
            coarse_guide(encoded(tiny_parts), **more)
    with pytest.raises(StudioError, match="no picture to follow"):
        coarse_guide(Latent(64, 64))


def test_wraps_compare_by_what_they_say():
    assert tiles_wrap(64, 16) == tiles_wrap(64) and tiles_wrap(64, 8) != tiles_wrap(64)

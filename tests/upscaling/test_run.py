"""Any upscaler by tiles: equal to the whole where the network's reach is known, and every odd picture."""

from __future__ import annotations

import io
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from studio.errors import BadModel, Refused, StudioError
from studio.pixels import opaque, read_picture
from studio.policy import Policy
from studio.upscaling.engines import apply, filter_upscaler, filtered, network_upscaler, upscaler_of
from studio.upscaling.networks import RRDBNet, SRVGGNetCompact
from studio.upscaling.run import enlarge, passes
from studio.values import Image, Upscaler


def picture(height=60, width=84, channels=3, seed=0):
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8))


def upscaler(network):
    torch.manual_seed(1)
    own = network().eval()
    return own, network_upscaler("net", lambda: own, own)


@pytest.mark.parametrize(
    "network",
    [lambda: SRVGGNetCompact(3, 8, 2, 2), lambda: SRVGGNetCompact(3, 8, 1, 4), lambda: RRDBNet(3, 8, 4, 1),
     lambda: RRDBNet(3, 8, 4, 1, 2, 2)],
)  # fmt: skip
def test_tiles_give_the_same_as_the_whole_where_they_know_all_of_it(network):
    own, made = upscaler(network)
    shared = 2 * made.reach + 2
    shared += shared % made.multiple
    image = picture(130, 100)
    found = enlarge(made, image, own.scale, tile=shared + 16, overlap=shared)
    assert found.tiles > 4 and found.seam == 0
    # convolutions of another size round in another order: a value in a thousand lies a level beside
    apart = np.abs(found.image.pixels.astype(int) - apply(own, image).pixels)
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-3


def test_without_overlap_there_is_a_seam_and_it_is_measured():
    """Every tile comes out a little darker than the one before."""
    count = iter(range(1000))

    @contextmanager
    def opened():
        def run(image, scale, **_):
            made = filtered(image, image.width * scale, image.height * scale, "nearest")
            return Image(made.pixels - np.uint8(10 * next(count)))

        yield run

    noise = np.random.default_rng(0).integers(0, 3, (64, 64, 3), dtype=np.uint8)
    image, made = Image(noise + np.uint8(200)), Upscaler("uneven", opened, (2,), tile=32, overlap=0)
    cut = enlarge(made, image, 2)
    assert cut.tiles == 4 and cut.seam > 4
    soft = enlarge(made, image, 2, overlap=12)
    assert soft.tiles == 9 and soft.seam < cut.seam / 2


def test_memory_is_that_of_tiles_whatever_the_picture():
    """The network sees nothing larger than a tile, also of a picture 20,000 pixels wide."""
    seen = []

    @contextmanager
    def opened():
        def run(image, scale, **_):
            seen.append((image.height, image.width))
            return filtered(image, image.width * scale, image.height * scale, "nearest")

        yield run

    made = Upscaler("counting", opened, (2,), tile=64, overlap=8)
    image = picture(3, 20_000)
    found = enlarge(made, image, 2)
    assert set(seen) == {(3, 64)} and found.tiles == len(seen)
    assert np.array_equal(found.image.pixels, image.pixels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2), (17, 31)])
@pytest.mark.parametrize("network", [lambda: SRVGGNetCompact(3, 8, 1, 2), lambda: RRDBNet(3, 8, 4, 1, 2, 2)])
def test_tiny_and_odd_pictures(size, network):
    _, made = upscaler(network)
    found = enlarge(made, picture(*size), 2)
    assert (found.image.height, found.image.width) == (2 * size[0], 2 * size[1])
    tiled = enlarge(made, picture(*size), 2, tile=16, overlap=4)
    assert tiled.image.pixels.shape == found.image.pixels.shape


def test_scale_one_is_the_picture_itself_and_scales_in_between_come_from_the_next():
    own, made = upscaler(lambda: SRVGGNetCompact(3, 8, 1, 4))
    image = picture()
    assert enlarge(made, image, 1).image is image
    found = enlarge(made, image, 2.5)
    assert (found.image.width, found.image.height, found.scale) == (210, 150, 4)
    expected = filtered(apply(own, image), 210, 150, "lanczos")
    assert np.array_equal(found.image.pixels, expected.pixels)


def test_an_upscaler_of_scale_one_restores():
    own, made = upscaler(lambda: SRVGGNetCompact(3, 8, 1, 1))
    found = enlarge(made, picture(), 1)
    assert np.array_equal(found.image.pixels, apply(own, picture()).pixels)
    assert not np.array_equal(found.image.pixels, picture().pixels)


@pytest.mark.parametrize("scale", [0, 0.5, -2, 17, 100, float("nan"), float("inf")])
def test_impossible_scales_are_refused(scale):
    with pytest.raises(StudioError, match="scale") as caught:
        enlarge(filter_upscaler("lanczos"), picture(), scale)
    assert "1 to 16" in caught.value.hint


def test_a_scale_beyond_the_upscaler_is_made_in_passes():
    _, made = upscaler(lambda: SRVGGNetCompact(3, 8, 1, 2))
    image, told = picture(), []
    found = enlarge(made, image, 4, tile=64, overlap=16, on_step=lambda *at: told.append(at))
    by_hand = enlarge(made, enlarge(made, image, 2, tile=64, overlap=16).image, 2, tile=64, overlap=16)
    assert found.image == by_hand.image and (found.scale, found.passes) == (4, 2)
    assert (found.image.width, found.image.height) == (336, 240)
    count = found.tiles
    assert count > by_hand.tiles and {total for _, total in told} == {count}
    assert [done for done, _ in told] == list(range(count))
    between = enlarge(made, image, 3)
    assert between.image == filtered(enlarge(made, image, 4).image, 252, 180, "lanczos")


@pytest.mark.parametrize(
    ("scales", "scale", "expected"),
    [((2,), 1.5, (2,)), ((2,), 2, (2,)), ((2,), 3, (2, 2)), ((2,), 16, (2, 2, 2, 2)), ((2, 4), 4, (4,)),
     ((2, 4), 8, (4, 2)), ((2, 4), 5, (4, 2)), ((3,), 9, (3, 3)), ((1, 2), 1, (1,))],
)  # fmt: skip
def test_passes(scales, scale, expected):
    assert passes(Upscaler("any", lambda: None, scales), scale) == expected


def test_a_guide_is_followed_in_the_size_of_each_pass():
    seen = []

    @contextmanager
    def opened():
        def run(image, scale, *, guide, **_):
            seen.append((image.width, guide.width))
            return filtered(image, image.width * scale, image.height * scale, "nearest")

        yield run

    led = Upscaler("led", opened, (2,), needs=("guide",))
    enlarge(led, picture(20, 30), 4, guide=picture(80, 120))
    assert seen == [(30, 60), (60, 120)]


def test_one_that_mends_only_says_so():
    _, made = upscaler(lambda: SRVGGNetCompact(3, 8, 1, 1))
    with pytest.raises(StudioError, match="own size") as caught:
        enlarge(made, picture(), 2)
    assert "scale to 1" in caught.value.hint


@pytest.mark.parametrize(
    ("tile", "overlap", "said"),
    [(8, 0, "too small"), (15, 0, "too small"), (32, 32, "move on"), (16, 40, "move on")],
)
def test_tiles_that_cannot_be_are_refused(tile, overlap, said):
    _, made = upscaler(lambda: SRVGGNetCompact(3, 8, 1, 2))
    with pytest.raises(StudioError, match=said):
        enlarge(made, picture(), 2, tile=tile, overlap=overlap)


def test_a_tile_larger_than_the_picture_is_the_whole():
    own, made = upscaler(lambda: SRVGGNetCompact(3, 8, 1, 2))
    found = enlarge(made, picture(), 2, tile=4096, overlap=512)
    assert found.tiles == 1 and np.array_equal(found.image.pixels, apply(own, picture()).pixels)


def test_alpha_goes_its_own_way():
    own, made = upscaler(lambda: SRVGGNetCompact(3, 8, 1, 2))
    image = picture(channels=4)
    found = enlarge(made, image, 2, tile=40, overlap=12).image
    assert found.has_alpha and (found.width, found.height) == (168, 120)
    apart = np.abs(found.pixels[..., :3].astype(int) - apply(own, opaque(image)).pixels)
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-3
    alpha = Pillow.fromarray(image.pixels[..., 3].copy()).resize((168, 120), Pillow.Resampling.LANCZOS)
    assert np.array_equal(found.pixels[..., 3], np.asarray(alpha))


def sticker(hidden=(255, 0, 0), colour=(0, 0, 255)):
    """A disc of one colour with a soft edge; `hidden`: the colour under its clear parts."""
    y, x = np.mgrid[:48, :64]
    alpha = 255 * (18 - np.hypot(y - 24, x - 30) + 0.5).clip(0, 1)
    pixels = np.where(alpha[..., None] >= 0.5, np.array(colour), np.array(hidden))
    return Image(np.dstack([pixels, alpha.round()]).astype(np.uint8))


def seen_on(image, ground):
    pixels = image.pixels.astype(float)
    alpha = pixels[..., 3:] / 255
    return pixels[..., :3] * alpha + np.array(ground) * (1 - alpha)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_filter_weighs_colours_by_alpha(scale):
    size = (84 * scale, 60 * scale)
    for image in (picture(channels=4), picture(channels=3)):
        expected = Pillow.fromarray(image.pixels).resize(size, Pillow.Resampling.LANCZOS)
        assert np.array_equal(enlarge(filter_upscaler("lanczos"), image, scale).image.pixels, expected)


@pytest.mark.model
@pytest.mark.parametrize("tile", [0, 24])
@pytest.mark.parametrize("scale", [1.5, 2, 4])
@pytest.mark.parametrize("ref", ["embedded:scenes-upscale-x2", "lanczos", "area"])
def test_what_lies_hidden_under_clear_parts_never_shows(ref, scale, tile):
    """A disc of one colour is one colour up to its edge, whatever ground it is laid on."""
    made = upscaler_of(ref, Policy.local())
    given = {"tile": tile, "overlap": 8} if tile else {}
    found = enlarge(made, sticker(), scale, **given).image
    other = enlarge(made, sticker(hidden=(9, 255, 80)), scale, **given).image
    alpha = found.pixels[..., 3:] / 255
    for ground in ((255, 255, 255), (0, 0, 0), (0, 255, 0)):
        pure = np.array((0, 0, 255)) * alpha + np.array(ground) * (1 - alpha)
        assert np.abs(seen_on(found, ground) - pure).max() < 1e-9
        assert np.array_equal(seen_on(found, ground), seen_on(other, ground))


@pytest.mark.model
def test_the_edge_after_a_network_is_that_of_lanczos_weighed_by_alpha():
    image = sticker()
    found = enlarge(upscaler_of("embedded:scenes-upscale-x2", Policy.local()), image, 2).image
    expected = Image(np.asarray(Pillow.fromarray(image.pixels).resize((128, 96), Pillow.Resampling.LANCZOS)))
    for ground in ((255, 255, 255), (0, 0, 0), (0, 255, 0)):
        assert np.array_equal(seen_on(found, ground), seen_on(expected, ground))


def test_the_hard_pixels_of_nearest_have_a_hard_edge():
    found = enlarge(filter_upscaler("nearest"), sticker(), 2).image
    assert np.array_equal(found.pixels, sticker().pixels.repeat(2, 0).repeat(2, 1))


def test_a_picture_of_16_bits_comes_in_as_8_and_goes_through():
    levels = np.linspace(0, 65535, 30 * 20).reshape(20, 30).astype(np.uint16)
    buffer = io.BytesIO()
    Pillow.fromarray(levels).save(buffer, "PNG")
    image = read_picture(buffer.getvalue())
    found = enlarge(filter_upscaler("nearest"), image, 2).image
    assert (found.width, found.height) == (60, 40)
    assert np.array_equal(found.pixels[::2, ::2, 0], np.round(levels / 257).astype(np.uint8))


def test_what_an_upscaler_cannot_do_without_is_asked_for_and_cut_with_the_tiles():
    given = []

    @contextmanager
    def opened():
        def run(image, scale, *, prompt="", steps=1, seed=0, guide=None, on_step=None):
            given.append((prompt, steps, seed, guide.pixels.shape))
            return guide

        yield run

    made = Upscaler("led", opened, (2,), tile=32, overlap=8, needs=("prompt", "guide"))
    image, guide = picture(60, 80), picture(120, 160, seed=5)
    with pytest.raises(StudioError, match="needs a prompt"):
        enlarge(made, image, 2, guide=guide)
    with pytest.raises(StudioError, match="as guide"):
        enlarge(made, image, 2, prompt="a star")
    found = enlarge(made, image, 2, prompt="a star", guide=guide, steps=3, seed=7)
    assert set(given) == {("a star", 3, 7, (64, 64, 3))}
    assert np.array_equal(found.image.pixels, guide.pixels)


def test_an_upscaler_that_makes_another_size_is_told_so():
    @contextmanager
    def opened():
        yield lambda image, scale, **_: image

    with pytest.raises(StudioError, match="made 84x60 pixels of 84x60 at scale 2"):
        enlarge(Upscaler("lazy", opened, (2,)), picture(), 2)


def test_every_tile_is_a_step_that_may_stop():
    told = []

    def stop(done, total):
        told.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    _, made = upscaler(lambda: SRVGGNetCompact(3, 8, 1, 2))
    with pytest.raises(KeyboardInterrupt):
        enlarge(made, picture(), 2, tile=32, overlap=8, on_step=stop)
    assert [done for done, _ in told] == [0, 1, 2] and told[0][1] == told[2][1] > 3


def test_damaged_weights_are_no_black_picture():
    own, made = upscaler(lambda: SRVGGNetCompact(3, 8, 1, 2))
    with torch.no_grad():
        own.body[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(StudioError, match="not finite"):
        enlarge(made, picture(), 2)


@pytest.mark.parametrize("how", ["lanczos", "area", "nearest"])
def test_filters_are_upscalers_and_the_same_size_is_the_picture_itself(how):
    image = picture(channels=4)
    assert filtered(image, image.width, image.height, how) is image
    found = enlarge(filter_upscaler(how), image, 3).image
    assert (found.width, found.height) == (252, 180)
    with pytest.raises(StudioError, match="0x5"):
        filtered(image, 0, 5, how)


def test_references(tmp_path):
    torch.manual_seed(0)
    own = SRVGGNetCompact(3, 8, 1, 2).eval()
    path = tmp_path / "mine.safetensors"
    save_file({k: v.contiguous() for k, v in own.state_dict().items()}, path)
    local, public = Policy.local(), Policy.public()
    made = upscaler_of(str(path), local)
    assert made.scales == (2,) and "SRVGGNetCompact x2" in made.name and made.reach == own.reach
    assert np.array_equal(enlarge(made, picture(), 2).image.pixels, apply(own, picture()).pixels)
    assert upscaler_of("lanczos", public) == filter_upscaler("lanczos")
    with pytest.raises(Refused):
        upscaler_of(str(path), public)
    for ref, said in (("", "named"), ("lancos", "no upscaler"), ("embedded:scenes", "no embedded upscaler"),
                      (str(tmp_path / "x.pth"), "no file")):  # fmt: skip
        with pytest.raises(BadModel, match=said):
            upscaler_of(ref, local)
    with pytest.raises(BadModel) as caught:
        upscaler_of("lancos", local)
    assert "lanczos" in caught.value.hint
    save_file({k: v + 1 for k, v in own.state_dict().items()}, path)
    assert upscaler_of(str(path), local) != made
    with pytest.raises(BadModel, match="has changed"):
        enlarge(made, picture(), 2)

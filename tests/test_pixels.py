"""Pictures in and out: alpha, 16 bit, one pixel, cut files, bombs."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from studio.errors import StudioError
from studio.pixels import (
    encode,
    flatten,
    from_pillow,
    opaque,
    read_picture,
    resize,
    shrink,
    to_array,
    to_image,
    to_mask,
)
from studio.values import Image


def file(array, form="PNG", **kwargs):
    buffer = io.BytesIO()
    Pillow.fromarray(array).save(buffer, form, **kwargs)
    return buffer.getvalue()


def noise(height=5, width=7, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4]))
def test_an_array_of_a_picture_gives_the_picture_again(height, width, channels):
    image = Image(noise(height, width, channels))
    assert to_image(to_array(image)) == image


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_a_written_picture_is_read_again_with_its_alpha(form):
    image = Image(noise(channels=4))
    back = read_picture(encode(image, form, quality=100))
    assert back.has_alpha and (back.width, back.height) == (7, 5)
    if form == "PNG":
        assert back == image


def test_one_pixel_is_a_picture():
    assert read_picture(file(noise(1, 1))).pixels.shape == (1, 1, 3)


def test_sixteen_bits_become_eight_by_scaling():
    wide = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    assert read_picture(file(wide)).pixels[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_common_mode_becomes_rgb_or_rgba(mode):
    picture = Pillow.fromarray(noise()).convert("L" if mode == "I;16" else mode)
    image = from_pillow(picture.convert("I;16") if mode == "I;16" else picture)
    assert image.pixels.shape[2] == (4 if "A" in mode else 3)


def test_a_turned_photo_is_upright():
    exif = Pillow.Exif()
    exif[0x0112] = 6
    assert read_picture(file(noise(5, 7), "JPEG", exif=exif)).pixels.shape == (7, 5, 3)


@pytest.mark.parametrize("keep", [10, 33, 60, -40])
def test_a_cut_file_is_called_damaged_or_no_picture(keep):
    with pytest.raises(StudioError, match=r"damaged|not a picture"):
        read_picture(file(noise(40, 40))[:keep])


@pytest.mark.parametrize("data", [b"", b"GIF89a...", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7"])
def test_what_is_no_picture_names_the_possible_formats(data):
    with pytest.raises(StudioError) as caught:
        read_picture(data)
    assert "PNG, JPEG or WEBP" in caught.value.hint or "damaged" in caught.value.message


@pytest.mark.parametrize("side", [8_000, 30_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_before_its_pixels_are_read(side):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(StudioError, match=r"too large|at most"):
        read_picture(bomb)


def test_the_limit_names_both_numbers():
    with pytest.raises(StudioError, match="7x5 = 35 pixels; at most 34"):
        read_picture(file(noise()), max_pixels=34)


def test_values_outside_are_cut_and_nan_is_an_error():
    assert to_image(np.array([[-1.0, 0.5, 2.0]])).pixels[0, :, 0].tolist() == [0, 128, 255]
    for make in (to_image, to_mask):
        with pytest.raises(StudioError, match="NaN"):
            make(np.array([[np.nan]]))


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros((2, 2, 2)), np.zeros((0, 2, 3)), np.zeros((2, 2, 3), int)]
)
def test_arrays_that_are_no_picture_are_refused(array):
    with pytest.raises(StudioError):
        to_image(array)


def test_flattening_lays_transparent_parts_on_white():
    clear = Image(np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], dtype=np.uint8))
    assert flatten(clear).pixels.tolist() == [[[255, 255, 255], [10, 20, 30]]]
    opaque = Image(noise())
    assert flatten(opaque) is opaque


def test_resizing_to_the_same_size_returns_the_picture_itself():
    image = Image(noise())
    assert resize(image, 7, 5) is image and shrink(image, 7) is image
    assert resize(image, 14, 14, fit="cover").pixels.shape == (14, 14, 3)
    assert (lambda s: (s.width, s.height))(shrink(Image(noise(100, 300)), 192)) == (192, 64)
    with pytest.raises(StudioError, match="0x5"):
        resize(image, 0, 5)


def test_a_jpeg_of_a_clear_picture_is_laid_on_white():
    assert not read_picture(encode(Image(np.zeros((4, 4, 4), np.uint8)), "JPEG")).has_alpha


def cut_out(height=37, width=50, seed=0, hidden=0):
    """A textured disc with a soft edge; `hidden`: what lies under its clear parts."""
    y, x = np.mgrid[:height, :width]
    alpha = (255 * (height / 3 - np.hypot(y - height / 2, x - width / 2) + 0.5).clip(0, 1)).astype(np.uint8)
    pixels = np.random.default_rng(seed).integers(60, 200, (height, width, 3), dtype=np.uint8)
    return Image(np.dstack([np.where(alpha[..., None] > 0, pixels, np.uint8(hidden)), alpha]))


def test_what_is_hidden_counts_nothing_and_what_is_opaque_keeps_its_colours():
    found = opaque(cut_out(hidden=0))
    assert found == opaque(cut_out(hidden=255)) and not found.has_alpha
    image = cut_out()
    whole = image.pixels[..., 3] == 255
    assert np.array_equal(found.pixels[whole], image.pixels[whole, :3])
    assert found.pixels.min() >= 60 and found.pixels.max() < 200


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (37, 50), (64, 64)])
def test_one_colour_is_one_colour_everywhere(size):
    alpha = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8) // 2
    alpha.flat[0] = 1
    pixels = np.where(alpha[..., None] > 0, np.array([17, 130, 255]), 99)
    found = opaque(Image(np.dstack([pixels, alpha]).astype(np.uint8)))
    assert np.array_equal(found.pixels, np.broadcast_to(np.array([17, 130, 255], np.uint8), (*size, 3)))


def test_a_veil_keeps_its_colours_and_a_speck_that_hardly_shows_takes_those_beside_it():
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    veil = Image(np.dstack([pixels, np.full((20, 30), 90, np.uint8)]))
    assert np.array_equal(opaque(veil).pixels, pixels)
    flat = np.full((20, 30, 4), 200, np.uint8)
    flat[..., 3] = 255
    flat[5, 5] = (0, 0, 0, 1)
    assert opaque(Image(flat)).pixels[5, 5].min() >= 198


def test_a_picture_without_alpha_is_itself_and_one_that_shows_nothing_is_white():
    plain = Image(np.zeros((3, 4, 3), np.uint8))
    assert opaque(plain) is plain
    assert opaque(Image(np.zeros((3, 4, 4), np.uint8))) == Image(np.full((3, 4, 3), 255, np.uint8))

"""What is known of a picture: blur, shrinking and mask are what they are called, and are put back exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageFilter

from studio.errors import StudioError
from studio.sampling.measurement import (
    BLURS,
    MOST_KERNEL,
    Measurement,
    blur_kernel,
    blurred,
    degraded,
    kernel_of,
    tensor_of,
)
from studio.values import Image, Mask


def picture(height=32, width=48, channels=3, seed=0):
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8))


def hole(height=32, width=48):
    known = np.ones((height, width), np.float32)
    known[8:20, 12:30] = 0
    return Mask(known)


@pytest.mark.parametrize("how", BLURS)
@pytest.mark.parametrize("radius", [0.3, 1.0, 5.5, 16])
def test_kernels_sum_to_one_and_have_a_middle(how, radius):
    kernel = np.array(blur_kernel(how, radius, 30))
    if how == "none":
        assert not kernel.size
        return
    assert abs(kernel.sum() - 1) < 1e-12 and kernel.min() >= 0
    assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 and kernel.shape[0] <= MOST_KERNEL
    middle = len(kernel) // 2
    assert np.allclose(kernel, kernel[::-1, ::-1]) and kernel[middle, middle] >= 0.9 * kernel.max()


def test_a_gaussian_has_its_spread_and_is_pillows():
    kernel = np.array(blur_kernel("gaussian", 3.0))
    at = np.arange(len(kernel)) - len(kernel) // 2
    spread = np.sqrt((kernel.sum(0) * at**2).sum())
    assert 2.5 < spread < 3.0  # cut at twice the radius
    image = picture(64, 64)
    ours = degraded(image, tuple(map(tuple, kernel.tolist()))).pixels.astype(float)
    theirs = np.asarray(Pillow.fromarray(image.pixels).filter(ImageFilter.GaussianBlur(3)))
    assert np.abs(ours - theirs)[8:-8, 8:-8].max() < 12 and np.abs(ours - theirs).mean() < 3


def test_motion_goes_along_its_angle():
    across, up = (np.array(blur_kernel("motion", 4, angle)) for angle in (0, 90))
    assert across[len(across) // 2].sum() > 0.99 and up[:, len(up) // 2].sum() > 0.99
    rising = np.array(blur_kernel("motion", 4, 45))
    assert rising[0, -1] == 0 or rising[1, -2] > 0
    assert rising[1:4, -4:-1].sum() > 0.2 and rising[1:4, 1:4].sum() < 0.01


def test_a_blur_is_a_convolution_by_hand_and_keeps_plain_areas():
    kernel = tuple(
        tuple(float(v) for v in row) for row in np.random.default_rng(1).dirichlet(np.ones(15)).reshape(3, 5)
    )
    pixels = tensor_of(picture(9, 11)).double()
    made, weights = blurred(pixels, kernel), torch.tensor(kernel, dtype=torch.float64)
    by_hand = sum(
        weights[1 + j, 2 + i] * pixels[0, 0, 4 - j, 5 - i] for j in (-1, 0, 1) for i in range(-2, 3)
    )
    assert made[0, 0, 4, 5] == pytest.approx(float(by_hand))
    assert torch.allclose(blurred(torch.ones(1, 3, 7, 9), kernel), torch.ones(1, 3, 7, 9))


@pytest.mark.parametrize(
    ("kernel", "shrink", "known"),
    [((), 1, None), (blur_kernel("disc", 2), 1, None), ((), 4, None), ((), 1, hole()), ((), 4, hole()),
     (blur_kernel("motion", 3, 20), 2, hole())],
)  # fmt: skip
def test_what_was_made_worse_by_it_is_no_distance_away(kernel, shrink, known):
    image = picture()
    worse = degraded(image, kernel, shrink, known)
    measured = Measurement(worse, kernel, shrink, known)
    assert (measured.width, measured.height) == (48, 32)
    assert measured.difference(image) < (0.5 / 255) ** 2
    assert (measured.difference(picture(seed=3)) > 1e-3) and measured.neutral == (
        kernel == () and shrink == 1 and not known
    )
    guess = measured.guess()
    assert (guess.width, guess.height) == (48, 32)


def test_known_pixels_are_put_back_exactly_and_the_rest_stays():
    image, found, known = picture(), picture(seed=1), hole()
    measured = Measurement(degraded(image, known=known), known=known)
    back, where = measured.put_back(found).pixels, known.values.astype(bool)
    assert np.array_equal(back[where], image.pixels[where]) and np.array_equal(
        back[~where], found.pixels[~where]
    )


@pytest.mark.parametrize("known", [None, hole()])
def test_known_means_are_put_back_to_a_level(known):
    image, found = picture(), picture(seed=1)
    measured = Measurement(degraded(image, (), 4, known), (), 4, known)
    assert measured.difference(measured.put_back(found)) < (0.6 / 255) ** 2 < measured.difference(found) / 100
    black = Image(np.zeros((32, 48, 3), np.uint8))
    assert measured.difference(measured.put_back(black)) < (0.6 / 255) ** 2


def test_what_fits_is_put_back_as_it_is():
    image = picture()
    for kernel, shrink, known in (((), 1, None), ((), 1, hole()), (blur_kernel("disc", 3), 1, None)):
        worse = degraded(image, kernel, shrink, known)
        assert Measurement(worse, kernel, shrink, known).put_back(image) == image


def test_a_kernel_is_read_from_a_picture():
    pixels = np.zeros((4, 3, 3), np.uint8)
    pixels[1, 1] = 255
    kernel = np.array(kernel_of(Image(pixels)))
    assert kernel.shape == (5, 3) and kernel[1, 1] == 1
    for side, said in ((66, "at most"), (0, "black")):
        wrong = Image(np.full((side or 3, side or 3, 3), 255 if side else 0, np.uint8))
        with pytest.raises(StudioError) as caught:
            kernel_of(wrong)
        assert said in f"{caught.value} {caught.value.hint}".lower()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Measurement(picture(), shrink=0), "0 times smaller"),
        (lambda: Measurement(picture(), shrink=100), "100 times smaller"),
        (lambda: Measurement(picture(), known=hole(8, 8)), "mask has 8x8"),
        (lambda: degraded(picture(30, 48), shrink=4), "48x30 pixels cannot be shrunk 4"),
        (lambda: blur_kernel("gausian", 1), "no blur"),
        (lambda: blur_kernel("disc", float("nan")), "nan pixels"),
        (lambda: blur_kernel("disc", 17), "17 pixels"),
        (lambda: blur_kernel("motion", 2, float("inf")), "angle of inf"),
        (lambda: Measurement(picture(), shrink=2).put_back(picture()), "48x32 pixels"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(StudioError, match=said):
        call()


def test_alpha_is_laid_on_white_and_one_pixel_is_a_picture():
    image = picture(8, 8, channels=4)
    assert not Measurement(image).image.has_alpha
    dot = picture(1, 1)
    assert degraded(dot, blur_kernel("gaussian", 8)) == dot
    assert Measurement(dot, shrink=16).guess().width == 16

"""Values are frozen: arrays read-only, behaviour told by name and parameters, lists of sigmas descending."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from studio.errors import StudioError
from studio.values import Attachment, Guidance, Image, Latent, Mask, Sigmas, Step, Wrap


def test_values_import_no_torch():
    code = "import sys, studio.values, studio.pixels; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_picture_shares_nothing_with_the_array_it_was_made_of():
    array = np.zeros((2, 2, 3), dtype=np.uint8)
    image = Image(array)
    array[:] = 9
    assert image == Image(np.zeros((2, 2, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0, 0] = 1


def test_a_read_only_view_of_a_writable_array_is_copied():
    array = np.zeros((2, 2, 3), dtype=np.uint8)
    view = array[:]
    view.flags.writeable = False
    image = Image(view)
    array[:] = 9
    assert not image.pixels.any()


def test_a_frozen_array_is_not_copied():
    first = Image(np.zeros((2, 2, 3), dtype=np.uint8))
    assert Image(first.pixels).pixels is first.pixels


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 1), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros((2, 2, 3)),
    ],
)
def test_what_is_no_picture_is_refused(array):
    with pytest.raises(StudioError):
        Image(array)


@pytest.mark.parametrize(
    "array",
    [
        np.full((2, 2), 1.5, np.float32),
        np.full((2, 2), np.nan, np.float32),
        np.zeros((2, 2)),
        np.zeros(3, np.float32),
    ],
)
def test_what_is_no_mask_is_refused(array):
    with pytest.raises(StudioError):
        Mask(array)


def test_behaviour_compares_by_name_and_parameters_not_by_function():
    first = Wrap("w", lambda d: d, (("x", 1.0),))
    assert first == Wrap("w", lambda d: None, (("x", 1.0),)) and hash(first) == hash(
        Wrap("w", print, (("x", 1.0),))
    )
    assert first != Wrap("w", lambda d: d, (("x", 2.0),))
    assert repr(first) == "Wrap(w, x=1.0)"
    assert repr(Guidance("g", print)) == "Guidance(g)" and repr(Attachment("a", print)) == "Attachment(a)"


def test_sigmas_count_their_steps_and_cannot_be_changed():
    sigmas = Sigmas((1, 0.5, 0))
    assert sigmas.steps == 2 and sigmas.values == (1.0, 0.5, 0.0)
    with pytest.raises(FrozenInstanceError):
        sigmas.values = (1.0, 0.0)


def test_a_step_can_be_looked_at_from_another_noise_level():
    assert Step(2, 5, 0.6, 0.4).at(0.4) == Step(2, 5, 0.4, 0.4)


def test_a_latent_prints_its_size_and_not_its_numbers():
    assert "tensor" not in repr(Latent(64, 64))

"""edit_masks.py: a painted mask is stored under its hash in this studio; junk is refused in words."""

from __future__ import annotations

import base64
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Pillow

from studio.pixels import read_picture
from studio.ui.asked import point
from studio.ui.edit_masks import EditMasks, _size
from studio.ui.owners import Owners


def event(**data):
    return SimpleNamespace(_data=data)


def tab_of(studio) -> EditMasks:
    return EditMasks(studio, Owners(studio.settings.home, public=studio.policy.is_public))


def painted() -> str:
    grey = np.zeros((32, 32), np.uint8)
    grey[4:12, 4:12] = 255
    file = io.BytesIO()
    Pillow.fromarray(grey).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_painted_mask_is_kept_small_and_comes_back_as_it_was(fake):
    told = json.loads(tab_of(fake).mask("", event(data=painted(), turn=4)))["mask"]
    assert told["turn"] == 4 and set(told["value"]) == {"file", "name"} and len(told["value"]["file"]) == 64
    path = fake.history.upload(told["value"]["file"])
    assert path.is_relative_to(fake.settings.home) and path.stat().st_size < 2000
    pixels = read_picture(path.read_bytes()).pixels
    assert pixels[8, 8].min() == 255 and pixels[20, 20].max() == 0


@pytest.mark.parametrize(
    "data", ["", "!!", base64.b64encode(b"<svg/>").decode(), 7, None, "../../etc"], ids=repr
)
def test_what_is_no_mask_is_refused_in_words(fake, data):
    assert json.loads(tab_of(fake).mask("", event(data=data, turn=1)))["mask"]["fault"]


@pytest.mark.parametrize("turn", [None, "1", True])
def test_a_mask_without_a_turn_is_refused(fake, turn):
    assert json.loads(tab_of(fake).mask("", event(data=painted(), turn=turn)))["says"]


@pytest.mark.parametrize("name", ["look", "thing"])
@pytest.mark.parametrize(
    "data", [{}, {"document": 7}, {"document": "{}"}, {"document": "x" * 2_000_000}], ids=str
)
def test_documents_that_are_none_are_refused_in_words(fake, name, data):
    assert json.loads(getattr(tab_of(fake), name)("", event(**data)))["says"]


def test_a_place_is_cut_to_the_picture_and_junk_is_refused():
    from studio.errors import BadDocument

    assert point(event()) is None and point(event(x=0.25, y=7)) == (0.25, 1.0)
    for wrong in (float("nan"), "1", True):
        with pytest.raises(BadDocument):
            point(event(x=wrong, y=0.5))


def test_a_document_that_says_no_size_is_a_square(fake):
    assert _size(fake.workflow("text-to-image")) in {(256, 256)}

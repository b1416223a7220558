"""The codec: equal values have equal digests, bytes come back as they went, damage is noticed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.models.codec import TensorCodec
from studio.models.loading import ModelStore
from studio.values import (
    Conditioning,
    Estimate,
    Image,
    Inversion,
    KeptValues,
    Latent,
    Mask,
    Seen,
    SeenMap,
    Sigmas,
)

CODEC = TensorCodec()
PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def values():
    return {
        "image": Image(PIXELS[..., :3].copy()),
        "rgba": Image(PIXELS.copy()),
        "mask": Mask(np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)),
        "canvas": Latent(64, 48, 2, 7),
        "latent": Latent(
            16, 16, tensor=torch.arange(8.0).reshape(1, 2, 2, 2), family="sd3", source=Image(PIXELS.copy())
        ),
        "conditioning": Conditioning("a red star", "sd3", torch.ones(1, 2, 3), torch.zeros(1, 3)),
        "no_pooled": Conditioning("", "z_image", torch.ones(1, 0, 3)),
        "sigmas": Sigmas((1.0, 0.25, 0.0), "flow"),
        "seen": Seen(
            (
                SeenMap(
                    "star",
                    "cond",
                    torch.ones(1, 4, 4, 2),
                    "a.attn",
                    3,
                    "joint_double",
                    2,
                    0.5,
                    labels=("star",),
                ),
            ),
            (Estimate(2, 0.5, torch.ones(1, 4, 8, 8)),),
        ),
        "nothing_seen": Seen(),
        "noisy": Latent(16, 16, tensor=torch.ones(1, 2, 2, 2), family="sd3", sigma=0.5),
        "inversion": Inversion(
            Latent(16, 16, tensor=torch.ones(1, 2, 2, 2), family="sd3", source=Image(PIXELS.copy())),
            Conditioning("a red star", "sd3", torch.ones(1, 2, 3), torch.zeros(1, 3)),
            Sigmas((1.0, 0.5, 0.0), "flow"),
            "midpoint",
            torch.arange(24.0).reshape(3, 1, 2, 2, 2),
            (KeptValues(0, True, "a.attn", torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 3, 2)),),
        ),
        "half": torch.ones(2, 2, dtype=torch.bfloat16),
    }


@pytest.mark.parametrize("name", sorted(values()))
def test_a_value_comes_back_as_it_was(name):
    value = values()[name]
    assert CODEC.handles(value)
    data = CODEC.dump(value)
    back = CODEC.load(data)
    assert type(back) is type(value) and CODEC.digest(back) == CODEC.digest(value) == CODEC.digest(
        values()[name]
    )
    assert CODEC.nbytes(value) > 0 and CODEC.describe(value)
    if isinstance(value, Image):
        assert back == value
    if isinstance(value, Latent) and value.source is not None:
        assert back.source == value.source and torch.equal(back.tensor, value.tensor)


def test_all_values_have_digests_of_their_own():
    found = [CODEC.digest(value) for value in values().values()]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"width": 128},
        {"batch": 3},
        {"tensor": torch.zeros(1)},
        {"source": Image(PIXELS.copy())},
        {"sigma": 0.5},
    ],
)
def test_every_field_of_a_latent_counts(change):
    canvas = values()["canvas"]
    assert CODEC.digest(replace(canvas, **change)) != CODEC.digest(canvas)


@pytest.mark.parametrize("name", ["latent", "conditioning", "half"])
def test_what_is_handed_out_can_be_written_to_without_harm(name):
    value = values()[name]
    before = CODEC.digest(value)
    given = CODEC.readonly(value)
    tensor = (
        given if isinstance(given, torch.Tensor) else getattr(given, "tensor", getattr(given, "embeds", None))
    )
    tensor.add_(1)
    assert CODEC.digest(value) == before


@pytest.mark.parametrize("keep", [0, 4, 30, -1])
def test_damaged_bytes_are_a_value_error(keep):
    for value in values().values():
        data = CODEC.dump(value)
        with pytest.raises(ValueError, match="damaged"):
            CODEC.load(data[:keep])


def test_a_model_stays_in_memory_and_is_told_by_its_weights():
    store = ModelStore(device="cpu")
    model = store.load("tiny:sd3")
    assert CODEC.dump(model) is None and CODEC.readonly(model) is model and CODEC.nbytes(model) < 10_000
    assert CODEC.digest(model) == CODEC.digest(store.load("tiny:sd3"))
    store.close()


def test_a_picture_cannot_be_written_to():
    image = CODEC.load(CODEC.dump(values()["image"]))
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0, 0] = 1

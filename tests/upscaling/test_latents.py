"""Large pictures to latents and back by tiles: one tile is the plain way, several are close to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.models.family import Parts, parts_of
from studio.models.loading import ModelStore
from studio.models.pictures import decode_latent, encode_picture
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_latent
from studio.sampling.samplers import sampler
from studio.sampling.schedules import from_strength, schedule
from studio.scenes.draw import draw
from studio.scenes.world import sample_scene
from studio.upscaling.latents import decode_by_tiles, encode_by_tiles, framed
from studio.values import Image, Latent


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def parts(request: pytest.FixtureRequest) -> Iterator[Parts]:
    store = ModelStore(device="cpu")
    yield parts_of(store.load(request.param))
    store.close()


def scene(size=128, seed=0):
    return Image(draw(sample_scene(np.random.default_rng(seed)), size))


def test_one_tile_is_the_plain_way_bit_by_bit(parts):
    image = scene()
    one, plain = encode_by_tiles(parts, image, 128, seed=4), encode_picture(parts, image, seed=4)
    assert torch.equal(one.tensor, plain.tensor) and (one.width, one.seed) == (plain.width, plain.seed)
    assert one.source is image
    painted = plain.with_tensor(plain.tensor, plain.family)
    assert decode_by_tiles(parts, painted, 256) == decode_latent(parts, painted)


def test_an_untouched_latent_gives_its_picture_itself(parts):
    image = Image(np.random.default_rng(0).integers(0, 256, (70, 99, 4), dtype=np.uint8))
    latent = encode_by_tiles(parts, image, 32)
    step = parts.family.size_step(parts)
    assert (latent.width, latent.height) == (-(-99 // step) * step, -(-70 // step) * step)
    assert decode_by_tiles(parts, latent, 32) is image and framed(image, image) is image


def test_a_painted_picture_has_the_size_and_the_alpha_of_its_own(parts):
    image = Image(np.random.default_rng(0).integers(0, 256, (140, 100, 4), dtype=np.uint8))
    latent = encode_by_tiles(parts, image, 64)
    painted = decode_by_tiles(parts, latent.with_tensor(latent.tensor, latent.family), 64)
    assert (painted.width, painted.height) == (latent.width, latent.height) != (100, 140)
    found = framed(painted, image)
    assert np.array_equal(found.pixels[..., :3], painted.pixels[:140, :100])
    assert np.array_equal(found.pixels[..., 3], image.pixels[..., 3])
    plain = Image(image.pixels[..., :3])
    assert not framed(painted, plain).has_alpha


def test_what_cannot_be_seen_is_not_painted_from(parts):
    """A cut-out of one colour is painted from a picture that is that colour; what lies under its clear parts
    never shows."""
    alpha = np.zeros((64, 64), np.uint8)
    alpha[10:50, 20:60] = 255
    alpha[10] = 120
    shown = alpha[..., None] > 0
    made = []
    for hidden in (0, 255):
        pixels = np.where(shown, np.array([30, 60, 200]), hidden)
        image = Image(np.dstack([pixels, alpha]).astype(np.uint8))
        latent = encode_by_tiles(parts, image, 64, seed=3)
        run = sample_latent(
            parts, *(parts.family.encode_text(parts, text)[0] for text in ("a red star", "")), latent,
            from_strength(schedule("flow_diffusers", 4, 3.0), 0.5), sampler("euler"), cfg(1.0),
        )  # fmt: skip
        made.append((latent.tensor, framed(decode_by_tiles(parts, run, 64), image)))
    plain = Image(np.broadcast_to(np.array([30, 60, 200], np.uint8), (64, 64, 3)))
    expected = encode_by_tiles(parts, plain, 64, seed=3).tensor
    assert torch.equal(made[0][0], expected) and torch.equal(made[1][0], expected)
    assert made[0][1] == made[1][1] and np.array_equal(made[0][1].pixels[..., 3], alpha)


def test_what_is_added_at_the_edges_is_mirrored(parts):
    step = parts.family.size_step(parts)
    image = scene(5 * step - 3)
    bottom = ((0, 3), (0, 3), (0, 0))
    by_hand = Image(np.pad(image.pixels, bottom, mode="reflect"))
    assert torch.equal(encode_by_tiles(parts, image, 256).tensor, encode_by_tiles(parts, by_hand, 256).tensor)


@pytest.mark.parametrize(("width", "height"), [(120, 80), (40, 80), (200, 200)])
def test_a_picture_that_was_not_encoded_is_no_frame(parts, width, height):
    with pytest.raises(StudioError, match="100x100") as caught:
        framed(Image(np.zeros((100, 100, 3), np.uint8)), Image(np.zeros((height, width, 3), np.uint8)))
    assert caught.value.socket == "like"


def test_the_autoencoder_sees_tiles_alone(parts):
    seen = []
    handles = [
        module.register_forward_pre_hook(lambda m, args: seen.append(tuple(args[0].shape[-2:])))
        for module in (parts.vae.encoder, parts.vae.decoder)
    ]
    try:
        latent = encode_by_tiles(parts, scene(192), 64)
        decode_by_tiles(parts, latent.with_tensor(latent.tensor, latent.family), 64)
    finally:
        for handle in handles:
            handle.remove()
    pixels = latent.width // latent.tensor.shape[-1]
    assert set(seen) == {(64, 64), (64 // pixels, 64 // pixels)}
    # a stride of 48 over 192 pixels: four tiles a side
    assert len(seen) == 2 * 16


def test_steps_are_told_and_may_stop(parts):
    def stop(done, total):
        assert total == 16
        if done == 3:
            raise KeyboardInterrupt

    for call in (
        lambda: encode_by_tiles(parts, scene(192), 64, on_step=stop),
        lambda: decode_by_tiles(parts, noise(parts, 192), 64, on_step=stop),
    ):
        with pytest.raises(KeyboardInterrupt):
            call()


def noise(parts, size, batch=1):
    shape = parts.family.latent_shape(parts, batch, size, size)
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return Latent(size, size, batch, 0, tensor, parts.family.name)


def test_every_picture_of_a_batch_can_be_had(parts):
    both = noise(parts, 96, 2)
    second = Latent(96, 96, 1, 0, both.tensor[1:].clone(), both.family)
    assert decode_by_tiles(parts, both, 64, picture=1) == decode_by_tiles(parts, second, 64)
    with pytest.raises(StudioError, match="no picture 2"):
        decode_by_tiles(parts, both, 64, picture=2)


def test_what_cannot_be_is_said(parts):
    step = parts.family.size_step(parts)
    small = Image(np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(StudioError, match="1x1 pixels") as caught:
        encode_by_tiles(parts, small, 64)
    assert "Enlarge" in caught.value.hint
    for side in (step, 2 * step + 1, 0):
        with pytest.raises(StudioError, match=f"Tiles of {side} pixels"):
            encode_by_tiles(parts, scene(), side)
    with pytest.raises(StudioError, match="do not move on"):
        encode_by_tiles(parts, scene(), 64, 64)
    with pytest.raises(StudioError, match="empty"):
        decode_by_tiles(parts, Latent(128, 128), 64)


@pytest.mark.model
def test_with_the_embedded_model_tiles_are_close_to_the_whole(embedded_folder):
    """The default overlap, a quarter: no seam beyond what the autoencoder itself loses."""
    from studio.models.device import place
    from studio.models.folders import check_folder
    from studio.models.loading import load_folder

    parts = load_folder(check_folder(embedded_folder), place("cpu"))
    image = scene(384, 3)
    whole, tiled = encode_picture(parts, image), encode_by_tiles(parts, image, 128)
    assert (whole.tensor - tiled.tensor).abs().max() < 1e-4
    latent = whole.with_tensor(whole.tensor, whole.family)
    one, several = decode_latent(parts, latent).pixels, decode_by_tiles(parts, latent, 128).pixels
    error = np.square(one.astype(float) - several).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 50

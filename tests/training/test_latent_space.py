"""The linear autoencoder: what stock diffusers computes is the block projection, exactly where it should
be."""

import numpy as np
import pytest
import torch

from studio.training.latent_space import CHANNELS, blocks_of, encode, fit, make_autoencoder


@pytest.fixture(scope="module")
def stacks() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    return [coarse.repeat(8, 1).repeat(8, 2), rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)]


def test_the_stock_encoder_equals_the_projection(stacks: list[np.ndarray]) -> None:
    space = fit(stacks)
    pictures = stacks[1]
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    with torch.no_grad():
        stock = make_autoencoder(space).encode(tensor).latents
    ours = torch.from_numpy(encode(pictures, space).astype(np.float32))
    assert stock.shape == (6, CHANNELS, 4, 4)
    assert torch.allclose(stock, ours, atol=2e-2), (
        (stock - ours).abs().max()
    )  # float16 storage of values up to about 10


def test_a_block_of_the_picture_lands_in_its_own_cell(stacks: list[np.ndarray]) -> None:
    space = fit(stacks)
    picture = np.full((1, 32, 32, 3), 128, np.uint8)
    changed = picture.copy()
    changed[0, 8:16, 24:32] = 255
    moved = (
        np.abs(encode(changed, space).astype(np.float32) - encode(picture, space).astype(np.float32)).sum(
            (0, 1)
        )
        > 1e-3
    )
    assert moved.tolist() == [[r == 1 and c == 3 for c in range(4)] for r in range(4)]


def test_latents_of_the_fitted_pictures_have_mean_zero_and_unit_scale(stacks: list[np.ndarray]) -> None:
    space = fit(stacks)
    latents = np.concatenate(
        [encode(stack, space).transpose(0, 2, 3, 1).reshape(-1, CHANNELS) for stack in stacks[:1] * 2]
    )
    assert np.isfinite(latents).all()
    both = [blocks_of(stack) @ space["projection"].T + space["bias"] for stack in stacks]
    assert np.allclose(np.mean([part.mean(0) for part in both], axis=0), 0, atol=1e-6)
    within = np.mean([part.var(0) for part in both], axis=0)
    assert abs(within.mean() - 1) < 0.05

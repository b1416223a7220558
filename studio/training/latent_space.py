"""The latent space of the embedded models: whitened principal components of 8 x 8 pixel blocks.

A linear encoder has three merits on a small machine: it costs nothing to compute, it is known before any
training (so that the transformer and the decoder can be trained side by side), and small pictures of a scene
have nearly the latents of the large one averaged, which is what training on small pictures first lives on.
`AutoencoderTiny` with no residual blocks in its encoder *is* a chain of linear convolutions, so stock
diffusers runs it.

Components are scaled to a standard deviation of `variance ** (sharpness / 2)`, not to one: full whitening
(0) would make the loss count faint texture as much as colour, none (1) would drown texture in noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

BLOCK = 8
CHANNELS = 16
SHARPNESS = 0.35


def blocks_of(pictures: np.ndarray) -> np.ndarray:
    """uint8 [n, size, size, 3] -> float [n * blocks, 192] in 0..1, ordered (row, column, colour) in a
    block."""
    n, size, _, _ = pictures.shape
    side = size // BLOCK
    cut = pictures.reshape(n, side, BLOCK, side, BLOCK, 3).transpose(0, 1, 3, 2, 4, 5)
    return cut.reshape(-1, BLOCK * BLOCK * 3).astype(np.float64) / 255.0


def fit(pictures: list[np.ndarray], channels: int = CHANNELS) -> dict[str, np.ndarray]:
    """Principal components of the blocks of several picture stacks (each stack counts alike).

    Returns `projection` [channels, 192] and `bias` [channels]: latent = projection @ block + bias.
    """
    mean = np.mean([blocks_of(stack).mean(0) for stack in pictures], axis=0)
    covariance = np.mean([np.cov(blocks_of(stack).T) for stack in pictures], axis=0)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:channels]
    values, vectors = values[order], vectors[:, order]
    target = values ** (SHARPNESS / 2)
    target /= np.sqrt((target**2).mean())
    projection = (vectors * (target / np.sqrt(values))).T
    kept = values.sum() / np.trace(covariance)
    return {"projection": projection, "bias": -projection @ mean, "variance": values, "kept": np.array(kept)}


def linear_encoder(autoencoder: AutoencoderTiny, projection: np.ndarray, bias: np.ndarray) -> None:
    """Write the block projection into the encoder's four convolutions (exactly; the encoder has no other
    layer)."""
    first, *halvings, last = [m for m in autoencoder.encoder.layers if isinstance(m, torch.nn.Conv2d)]
    with torch.no_grad():
        for layer in (first, *halvings, last):
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.zero_()
        for colour in range(3):
            first.weight[colour, colour, 1, 1] = 1.0
        # Two space-to-depth steps: channel index after a step = (row * 2 + column) * inputs + input.
        inputs = 3
        for layer in halvings[:2]:
            for row in range(2):
                for column in range(2):
                    for channel in range(inputs):
                        layer.weight[(row * 2 + column) * inputs + channel, channel, 1 + row, 1 + column] = (
                            1.0
                        )
            inputs *= 4
        # The third step joins the projection: undo the nesting of (row, column) bits to the order of
        # `blocks_of`.
        matrix = torch.as_tensor(projection, dtype=torch.float32).reshape(-1, BLOCK, BLOCK, 3)
        for row in range(BLOCK):
            for column in range(BLOCK):
                r3, r2, r1 = row >> 2 & 1, row >> 1 & 1, row & 1
                c3, c2, c1 = column >> 2 & 1, column >> 1 & 1, column & 1
                for colour in range(3):
                    source = (r2 * 2 + c2) * 12 + (r1 * 2 + c1) * 3 + colour
                    halvings[2].weight[: matrix.shape[0], source, 1 + r3, 1 + c3] = matrix[
                        :, row, column, colour
                    ]
        for channel in range(matrix.shape[0]):
            last.weight[channel, channel, 1, 1] = 1.0
        assert last.bias is not None
        last.bias.copy_(torch.as_tensor(bias, dtype=torch.float32))


def make_autoencoder(
    space: dict[str, np.ndarray], width: int = 48, blocks: tuple[int, ...] = (3, 3, 2, 1)
) -> AutoencoderTiny:
    """An `AutoencoderTiny` with the linear encoder of `space` and an untrained decoder (`width` channels)."""
    model = AutoencoderTiny(
        encoder_block_out_channels=(48,) * 4,
        decoder_block_out_channels=(width,) * 4,
        num_encoder_blocks=(0, 0, 0, 0),
        num_decoder_blocks=blocks,
        latent_channels=CHANNELS,
        scaling_factor=1.0,
        shift_factor=0.0,
    )
    linear_encoder(model, space["projection"], space["bias"])
    model.encoder.requires_grad_(False)
    with torch.no_grad():
        for (
            module
        ) in model.decoder.modules():  # residual branches start small: no normalisation layers to rescue them
            if type(module).__name__ == "AutoencoderTinyBlock":
                module.conv[-1].weight.mul_(0.2)
                module.conv[-1].bias.zero_()
        model.decoder.layers[-1].bias.fill_(0.5)
    return model


def encode(pictures: np.ndarray, space: dict[str, np.ndarray]) -> np.ndarray:
    """uint8 [n, size, size, 3] -> float16 latents [n, channel, size / 8, size / 8]; equals the encoder's
    result."""
    n, size, _, _ = pictures.shape
    side = size // BLOCK
    flat = blocks_of(pictures).astype(np.float32) @ space["projection"].T.astype(np.float32) + space[
        "bias"
    ].astype(np.float32)
    return flat.reshape(n, side, side, -1).transpose(0, 3, 1, 2).astype(np.float16)


def load_space(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}

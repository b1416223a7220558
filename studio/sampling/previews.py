"""Previews: a linear map from latent channels to RGB, one pixel a latent point, enlarged to 192 px."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from studio.models.family import Parts
from studio.pixels import PREVIEW_SIDE, resize, shrink
from studio.values import Image

NOTE = "latent_rgb"
FIT_POINTS = 16


def preview(parts: Parts, denoised: torch.Tensor, side: int = PREVIEW_SIDE) -> Image:
    """The first picture of a batch (batch, channel, height, width) roughly as it will be, at most `side`
    px long.

    The map is that of the model's card (`latent_rgb`), else one fitted once by decoding noise; plain grey if
    neither gives finite colours.
    """
    weights = rgb_map(parts)
    latent = denoised[0].detach().to("cpu", torch.float32).numpy()
    colours = np.einsum("chw,cr->hwr", latent, weights[:-1]) + weights[-1]
    if not np.isfinite(colours).all():
        colours = np.full_like(colours, 0.5)
    small = Image((colours.clip(0, 1) * 255).round().astype(np.uint8))
    scale = max(side // max(small.width, small.height), 1)
    return shrink(resize(small, small.width * scale, small.height * scale, smooth=False), side)


def rgb_map(parts: Parts) -> np.ndarray[Any, np.dtype[np.float32]]:
    """channel + 1, 3: factors, then the bias, for colours 0..1."""
    if NOTE not in parts.notes:
        channels = int(parts.vae.config.latent_channels)
        found = _from_card(parts, channels)
        if found is None:
            found = _fitted(parts, channels)
        parts.notes[NOTE] = found
    known = parts.notes[NOTE]
    assert isinstance(known, np.ndarray)
    return known


def _from_card(parts: Parts, channels: int) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    entry = parts.card.get("latent_rgb")
    if not isinstance(entry, dict):
        return None
    try:
        table = np.array([*entry["factors"], entry["bias"]], dtype=np.float32)
    except (KeyError, TypeError, ValueError):
        return None
    return table if table.shape == (channels + 1, 3) and np.isfinite(table).all() else None


def _fitted(parts: Parts, channels: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Least squares between a noise latent and its decoded picture, averaged to one colour a latent point."""
    grey = np.zeros((channels + 1, 3), dtype=np.float32)
    grey[-1] = 0.5
    generator = torch.Generator("cpu").manual_seed(0)
    # smooth noise: a decoder was never trained on points that differ from all their neighbours
    coarse = torch.randn(1, channels, FIT_POINTS // 2, FIT_POINTS // 2, generator=generator)
    with torch.inference_mode():
        latent = torch.nn.functional.interpolate(coarse, size=(FIT_POINTS, FIT_POINTS), mode="bilinear")
        pixels = parts.family.decode(parts, latent).cpu() / 2 + 0.5
        pixels = torch.nn.functional.adaptive_avg_pool2d(pixels.clamp(0, 1), (FIT_POINTS, FIT_POINTS))
    points = latent[0].reshape(channels, -1).T.double().numpy()
    colours = pixels[0].reshape(3, -1).T.double().numpy()
    if not (np.isfinite(points).all() and np.isfinite(colours).all()):
        return grey
    table, *_ = np.linalg.lstsq(np.c_[points, np.ones(len(points))], colours, rcond=None)
    return table.astype(np.float32) if math.isfinite(float(table.sum())) else grey

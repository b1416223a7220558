"""Likeness of two pictures, whole or outside a mask."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

# Constants and window of SSIM (Wang et al. 2004), pixel values 0..255.
_C1, _C2, _WINDOW = (0.01 * 255) ** 2, (0.03 * 255) ** 2, 8


def psnr(one: np.ndarray, other: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of uint8 [H, W, 3], over the pixels of `where` (bool [H, W]); 99 for
    equal pixels, nan if there are none."""
    squares = (one.astype(np.float64) - other.astype(np.float64)) ** 2
    chosen = squares if where is None else squares[where]
    if chosen.size == 0:
        return float("nan")
    mean = float(chosen.mean())
    return 99.0 if mean == 0 else min(99.0, 10 * float(np.log10(255**2 / mean)))


def ssim(one: np.ndarray, other: np.ndarray, where: np.ndarray | None = None) -> float:
    """Mean structural similarity of the grey pictures over 8 x 8 windows that lie wholly in `where`; nan if
    none does."""
    grey = [p.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) for p in (one, other)]
    height, width = (n - n % _WINDOW for n in grey[0].shape)

    def windows(values: np.ndarray) -> np.ndarray:
        cut = values[:height, :width].reshape(height // _WINDOW, _WINDOW, width // _WINDOW, _WINDOW)
        return cut.transpose(0, 2, 1, 3).reshape(-1, _WINDOW * _WINDOW)

    a, b = windows(grey[0]), windows(grey[1])
    mean_a, mean_b = a.mean(1), b.mean(1)
    spread = ((a - mean_a[:, None]) * (b - mean_b[:, None])).mean(1)
    values = (2 * mean_a * mean_b + _C1) * (2 * spread + _C2)
    values = values / ((mean_a**2 + mean_b**2 + _C1) * (a.var(1) + b.var(1) + _C2))
    if where is not None:
        values = values[windows(where).all(1)]
    return float(values.mean()) if values.size else float("nan")


def widened(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A bool mask grown by some pixels on every side (square neighbourhood)."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.filter(ImageFilter.MaxFilter(2 * pixels + 1))) > 0

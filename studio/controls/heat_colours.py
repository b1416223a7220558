"""The colours of heat maps: one scale from few control colours, mixed in OKLab (equal steps look equal).

Lightness rises evenly from ink to cream, so that the order of values is seen without any colour vision; the
hues go blue, violet, terracotta, amber, which stay apart for the common kinds of colour blindness.
OKLab: Bjoern Ottosson, "A perceptual color space for image processing", 2020.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Grid = npt.NDArray[np.floating[Any]]

# a and b of OKLab from low to high; lightness is the even ramp LOW..HIGH over them
CONTROL = ((0.012, -0.070), (0.028, -0.115), (0.110, -0.075), (0.135, 0.045), (0.062, 0.118), (-0.004, 0.062))
LOW, HIGH = 0.16, 0.965
LEVELS = 256

# Two kinds of thing side by side, apart in hue and in lightness: the picture and the words.
PICTURE, TEXT = (47, 95, 158), (233, 160, 62)
PAPER, INK, SOFT, LINE = (253, 250, 244), (42, 37, 32), (102, 93, 82), (224, 215, 200)

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_oklab(rgb: Grid) -> Array:
    """OKLab of sRGB colours 0..1; ..., 3."""
    rgb = np.asarray(rgb, dtype=np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T)


def from_oklab(lab: Grid) -> Array:
    """sRGB 0..1 of OKLab colours, cut to what a screen can show; ..., 3."""
    lms = (np.asarray(lab, dtype=np.float64) @ np.linalg.inv(_TO_LAB).T) ** 3
    linear = (lms @ np.linalg.inv(_TO_LMS).T).clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).clip(0, 1)


@cache
def scale() -> npt.NDArray[np.uint8]:
    """The scale as LEVELS colours, RGB 0..255, from low to high."""
    where = np.linspace(0, 1, LEVELS)
    knots = np.linspace(0, 1, len(CONTROL))
    tints = [_through(where, knots, np.array([control[i] for control in CONTROL])) for i in (0, 1)]
    lab = np.stack([LOW + (HIGH - LOW) * where, *tints], -1)
    table = (from_oklab(lab) * 255).round().astype(np.uint8)
    table.flags.writeable = False
    return table


def colours(values: Grid) -> npt.NDArray[np.uint8]:
    """The colours of values 0..1, of any shape; ..., 3 uint8. Values outside are cut."""
    index = (np.asarray(values, dtype=np.float64).clip(0, 1) * (LEVELS - 1)).round().astype(np.intp)
    return np.asarray(scale()[index])


def _through(where: Array, knots: Array, values: Array) -> Array:
    """A smooth curve through the knots (Catmull-Rom, ends doubled): no visible corner at a control colour."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    span = np.clip(np.searchsorted(knots, where, side="right") - 1, 0, len(knots) - 2)
    t = (where - knots[span]) * (len(knots) - 1)
    a, b, c, d = (padded[span + i] for i in range(4))
    bent = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    return np.asarray(0.5 * bent)

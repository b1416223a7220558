"""The backgrounds: a sky and layers of cut paper, all functions of the picture's coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Colour = tuple[int, int, int]
Line = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Heights (0 top .. 1 bottom) for x in 0..1, given a few random numbers in 0..1."""


@dataclass(frozen=True)
class Layer:
    """A sheet of paper below `line`, coloured from `top` (at `start`) to `bottom` (at the picture's foot)."""

    line: Line
    start: float
    top: Colour
    bottom: Colour


@dataclass(frozen=True)
class Backdrop:
    """A vertical gradient and the layers in front of it."""

    sky: tuple[Colour, ...]
    layers: tuple[Layer, ...]


def _hills(base: float, high: float, waves: float) -> Line:
    def line(x: np.ndarray, r: np.ndarray) -> np.ndarray:
        first = np.sin(2 * np.pi * (waves * x + r[0]))
        second = np.sin(2 * np.pi * (waves * 1.9 * x + r[1]))
        return base + high * (0.7 * first + 0.3 * second)

    return line


def _waves(base: float, high: float, count: float) -> Line:
    def line(x: np.ndarray, r: np.ndarray) -> np.ndarray:
        return base - high * np.abs(np.sin(np.pi * (count * x + r[0])))

    return line


def _firs(base: float, high: float, count: float) -> Line:
    def line(x: np.ndarray, r: np.ndarray) -> np.ndarray:
        phase = count * x + r[0]
        teeth = 1 - 2 * np.abs(phase % 1.0 - 0.5)
        tall = 0.75 + 0.25 * np.sin(np.floor(phase) * 2.4 + 6.28 * r[1])
        return base - high * teeth * tall

    return line


def _houses(base: float, high: float, count: float) -> Line:
    def line(x: np.ndarray, r: np.ndarray) -> np.ndarray:
        column = np.floor(count * x + r[0])
        return base - high * (0.5 + 0.5 * np.sin(column * 2.6 + 6.28 * r[1]))

    return line


BACKDROPS: dict[str, Backdrop] = {
    "day": Backdrop(
        ((112, 186, 236), (184, 222, 236)),
        (
            Layer(_hills(0.66, 0.045, 0.9), 0.6, (150, 200, 112), (120, 182, 92)),
            Layer(_hills(0.81, 0.035, 0.7), 0.75, (112, 178, 84), (84, 150, 66)),
        ),
    ),
    "night": Backdrop(
        ((20, 24, 66), (52, 58, 120)),
        (
            Layer(_hills(0.72, 0.045, 0.9), 0.65, (38, 50, 92), (30, 40, 78)),
            Layer(_hills(0.86, 0.03, 0.7), 0.8, (24, 36, 66), (16, 26, 50)),
        ),
    ),
    "sunset": Backdrop(
        ((118, 72, 140), (226, 112, 116), (248, 178, 112)),
        (
            Layer(_hills(0.72, 0.04, 0.9), 0.65, (150, 78, 112), (122, 62, 102)),
            Layer(_hills(0.86, 0.03, 0.7), 0.8, (98, 50, 92), (72, 38, 76)),
        ),
    ),
    "sea": Backdrop(
        ((160, 212, 226), (206, 226, 220)),
        (
            Layer(_waves(0.52, 0.025, 5), 0.49, (66, 152, 190), (52, 136, 180)),
            Layer(_waves(0.68, 0.03, 4), 0.64, (42, 122, 170), (34, 104, 154)),
            Layer(_waves(0.86, 0.03, 4), 0.8, (26, 92, 142), (20, 74, 122)),
        ),
    ),
    "desert": Backdrop(
        ((126, 196, 200), (226, 214, 176)),
        (
            Layer(_hills(0.62, 0.06, 0.7), 0.54, (222, 176, 112), (212, 160, 98)),
            Layer(_hills(0.8, 0.04, 0.6), 0.74, (206, 148, 88), (188, 126, 70)),
        ),
    ),
    "snow": Backdrop(
        ((128, 150, 186), (178, 196, 218)),
        (
            Layer(_hills(0.62, 0.05, 0.9), 0.56, (206, 216, 230), (196, 208, 226)),
            Layer(_hills(0.8, 0.035, 0.7), 0.74, (218, 226, 236), (204, 216, 232)),
        ),
    ),
    "forest": Backdrop(
        ((160, 188, 150), (186, 204, 160)),
        (
            Layer(_firs(0.56, 0.24, 7), 0.32, (108, 150, 112), (92, 136, 100)),
            Layer(_firs(0.78, 0.22, 5), 0.56, (66, 112, 80), (52, 96, 68)),
            Layer(_hills(0.88, 0.02, 0.7), 0.84, (40, 76, 52), (30, 62, 42)),
        ),
    ),
    "city": Backdrop(
        ((166, 164, 192), (222, 204, 204)),
        (
            Layer(_houses(0.52, 0.16, 8), 0.36, (142, 142, 170), (132, 132, 160)),
            Layer(_houses(0.72, 0.12, 6), 0.6, (104, 106, 138), (92, 94, 126)),
            Layer(_hills(0.89, 0.004, 0.5), 0.88, (74, 74, 98), (66, 66, 90)),
        ),
    ),
    "underwater": Backdrop(
        ((84, 196, 196), (30, 128, 150), (14, 82, 112)),
        (
            Layer(_hills(0.78, 0.04, 1.1), 0.72, (18, 96, 112), (14, 82, 98)),
            Layer(_hills(0.88, 0.025, 0.8), 0.84, (176, 160, 118), (150, 132, 96)),
        ),
    ),
}


@lru_cache(maxsize=64)
def ramp(colours: tuple[Colour, ...], start: float, stop: float, size: int) -> np.ndarray:
    """A vertical gradient, float32 [size, 1, 3], 0..255."""
    rows = (np.arange(size, dtype=np.float32) + 0.5) / size
    at = np.clip((rows - start) / max(stop - start, 1e-6), 0, 1) * (len(colours) - 1)
    table = np.asarray(colours, np.float32)
    low = np.minimum(at.astype(int), len(colours) - 2)
    share = (at - low)[:, None]
    return (table[low] * (1 - share) + table[low + 1] * share)[:, None, :]


def paint(name: str, seed: int, size: int) -> np.ndarray:
    """The background as float32 [size, size, 3], 0..255; `seed` moves its hills and stars a little."""
    backdrop = BACKDROPS[name]
    rng = np.random.default_rng(seed)
    image = np.empty((size, size, 3), np.float32)
    image[:] = ramp(backdrop.sky, 0.0, 0.8, size)
    if name == "night":
        _stars(image, rng, size)
    if name == "underwater":
        _rays(image, rng, size)
    x = (np.arange(size, dtype=np.float32) + 0.5) / size
    for layer in backdrop.layers:
        line = (layer.line(x, rng.random(2)) * size).astype(np.float32)
        _lay(image, line, ramp((layer.top, layer.bottom), layer.start, 1.0, size), size)
    return image


def _lay(image: np.ndarray, line: np.ndarray, colour: np.ndarray, size: int) -> None:
    """Lays a sheet below `line` (pixels, one a column) with a soft shadow on what lies behind it."""
    reach = 0.03 * size
    first = max(0, int(line.min() - reach))
    last = min(size, int(line.max()) + 2)
    rows = np.arange(first, last, dtype=np.float32)[:, None] + 0.5
    depth = rows - line[None, :]
    cover = np.clip(depth + 0.5, 0, 1)[:, :, None]
    dim = 1 - 0.16 * np.clip(1 + depth / reach, 0, 1)[:, :, None] ** 2
    part = image[first:last]
    part *= dim * (1 - cover)
    part += colour[first:last] * cover
    image[last:] = colour[last:]


def _stars(image: np.ndarray, rng: np.random.Generator, size: int) -> None:
    """A few small soft stars; never as bright as an object's paper edge."""
    for x, y, glow in rng.random((14, 3)):
        radius = (0.004 + 0.003 * glow) * size
        cx, cy = x * size, y * 0.62 * size
        reach = int(radius + 2)
        x0, x1 = max(0, int(cx) - reach), min(size, int(cx) + reach + 1)
        y0, y1 = max(0, int(cy) - reach), min(size, int(cy) + reach + 1)
        px = np.arange(x0, x1, dtype=np.float32)[None, :] + 0.5 - cx
        py = np.arange(y0, y1, dtype=np.float32)[:, None] + 0.5 - cy
        # Below one pixel a star keeps its light and spreads it, so that every resolution shows the same sky.
        soft = max(radius, 0.5)
        cover = np.clip(soft + 0.5 - np.sqrt(px**2 + py**2), 0, 1) * min(1.0, (radius / soft) ** 2)
        patch = image[y0:y1, x0:x1]
        patch += (np.array([196, 200, 214], np.float32) - patch) * (0.9 * cover)[:, :, None]


def _rays(image: np.ndarray, rng: np.random.Generator, size: int) -> None:
    """Slanted bands of light that fade with depth."""
    rows = ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None]
    columns = ((np.arange(size, dtype=np.float32) + 0.5) / size)[None, :]
    band = np.sin(2 * np.pi * (2.2 * (columns + 0.35 * rows) + float(rng.random())))
    light = np.clip(band, 0, 1) * np.clip(1 - rows / 0.75, 0, 1)
    image += (24 * light)[:, :, None]

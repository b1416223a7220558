"""What draws the eye in a picture, and where it is busy: two maps by classical methods, numpy only.

Saliency is the larger of two: the spectral residual (Hou and Zhang, CVPR 2007: what the log spectrum has
beyond its local mean) finds small odd things, frequency-tuned saliency (Achanta et al., CVPR 2009: how far a
slightly blurred colour lies from the mean colour, in CIE Lab) finds large ones. PosterLayout takes the larger
of two trained detectors in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from studio.pixels import flatten, resize, to_array
from studio.values import Image

Map = npt.NDArray[np.float32]
_SPECTRUM_SIDE = 64
_MAP_SIDE = 256
_GREY = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, eq=False)
class Maps:
    """`saliency` and `gradient` of a picture, height, width, 0..1; both of one shape."""

    saliency: Map
    gradient: Map


def maps_of(image: Image) -> Maps:
    """Both maps of a picture, made at most 256 pixels on its longer side."""
    longer = max(image.width, image.height)
    scale = min(1.0, _MAP_SIDE / longer)
    small = resize(image, max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return Maps(saliency_map(small), gradient_map(small))


def saliency_map(image: Image) -> Map:
    """How much each pixel stands out, height, width, 0..1; a flat picture is 0 everywhere."""
    pixels = to_array(flatten(image)).astype(np.float64)
    return np.maximum(_spectral_residual(pixels), _frequency_tuned(pixels)).astype(np.float32)


def gradient_map(image: Image, *, released: bool = False) -> Map:
    """Sobel magnitude of the grey picture, height, width, 0..1, divided by its largest value.

    `released`: with the arithmetic of PosterLayout's published `eval.py`, which computes in 8 bits: falling
    edges count nothing and large squares wrap around.
    """
    grey = to_array(flatten(image)).astype(np.float64) @ _GREY
    if released:
        grey = np.rint(grey * 255)
    edged = np.pad(grey, 1, mode="reflect" if min(grey.shape) > 1 else "edge")
    smooth_x = edged[:, :-2] + 2 * edged[:, 1:-1] + edged[:, 2:]
    smooth_y = edged[:-2] + 2 * edged[1:-1] + edged[2:]
    across, down = smooth_y[:, 2:] - smooth_y[:, :-2], smooth_x[2:] - smooth_x[:-2]
    if released:
        across, down = (np.clip(slope, 0, 255).astype(np.uint8) for slope in (across, down))
    size = np.sqrt((across * across + down * down) / 2)
    if released and size.max() > 0:
        return ((size / size.max() * 255).astype(np.uint8) / np.float32(255)).astype(np.float32)
    return _scaled(size).astype(np.float32)


def _scaled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Divided by the largest value; noise of the arithmetic counts as 0."""
    top = float(values.max())
    return values / top if top > 1e-9 else np.zeros_like(values)


def _spectral_residual(pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    height, width = pixels.shape[:2]
    grey = _resized(pixels @ _GREY, _SPECTRUM_SIDE, _SPECTRUM_SIDE)
    if np.ptp(grey) < 1e-6:
        return np.zeros((height, width))
    spectrum = np.fft.fft2(grey)
    log = np.log(np.abs(spectrum) + 1e-9)
    local = sum(np.roll(log, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    back = np.fft.ifft2(np.exp(log - local + 1j * np.angle(spectrum)))
    found = _blurred(np.abs(back) ** 2, 2.5)
    return np.clip(_resized(_scaled(found - found.min()), width, height), 0, 1)


def _frequency_tuned(pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lab = _lab(pixels)
    soft = np.stack([_blurred(lab[..., k], 1.0) for k in range(3)], axis=-1)
    return _scaled(np.sqrt(((soft - lab.mean((0, 1))) ** 2).sum(-1)))


def _lab(pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CIE Lab of sRGB 0..1 under D65."""
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _blurred(values: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    """Gaussian blur, edges repeated."""
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        width = [(0, 0), (0, 0)]
        width[axis] = (reach, reach)
        padded, length = np.pad(values, width, mode="edge"), values.shape[axis]
        values = sum(weight * padded.take(range(k, k + length), axis) for k, weight in enumerate(kernel))  # type: ignore[assignment]
    return values


def _resized(values: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.float64]:
    picture = Pillow.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((width, height), Pillow.Resampling.BILINEAR), dtype=np.float64)

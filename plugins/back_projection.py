"""An upscaler by the contract of one-step networks: enlarge, shrink, give back what was lost (Irani, Peleg
1991)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image as Pillow

from studio.api import Image, Upscale, Upscaler, node


@node(group="Image", title="Back-projection upscaler")
def back_projection() -> Upscaler:
    """Enlarges so that the result, shrunk again, is the picture; steps (of Upscale picture) say how often
    that is mended. A guide in the full size lends its detail.
    """

    @contextmanager
    def opened() -> Iterator[Upscale]:
        yield upscale  # a network is loaded before, once for all tiles, and freed after

    return Upscaler("back-projection", opened, scales=(2, 3, 4), tile=256, overlap=16)


def upscale(
    image: Image,
    scale: int,
    *,
    prompt: str = "",
    steps: int = 1,
    seed: int = 0,
    guide: Image | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Image:
    """One tile, RGB in and out."""
    small = image.pixels.astype(np.float32)
    large = _larger(small, scale)
    if guide is not None:
        large += guide.pixels - _larger(_smaller(guide.pixels.astype(np.float32), scale), scale)
    for step in range(steps):
        if on_step is not None:
            on_step(step, steps)  # progress, and the place where Stop ends the run
        large += _larger(small - _smaller(large, scale), scale)
    return Image(np.rint(large.clip(0, 255)).astype(np.uint8))


def _larger(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Lanczos, one channel at a time: Pillow resizes floats that way only."""
    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    layers = [Pillow.fromarray(np.ascontiguousarray(layer)) for layer in np.moveaxis(pixels, 2, 0)]
    return np.dstack([np.asarray(layer.resize(size, Pillow.Resampling.LANCZOS)) for layer in layers])


def _smaller(pixels: np.ndarray, scale: int) -> np.ndarray:
    """The mean of every block of scale x scale pixels."""
    height, width = pixels.shape[0] // scale, pixels.shape[1] // scale
    return pixels.reshape(height, scale, width, scale, -1).mean((1, 3))

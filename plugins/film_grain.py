"""Film grain."""

from typing import Annotated

import numpy as np

from studio.api import Image, Seed, Slider, node, to_array, to_image


@node(group="Finish")
def film_grain(image: Image, amount: Annotated[float, Slider(0, 1)] = 0.15, seed: Seed = 0) -> Image:
    """Add soft monochrome grain, like pushed film.

    amount: standard deviation of the grain; 0 leaves the picture as it is
    """
    if amount == 0:
        return image  # the exact identity: rounding to floats and back must not touch a pixel
    pixels = to_array(image)  # height, width, channel; 0..1
    grain = np.random.default_rng(seed).normal(0, amount, pixels.shape[:2])
    pixels[..., :3] += grain[..., None]
    return to_image(pixels)

"""Duotone: a picture in two inks, as posters of the sixties were printed."""

from typing import Annotated

import numpy as np

from studio.api import Colour, Image, Slider, node, to_array, to_image


def ink(colour: str) -> np.ndarray:
    """An ink "#rrggbb" as red, green, blue; 0..1."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float32) / 255


@node(group="Finish")
def duotone(
    image: Image,
    shadows: Colour = "#1b1464",
    lights: Colour = "#ffe9b0",
    contrast: Annotated[float, Slider(0, 1)] = 0.35,
    mix: Annotated[float, Slider(0, 1)] = 1.0,
) -> Image:
    """Print the picture in two inks: its shadows in one colour, its lights in the other.

    shadows: the ink of what is dark
    lights: the ink of what is bright
    contrast: 0 keeps the tones even, 1 drives them apart
    mix: how much of the print lies over the picture; 0 leaves it as it is
    """
    if mix == 0:
        return image
    pixels = to_array(image)  # height, width, channel; 0..1
    tone = pixels[..., :3] @ np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # Rec. 709 luma
    curve = tone * tone * (3 - 2 * tone)  # smoothstep: dark darker, bright brighter
    tone = (tone + contrast * (curve - tone))[..., None]
    print_ = ink(shadows) * (1 - tone) + ink(lights) * tone
    pixels[..., :3] += mix * (print_ - pixels[..., :3])
    return to_image(pixels)

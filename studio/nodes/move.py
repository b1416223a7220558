"""Things put elsewhere in a picture."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from studio.api import Choice, Image, Mask, Slider, node
from studio.controls.moved_thing import AROUND, LEAST, MOST, moved_thing


class Moved(NamedTuple):
    """The picture with the thing at its new place, and where it is now."""

    image: Image
    mask: Mask


@node(group="Image", title="Move a thing")
def move_thing(
    image: Image,
    mask: Mask,
    where: Mask | None = None,
    right: Annotated[float, Slider(-1, 1, 0.01)] = 0.0,
    down: Annotated[float, Slider(-1, 1, 0.01)] = 0.0,
    size: Annotated[float, Slider(LEAST, MOST, 0.05)] = 1.0,
    around: Annotated[str, Choice(*AROUND)] = "plain",
) -> Moved:
    """Cut a thing out of a picture and put it elsewhere in it, larger or smaller.

    mask: where the thing is
    where: the place that it shall fill: it is fitted into the box around this mask, its proportions kept;
        the three settings below then count from there
    right: how far to the right, as a share of the width; below 0 to the left
    down: how far down, as a share of the height; below 0 up
    size: how large it becomes; 1 = as it is
    around: plain = alone on the colour of what was around it, as Keep the subject likes it; picture = in its
        picture, with the old place painted over in that colour
    """
    return Moved(*moved_thing(image, mask, where=where, right=right, down=down, size=size, around=around))

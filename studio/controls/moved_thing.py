"""A thing cut out of a picture by its mask and put elsewhere in it.

For keeping a subject: networks whose tokens carry their place (position embeddings, RoPE) look for a thing
where it stands in the reference, so that it comes out there, or twice. Moved in the reference before it is
encoded, it comes out once and where it shall (measured: docs/measured.md). Ours.
"""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow

from studio.errors import StudioError
from studio.pixels import flatten, to_mask
from studio.values import Image, Mask

# left, top, right, bottom in pixels, the last two outside
Box = tuple[int, int, int, int]
AROUND = ("plain", "picture")
MOST, LEAST = 4.0, 0.1


def moved_thing(
    image: Image,
    mask: Mask,
    *,
    where: Mask | None = None,
    right: float = 0.0,
    down: float = 0.0,
    size: float = 1.0,
    around: str = "plain",
) -> tuple[Image, Mask]:
    """The picture with the thing at its new place, and the mask of it there; both of the picture's size.

    mask: the thing, of the picture's size. `where`: the place that it fills, of any size: it is fitted into
    the box around what lies above 0.5. `right`, `down`: shares of the picture's width and height; `size`:
    0.1..4. `around`: plain = alone on the median colour of what was around it; picture = the old picture,
    the old place in that colour. With "picture", and neither moved nor resized, the picture itself comes
    back. StudioError: another size, an empty or a full mask, a thing that leaves the picture.
    """
    if (mask.width, mask.height) != (image.width, image.height):
        raise StudioError(
            f"The mask has {mask.width}x{mask.height} pixels, the picture {image.width}x{image.height}.",
            socket="mask",
            hint="Connect the picture to the node that makes the mask, so that the mask gets its size.",
        )
    if (mask.values >= 0.5).all():
        raise StudioError(
            "The mask covers the whole picture: there is no thing to move.",
            socket="mask",
            hint="Give a mask of the thing alone.",
        )
    box = bounds(mask, 0.0, "mask")
    target = box if where is None else fitted(box, _place(where, image))
    target = _shifted(target, right * image.width, down * image.height, size)
    if target == box and around == "picture":
        return image, mask
    left, top, end, bottom = target
    if end <= 0 or bottom <= 0 or left >= image.width or top >= image.height:
        raise StudioError(
            "The thing would lie outside of the picture.",
            socket="right" if end <= 0 or left >= image.width else "down",
            hint="Move it less far.",
        )
    return _pasted(flatten(image), mask, box, target, around)


def bounds(mask: Mask, above: float, socket: str) -> Box:
    """The box around what lies above a value; StudioError if nothing does."""
    rows, columns = (np.flatnonzero((mask.values > above).any(axis)) for axis in (1, 0))
    if not rows.size:
        raise StudioError("The mask is empty: nothing lies inside it.", socket=socket, hint="Paint white.")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def fitted(box: Box, into: Box) -> Box:
    """The largest box of the same proportions in the middle of another."""
    (width, height), (wide, high) = _size(box), _size(into)
    scale = min(wide / width, high / height)
    return _around((into[0] + into[2]) / 2, (into[1] + into[3]) / 2, width * scale, height * scale)


def _shifted(box: Box, right: float, down: float, size: float) -> Box:
    if not right and not down and size == 1:
        return box
    width, height = _size(box)
    x, y = (box[0] + box[2]) / 2 + right, (box[1] + box[3]) / 2 + down
    return _around(x, y, width * size, height * size)


def _around(x: float, y: float, width: float, height: float) -> Box:
    """The box of whole pixels around a centre, one pixel at least."""
    wide, high = max(1, round(width)), max(1, round(height))
    left, top = round(x - wide / 2), round(y - high / 2)
    return left, top, left + wide, top + high


def _size(box: Box) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


def _place(where: Mask, image: Image) -> Box:
    """The box of a place, in the pixels of the picture."""
    left, top, right, bottom = bounds(where, 0.5, "where")
    x, y = image.width / where.width, image.height / where.height
    return round(left * x), round(top * y), round(right * x), round(bottom * y)


def _pasted(image: Image, mask: Mask, box: Box, target: Box, around: str) -> tuple[Image, Mask]:
    pixels, inside = image.pixels, mask.values
    ground = np.median(pixels[inside < 0.5], axis=0).round()
    thing = Pillow.fromarray(pixels).crop(box)
    thing.putalpha(Pillow.fromarray((inside * 255).round().astype(np.uint8)).crop(box))
    if thing.size != _size(target):
        thing = thing.resize(_size(target), Pillow.Resampling.LANCZOS)
    hidden = inside[..., None] if around == "picture" else np.ones((*inside.shape, 1), np.float32)
    under = (pixels * (1 - hidden) + ground * hidden).round().astype(np.uint8)
    made, now = Pillow.fromarray(under), Pillow.new("L", (image.width, image.height))
    made.paste(thing, target[:2], thing)
    now.paste(thing.getchannel("A"), target[:2])
    return Image(np.asarray(made)), to_mask(np.asarray(now, dtype=np.float32) / 255)

"""Pictures and arrays: Image <-> float array 0..1 <-> Pillow, resizing, and reading pictures of strangers."""

from __future__ import annotations

import io
import struct
import warnings
from functools import reduce
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from studio.errors import StudioError
from studio.values import Image, Mask

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 40_000_000
PREVIEW_SIDE = 192

FloatArray = npt.NDArray[np.float32]


def to_array(image: Image) -> FloatArray:
    """A fresh float32 array of a picture, height, width, 3 or 4 channels; 0..1."""
    return image.pixels.astype(np.float32) / np.float32(255)


def to_image(array: npt.NDArray[np.floating]) -> Image:
    """The picture of an array 0..1 (height, width, 1, 3 or 4 channels, or height, width); values outside
    are cut.

    Values are rounded to the nearest of 256 levels. NaN is an error, never black.
    """
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise StudioError(f"A picture is height, width, 1, 3 or 4 channels, not {array.shape}.")
    if not np.issubdtype(array.dtype, np.floating):
        raise StudioError(
            f"to_image takes floats 0..1, not {array.dtype}.", hint="Image(pixels) takes uint8 arrays."
        )
    if np.isnan(array).any():
        raise StudioError("The picture holds values that are not numbers (NaN).")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return Image((array.clip(0, 1) * 255).round().astype(np.uint8))


def to_mask(array: npt.NDArray[np.floating]) -> Mask:
    """The mask of an array height, width; values outside 0..1 are cut."""
    array = np.asarray(array, dtype=np.float32)
    if np.isnan(array).any():
        raise StudioError("The mask holds values that are not numbers (NaN).")
    return Mask(array.clip(0, 1))


def to_pillow(image: Image) -> Pillow.Image:
    """A Pillow picture, mode RGB or RGBA."""
    return Pillow.fromarray(image.pixels)


def from_pillow(picture: Pillow.Image) -> Image:
    """Our picture of a Pillow one of any mode: turned upright by its EXIF note, 16 bit scaled to 8, RGB
    or RGBA."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):
        return _from_16_bit(np.asarray(picture, dtype=np.uint16))
    if picture.mode == "I":
        return _from_16_bit(np.asarray(picture, dtype=np.int32).clip(0, 65535))
    if picture.mode == "F":
        raise StudioError("A picture of 32-bit floats has no known range.", hint="Save it with 8 or 16 bits.")
    alpha = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    return Image(np.array(picture.convert("RGBA" if alpha else "RGB"), dtype=np.uint8))


def read_picture(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
    """The picture in a PNG, JPEG or WEBP file given as bytes; its size is checked before any pixel is
    read."""
    possible = "Possible: PNG, JPEG or WEBP."
    if not data:
        raise StudioError("The picture file is empty.", hint=possible)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            picture = Pillow.open(io.BytesIO(data), formats=FORMATS)
        width, height = picture.size
        if width * height > max_pixels:
            raise StudioError(
                f"The picture has {width}x{height} = {width * height:,} pixels; at most "
                f"{max_pixels:,} are possible.",
                hint="Make it smaller first.",
            )
        picture.load()
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise StudioError(
            f"The picture is too large to open; at most {max_pixels:,} pixels are possible.",
            hint="Make it smaller first.",
        ) from error
    except UnidentifiedImageError as error:
        raise StudioError(
            f"These {len(data):,} bytes are not a picture that can be read.", hint=possible
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error) as error:
        raise StudioError(
            "The picture file is damaged or cut off: its pixels cannot be read.",
            hint="Save or upload it again.",
        ) from error
    return from_pillow(picture)


def encode(image: Image, form: str = "PNG", *, quality: int = 80) -> bytes:
    """The bytes of a picture file, PNG, JPEG or WEBP; `quality` 1..100 counts for the last two."""
    if form not in FORMATS:
        raise StudioError(f"No picture format {form!r}.", hint="Possible: PNG, JPEG or WEBP.")
    buffer = io.BytesIO()
    picture = to_pillow(flatten(image) if form == "JPEG" else image)
    if form == "PNG":
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, form, quality=quality, **({"method": 2} if form == "WEBP" else {}))
    return buffer.getvalue()


def flatten(image: Image, background: tuple[int, int, int] = (255, 255, 255)) -> Image:
    """The picture laid on a plain background (0..255); one without alpha is returned itself."""
    if not image.has_alpha:
        return image
    array = to_array(image)
    alpha = array[..., 3:]
    ground = np.asarray(background, dtype=np.float32) / 255
    return to_image(array[..., :3] * alpha + ground * (1 - alpha))


def opaque(image: Image) -> Image:
    """The picture without alpha, RGB, in which what cannot be seen counts nothing: clear parts have the
    colours of what is visible beside them, so that a network or filter may look across an edge.

    A pixel keeps its own colour by its alpha, measured by the strongest within 3 pixels (what Lanczos
    reaches); the rest is filled from coarser and coarser means weighted by alpha (pull-push; Gortler
    and others, "The Lumigraph", SIGGRAPH 1996). One in which nothing shows is white.
    """
    if not image.has_alpha:
        return image
    alpha = image.pixels[..., 3]
    if not alpha.any():
        return Image(np.full_like(image.pixels[..., :3], 255))
    near = _strongest(alpha, 3).astype(np.float32)
    kept = np.divide(alpha, near, out=np.zeros_like(near), where=near > 0)
    weights = [alpha.astype(np.float32) / np.float32(255)]
    while weights[-1].size > 1:
        weights.append(np.minimum(_summed(weights[-1]), 1))
    found = np.empty((*image.pixels.shape[:2], 3), np.uint8)
    for channel in range(3):
        own = image.pixels[..., channel].astype(np.float32)
        found[..., channel] = np.rint(kept * own + (1 - kept) * _filled(own, weights))
    return Image(found)


def resize(image: Image, width: int, height: int, *, fit: str = "stretch", smooth: bool = True) -> Image:
    """The picture at another size; `fit`: stretch, or cover (fill the size, cut what stands over, centred).

    `smooth` takes Lanczos, else nearest pixels. The same size returns the picture itself.
    """
    if width < 1 or height < 1:
        raise StudioError(f"A picture of {width}x{height} pixels is not possible.")
    if (image.width, image.height) == (width, height):
        return image
    how = Pillow.Resampling.LANCZOS if smooth else Pillow.Resampling.NEAREST
    picture = to_pillow(image)
    if fit == "cover":
        picture = ImageOps.fit(picture, (width, height), method=how)
    elif fit == "stretch":
        picture = picture.resize((width, height), how)
    else:
        raise StudioError(f"No fit {fit!r}.", hint="Possible: stretch, cover.")
    return Image(np.array(picture, dtype=np.uint8))


def shrink(image: Image, side: int = PREVIEW_SIDE) -> Image:
    """The picture with its longer side at most `side` pixels (previews, thumbnails); a smaller one is
    itself."""
    longer = max(image.width, image.height)
    if longer <= side:
        return image
    return resize(
        image, max(1, round(image.width * side / longer)), max(1, round(image.height * side / longer))
    )


def _strongest(values: npt.NDArray[np.uint8], reach: int) -> npt.NDArray[np.uint8]:
    """The largest value within so many pixels of each, in a square."""
    for _ in (0, 1):
        wide = np.pad(values, [(reach, reach), (0, 0)])
        shifted = (wide[i : i + len(values)] for i in range(2 * reach + 1))
        values = reduce(np.maximum, shifted).T
    return values


def _summed(values: FloatArray) -> FloatArray:
    """The sum of each 2 x 2 values; an odd side has zeros behind it."""
    even = np.pad(values, [(0, side % 2) for side in values.shape])
    found: FloatArray = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return found


def _filled(own: FloatArray, weights: list[FloatArray]) -> FloatArray:
    """Values with what their weights leave open filled in from coarser levels; `weights`: of each level,
    0..1, down to one value."""
    sums = [own * weights[0]]
    for finer, coarser in pairwise(weights):
        total = _summed(finer)
        share = np.divide(coarser, total, out=np.zeros_like(total), where=total > 0)
        sums.append(_summed(sums[-1]) * share)
    found: FloatArray = sums[-1] / weights[-1]
    for mine, weight in zip(sums[-2::-1], weights[-2::-1], strict=True):
        size = (2 * found.shape[1], 2 * found.shape[0])
        larger = np.asarray(Pillow.fromarray(found).resize(size, Pillow.Resampling.BILINEAR))
        found = mine + (1 - weight) * larger[: mine.shape[0], : mine.shape[1]]
    return found


def _from_16_bit(values: npt.NDArray[np.integer]) -> Image:
    grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return Image(np.repeat(grey[..., None], 3, axis=2))

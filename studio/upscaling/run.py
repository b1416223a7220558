"""Any upscaler on any picture, by tiles: memory beside the two pictures stays that of one row of tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from studio.errors import StudioError
from studio.pixels import opaque, resize
from studio.sampling.tiles import Axis, seam, tile_axis
from studio.values import Image, Upscaler

MOST_SCALE = 16
LEAST_TILE = 16
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Enlarged:
    """A result with what a run tells of itself: tiles worked on, the scale of the upscaler (of several passes
    their product), and how much borders of tiles stand out (see `tiles.seam`); 0 where there are none or
    where they cannot show."""

    image: Image
    tiles: int = 0
    scale: int = 1
    seam: float = 0.0
    passes: int = 1


def enlarge(
    upscaler: Upscaler,
    image: Image,
    scale: float,
    *,
    tile: int = 0,
    overlap: int = -1,
    prompt: str = "",
    steps: int = 1,
    seed: int = 0,
    guide: Image | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Enlarged:
    """The picture `scale` times as wide and high, 1..16; 1 returns it itself (an upscaler of scale 1 runs).

    A scale beyond the upscaler's largest is made in several passes, each on the result of the one before; one
    that it does not make, from the next larger one by Lanczos. `tile`: side in input pixels, 0 = the
    upscaler's own; `overlap`: pixels shared by neighbours, -1 = the upscaler's own. What cannot be seen
    counts nothing: filters weigh colours by alpha; a network is given `opaque` colours, and alpha goes its
    own way, by Lanczos. StudioError for what is not possible.
    """
    check_scale(scale)
    factors = passes(upscaler, scale)
    if len(factors) > 1:
        settings: dict[str, Any] = {"tile": tile, "overlap": overlap, "prompt": prompt, "steps": steps}
        return _in_a_row(upscaler, image, scale, factors, guide, on_step, settings | {"seed": seed})
    if scale == 1 and 1 not in upscaler.scales:
        return Enlarged(image)
    width, height = (max(1, round(side * scale)) for side in (image.width, image.height))
    (whole,) = factors
    if "prompt" in upscaler.needs and not prompt.strip():
        raise StudioError(f"{upscaler.name!r} needs a prompt.", socket="prompt", hint="Say what is seen.")
    if "guide" in upscaler.needs and guide is None:
        raise StudioError(f"{upscaler.name!r} needs a picture of the full size as guide.", socket="guide")
    size = (image.width * whole, image.height * whole)
    pixels = _padded((image if upscaler.alpha else opaque(image)).pixels, upscaler)
    channels = pixels.shape[2]
    if guide is not None:
        more = [(0, own * whole - side) for own, side in zip(pixels.shape[:2], size[::-1], strict=True)]
        guide = Image(np.pad(opaque(resize(guide, *size)).pixels, (*more, (0, 0)), mode="edge"))
    axes = plan(upscaler, pixels.shape[0], pixels.shape[1], tile, overlap)
    with upscaler.open() as upscale:

        def piece(y: slice, x: slice, done: int, total: int) -> Pixels:
            if on_step is not None:
                on_step(done, total)
            led = None if guide is None else Image(_cut(guide.pixels, y, x, whole))
            inner = on_step if total == 1 else None
            given = np.ascontiguousarray(pixels[y, x])
            made = upscale(
                Image(given), whole, prompt=prompt, steps=steps, seed=seed, guide=led, on_step=inner
            ).pixels
            if made.shape[:2] != (given.shape[0] * whole, given.shape[1] * whole):
                raise StudioError(
                    f"{upscaler.name!r} made {made.shape[1]}x{made.shape[0]} pixels of "
                    f"{given.shape[1]}x{given.shape[0]} at scale {whole}."
                )
            return made[..., :channels]

        made = join(piece, *axes, whole, channels)
    count = len(axes[0].starts) * len(axes[1].starts)
    exact = axes[0].margin and axes[0].margin == upscaler.reach
    shows = 0.0 if exact or count == 1 else seam(made[..., :3], *axes, whole)
    result = Image(made[: size[1], : size[0]])
    if (width, height) != size:
        result = resize(result, width, height)
    if image.has_alpha and not upscaler.alpha:
        result = _with_alpha(result, image)
    return Enlarged(result, count, whole, round(shows, 3))


def check_scale(scale: float) -> None:
    """Raise unless the scale is possible at all."""
    if not 1 <= scale <= MOST_SCALE:
        raise StudioError(
            f"A scale of {scale:g} is not possible.",
            socket="scale",
            hint=f"Possible: 1 to {MOST_SCALE}. Resize picture also makes pictures smaller.",
        )


def passes(upscaler: Upscaler, scale: float) -> tuple[int, ...]:
    """The scales of the upscaler whose product makes a wished one, largest first; the last is the smallest
    that is enough. (2,) for 1.5 and (2, 2) for 3 and 4, where it makes 2 alone. StudioError if it makes 1
    alone."""
    largest = max(upscaler.scales)
    if largest == 1 and scale > 1:
        raise StudioError(
            f"{upscaler.name!r} cannot enlarge {scale:g} times: it mends pictures in their own size.",
            socket="scale",
            hint="Set scale to 1; to enlarge, take another upscaler behind it.",
        )
    found: list[int] = []
    left = scale
    while left > largest * (1 + 1e-9):
        found.append(largest)
        left /= largest
    return (*found, min(own for own in upscaler.scales if own >= left * (1 - 1e-9)))


def _in_a_row(
    upscaler: Upscaler,
    image: Image,
    scale: float,
    factors: tuple[int, ...],
    guide: Image | None,
    on_step: Callable[[int, int], None] | None,
    settings: dict[str, Any],
) -> Enlarged:
    """`enlarge` once for every factor; a guide is followed in the size of each pass."""
    made, tiles, seams, before = image, 0, 0.0, 1
    counts = []
    for factor in factors:
        height, width = _sides((image.height * before, image.width * before), upscaler)
        axes = plan(upscaler, height, width, settings["tile"], settings["overlap"])
        counts.append(len(axes[0].starts) * len(axes[1].starts))
        before *= factor
    for number, factor in enumerate(factors):
        size = (made.width * factor, made.height * factor)
        done = sum(counts[:number])

        def tick(i: int, total: int, done: int = done, own: int = counts[number]) -> None:
            if on_step is not None:
                # within the one tile of a pass, a network may count steps of its own
                on_step(done + min(i * own // max(total, 1), own - 1), sum(counts))

        led = None if guide is None else resize(guide, *size)
        found = enlarge(upscaler, made, factor, guide=led, on_step=tick, **settings)
        made, tiles, seams = found.image, tiles + found.tiles, max(seams, found.seam)
    width, height = (max(1, round(side * scale)) for side in (image.width, image.height))
    if (made.width, made.height) != (width, height):
        made = resize(made, width, height)
    return Enlarged(made, tiles, before, seams, len(factors))


def plan(upscaler: Upscaler, height: int, width: int, tile: int, overlap: int) -> tuple[Axis, Axis]:
    """The tiles along rows and columns of a picture whose sides are whole steps of the upscaler."""
    step = upscaler.multiple
    side = tile or upscaler.tile
    check_tile(upscaler, side)
    shared = upscaler.overlap if overlap < 0 else overlap
    if overlap < 0:
        shared = min(shared, side // 2)
    # beyond the network's reach a tile knows nothing, so that far from a border it counts nothing
    margin = upscaler.reach if shared > 2 * upscaler.reach else 0
    side = side // step * step
    rows, columns = (
        tile_axis(length, side, shared, multiple=step, margin=margin) for length in (height, width)
    )
    return rows, columns


def check_tile(upscaler: Upscaler, side: int) -> None:
    """StudioError for tiles that are too small for an upscaler; `side` in pixels."""
    least = max(upscaler.least, min(LEAST_TILE, upscaler.tile), 2 * upscaler.multiple)
    if side < least:
        raise StudioError(
            f"Tiles of {side} pixels are too small for {upscaler.name!r}.",
            socket="tile",
            hint=f"At least {least}, or 0 for its own choice, {upscaler.tile}.",
        )


def join(
    piece: Callable[[slice, slice, int, int], Pixels],
    rows: Axis,
    columns: Axis,
    scale: int,
    channels: int = 3,
) -> Pixels:
    """The picture that `piece(rows, columns, number, count)` makes tile by tile, feathered together; of four
    channels the last is alpha and weighs the colours."""
    count = len(rows.starts) * len(columns.starts)
    if count == 1:
        made = piece(slice(0, rows.length), slice(0, columns.length), 0, 1)
        return np.ascontiguousarray(made)
    out = np.empty((rows.length * scale, columns.length * scale, channels), np.uint8)
    carried = np.zeros((0, *out.shape[1:]), np.float32)
    wide = [np.repeat(share, scale).astype(np.float32) for share in columns.shares]
    for number, (y, share) in enumerate(zip(rows.starts, rows.shares, strict=True)):
        band = np.zeros((rows.size * scale, *out.shape[1:]), np.float32)
        for place, x in enumerate(columns.starts):
            done = number * len(columns.starts) + place
            made = piece(slice(y, y + rows.size), slice(x, x + columns.size), done, count)
            band[:, x * scale : (x + columns.size) * scale] += _weighed(made) * wide[place][None, :, None]
        band *= np.repeat(share, scale).astype(np.float32)[:, None, None]
        band[: len(carried)] += carried
        last = number + 1 == len(rows.starts)
        ready = len(band) if last else (rows.starts[number + 1] - y) * scale
        out[y * scale : y * scale + ready] = np.rint(_unweighed(band[:ready]).clip(0, 255))
        carried = band[ready:]
    return out


def _weighed(pixels: Pixels) -> npt.NDArray[np.floating[Any]] | Pixels:
    """Colours times alpha (0..1) where there is one."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32)
    return np.concatenate([pixels[..., :3] * (alpha / 255), alpha], -1)


def _unweighed(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:]
    colours = np.divide(255 * pixels[..., :3], alpha, out=np.zeros_like(pixels[..., :3]), where=alpha > 0)
    return np.concatenate([colours, alpha], -1)


def _padded(pixels: Pixels, upscaler: Upscaler) -> Pixels:
    """At least the smallest side and whole steps, by repeating the last row and column."""
    wanted = _sides(pixels.shape[:2], upscaler)
    more = [(0, side - own) for side, own in zip(wanted, pixels.shape[:2], strict=True)]
    return np.pad(pixels, (*more, (0, 0)), mode="edge") if any(b for _, b in more) else pixels


def _sides(size: tuple[int, ...], upscaler: Upscaler) -> list[int]:
    step = upscaler.multiple
    return [-(-max(side, upscaler.least) // step) * step for side in size]


def _cut(pixels: Pixels, y: slice, x: slice, scale: int) -> Pixels:
    return pixels[y.start * scale : y.stop * scale, x.start * scale : x.stop * scale]


def _with_alpha(result: Image, source: Image) -> Image:
    alpha = Pillow.fromarray(np.ascontiguousarray(source.pixels[..., 3]))
    grown = np.asarray(alpha.resize((result.width, result.height), Pillow.Resampling.LANCZOS))
    return Image(np.dstack([result.pixels[..., :3], grown]))

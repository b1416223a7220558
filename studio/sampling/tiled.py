"""A run by tiles: the network sees overlapping pieces of the latent, joined again at every step
(MultiDiffusion, arXiv 2302.08113, with shares that fade towards a tile's border; sampling 11.1).

The latent, its noise, the guidance and everything around it stay whole; only the network's calls are small,
so that memory does not grow with the picture. Positions are those of a picture of the tile's size. Regions
are cropped for each tile; a control that cannot be cropped is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from studio.controls.control import AttentionControl
from studio.errors import StudioError
from studio.models.family import Parts, check_size
from studio.sampling.controlled import attached_controls
from studio.sampling.denoiser import Calls, make_predict
from studio.sampling.tiles import Window, tile_axis, windows
from studio.values import Attachment, Denoise, Predict, Row, Step, Tiling, Wrap

SHARED = 0.25


@dataclass(frozen=True)
class Tiles:
    """The tiles of one run, in points of the latent, and the size of the whole in points."""

    windows: tuple[Window, ...]
    height: int
    width: int

    def part(self, window: Window) -> tuple[float, float, float, float]:
        """Where a tile lies, x0, y0, x1, y1 in 0..1 of the picture."""
        return (
            window.x0 / self.width,
            window.y0 / self.height,
            window.x1 / self.width,
            window.y1 / self.height,
        )


def tiles_wrap(side: int, overlap: int = -1) -> Wrap:
    """The wrap that makes a run go by tiles of `side` pixels; `overlap`: pixels, -1 = a quarter of the side.

    Neutral where one tile covers the picture.
    """
    overlap = round(side * SHARED) if overlap < 0 else overlap
    if side < 1 or not 0 <= overlap < side:
        raise StudioError(
            f"Tiles of {side} pixels with an overlap of {overlap} do not move on.",
            socket="overlap",
            hint=f"Possible: 0 to {side // 2}.",
        )

    def wrap(denoise: Denoise) -> Denoise:
        return denoise

    return Wrap("tiles", wrap, (("side", side), ("overlap", overlap)), tiles=Tiling(side, overlap))


def tiling_of(wraps: Sequence[Wrap]) -> Tiling | None:
    """The tiling among the wraps of a run; StudioError for more than one."""
    found = [wrap.tiles for wrap in wraps if wrap.tiles is not None]
    if len(found) > 1:
        raise StudioError("A run goes by one set of tiles.", hint="Disconnect one.", socket="wraps")
    return found[0] if found else None


def check_canvas(parts: Parts, width: int, height: int, tiling: Tiling | None) -> None:
    """Raise a StudioError unless the model can make this size, in tiles if there is a tiling."""
    if tiling is None:
        check_size(parts, width, height)
        return
    step, limit = parts.family.size_step(parts), parts.family.size_limit(parts)
    for name, given in (("width", width), ("height", height)):
        if given < step or given % step:
            near = max(round(given / step), 1) * step
            raise StudioError(
                f"A {name} of {given} pixels is not possible with this model.",
                socket=name,
                hint=f"Possible: multiples of {step}; the nearest is {near}.",
            )
    if tiling.side < 2 * step or tiling.side % step or min(tiling.side, max(width, height)) > limit:
        near = min(max(round(tiling.side / step), 2) * step, limit // step * step)
        raise StudioError(
            f"Tiles of {tiling.side} pixels are not possible with this model.",
            socket="wraps",
            hint=f"Possible: multiples of {step} from {2 * step} to {limit // step * step}; "
            f"the nearest is {near}.",
        )


def tiles_of(parts: Parts, width: int, height: int, tiling: Tiling | None) -> Tiles | None:
    """The tiles of a canvas (pixels); None without a tiling, or where one tile covers all of it."""
    if tiling is None or tiling.side >= max(width, height):
        return None
    _, _, high, wide = parts.family.latent_shape(parts, 1, width, height)
    pixels = width // wide
    step = parts.family.size_step(parts) // pixels
    rows, columns = (
        tile_axis(length, tiling.side // pixels, -(-tiling.overlap // pixels), multiple=step)
        for length in (high, wide)
    )
    return Tiles(windows(rows, columns), high, wide)


def cropped(
    attachments: Sequence[Attachment | AttentionControl], tiles: Tiles
) -> list[list[AttentionControl]]:
    """For every tile the controls as it sees them; StudioError for what cannot be cropped."""
    for one in attachments:
        if not isinstance(one, AttentionControl):
            raise refused(one.name)
    wanted = [one for one in attachments if isinstance(one, AttentionControl) and not one.is_neutral()]
    found = []
    for window in tiles.windows:
        own = []
        for control in wanted:
            part = control.cropped(tiles.part(window))
            if part is None:
                raise refused(control.name)
            own.append(part)
        found.append(own)
    return found


def refused(name: str) -> StudioError:
    """What to raise where something meets tiles that is made for a whole picture."""
    return StudioError(
        f"{name!r} works on the whole picture at once and cannot be cut into tiles.",
        hint="Disconnect it or the tiles. Regions, word weights and what you avoid go with tiles.",
        socket="attachments",
    )


def by_tiles(
    parts: Parts,
    tiles: Tiles,
    attachments: Sequence[Attachment | AttentionControl],
    steps: Sequence[Step],
    batch: int,
    sampler: str,
    calls: Calls | None = None,
) -> Predict:
    """`predict` over the whole latent by a call for each tile; see `denoiser.make_predict`."""
    controls = cropped(attachments, tiles)
    device = parts.device
    shares = [torch.from_numpy(window.shares).to(device, torch.float32) for window in tiles.windows]
    plain = make_predict(parts, calls=calls)

    def predict(latent: torch.Tensor, step: Step, rows: Sequence[Row]) -> tuple[torch.Tensor, ...]:
        whole = [torch.zeros_like(latent) for _ in rows]
        for window, share, own in zip(tiles.windows, shares, controls, strict=True):
            place = (..., slice(window.y0, window.y1), slice(window.x0, window.x1))
            piece = latent[place].contiguous()
            for total, found in zip(whole, one(piece, step, rows, own), strict=True):
                total[place] += share * found
        return tuple(whole)

    def one(
        piece: torch.Tensor, step: Step, rows: Sequence[Row], own: Sequence[AttentionControl]
    ) -> tuple[torch.Tensor, ...]:
        if all(control.is_neutral() for control in own):
            return plain(piece, step, rows)
        with ExitStack() as stack:
            attached = stack.enter_context(attached_controls(parts, own, steps, batch, sampler=sampler))
            if attached.trajectories.branches:
                raise refused(own[0].name)
            network = make_predict(parts, attached.attached, attached.trajectories, calls)
            return network(piece, step, rows)

    return predict

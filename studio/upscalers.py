"""The upscalers that are found here, as a page offers them, and what they would do; no weights are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.errors import StudioError

if TYPE_CHECKING:
    from studio.studio import Studio

FOLDER = "upscalers"  # below the folder of the user's models
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")  # the last ones are told why they are not read
MOST_FILES = 100
FILTER = "lanczos"


@dataclass(frozen=True)
class FoundUpscaler:
    """`ref`: as Load upscaler takes it; `scales`: factors that it makes in one pass; `problem`: why it cannot
    be used, "" if it can."""

    ref: str
    title: str
    scales: tuple[int, ...] = ()
    problem: str = ""


def folder_of(studio: Studio) -> Path | None:
    """Where a person puts upscaler files; None on a host that opens no files of people."""
    return studio.settings.models_folder / FOLDER if studio.policy.allow_paths else None


def found_upscalers(studio: Studio) -> list[FoundUpscaler]:
    """The one that ships first, then resizing, then files; a file is looked into once."""
    from studio.upscaling.engines import PREFIX, WEIGHTS
    from studio.upscaling.files import read_design

    found = []
    for path in sorted(studio.settings.embedded_models_folder.glob(f"*/{WEIGHTS}")):
        try:
            design = read_design(path)
        except StudioError:
            continue
        if design is not None:
            found.append(FoundUpscaler(PREFIX + path.parent.name, path.parent.name, (design.scale,)))
    found.append(FoundUpscaler(FILTER, "Lanczos", tuple(range(2, 17))))
    folder = folder_of(studio)
    if folder is not None and folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        found += [_told(studio, path) for path in files[:MOST_FILES]]
    return found


def _told(studio: Studio, path: Path) -> FoundUpscaler:
    from studio.upscaling.engines import seen_upscaler

    try:
        upscaler = seen_upscaler(str(path), studio.policy)
    except (OSError, StudioError) as error:
        return FoundUpscaler(str(path), path.name, (), str(error))
    return FoundUpscaler(str(path), path.stem, upscaler.scales)


def passes_of(scales: tuple[int, ...], factor: int) -> tuple[float, ...]:
    """The scales of the passes that make a factor, in order: one, or two such as 2 and 1.5 for 3;
    () where none can.

    scales: what an upscaler makes in one pass; factor: 2 or more. What a pass makes too large is made smaller
    afterwards.
    """
    if any(scale >= factor for scale in scales):
        return (float(factor),)
    own = max(scales, default=0)
    return (float(own), factor / own) if own >= 2 and own * own >= factor else ()


def tiles_of(studio: Studio, ref: str, width: int, height: int, tile: int) -> int:
    """How many tiles a picture is worked on in. width, height, tile: pixels; tile 0 = the upscaler's own."""
    from studio.upscaling.engines import seen_upscaler
    from studio.upscaling.run import plan

    rows, columns = plan(seen_upscaler(ref, studio.policy), height, width, tile, -1)
    return len(rows.starts) * len(columns.starts)


def check_redrawn(model: str, width: int, height: int, factor: int, factors: Sequence[int]) -> None:
    """StudioError if a picture of so many pixels, made `factor` times as large, is too small for a model to
    paint its detail anew. `factors`: those that can be chosen, from the smallest on."""
    from studio.upscaling.latents import smallest_for

    side = smallest_for(model)
    if min(width, height) * factor >= side:
        return
    least = math.ceil(side / min(width, height))
    enough = next((one for one in factors if one >= least), None)
    raise StudioError(
        f"The picture has {width}x{height} pixels. Its detail is painted anew from {side}x{side} on, and for "
        f"that it would have to be made {least} times as large.",
        hint=f"Choose {enough} times." if enough else "It can only be made larger without new detail.",
    )

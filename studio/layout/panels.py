"""In-context panels: several pictures made as one, so that they belong together (ChatDiT, arXiv 2412.12571).

Up to twelve panels lie in a grid whose shape is the nearest to a square. References go into the first panels,
the others are to be painted; a prompt names every panel by where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.errors import StudioError
from studio.pixels import flatten, resize
from studio.values import Image, Mask

MOST_PANELS = 12
EMPTY_GREY = 127
_NUMBERS = ["ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN", "ELEVEN", "TWELVE"]
_ROWS = {1: ("",), 2: ("TOP", "BOTTOM"), 3: ("TOP", "MIDDLE", "BOTTOM")}
_COLUMNS = {1: ("",), 2: ("LEFT", "RIGHT"), 3: ("LEFT", "MIDDLE", "RIGHT")}


@dataclass(frozen=True)
class PanelGrid:
    """`rows` x `columns` panels of `width` x `height` pixels; the first `references` of them are given."""

    rows: int
    columns: int
    width: int
    height: int
    references: int = 0

    @property
    def count(self) -> int:
        """How many panels there are."""
        return self.rows * self.columns

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole sheet in pixels."""
        return self.width * self.columns, self.height * self.rows

    @property
    def names(self) -> tuple[str, ...]:
        """What each panel is called, in reading order: "TOP-LEFT", or "PANEL-4" in grids beyond 3 x 3."""
        if self.rows > 3 or self.columns > 3:
            return tuple(f"PANEL-{k + 1}" for k in range(self.count))
        return tuple(
            "-".join(filter(None, (row, column)))
            for row in _ROWS[self.rows]
            for column in _COLUMNS[self.columns]
        )

    def corner(self, index: int) -> tuple[int, int]:
        """Left and top of a panel in pixels."""
        return index % self.columns * self.width, index // self.columns * self.height


def grid_for(panels: int, width: int, height: int, references: int = 0) -> PanelGrid:
    """The grid of `panels` panels of that size whose shape is nearest to a square; 1 to 12 panels.

    All cells are used, so a prime number of panels makes one row or one column. Of equally square shapes the
    one with fewer rows is taken.
    """
    if not 1 <= panels <= MOST_PANELS:
        raise StudioError(
            f"A sheet of {panels} panels is not possible.",
            hint=f"1 to {MOST_PANELS} are; more than 4 lose what they share.",
        )
    if width < 1 or height < 1:
        raise StudioError(f"A panel of {width}x{height} pixels is not possible.")
    if not 0 <= references < panels:
        raise StudioError(
            f"{references} references leave no panel of {panels} to paint.",
            hint="Take fewer references, or describe more panels.",
        )

    def stretch(rows: int) -> float:
        shape = (width * (panels // rows)) / (height * rows)
        return max(shape, 1 / shape)

    rows = min((rows for rows in range(1, panels + 1) if panels % rows == 0), key=lambda r: (stretch(r), r))
    return PanelGrid(rows, panels // rows, width, height, references)


def panel_prompt(grid: PanelGrid, panels: Sequence[str], together: str = "", *, tags: bool = True) -> str:
    """One prompt for the sheet: what holds for all panels, then each panel by name.

    With `tags` as ChatDiT writes it, "[TWO-PANEL] … [LEFT] … [RIGHT] …"; without, in plain words, "… on the
    left and … on the right", for models that read tags as text. A single panel needs neither.
    """
    texts = [text.strip().rstrip(",.") if not tags else text.strip() for text in panels]
    if len(texts) != grid.count:
        raise StudioError(
            f"{len(texts)} descriptions do not fit {grid.count} panels.",
            hint="Write one line for each panel.",
        )
    together = together.strip()
    if grid.count == 1:
        return " ".join(filter(None, [together, panels[0].strip()]))
    if tags:
        parts = [f"[{_NUMBERS[grid.count - 1]}-PANEL] {together}".strip()]
        parts += [f"[{name}] {text}".strip() for name, text in zip(grid.names, texts, strict=True)]
        return " ".join(parts)
    plain = [f"{text} {_side(name)}" for name, text in zip(grid.names, texts, strict=True) if text]
    listed = " and ".join(filter(None, [", ".join(plain[:-1]), *plain[-1:]]))
    return ", ".join(filter(None, [listed, together]))


def _side(name: str) -> str:
    """Where a panel is, as a caption says it: "on the left", "at the top left", "in panel 4"."""
    if name.startswith("PANEL"):
        return f"in {name.lower().replace('-', ' ')}"
    words = " ".join(word for word in name.lower().split("-") if word != "middle")
    if not words:
        return "in the middle"
    return f"on the {words}" if words in ("left", "right") else f"at the {words}"


def make_grid(pictures: Sequence[Image], grid: PanelGrid) -> Image:
    """The sheet of pictures, which must have the panels' size; pixels are copied as they are."""
    if len(pictures) != grid.count:
        raise StudioError(f"{len(pictures)} pictures do not fill {grid.count} panels.")
    channels = {picture.pixels.shape[2] for picture in pictures}
    for picture in pictures:
        if (picture.width, picture.height) != (grid.width, grid.height) or len(channels) > 1:
            raise StudioError(
                f"A panel is {grid.width}x{grid.height}, all with or all without alpha; "
                f"one of the pictures is {picture!r}.",
                hint="Use fit_panel(picture, width, height).",
            )
    sheet = np.empty((grid.size[1], grid.size[0], channels.pop()), dtype=np.uint8)
    for index, picture in enumerate(pictures):
        x, y = grid.corner(index)
        sheet[y : y + grid.height, x : x + grid.width] = picture.pixels
    return Image(sheet)


def split(sheet: Image, grid: PanelGrid) -> tuple[Image, ...]:
    """The panels of a sheet in reading order; `split(make_grid(x, grid), grid)` is `x`, bit for bit."""
    if (sheet.width, sheet.height) != grid.size:
        raise StudioError(
            f"The sheet is {sheet.width}x{sheet.height}; these panels make "
            f"{grid.size[0]}x{grid.size[1]} ({grid.columns} x {grid.rows} of {grid.width}x{grid.height}).",
            hint="Give the picture that was made on this sheet.",
        )
    corners = [grid.corner(index) for index in range(grid.count)]
    return tuple(Image(sheet.pixels[y : y + grid.height, x : x + grid.width]) for x, y in corners)


def fit_panel(image: Image, width: int, height: int) -> Image:
    """The whole picture within a panel: made as large as it fits, the rest filled with its mean colour."""
    image = flatten(image)
    scale = min(width / image.width, height / image.height)
    inner = resize(image, max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    if (inner.width, inner.height) == (width, height):
        return inner
    sheet = np.empty((height, width, 3), dtype=np.uint8)
    sheet[:] = inner.pixels.mean(axis=(0, 1)).astype(np.uint8)
    x, y = (width - inner.width) // 2, (height - inner.height) // 2
    sheet[y : y + inner.height, x : x + inner.width] = inner.pixels
    return Image(sheet)


def start_sheet(grid: PanelGrid, references: Sequence[Image]) -> Image:
    """The sheet to start from: references fitted into the first panels, the others grey."""
    if len(references) != grid.references:
        raise StudioError(f"{len(references)} pictures do not fill {grid.references} references.")
    grey = Image(np.full((grid.height, grid.width, 3), EMPTY_GREY, dtype=np.uint8))
    fitted = [fit_panel(picture, grid.width, grid.height) for picture in references]
    return make_grid([*fitted, *[grey] * (grid.count - len(fitted))], grid)


def output_mask(grid: PanelGrid) -> Mask:
    """1 where panels are to be painted, 0 on the references."""
    values = np.ones((grid.size[1], grid.size[0]), dtype=np.float32)
    for index in range(grid.references):
        x, y = grid.corner(index)
        values[y : y + grid.height, x : x + grid.width] = 0
    return Mask(values)


def paste_back(painted: Image, start: Image, grid: PanelGrid) -> Image:
    """The painted sheet with the references as they were given, bit for bit."""
    if not grid.references:
        return painted
    made, given = split(flatten(painted), grid), split(start, grid)
    return make_grid([*given[: grid.references], *made[grid.references :]], grid)

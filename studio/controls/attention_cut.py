"""Masks from attention by spreading: click a word, get a mask (controls.md 7 (p), after AttentionCut of
DiffusionSeg, arXiv 2303.09813; the energy of the paper is not used, this form is ours).

Unary: the maps of words, shared out among the columns (`over_words`). Pairwise: the shares are spread along
the picture's own attention I2I, 1 to 3 rounds, so that places which look at each other agree. Then Otsu's
threshold, and the largest piece or the one under a click. No further weights, no second run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from studio.controls.control import Call, Maps, Need
from studio.controls.fused import spread
from studio.controls.word_maps import PICTURE_ROWS, WordMaps, over_words
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Step

SPREAD = "/spread"


@dataclass(frozen=True)
class AttentionCut(WordMaps):
    """Word maps, and their shares spread `rounds` times along I2I, at the same blocks: in the later steps,
    when `late` of the chosen ones are over, always of the mean map so far. The spread maps are kept as
    "word_maps/spread", with the same columns; they sum to 1."""

    technique: ClassVar[str] = "word_maps"

    rounds: int = 2
    late: float = 0.5
    sharpness: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.rounds <= 3:
            raise StudioError(
                f"{self.rounds} rounds are not possible.", socket="spread", hint="Possible: 1, 2 or 3."
            )
        if not 0 <= self.late < 1:
            raise StudioError(
                f"Nothing is spread after {self.late:g} of the steps.", hint="Possible: 0 to 1."
            )

    def needs(self, site: Site, step: Step) -> Need:
        if not self.where.at(site, step):
            return Need.NONE
        steps = self.where.steps(step.total)
        begins = steps.start + int(self.late * len(steps))
        return Need.PROBE | (Need.AFTER if step.index >= begins else Need.NONE)

    def after(self, call: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Maps) -> None:
        layout = call.layout
        for role in PICTURE_ROWS:
            rows, mean = layout.rows(role), maps.mean(self.name, role)
            if not rows or mean is None:
                continue
            height, width = layout.grid
            shares = over_words(mean.to(call.q.device).unflatten(1, (height, width)), self.sharpness)
            span = layout.span("image")
            q, k = (tensor[list(rows), :, span] for tensor in (call.q, call.k))
            carried = spread_along(q, k, shares.flatten(1, 2), self.rounds, call.scale)
            maps.add(self.name + SPREAD, call.site, call.step, [layout.roles[row] for row in rows], carried)


def spread_along(
    q: torch.Tensor, k: torch.Tensor, columns: torch.Tensor, rounds: int = 1, scale: float | None = None
) -> torch.Tensor:
    """Columns carried along an attention, mean over heads, `rounds` times; no map is materialised.

    q, k: row, head, token, channel; columns: row, token, column -> the same, fp32. Constants stay constant.
    """
    for _ in range(rounds):
        columns = spread(q, k, columns, scale=scale)
    return columns


def otsu(values: torch.Tensor) -> float:
    """The threshold between two classes of values that leaves the least variance inside them (Otsu 1979),
    exact, no histogram; it lies midway between the two neighbours that it parts. StudioError if all values
    are equal."""
    ordered = values.flatten().double().sort().values
    parts = torch.nonzero(ordered[1:] > ordered[:-1]).flatten()
    if not parts.numel():
        raise StudioError(
            "The map is the same everywhere: there is nothing to cut out.",
            hint="Watch more blocks and steps, or another word.",
        )
    n = ordered.numel()
    below = torch.arange(1, n, dtype=torch.float64, device=ordered.device)
    sums = ordered.cumsum(0)
    low = sums[:-1] / below
    high = (sums[-1] - sums[:-1]) / (n - below)
    between = below * (n - below) * (high - low) ** 2
    cut = int(parts[between[parts].argmax()])
    return float((ordered[cut] + ordered[cut + 1]) / 2)


def level(values: torch.Tensor, amount: float = 0.5) -> float:
    """The threshold of a mask of `amount`, 0..1: Otsu's at 0.5; above it ever more of the thing, up to all
    that is above the least value; below it ever less, down to the places of the largest."""
    middle = otsu(values)
    if amount == 0.5:
        return middle
    end = float(values.min()) if amount > 0.5 else middle + 0.99 * (float(values.max()) - middle)
    return middle + (end - middle) * abs(2 * amount - 1)


def components(cells: torch.Tensor) -> torch.Tensor:
    """The pieces of a bool grid that hang together by sides: row, column, int64; 0 outside, else a number
    1.. of the piece."""
    height, width = cells.shape
    labels = torch.arange(1, height * width + 1).reshape(height, width) * cells.cpu()
    while True:
        padded = torch.nn.functional.pad(labels, (1, 1, 1, 1))
        around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:], labels)
        grown = torch.stack(around).amax(0) * cells.cpu()
        if torch.equal(grown, labels):
            break
        labels = grown
    numbers = torch.unique(labels[labels > 0])
    return torch.searchsorted(numbers, labels) + 1 - (labels == 0) * 1 if numbers.numel() else labels


def cut(
    values: torch.Tensor, pick: str = "largest", at: tuple[float, float] = (0.5, 0.5), amount: float = 0.5
) -> torch.Tensor:
    """A bool grid: where a word's share lies above the threshold of `amount`, at 0.5 Otsu's.

    values: row, column. `pick`: "largest" piece, "all" pieces, or "point": the piece under `at` (x, y in
    0..1 from the top left), or the nearest one to it.
    """
    cells = (values > level(values, amount)).cpu()
    if pick == "all":
        return cells
    labels = components(cells)
    if pick == "largest":
        sizes = torch.bincount(labels.flatten())[1:]
        return labels == int(sizes.argmax()) + 1
    if pick != "point":
        raise StudioError(f"No choice {pick!r}.", socket="pick", hint="Possible: largest, point, all.")
    height, width = cells.shape
    rows, columns = torch.nonzero(cells, as_tuple=True)
    x, y = at[0] * width - 0.5, at[1] * height - 0.5
    nearest = int(((rows - y) ** 2 + (columns - x) ** 2).argmin())
    return labels == labels[rows[nearest], columns[nearest]]


def to_pixels(
    values: torch.Tensor,
    cells: torch.Tensor,
    width: int,
    height: int,
    *,
    smooth: bool = True,
    amount: float = 0.5,
) -> torch.Tensor:
    """The chosen cells at picture size, height, width, fp32, 0 or 1.

    `smooth`: the edge runs where the enlarged values cross the threshold, at most one cell outside the chosen
    ones; else each cell is a block of pixels.
    """

    def enlarge(grid: torch.Tensor, mode: str) -> torch.Tensor:
        more = {} if mode == "nearest" else {"align_corners": False}
        size = (height, width)
        return torch.nn.functional.interpolate(grid[None, None].float(), size=size, mode=mode, **more)[0, 0]

    if not smooth:
        return enlarge(cells, "nearest")
    # the pieces that were not chosen must not come back: they lie two cells away at least, or across an edge
    near = torch.nn.functional.max_pool2d(cells[None, None].float(), 3, 1, 1)[0, 0]
    least = level(values, amount)
    others = (values.cpu() > least) & ~cells
    kept = (enlarge(near * ~others, "nearest") > 0) & (enlarge(values.cpu(), "bilinear") > least)
    return kept.float() if kept.any() else enlarge(cells, "nearest")

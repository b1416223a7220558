"""Heat map pictures out of the maps of words or concepts: which columns, which means, and in which range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageFilter

from studio.controls.attention_cut import SPREAD, cut, to_pixels
from studio.controls.concepts import Concepts
from studio.controls.drawing import Panel, Section, heat_figure
from studio.controls.edge_follow import along_edges
from studio.controls.reading import (
    Named,
    by_block,
    by_step,
    check_picture,
    groups_of,
    mean_map,
    once_each,
    word_columns,
)
from studio.controls.region_maps import RegionMaps
from studio.controls.word_looks import LOOKS, both_ways
from studio.controls.word_maps import OTHER, REST, WordMaps, min_max, over_words
from studio.errors import StudioError
from studio.pixels import to_array, to_mask
from studio.values import Image, Mask, Seen, SeenMap

WORDS, CONCEPTS, REGIONS = "words", "concepts", "regions"
# any pixel set among these neighbours: a sum of at least 255 is cut to 255
_SQUARE = ImageFilter.Kernel((3, 3), (1,) * 9, scale=1)
_CROSS = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, 1, 1, 0, 1, 0), scale=1)
GRIDS = ("mean", "blocks", "steps")
RANGES = ("own", "between words", "plain")


@dataclass(frozen=True, eq=False)
class _Shown:
    """The maps of those that watched the same words, and the words, which are the first columns."""

    maps: tuple[SeenMap, ...]
    words: tuple[str, ...]
    shares: bool


# what to show of a word: the maps that have it, its column, and how it is labelled
_Picked = tuple[_Shown, int, str]


def heat_maps(
    seen: Seen,
    image: Image | None,
    *,
    of: str = WORDS,
    word: str = "",
    grid: str = "mean",
    range: str = "own",
    strength: float = 0.75,
    smooth: bool = True,
    picture: int = 0,
) -> Image:
    """The figure of a run's maps. `of`: words, concepts or regions; `grid`: mean, blocks or steps; `range`:
    own (each map from its least to its most), between words (the share of each word at a place) or plain (all
    maps on one scale from 0)."""
    picked = _picked(_maps(seen, of, picture), word)
    series = {shown: _series(shown, grid, range, picture) for shown, _, _ in picked}
    most = max(float(values[..., column].max()) for one, column, _ in picked for _, _, values in series[one])

    def panels(one: _Shown, column: int, word: str) -> Iterator[Panel]:
        for label, note, values in series[one]:
            # a weak map is stretched as far as a strong one: the number tells them apart
            peak = f"up to {_percent(float(values[..., column].max()))}" if range == "own" else ""
            scaled = min_max(values) if range == "own" else values / (most or 1.0)
            yield Panel(scaled[..., column].numpy(), label or word, note or peak)

    if grid == "mean":
        sections = [Section("", tuple(panel for one in picked for panel in panels(*one)))]
    else:
        sections = [Section(one[2], tuple(panels(*one))) for one in picked]
    what = {WORDS: "Word maps", CONCEPTS: "Concept maps"}.get(of, "Region maps")
    title = {"mean": what, "blocks": f"{what}, block by block", "steps": f"{what}, step by step"}[grid]
    height, width = series[picked[0][0]][0][2].shape[:2]
    legend = _legend(of, range, most)
    return heat_figure(
        image, sections, title, legend, strength=strength, smooth=smooth, aspect=width / height
    )


def word_mask(
    seen: Seen,
    width: int,
    height: int,
    *,
    of: str = WORDS,
    word: str = "",
    pick: str = "largest",
    at: tuple[float, float] = (0.5, 0.5),
    smooth: bool = True,
    grow: int = 0,
    soften: int = 0,
    picture: int = 0,
    amount: float = 0.5,
    follow: Image | None = None,
) -> tuple[Mask, torch.Tensor]:
    """The mask of some words (empty = the first that was watched) at a picture's size, and its cells on the
    token grid, bool. The spread maps are taken where the run has them, else where picture and word look at
    each other, else the shares of the mean maps.

    `amount`: how much of the thing, 0..1; 0.5 is Otsu's threshold. `follow`: a picture of that size whose
    own edges the mask follows, in place of `smooth`. `grow` pixels are added all around, or taken away below
    0, then the edge is softened over `soften` pixels; 0 = neither.
    """
    watched = _maps(seen, of, picture)
    picked = _picked(watched, word or watched[0].words[0])
    shares = {shown: _shares(seen, shown, of, picture) for shown, _, _ in picked}
    values = torch.stack([shares[shown][..., column] for shown, column, _ in picked]).sum(0)
    cells = cut(values, pick, at, amount)
    if follow is None:
        shape = to_pixels(values, cells, width, height, smooth=smooth, amount=amount)
    else:
        shape = along_edges(values, cells, _guide(follow, width, height), amount)
    hard = (shape > 0).numpy()
    return _finished(hard | _edge(hard, grow) if grow >= 0 else hard & ~_edge(~hard, -grow), soften), cells


def _guide(image: Image, width: int, height: int) -> torch.Tensor:
    """A picture as 3, height, width, 0..1."""
    if (image.width, image.height) != (width, height):
        raise StudioError(
            f"The mask has {width}x{height} pixels, the picture {image.width}x{image.height}.", socket="image"
        )
    return torch.from_numpy(to_array(image)[..., :3].copy()).permute(2, 0, 1).float()


def _finished(inside: np.ndarray, soften: int) -> Mask:
    if not soften:
        return to_mask(inside.astype(np.float32))
    picture = Pillow.fromarray(inside.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(soften / 2))
    return to_mask(np.asarray(picture, np.float32) / 255)


def _series(shown: _Shown, grid: str, range: str, picture: int) -> list[Named]:
    """What is shown of every word: one mean, or a map for each block or step."""
    if grid == "mean":
        named = [("", "", mean_map(shown.maps, picture))]
    else:
        named = list((by_block if grid == "blocks" else by_step)(shown.maps, picture))
    if range == "between words" and not shown.shares:
        return [(label, note, over_words(values)) for label, note, values in named]
    return named


def _shares(seen: Seen, shown: _Shown, of: str, picture: int) -> torch.Tensor:
    spread, looks = (_beside(seen, shown, of, ending) for ending in (SPREAD, LOOKS))
    if spread:
        return mean_map(spread, picture)
    values = mean_map(shown.maps, picture)
    if looks:
        return both_ways(values, mean_map(looks, picture))
    return values if shown.shares else over_words(values)


def _beside(seen: Seen, shown: _Shown, of: str, ending: str) -> tuple[SeenMap, ...]:
    """The maps that the same watchers of words kept beside theirs; none if they did not."""
    if of != WORDS or not any(map.name.endswith(ending) for map in seen.maps):
        return ()
    groups = groups_of(seen, WordMaps.technique + ending, "'Watch words'")
    return next((maps for maps in groups if maps[0].labels == shown.maps[0].labels), ())


def _maps(seen: Seen, of: str, picture: int) -> tuple[_Shown, ...]:
    if of == CONCEPTS:
        groups = groups_of(seen, Concepts.technique, "'Watch concepts'")
    elif of == REGIONS:
        groups = groups_of(seen, RegionMaps.technique, "'Watch regions'")
    elif of == WORDS:
        groups = groups_of(seen, WordMaps.technique, "'Watch words'")
    else:
        raise StudioError(f"No maps of {of!r}.", socket="of", hint="Possible: words, concepts, regions.")
    found = []
    for maps in groups:
        check_picture(maps, picture)
        words = tuple(label for label in maps[0].labels if of != WORDS or label not in (OTHER, REST))
        found.append(_Shown(maps, words, of != WORDS))
    return tuple(found)


def _picked(watched: Sequence[_Shown], wanted: str) -> list[_Picked]:
    """The words of a list such as "star, house", of all that watched; empty = every word."""
    labels = once_each([shown.words for shown in watched])
    every = [
        (shown, column, label)
        for shown, own in zip(watched, labels, strict=True)
        for column, label in enumerate(own)
    ]
    return [every[i] for i in word_columns([label for _, _, label in every], wanted, len(every))]


def _legend(of: str, range: str, most: float) -> tuple[str, str, str]:
    if range == "own":
        what = "likeness to the concept" if of == CONCEPTS else "attention to the word"
        return "least", f"{what}, each map from its own least to its own most", "most"
    if of == CONCEPTS:
        return "0 %", "share of the concept among all of them", _percent(most)
    if range == "between words" and of == WORDS:
        return "0 %", "share of the word at this place, against all other text", _percent(most)
    return "0 %", "share of a place's attention that goes to the word", _percent(most)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def outlined(image: Image, mask: Mask) -> Image:
    """A picture with a mask shown on it: what lies outside turns pale, and a line runs along the edge."""
    if (image.width, image.height) != (mask.width, mask.height):
        raise StudioError(
            f"The mask has {mask.width}x{mask.height} pixels, the picture {image.width}x{image.height}.",
            socket="mask",
            hint="Make the mask for this picture.",
        )
    pixels = image.pixels[..., :3].astype(np.float32)
    inside = np.asarray(mask.values)[..., None]
    grey = (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    pale = 0.45 * grey + 0.55 * np.array([253, 250, 244], np.float32)
    shown = inside * pixels + (1 - inside) * pale
    hard = mask.values > 0.5
    for thick, colour in ((_thickness(image) + 1, (255, 255, 255)), (_thickness(image), (181, 67, 29))):
        shown[_edge(hard, thick)] = colour
    return Image(shown.clip(0, 255).round().astype(np.uint8))


def _thickness(image: Image) -> int:
    return max(1, round(max(image.width, image.height) / 256))


def _edge(inside: np.ndarray, thick: int) -> np.ndarray:
    """Pixels outside a shape within `thick` steps of it; square and cross in turn, so nearly a disc."""
    grown = Pillow.fromarray(inside.astype(np.uint8) * 255)
    for step in range(thick):
        grown = grown.filter(_SQUARE if step % 2 else _CROSS)
    return np.asarray(np.asarray(grown) > 0) & ~inside

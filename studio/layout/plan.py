"""From a sentence to a layout: one box for each thing, placed by a template and settled by descent.

ChatDiT's visible plan and the layout planners of posters (COLE, Layout-Corrector, PosterLayout) by rules: the
same sentence gives the same layout, and no model is asked. A plan is a `Layout` like any other: regions in
z-order with prompts, to be edited before a picture is spent.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from studio.layout import lexicon as lex
from studio.layout.boxes import TEXT, UNDERLAY, Flags, Floats, boxes_of, iou
from studio.layout.notes import without_weights
from studio.layout.reading import Reading, Relation, Thing
from studio.layout.saliency import Maps
from studio.layout.sentence import read_sentence
from studio.layout.settle import GRID, Energy, settle
from studio.layout.wishes import Wish, bands, shares_room
from studio.values import Layout, Region

MOST_REGIONS = 24
BORDER = 1 / 32
GAP = 0.02
"""How far apart planned boxes keep, as a share of the picture."""
# The longer side of a box as a share of the picture's shorter side; the first three match the scene world.
_EXTENT = {"small": 0.22, "medium": 0.30, "large": 0.42}
_STEP = 1 / 32
_SMALLEST = 2 * _STEP
_NEAR_LINE = 0.03
_LONGEST_NAME = 40
_ROUNDS = 20
_SHRINK, _SHRINKS = 0.88, 8
_FULL = 0.55
"""Share of the picture that boxes fill at most before they are moved."""


def plan_sentence(sentence: str, *, aspect: float = 1.0, maps: Maps | None = None) -> tuple[Layout, Reading]:
    """The layout of a sentence, and what was understood of it (`Reading.passed_over`: what was not)."""
    reading = _with_room(read_sentence(without_weights(sentence)))
    return plan_layout(reading, aspect=aspect, maps=maps), reading


def _with_room(reading: Reading) -> Reading:
    """The reading with as many things as there may be regions; the others count as passed over."""
    extra = reading.things[MOST_REGIONS:]
    if not extra:
        return reading
    return replace(
        reading,
        things=reading.things[:MOST_REGIONS],
        relations=tuple(r for r in reading.relations if max(r.first, *r.second) < MOST_REGIONS),
        passed_over=(*reading.passed_over, *(thing.prompt for thing in extra)),
    )


def plan_layout(reading: Reading, *, aspect: float = 1.0, maps: Maps | None = None) -> Layout:
    """One region for each thing; `aspect` is the picture's width / height, `maps` are of a picture below.

    Boxes lie in the picture and are made smaller until they no longer overlap, but for things that stand in
    front of or inside another one: that one lies below them, with the role "underlay".
    """
    reading = _with_room(reading)
    things, who = _counted(reading)
    wishes = _wishes(reading, who, things)
    order = _order(len(things), wishes)
    beneath = {wish.boxes[1] for wish in wishes if shares_room(wish)}
    names = _names(things)
    boxes = _solve(things, wishes, aspect, maps)
    regions = [
        Region(
            id=re.sub(r"[^a-z0-9]+", "-", names[k].lower()).strip("-") or f"region-{k + 1}",
            prompt=things[k].prompt,
            box=_box(boxes[k]),
            name=names[k],
            negative=things[k].negative,
            role=things[k].role or (UNDERLAY if k in beneath else ""),
        )
        for k in order
    ]
    seen: Counter[str] = Counter()
    for k, region in enumerate(regions):
        seen[region.id] += 1
        if seen[region.id] > 1:
            regions[k] = replace(region, id=f"{region.id}-{seen[region.id]}-{k}")
    return Layout(reading.sentence, tuple(regions), reading.background)


def tidy(layout: Layout, *, maps: Maps | None = None, gap: float = 0.0) -> Layout:
    """The layout with its boxes moved apart and into line; sizes, order and words stay.

    Locked and painted regions and those of strength 0 never move. What lies on an underlay stays on it, and
    no box goes farther than it must: only lines that are near (3 % of the picture) are shared. A layout that
    cannot be bettered is returned itself.
    """
    regions = layout.regions
    present = [k for k, region in enumerate(regions) if region.strength > 0]
    movable = [n for n, k in enumerate(present) if not regions[k].locked and regions[k].mask is None]
    given = boxes_of([regions[k] for k in present])
    boxes = given.copy()
    boxes[movable] = _fitted(given[movable])
    wishes, share = _held([regions[k].role == UNDERLAY for k in present], boxes)
    text = np.array([regions[k].role == TEXT for k in present], dtype=bool)
    for _ in range(_ROUNDS):
        stay = [Wish("stay", (n,), home=(float(boxes[n, 0]), float(boxes[n, 1]))) for n in movable]
        energy = Energy.of(share, text, [*wishes, *stay], gap, _NEAR_LINE, maps)
        settled = settle(boxes, movable, energy)
        if settled is boxes:
            break
        boxes = settled
    changed = {present[n]: boxes[n] for n in movable if not np.array_equal(boxes[n], given[n])}
    if not changed:
        return layout
    moved = [replace(r, box=_box(changed[k])) if k in changed else r for k, r in enumerate(regions)]
    return replace(layout, regions=tuple(moved))


def _held(under: Sequence[bool], boxes: Floats) -> tuple[list[Wish], Flags]:
    """Wishes that keep on an underlay what lies on it, and the pairs that may overlap."""
    wishes = [
        Wish("within", (k, j))
        for k, j in itertools.permutations(range(len(under)), 2)
        if under[j]
        and not under[k]
        and (boxes[j, :2] <= boxes[k, :2]).all()
        and (boxes[k, 2:] <= boxes[j, 2:]).all()
    ]
    return wishes, np.logical_or.outer(np.array(under, dtype=bool), np.array(under, dtype=bool))


def _fitted(boxes: Floats) -> Floats:
    """Boxes pushed into the picture; a side longer than the picture is cut, an inverted one turned."""
    low, high = np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])
    size = np.minimum(high - low, 1.0)
    start = np.clip(low, 0.0, 1.0 - size)
    pushed = np.concatenate([start, start + size], axis=-1)
    inside: Flags = np.all(
        (boxes >= 0) & (boxes <= 1) & (boxes == np.concatenate([low, high], -1)), axis=-1, keepdims=True
    )
    return np.where(inside, boxes, pushed)


def _box(values: Floats) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (min(max(float(value), 0.0), 1.0) for value in values)
    return x0, y0, x1, y1


# what is to be placed


def _counted(reading: Reading) -> tuple[list[Thing], list[list[int]]]:
    """Each thing as often as it is wanted, and for each thing of the reading where its copies stand. Where
    there is no room for all, those said last share one region each."""
    room = MOST_REGIONS
    things: list[Thing] = []
    who: list[list[int]] = []
    for left, thing in zip(range(len(reading.things) - 1, -1, -1), reading.things, strict=True):
        copies = min(thing.count, max(room - left, 1))
        who.append(list(range(len(things), len(things) + copies)))
        things += [thing] * copies
        room -= copies
    return things, who


def _wishes(reading: Reading, who: Sequence[Sequence[int]], things: Sequence[Thing]) -> list[Wish]:
    crowd = Counter(thing.place for thing in things if thing.place)
    wishes = [
        Wish("loose place" if crowd[thing.place] > 1 else "place", (k,), thing.place)
        for k, thing in enumerate(things)
        if thing.place
    ]
    for relation in reading.relations:
        wishes += _pairs(relation, who)
    return wishes


def _pairs(relation: Relation, who: Sequence[Sequence[int]]) -> list[Wish]:
    firsts = who[relation.first]
    seconds = [k for thing in relation.second for k in who[thing]]
    if relation.kind != "between":
        return [Wish(relation.kind, (a, b)) for a in firsts for b in seconds if a != b]
    if len(relation.second) == 2:
        ends = (who[relation.second[0]][0], who[relation.second[1]][0])
    else:
        ends = (seconds[0], seconds[-1])
    if ends[0] == ends[1]:
        return [Wish("beside", (a, ends[0])) for a in firsts]
    return [Wish("between", (a, *ends)) for a in firsts]


def _order(count: int, wishes: Sequence[Wish]) -> list[int]:
    """The z-order: as said, but what stands in front of or inside another thing lies above it."""
    level = _ranks(count, [(w.boxes[1], w.boxes[0]) for w in wishes if shares_room(w)])
    return sorted(range(count), key=lambda k: level[k])


def _ranks(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """How many things come before each, by the longest way through (before, after); a circle ends early."""
    rank = [0] * count
    for _ in range(count):
        for before, after in pairs:
            rank[after] = min(max(rank[after], rank[before] + 1), count)
    return rank


def _names(things: Sequence[Thing]) -> list[str]:
    """A short name for each: the noun, with an adjective or a number where several share it."""
    names = [thing.noun[:_LONGEST_NAME] for thing in things]
    for longer in (True, False):
        often = Counter(names)
        seen: Counter[str] = Counter()
        for k, name in enumerate(names):
            if often[name] < 2:
                continue
            seen[name] += 1
            if longer:
                names[k] = " ".join([*(word[:_LONGEST_NAME] for word in things[k].adjectives[-1:]), name])
            else:
                names[k] = f"{name} {seen[name]}"
    return names


# where it is placed


def _solve(things: Sequence[Thing], wishes: Sequence[Wish], aspect: float, maps: Maps | None) -> Floats:
    """Boxes of the things, thing, 4: the better template after the descent, smaller if they overlap."""
    if not things:
        return np.zeros((0, 4))
    sizes = _sizes(things, wishes, aspect)
    text = np.array([thing.role == TEXT for thing in things], dtype=bool)
    everyone = range(len(things))
    for _ in range(_SHRINKS + 1):
        energy = Energy.of(np.zeros((len(things),) * 2, dtype=bool), text, wishes, GAP, maps=maps)
        tried = [
            settle(start, everyone, energy, border=BORDER) for start in _templates(things, wishes, sizes)
        ]
        found = min(tried, key=energy.total)
        clash = bool((np.where(energy.share, 0.0, iou(found[:, None], found[None])) > 1e-9).any())
        smaller = np.maximum(_on_grid(sizes * _SHRINK), _SMALLEST)
        if not clash or np.array_equal(smaller, sizes):
            break
        sizes = smaller
    return found


def _on_grid(sizes: Floats) -> Floats:
    return np.asarray(np.maximum(np.floor(sizes / _STEP + 1e-9), 1) * _STEP)


def _sizes(things: Sequence[Thing], wishes: Sequence[Wish], aspect: float) -> Floats:
    """Width and height of each box, thing, 2, on a grid, so that boxes can share lines exactly."""
    count = len(things)
    usual = {1: 0.56, 2: 0.42, 3: 0.36, 4: 0.36, 5: 0.30, 6: 0.30}.get(
        count, 0.9 / (math.ceil(math.sqrt(count)) + 0.5)
    )
    places = {thing.place for thing in things}
    # Ninths of the picture leave a third to each; only "left" and "right" alone may be wider.
    ninths = len(places - {""}) > 1 and any(" " in place or place == "middle" for place in places)
    most = 0.30 if ninths else 0.50
    sizes = np.array([_size(thing, usual, most if thing.place else 1.0, aspect) for thing in things])
    # What holds or stands behind others is as large as they need; the innermost first.
    for k in sorted(
        {w.boxes[1] for w in wishes if shares_room(w)}, key=_order(count, wishes).index, reverse=True
    ):
        inside = [w.boxes[0] for w in wishes if w.kind == "inside" and w.boxes[1] == k]
        before = [w.boxes[0] for w in wishes if w.kind == "front" and w.boxes[1] == k]
        if inside:
            sizes[inside] = np.minimum(sizes[inside], 0.8 / np.array([len(inside) + 0.5, 1.6]))
            wide = sizes[inside, 0].sum() + GAP * (len(inside) + 3)
            sizes[k] = np.maximum(sizes[k], [wide, sizes[inside, 1].max() * 1.35])
        if before:
            sizes[before] *= min(1.0, 0.75 / sizes[before, 0].sum())
            wide = sizes[before, 0].sum() + 2 * _STEP * len(before)
            sizes[k] = np.maximum(sizes[k], [wide, sizes[before, 1].max() * 1.4])
    sizes = np.minimum(sizes, 1 - 2 * BORDER)
    free = [k for k in range(count) if not any(shares_room(w) and w.boxes[0] == k for w in wishes)]
    filled = float(sizes[free].prod(axis=1).sum())
    return _on_grid(sizes * min(1.0, math.sqrt(_FULL / max(filled, 1e-9))))


def _size(thing: Thing, usual: float, most: float, aspect: float) -> tuple[float, float]:
    words = set(thing.adjectives)
    noun = lex.singular(thing.noun)
    typical = 1.2 if noun in lex.LARGE else 0.75 if noun in lex.SMALL else 1.0
    extent = _EXTENT.get(thing.size) or min(usual * typical, most)
    wide, high = extent, extent
    if thing.role:
        wide, high = min(2 * extent, 0.85), extent / 2
    elif thing.group and noun not in lex.TALL:
        wide, high = 1.4 * extent, 0.8 * extent
    elif noun in lex.WIDE or words & {"wide", "long"}:
        high = 0.68 * extent
    elif noun in lex.TALL or words & {"tall", "high"}:
        wide = 0.68 * extent
    return wide / max(1.0, aspect), high * min(1.0, aspect)


def _templates(things: Sequence[Thing], wishes: Sequence[Wish], sizes: Floats) -> list[Floats]:
    """Two first placings: rows as the relations say, and a grid. Things with a place stand there, and what
    stands on, in or in front of another thing goes with it."""
    count = len(things)
    rank_x, rank_y = _ranks(count, _steps(wishes, across=True)), _ranks(count, _steps(wishes, across=False))
    for wish in wishes:
        if wish.kind in ("left", "right", "beside", "between"):  # they share a row
            rank_y[wish.boxes[0]] = max(rank_y[k] for k in wish.boxes)
    host = {
        w.boxes[0]: w for w in wishes if w.kind in ("on", "inside", "front") and not things[w.boxes[0]].place
    }
    free = [k for k in range(count) if not things[k].place and k not in host]
    rows = [[k for k in free if rank_y[k] == rank] for rank in sorted({rank_y[k] for k in free})]
    ordered = sorted(free, key=lambda k: (rank_y[k], rank_x[k]))
    columns = math.ceil(math.sqrt(len(free))) if free else 1
    grid = [ordered[k : k + columns] for k in range(0, len(ordered), columns)]
    starts = []
    for arrangement in (rows, grid):
        centres = np.full((count, 2), 0.5)
        for r, row in enumerate(arrangement):
            for c, k in enumerate(sorted(row, key=lambda k: rank_x[k])):
                centres[k] = (c + 0.5) / len(row), (r + 0.5) / len(arrangement)
        _put_placed(centres, things, wishes)
        _put_hosted(centres, sizes, host)
        corner = np.round((centres - sizes / 2) * GRID) / GRID
        corner = np.clip(corner, BORDER, 1.0 - BORDER - sizes)
        starts.append(np.concatenate([corner, corner + sizes], axis=1))
    return starts


def _steps(wishes: Sequence[Wish], across: bool) -> list[tuple[int, int]]:
    """Pairs (before, after) along one axis."""
    ahead, back = (("left",), ("right",)) if across else (("above",), ("below",))
    found = []
    for wish in wishes:
        if wish.kind in ahead:
            found.append((wish.boxes[0], wish.boxes[1]))
        elif wish.kind in back:
            found.append((wish.boxes[1], wish.boxes[0]))
        elif wish.kind == "between" and across:
            first, one, other = wish.boxes
            found += [(one, first), (first, other)]
    return found


def _put_hosted(centres: Floats, sizes: Floats, host: Mapping[int, Wish]) -> None:
    """Put things beside each other on, in or in front of what carries them, the carriers first."""
    order = _ranks(len(centres), [(wish.boxes[1], k) for k, wish in host.items()])
    for carrier in sorted({wish.boxes[1] for wish in host.values()}, key=lambda k: order[k]):
        for kind in ("on", "inside", "front"):
            carried = [k for k, w in host.items() if w.boxes[1] == carrier and w.kind == kind]
            if not carried:
                continue
            high = sizes[carried, 1].max()
            if kind == "on" and carrier not in host:
                centres[carrier, 1] += high / 2
            top, foot = centres[carrier, 1] + np.array([-0.5, 0.5]) * sizes[carrier, 1]
            level = {"on": top - GAP, "inside": centres[carrier, 1] + high / 2, "front": foot}[kind]
            row = sizes[carried, 0].sum()
            space = max((sizes[carrier, 0] - row) / (len(carried) + 1), GAP)
            x = centres[carrier, 0] - (row + space * (len(carried) - 1)) / 2
            for k in carried:
                centres[k] = x + sizes[k, 0] / 2, level - sizes[k, 1] / 2
                x += sizes[k, 0] + space


def _put_placed(centres: Floats, things: Sequence[Thing], wishes: Sequence[Wish]) -> None:
    """Put things at their place; several side by side, or below each other where the place is a side."""
    for place in dict.fromkeys(thing.place for thing in things if thing.place):
        here = [wish.boxes[0] for wish in wishes if wish.place == place]
        (x0, x1), (y0, y1) = bands(place, loose=len(here) > 1)
        down = place in ("left", "right")
        for n, k in enumerate(here):
            part = (n + 0.5) / len(here)
            centres[k] = (
                ((x0 + x1) / 2, y0 + part * (y1 - y0)) if down else (x0 + part * (x1 - x0), (y0 + y1) / 2)
            )

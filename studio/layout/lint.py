"""A layout looked over before a picture is spent on it: what is wrong, which regions, and one next step each.

The measures are those of PosterLayout (`measures`); the linter turns them into words about single regions.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from studio.layout.boxes import (
    TEXT,
    UNDERLAY,
    Flags,
    Floats,
    area,
    box_of,
    clipped,
    lines,
    mean_under,
    present,
    sums,
)
from studio.layout.measures import SMALLEST
from studio.layout.saliency import Maps
from studio.values import Layout, Region

LEVELS = ("error", "warning", "note")
TOKENS = (16, 16)
"""Rows and columns of the token grid of a 256-pixel picture."""
_FEWEST_TOKENS = 4
_MANY = 8
_OVERLAP = 0.02
_ALIGNED, _NEARLY = 0.002, 0.03
_SALIENT = 0.5
_BUSY = 0.2
_WHOLLY = 0.995
_GRID = 256
_LINES = ("left edges", "top edges", "centres across", "centres down", "right edges", "bottom edges")


@dataclass(frozen=True)
class Finding:
    """One thing to mend. `level`: error (a region cannot come out), warning, or note; `about`: the measure
    or field it belongs to; `regions`: ids; `message` names the regions, `hint` is one next step."""

    level: str
    about: str
    regions: tuple[str, ...]
    message: str
    hint: str

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self) | {"regions": list(self.regions)}


Named = Callable[[Region], str]


def lint(
    layout: Layout,
    maps: Maps | None = None,
    *,
    tokens: tuple[int, int] = TOKENS,
    numbers: Mapping[str, int] | None = None,
) -> tuple[Finding, ...]:
    """What is wrong with a layout, the gravest first; empty if nothing is.

    `maps` of a picture below adds what lies under the regions; `tokens`: rows and columns of the token grid;
    `numbers`: what the regions without a name are called, by id, from 1; else their places in the list.
    """
    regions = present(layout)
    called = _names(layout, numbers)
    found = [
        *_words(layout, called),
        *_boxes(regions, tokens, called),
        *_pairs(regions, called),
        *_lines_up(regions, called),
        *_under(regions, called),
        *(() if maps is None else _on_picture(regions, maps, called)),
    ]
    whole = (replace(f, message=_sentence(f.message), hint=_sentence(f.hint)) for f in found)
    return tuple(sorted(whole, key=lambda finding: LEVELS.index(finding.level)))


def _names(layout: Layout, numbers: Mapping[str, int] | None) -> Named:
    """What a region is called in messages: by its name, else by its place, as the page and drawings do."""
    places: dict[str, int] = {}
    for place, region in enumerate(layout.regions, 1):
        places.setdefault(region.id, place if numbers is None else numbers.get(region.id, place))
    return lambda region: f"'{region.name}'" if region.name else f"region {places[region.id]}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _covered(region: Region) -> Flags:
    """The cells of a grid over the picture that a region covers, shape _GRID, _GRID."""
    middle = (np.arange(_GRID) + 0.5) / _GRID
    if region.mask is None:
        x0, y0, x1, y1 = region.box
        return np.outer((middle >= y0) & (middle < y1), (middle >= x0) & (middle < x1))
    values = region.mask.values
    rows, columns = ((middle * side).astype(int) for side in values.shape)
    return np.asarray(values[np.ix_(rows, columns)] >= 0.5)


def _words(layout: Layout, called: Named) -> Iterator[Finding]:
    if not layout.regions:
        yield Finding(
            "note", "regions", (), "The layout has no regions.", "Add one, or name things in the sentence."
        )
    if not layout.prompt.strip():
        hint = "Write one sentence about the whole picture."
        yield Finding("warning", "prompt", (), "The whole picture has no prompt.", hint)
    for id, often in Counter(region.id for region in layout.regions).items():
        if often > 1:
            yield Finding(
                "error", "id", (id,), f"{often} regions have the id '{id}'.", "Give each its own id."
            )
    for region in layout.regions:
        one = (region.id,)
        if region.strength <= 0:
            text = f"{called(region)} has the strength 0, so it is not there."
            yield Finding("note", "strength", one, text, "Raise its strength, or delete it.")
        elif not (region.prompt.strip() or region.negative.strip()):
            yield Finding(
                "warning", "prompt", one, f"{called(region)} has no prompt.", "Say what it shall show."
            )
        if region.start >= region.end:
            text = (
                f"{called(region)} is there from {region.start:.0%} to {region.end:.0%} of the steps: never."
            )
            yield Finding("error", "start", one, text, "Let start be below end.")
    if len(present(layout)) > _MANY:
        text = f"{len(present(layout))} regions weaken each other."
        yield Finding("note", "regions", (), text, f"Join small ones; up to {_MANY} hold well.")


def _boxes(regions: Sequence[Region], tokens: tuple[int, int], called: Named) -> Iterator[Finding]:
    rows, columns = tokens
    for region in regions:
        box = np.array(box_of(region))
        seen, whole = float(area(clipped(box))), float(area(box))
        if region.mask is not None and whole > 0:
            seen = whole = float((region.mask.values >= 0.5).mean()) or 1e-6
        one = (region.id,)
        if whole <= 0:
            what = "mask is empty" if region.mask is not None else "box has no area"
            yield Finding("error", "Val", one, f"{called(region)}: the {what}.", "Draw it anew.")
        elif seen < SMALLEST:
            text = f"{called(region)} covers {seen:.2%} of the picture; below {SMALLEST:.1%} nothing shows."
            yield Finding("error", "Val", one, text, "Make it larger, or move it into the picture.")
        elif seen * rows * columns < _FEWEST_TOKENS:
            text = f"{called(region)} covers less than {_FEWEST_TOKENS} of {rows * columns} tokens."
            side = (_FEWEST_TOKENS / (rows * columns)) ** 0.5
            yield Finding("warning", "Val", one, text, f"Make it at least {side:.0%} wide and high.")
        if whole > 0 and seen < whole * 0.99:
            text = f"{1 - seen / whole:.0%} of {called(region)} lies outside the picture."
            yield Finding("warning", "box", one, text, "Move it in.")


def _pairs(regions: Sequence[Region], called: Named) -> Iterator[Finding]:
    painted = any(region.mask is not None for region in regions)
    cells = {id(region): _covered(region) for region in regions} if painted else {}
    hidden: set[int] = set()  # told once, however many lie above
    for below, above in itertools.combinations(regions, 2):
        a, b = np.array(box_of(below)), np.array(box_of(above))
        both = (below.id, above.id)
        boxes = below.mask is None and above.mask is None
        least = min(float(area(a)), float(area(b)))
        common = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        if (common <= 0).any() or least <= 0:
            continue
        own, share = float(area(a)), float(common.prod())
        if not boxes:
            one, other = cells[id(below)], cells[id(above)]
            own, share = float(one.mean()), float((one & other).mean())
            least = min(own, float(other.mean()))
        if share <= 0 or share < _OVERLAP * least:
            continue
        if bool((b[:2] <= a[:2]).all() and (a[2:] <= b[2:]).all()) if boxes else share >= _WHOLLY * own:
            if id(below) in hidden:
                continue
            hidden.add(id(below))
            text = f"{called(below)} lies wholly under {called(above)}, so nothing of it will show."
            hint = f"Put {called(below)} after {called(above)} in the list: later ones lie on top."
            if share >= _WHOLLY * float(area(b) if boxes else other.mean()):  # else that would hide the other
                hint = _apart(below, above, a, b, called) if boxes else "Erase one of them there."
            yield Finding("error", "Ove", both, text, hint)
            continue
        if UNDERLAY in (below.role, above.role):
            continue
        text = f"{called(above)} covers {share / own:.0%} of {called(below)}."
        meet = f"Where they meet {called(above)} is painted; erase it there if that is not meant."
        hint = _apart(below, above, a, b, called) if boxes else meet
        yield Finding("warning", "Ove", both, text, hint)


def _apart(below: Region, above: Region, a: Floats, b: Floats, called: Named) -> str:
    """The shortest way that parts two boxes and stays in the picture."""
    ways: list[tuple[float, str, str]] = []
    for region, box, other in ((above, b, a), (below, a, b)):
        if region.locked:
            continue
        for axis, (back, forth) in enumerate((("left", "right"), ("up", "down"))):
            lower, further = box[2 + axis] - other[axis], other[2 + axis] - box[axis]
            if box[axis] - lower >= -1e-9:
                ways.append((float(lower), called(region), back))
            if box[2 + axis] + further <= 1 + 1e-9:
                ways.append((float(further), called(region), forth))
    if not ways:
        return "Make one of them smaller."
    way, name, where = min(ways, key=lambda found: found[0])
    return f"Move {name} {way:.0%} {where if where in ('up', 'down') else f'to the {where}'}."


def _lines_up(regions: Sequence[Region], called: Named) -> Iterator[Finding]:
    """Lines of boxes that are nearly shared: too near to be meant as apart."""
    regions = [region for region in regions if region.mask is None]
    if len(regions) < 2:
        return
    own = lines(np.array([box_of(region) for region in regions]))
    distance = np.abs(own[:, None] - own[None])
    distance[np.arange(len(regions)), np.arange(len(regions))] = np.inf
    told: set[frozenset[int]] = set()
    for k, region in enumerate(regions):
        j, line = np.unravel_index(int(distance[k].argmin()), distance[k].shape)
        way = float(distance[k, j, line])
        pair = frozenset((k, int(j)))
        if not _ALIGNED < way <= _NEARLY or pair in told:
            continue
        told.add(pair)
        other = regions[int(j)]
        text = f"The {_LINES[int(line)]} of {called(region)} and {called(other)} are {way:.1%} apart."
        (mover, m), f = ((other, int(j)), k) if region.locked else ((region, k), int(j))
        back = float(own[f, line]) < float(own[m, line])
        where = (("right", "down"), ("left", "up"))[back][int(line) % 2]
        hint = f"Move {called(mover)} {way:.1%} {where}, so that both are at {float(own[f, line]):.1%}."
        yield Finding("note", "Ali", (region.id, other.id), text, hint)


def _under(regions: Sequence[Region], called: Named) -> Iterator[Finding]:
    others = [np.array(box_of(region)) for region in regions if region.role != UNDERLAY]
    for region in regions:
        if region.role != UNDERLAY:
            continue
        box = np.array(box_of(region))
        if any((box[:2] <= o[:2] + 1e-9).all() and (o[2:] <= box[2:] + 1e-9).all() for o in others):
            continue
        text = f"{called(region)} is an underlay, but nothing lies wholly on it."
        hint = "Make it larger, or give it another role than underlay."
        yield Finding("warning", "Und", (region.id,), text, hint)


def _on_picture(regions: Sequence[Region], maps: Maps, called: Named) -> Iterator[Finding]:
    salient, busy = sums(maps.saliency), sums(maps.gradient)
    for region in regions:
        if region.mask is not None:
            continue
        box = np.array(box_of(region))
        one = (region.id,)
        under = float(mean_under(salient, box))
        if under > _SALIENT:
            text = f"{called(region)} covers what draws the eye ({under:.0%} salient)."
            yield Finding("warning", "Occ", one, text, _quieter(region, box, salient, called))
        unrest = float(mean_under(busy, box))
        if region.role == TEXT and unrest > _BUSY:
            text = f"The text {called(region)} lies on a busy part of the picture."
            yield Finding("warning", "Rea", one, text, _quieter(region, box, busy, called))


def _quieter(region: Region, box: Floats, table: Floats, called: Named) -> str:
    """Where in the picture a box of this size lies best on a map."""
    size = np.minimum(box[2:] - box[:2], 1.0)
    steps = np.linspace(0, 1, 17)
    corner = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2) * (1 - size)
    cost = mean_under(table, np.concatenate([corner, corner + size], axis=-1))
    x, y = corner[int(cost.argmin())]
    if float(cost.min()) >= float(mean_under(table, box)) - 0.02:
        return "Make it smaller; no other place is better."
    verb = "Unlock and move" if region.locked else "Move"
    return f"{verb} {called(region)}, for example to {x:.1%} from the left and {y:.1%} from the top."

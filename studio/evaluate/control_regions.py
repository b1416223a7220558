"""Regions: k boxes with a prompt each, over and against one long prompt that names every place.

`regions_scene` and `regions_names` ask for less: their prompt of the whole picture says the background alone,
or the things without their places. Success: in every box there is the right object, its centre inside the
box. `regions_right` is the share of boxes that are right, `leaked` the share whose object has the colour of
another region.

`regions_leak`: two halves of a picture, another thing is asked for in the right one. Success: the left half
moves by less than a fifth of what the right one does (controls.md 7 (b)); the plain way is the long prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from studio.controls.regional import HARD, OPEN, STRICT, Regional, RegionText
from studio.evaluate.control import Bench, Result, RowOf
from studio.evaluate.edit_cases import BACKGROUND_WORDS, Thing, describe, things_of
from studio.models.words import segment_conditioning
from studio.scenes.detect import Detection, Found, detect
from studio.scenes.world import BACKGROUNDS, PLACES
from studio.values import Region

Box = tuple[float, float, float, float]
MOST = 6
HALVES: tuple[Box, Box] = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
MOST_LEAK = 0.2
PLACES_TOO, NAMES, SCENE = "places", "names", "scene"


def box_of(place: str) -> Box:
    """The ninth of the picture that a place names."""
    x, y = PLACES[place]
    return x - 1 / 6, y - 1 / 6, x + 1 / 6, y + 1 / 6


def regions_of(
    bench: Bench, things: Sequence[Thing], base: str, mode: str, ratio: float, borders: float
) -> Regional:
    """One region a thing, its prompt without the place."""
    texts = []
    for number, thing in enumerate(things):
        prompt = f"a {thing.colour} {thing.kind}"
        region = Region(f"r{number}", prompt, box_of(thing.place))
        texts.append(RegionText(region, segment_conditioning(bench.parts, prompt)))
    return Regional(base, tuple(texts), mode=mode, base_ratio=ratio, borders=borders)


def judge(
    bench: Bench,
    index: int,
    *,
    k: int,
    mode: str = OPEN,
    ratio: float = 0.2,
    borders: float = 0.6,
    says: str = PLACES_TOO,
) -> Result:
    """One case of k regions; `says`: what the prompt of the whole picture says."""
    rng = np.random.default_rng([index, k, 20252])
    things = things_of(rng, k)
    background = BACKGROUND_WORDS[str(rng.choice(BACKGROUNDS))]
    named = " and ".join(f"a {thing.colour} {thing.kind}" for thing in things)
    long = describe(things, next(name for name, words in BACKGROUND_WORDS.items() if words == background))
    base = {PLACES_TOO: long, NAMES: f"{named}, {background}", SCENE: background}[says]
    seed = 3000 + index
    control = regions_of(bench, things, base, mode, ratio, borders)
    steered = detect(bench.picture(bench.run(base, seed, controls=[control]).latent))
    plain = detect(bench.picture(bench.run(long, seed).latent))
    made, other = right(things, steered), right(things, plain)
    return {
        "success": all(made),
        "plain_success": all(other),
        "regions_right": float(np.mean(made)),
        "plain_regions_right": float(np.mean(other)),
        "leaked": leaked(things, steered),
        "plain_leaked": leaked(things, plain),
    }


def inside(found: Found, box: Box) -> bool:
    x, y = found.centre
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def right(things: Sequence[Thing], seen: Detection) -> list[bool]:
    """Whether each box holds its object, kind and colour."""
    return [
        any(
            inside(found, box_of(thing.place)) and (found.kind, found.colour) == (thing.kind, thing.colour)
            for found in seen.objects
        )
        for thing in things
    ]


def leaked(things: Sequence[Thing], seen: Detection) -> float:
    """The share of boxes that hold an object in the colour of another region."""
    colours = {thing.colour for thing in things}
    return float(
        np.mean(
            [
                any(
                    inside(found, box_of(thing.place))
                    and found.colour != thing.colour
                    and found.colour in colours
                    for found in seen.objects
                )
                for thing in things
            ]
        )
    )


def judge_leak(bench: Bench, index: int, *, mode: str) -> Result | None:
    """One case of two halves, borders to the end, base ratio 0; None where the right half does not move."""
    rng = np.random.default_rng([index, 20271])
    left, right = things_of(rng, 2)
    other = things_of(rng, 1)[0]
    if (other.kind, other.colour) == (right.kind, right.colour):
        return None
    background = BACKGROUND_WORDS[str(rng.choice(BACKGROUNDS))]

    def picture(second: Thing, steered: bool) -> np.ndarray:
        said = [f"a {thing.colour} {thing.kind}" for thing in (left, second)]
        seed = 3000 + index
        if not steered:
            return bench.picture(
                bench.run(f"{said[0]} on the left and {said[1]} on the right, {background}", seed).latent
            )
        texts = tuple(
            RegionText(Region(f"r{n}", text, half), segment_conditioning(bench.parts, text))
            for n, (text, half) in enumerate(zip(said, HALVES, strict=True))
        )
        control = Regional(background, texts, mode=mode, base_ratio=0.0, borders=1.0)
        return bench.picture(bench.run(background, seed, controls=[control]).latent)

    shares = [moved_share(picture(right, steered), picture(other, steered)) for steered in (True, False)]
    if None in shares:
        return None
    steered, plain = (float(share) for share in shares if share is not None)
    return {
        "success": steered < MOST_LEAK,
        "plain_success": plain < MOST_LEAK,
        "median_share": steered,
        "median_plain_share": plain,
    }


def moved_share(one: np.ndarray, other: np.ndarray) -> float | None:
    """How far the left half of a picture moved, as a share of the right half; None where that stood still.
    uint8 height, width, 3."""
    moved = np.abs(one.astype(np.float64) - other).mean(axis=(0, 2))
    middle = len(moved) // 2
    own = float(moved[middle:].mean())
    return float(moved[:middle].mean()) / own if own else None


ROWS = (
    *(RowOf("regions", f"k{k}", partial(judge, k=k)) for k in range(1, MOST + 1)),
    *(RowOf("regions_scene", f"k{k}", partial(judge, k=k, says=SCENE)) for k in (2, 4)),
    *(RowOf("regions_names", f"k{k}", partial(judge, k=k, says=NAMES)) for k in (2, 4)),
    *(RowOf("regions_strict", f"k{k}", partial(judge, k=k, mode=STRICT, ratio=0.5)) for k in (2, 4)),
    *(RowOf("regions_hard", f"k{k}", partial(judge, k=k, mode=HARD)) for k in (2, 4)),
    *(RowOf("regions_leak", mode, partial(judge_leak, mode=mode)) for mode in (STRICT, OPEN)),
)

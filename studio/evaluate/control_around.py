"""Painting around a pasted picture (COW): a drawn thing on a grey canvas, the prompt tells the whole scene.

Success: the picture shows the scene, and nothing else: the pasted thing, another one at its place, the
background. Preserved: the pasted thing is still there, of its kind and colour, its centre within SHIFT. The
plain way is the prompt alone from the same seed, the pasted picture laid over it. `seam`: how far
pixels on both sides of the paste's edge differ, 0..1; `psnr_inside`: of the pasted area.
"""

from __future__ import annotations

import numpy as np

from studio.evaluate.control import Bench, Result, RowOf
from studio.evaluate.control_edit import figure
from studio.evaluate.edit_cases import SHIFT, Thing, describe, things_of
from studio.evaluate.pictures import psnr
from studio.sampling.cow import cow
from studio.sampling.guidance.cfg import cfg
from studio.scenes.detect import Detection, detect
from studio.scenes.draw import draw
from studio.scenes.world import BACKGROUNDS, PLACES, SIZES, Scene, SceneObject
from studio.values import Latent, Mask

GREY = 128
# the paste's side as a share of the canvas: the ninths beside it are free
SIDE = 3 / 8
AROUND = tuple(place for place in PLACES if place != "middle")


def case_of(index: int) -> tuple[tuple[Thing, Thing], str]:
    """The pasted thing, in the middle, another one beside it, and the background."""
    rng = np.random.default_rng([index, 20281])
    pasted, other = things_of(rng, 2)
    beside = Thing(other.kind, other.colour, str(rng.choice(AROUND)))
    return (Thing(pasted.kind, pasted.colour, "middle"), beside), str(rng.choice(BACKGROUNDS))


def canvas_of(thing: Thing, background: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey canvas with the drawn thing in its middle, uint8 [size, size, 3], and where it lies, bool."""
    side = round(size * SIDE)
    low = (size - side) // 2
    drawn = SceneObject(
        thing.kind, thing.colour, thing.pattern, "medium", "middle", 0.5, 0.5, SIZES["medium"] / SIDE
    )
    picture = np.full((size, size, 3), GREY, np.uint8)
    where = np.zeros((size, size), bool)
    where[low : low + side, low : low + side] = True
    picture[where] = draw(Scene(background, (drawn,), 5), side).reshape(-1, 3)
    return picture, where


def judge(bench: Bench, index: int) -> Result:
    """One case, with the node's default settings."""
    things, background = case_of(index)
    prompt, seed = describe(things, background), 9500 + index
    before, where = canvas_of(things[0], background, int(bench.settings["size"][0]))
    after = bench.picture(_around(bench, prompt, bench.encoded(before, seed), where))
    plain = bench.picture(bench.run(prompt, seed, sampler="euler").latent)
    laid = np.where(where[..., None], before, plain)
    made, other = detect(after), detect(laid)
    return {
        "success": told(made, things, background),
        "preserved": pasted(made, things[0]),
        "plain_success": told(other, things, background),
        "plain_preserved": pasted(other, things[0]),
        "psnr_inside": figure(psnr(before, after, where)),
        "seam": seam(after, where),
        "plain_seam": seam(laid, where),
    }


def _around(bench: Bench, prompt: str, latent: Latent, where: np.ndarray) -> Latent:
    return cow(
        bench.parts,
        bench.text(prompt),
        bench.text(""),
        latent,
        bench.schedule(),
        cfg(bench.cfg_scale),
        mask=Mask(where.astype(np.float32)),
    )


def pasted(seen: Detection, thing: Thing) -> bool:
    """Whether the pasted thing stands in the middle of the picture."""
    return any(
        (found.kind, found.colour) == (thing.kind, thing.colour)
        and max(abs(place - 0.5) for place in found.centre) <= SHIFT
        for found in seen.objects
    )


def told(seen: Detection, things: tuple[Thing, Thing], background: str) -> bool:
    """Whether a picture shows both things at their places, the background, and nothing else."""
    facts = sorted((found.kind, found.colour, found.place) for found in seen.objects)
    wanted = sorted((thing.kind, thing.colour, thing.place) for thing in things)
    return seen.background == background and facts == wanted


def seam(picture: np.ndarray, where: np.ndarray) -> float:
    """The mean difference of neighbours on both sides of the edge of `where`, 0..1 of full brightness."""
    pixels = picture.astype(np.float64) / 255
    apart = []
    for axis in (0, 1):
        crossing = np.diff(where, axis=axis)
        apart.append(np.abs(np.diff(pixels, axis=axis))[crossing])
    return float(np.concatenate(apart).mean())


ROWS = (RowOf("cow", "around", judge),)

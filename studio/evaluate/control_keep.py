"""Keeping: the look of an object that moves, and a subject put into another scene.

Look: the place word of an object changes; success means that it stands at the new place with the kind,
colour and pattern that it has in the source picture, preserved that the rest is as it was. `place`: two
objects, and the new prompt says their looks again; `unsaid_moved`, `unsaid_scene`: one object, and the new
prompt says its kind alone, so that its look can come from the picture only. Subject: a drawn object with an
odd pattern is the reference, the new prompt names only its kind, another place and another background;
success means that one thing is there, of its kind, colour and pattern, at the new place, and preserved that
the scene is the new one. The plain way is the new prompt alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from studio.controls.keep_subject import KeepSubject
from studio.controls.moved_thing import moved_thing
from studio.controls.share_kv import KeepLook
from studio.controls.sites import last_sites, vital_sites
from studio.evaluate.control import Bench, Result, RowOf
from studio.evaluate.edit_cases import (
    BACKGROUND_WORDS,
    Thing,
    describe,
    draw_case,
    edit_case,
    edit_succeeded,
    matches,
    rest_preserved,
    source_is_right,
)
from studio.scenes.detect import Detection, detect
from studio.scenes.world import BACKGROUNDS, COLOURS, KINDS, PLACES
from studio.values import Image, Latent, Mask

LAST, HALF = 1 / 6, 1 / 2  # of the blocks: the last ones leave the place free, the half holds it too
# What is kept comes over less well where each step draws new noise: the look in another scene in 8 of 12, the
# rest as it was in 8, by euler in 9 and 10 of 11.
SAMPLER = "euler"


def look(bench: Bench, index: int) -> Result | None:
    """One move of an object."""
    case = edit_case("place", index)
    seed = 1000 + index
    control = KeepLook(bench.text(case.source_prompt), last_sites(bench.sites, LAST))
    run = bench.run(case.target_prompt, seed, controls=[control], sampler=SAMPLER)
    before = detect(bench.picture(run.latents["source"]))
    if not source_is_right(case, before):
        return None
    after = detect(bench.picture(run.latent))
    plain = detect(bench.picture(bench.run(case.target_prompt, seed, sampler=SAMPLER).latent))
    return {
        "success": edit_succeeded(case, before, after),
        "preserved": rest_preserved(case, before, after),
        "plain_success": edit_succeeded(case, before, plain),
        "plain_preserved": rest_preserved(case, before, plain),
    }


def unsaid(bench: Bench, index: int, *, what: str, share: float) -> Result | None:
    """One object whose colour and pattern the new prompt leaves out; its place or its background changes."""
    case = edit_case(what, index, objects=1)
    pattern = str(np.random.default_rng([index, 20256]).choice(["solid", "striped", "dotted"]))
    thing, (ground, other) = replace(case.source[0], pattern=pattern), case.backgrounds
    goal = replace(thing, place=case.target[0].place)
    prompt = f"{unnamed(goal)}, {BACKGROUND_WORDS[other]}"
    seed = 1000 + index
    control = KeepLook(bench.text(describe([thing], ground)), last_sites(bench.sites, share))
    run = bench.run(prompt, seed, controls=[control], sampler=SAMPLER)
    before = detect(bench.picture(run.latents["source"]))
    if len(before.objects) != 1 or not matches(before.objects[0], thing) or before.background != ground:
        return None
    return _beside(bench, (run.latent, bench.run(prompt, seed, sampler=SAMPLER).latent), goal, other)


def unnamed(thing: Thing) -> str:
    """The words of a thing without its colour and pattern: "a cup on the left"."""
    return replace(thing, pattern="solid").words.replace(f"{thing.colour} ", "").replace("an ", "a ")


def subject(bench: Bench, index: int, *, move: bool = True) -> Result | None:
    """One subject in a new scene, its reference on the published schedule. `move`: it is put where the new
    prompt says before it is shown; without, it stands where it stood."""
    rng = np.random.default_rng([index, 20255])
    pattern = str(rng.choice(["striped", "dotted"]))
    kind, colour = str(rng.choice(list(KINDS))), str(rng.choice(list(COLOURS)))
    here, there = (str(place) for place in rng.choice(list(PLACES), 2, replace=False))
    ground, other = (str(name) for name in rng.choice(BACKGROUNDS, 2, replace=False))
    thing = Thing(kind, colour, here, pattern)
    picture = draw_case([thing], ground, int(bench.settings["size"][0]))
    known = detect(picture)
    if len(known.objects) != 1 or known.objects[0].kind != kind:
        return None
    goal = replace(thing, place=there)
    image, mask = Image(picture), Mask(known.objects[0].mask.astype(np.float32))
    if move:
        old, new = PLACES[here], PLACES[there]
        image, mask = moved_thing(image, mask, right=new[0] - old[0], down=new[1] - old[1])
    reference = bench.encoded(np.array(image.pixels), 11_000 + index)
    assert reference.tensor is not None
    control = KeepSubject(
        reference.tensor,
        bench.noise(reference),
        bench.text(describe([thing], ground)),
        vital_sites(bench.sites),
        mask,
        cleaner=float(bench.settings["shift"]) ** 2,
    )
    prompt = f"{unnamed(goal)}, {BACKGROUND_WORDS[other]}"
    seed = 12_000 + index
    kept, alone = (
        bench.run(prompt, seed, controls=controls, sampler=SAMPLER).latent for controls in ([control], [])
    )
    return _beside(bench, (kept, alone), goal, other)


def _beside(bench: Bench, latents: tuple[Latent, Latent], goal: Thing, ground: str) -> Result:
    """The figures of a picture with the control and of the one without."""
    kept, alone = (_kept(detect(bench.picture(latent)), goal, ground) for latent in latents)
    return {
        "success": kept[0],
        "preserved": kept[1],
        "plain_success": alone[0],
        "plain_preserved": alone[1],
        "kind_and_colour": float(kept[2]),
        "plain_kind_and_colour": float(alone[2]),
    }


def _kept(seen: Detection, goal: Thing, ground: str) -> tuple[bool, bool, bool]:
    """Whether the one thing that is there is the subject, in kind, colour, pattern and place; whether the
    scene is the new one; and whether it is the subject in kind and colour."""
    alone = seen.objects[0] if len(seen.objects) == 1 else None
    right = alone is not None and matches(alone, goal)
    like = alone is not None and (alone.kind, alone.colour, alone.place) == (
        goal.kind,
        goal.colour,
        goal.place,
    )
    return right, seen.background == ground, like


ROWS = (
    RowOf("look", "place", look),
    RowOf("look", "unsaid_moved", partial(unsaid, what="place", share=LAST)),
    RowOf("look", "unsaid_scene", partial(unsaid, what="background", share=HALF)),
    RowOf("subject", "moved", subject),
    RowOf("subject", "where_it_stood", partial(subject, move=False)),
)

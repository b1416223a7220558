"""Avoiding a colour: NAG and NASA in the same network pass, beside the negative prompt of guidance.

The prompt names no colour. The colour to avoid is that of an object in the plain picture of the seed, so the
plain run shows it by construction; success: no object has it. `guided_success`: the same with the colour as
the negative prompt of CFG alone. Preserved: the objects are of the same kinds at the same places.
`other_success` is the honest yardstick: how often the colour goes when another colour is avoided.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from studio.controls.control import AttentionControl
from studio.controls.nasa import Nasa
from studio.controls.negative import UNTIL, Nag
from studio.evaluate.control import Bench, Result, RowOf
from studio.evaluate.edit_cases import BACKGROUND_WORDS, things_of
from studio.models.words import segment_conditioning
from studio.scenes.detect import Detection, detect
from studio.scenes.world import BACKGROUNDS, COLOURS


def prompt_of(rng: np.random.Generator) -> str:
    """Two objects without colours."""
    things = things_of(rng, 2)
    named = " and ".join(thing.words.replace(f"{thing.colour} ", "").replace("an ", "a ") for thing in things)
    return f"{named}, {BACKGROUND_WORDS[str(rng.choice(BACKGROUNDS))]}"


def judge(
    bench: Bench, index: int, *, kind: Callable[..., AttentionControl], cfg_scale: float | None = None
) -> Result | None:
    """One case. `cfg_scale` 1 = the run has no negative rows at all, as with distilled models."""
    rng = np.random.default_rng([index, 20254])
    prompt, seed = prompt_of(rng), 7000 + index

    def seen(negative: str = "", controls: tuple[AttentionControl, ...] = ()) -> Detection:
        run = bench.run(prompt, seed, controls=controls, negative=negative, cfg_scale=cfg_scale)
        return detect(bench.picture(run.latent))

    def avoiding(word: str) -> Detection:
        return seen(controls=(kind(segment_conditioning(bench.parts, word)),))

    plain = seen()
    if len(plain.objects) != 2:
        return None
    colours = sorted({found.colour for found in plain.objects})
    word = str(rng.choice(colours))
    other = str(rng.choice([colour for colour in COLOURS if colour not in colours]))
    made, another = avoiding(word), avoiding(other)
    result: Result = {
        "success": not shows(made, word),
        "preserved": places(made) == places(plain),
        "other_success": float(not shows(another, word)),
    }
    if cfg_scale != 1:
        guided = seen(negative=word)
        result["guided_success"] = float(not shows(guided, word))
    return result


def shows(seen: Detection, colour: str) -> bool:
    return any(found.colour == colour for found in seen.objects)


def places(seen: Detection) -> list[tuple[str, str]]:
    return sorted((found.kind, found.place) for found in seen.objects)


ROWS = (
    RowOf("nag", "colour", partial(judge, kind=partial(Nag, end=UNTIL))),
    RowOf("nag", "colour_without_cfg", partial(judge, kind=partial(Nag, end=UNTIL), cfg_scale=1.0)),
    RowOf("nasa", "colour", partial(judge, kind=Nasa)),
)

"""What each guidance rule makes of held-out prompts, and what it costs: same prompts, same seeds, Euler.

Every picture goes the way a user's goes, with the steps, shift and size of the model's card. A figure of a
few dozen prompts tells good from broken, and calls from calls; it does not rank rules a few points apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from studio.errors import StudioError, did_you_mean
from studio.evaluate.pictures import psnr
from studio.evaluate.prompts import decoded, settings_of
from studio.models.embedded import DEFAULT
from studio.models.family import Parts, parts_of
from studio.models.loading import ModelStore
from studio.sampling import samplers, schedules
from studio.sampling.guidance.adaptive import adaptive
from studio.sampling.guidance.apg import apg
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.cfg_zero import cfg_zero
from studio.sampling.guidance.cfgpp import cfgpp
from studio.sampling.guidance.colour_place import colour_place
from studio.sampling.guidance.linear_ag import calibrate, linear_ag
from studio.sampling.guidance.perturbed import perturbed_attention
from studio.sampling.guidance.rcfg import rcfg
from studio.sampling.guidance.scorer import by_score
from studio.sampling.guidance.skip_layers import skip_layers
from studio.sampling.guidance.smoothed import smoothed_energy
from studio.sampling.guidance.w2sd import w2sd
from studio.sampling.loop import sample_run
from studio.scenes.caption import held_out_prompts
from studio.scenes.detect import detect
from studio.scenes.score import score, wilson
from studio.scenes.wanted import Wanted, coloured
from studio.values import Guidance, Latent, Sigmas, Wrap

PLAIN = "cfg"
FITTED = ("a red star on the left and a blue house on the right", "a yellow boat in the middle, by the sea")


@dataclass
class _Tally:
    """What one rule made."""

    right: int = 0
    found: int = 0
    wanted: int = 0
    forwards: int = 0
    rows: int = 0
    seconds: float = 0.0
    decibels: list[float] = field(default_factory=list)


def rules(parts: Parts, sigmas: Sigmas, size: tuple[int, int], scale: float) -> dict[str, Guidance]:
    """The rules by name, `cfg` first, as they are usually set; `scale` is the model's usual cfg_scale."""
    prompts = [parts.family.encode_text(parts, text)[0] for text in FITTED]
    negative = parts.family.encode_text(parts, "")[0]
    factors, _ = calibrate(
        parts, prompts, negative, Latent(size[0], size[1], 1, 9_000), sigmas, scale, paths=2
    )
    plain = cfg(scale)
    return {
        PLAIN: plain,
        "none (scale 1)": cfg(1.0),
        "cfg, first 40 %": cfg(scale, end=0.4),
        "cfg 8": cfg(8.0),
        "cfg 8, rescale 0.7": cfg(8.0, rescale=0.7),
        "cfg++ 0.4": cfgpp(0.4),
        "adaptive 0.991": adaptive(plain, 0.991),
        "linear_ag": linear_ag(scale, sigmas, factors),
        "apg 8": apg(8.0, 0.0, 0.0, 0.0),
        "cfg-zero*": cfg_zero(scale),
        "slg 2.8": skip_layers(plain, 2.8),
        "pag 1": perturbed_attention(plain, 1.0),
        "seg 1": smoothed_energy(plain, 1.0),
        "w2sd, first half": w2sd(plain),
        "rcfg 1.5": rcfg(1.5),
        "scorer": plain,
    }


def evaluate(
    cases: int = 24,
    *,
    only: str | None = None,
    ref: str = DEFAULT,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """One row a rule: `rule`, `n`, `all_right`, `interval`, `found` (share of the named objects), `forwards`
    and `rows` of the network a picture, `seconds` a picture, `psnr_db` to the picture of CFG.

    `only`: one rule beside `cfg`.
    """
    model = ModelStore().load(ref)
    parts, settings = parts_of(model), settings_of(model)
    size = settings["size"]
    sigmas = schedules.schedule("flow_diffusers", settings["steps"], settings["shift"])
    made = rules(parts, sigmas, size, settings["cfg_scale"])
    if only is not None:
        if only not in made:
            hint = did_you_mean(only, made) or f"Possible: {', '.join(made)}."
            raise StudioError(f"There is no guidance rule {only!r}.", hint=hint)
        made = {name: rule for name, rule in made.items() if name in (PLAIN, only)}
    tallies = {name: _Tally() for name in made}
    done = 0
    for index, (prompt, wanted, _) in enumerate(held_out_prompts(cases, seed=seed)):
        plain = None
        for name, rule in made.items():
            wraps = _steered(parts, wanted) if name == "scorer" else ()
            picture = _draw(
                parts, prompt, Latent(size[0], size[1], 1, seed + index), sigmas, rule, wraps, tallies[name]
            )
            plain = picture if name == PLAIN else plain
            _judge(tallies[name], picture, plain, wanted)
            done += 1
            if progress is not None:
                progress(done, cases * len(made))
    return [_row(name, tally, cases) for name, tally in tallies.items()]


def _steered(parts: Parts, wanted: Wanted) -> Sequence[Wrap]:
    things = coloured(wanted)
    return (by_score(parts, colour_place(things)),) if things else ()


def _draw(
    parts: Parts,
    prompt: str,
    canvas: Latent,
    sigmas: Sigmas,
    rule: Guidance,
    wraps: Sequence[Wrap],
    tally: _Tally,
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    positive, negative = (parts.family.encode_text(parts, text)[0] for text in (prompt, ""))
    begun = time.perf_counter()
    run = sample_run(parts, positive, negative, canvas, sigmas, samplers.sampler("euler"), rule, wraps=wraps)
    tally.seconds += time.perf_counter() - begun
    forwards, rows = run.calls["forwards"], run.calls["rows"]
    assert isinstance(forwards, int) and isinstance(rows, int)
    tally.forwards += forwards
    tally.rows += rows
    return decoded(parts, run.latent)


def _judge(
    tally: _Tally,
    picture: np.ndarray[Any, np.dtype[np.uint8]],
    plain: np.ndarray[Any, np.dtype[np.uint8]] | None,
    wanted: Wanted,
) -> None:
    judged = score(detect(picture), wanted)
    tally.right += judged.all_right
    tally.found += judged.found
    tally.wanted += judged.wanted
    if plain is not None and plain is not picture:
        tally.decibels.append(psnr(picture, plain))


def _row(name: str, tally: _Tally, cases: int) -> dict[str, Any]:
    return {
        "rule": name,
        "n": cases,
        "all_right": tally.right,
        "interval": [round(bound, 3) for bound in wilson(tally.right, cases)],
        "found": round(tally.found / max(tally.wanted, 1), 3),
        "forwards": round(tally.forwards / cases, 1),
        "rows": round(tally.rows / cases, 1),
        "seconds": round(tally.seconds / cases, 2),
        "psnr_db": round(float(np.mean(tally.decibels)), 1) if tally.decibels else None,
    }

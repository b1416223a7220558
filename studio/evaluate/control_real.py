"""Real pictures: exactly drawn scenes, encoded, then edited by prompt or inverted and painted again.

The plain way of an edit is painting over the encoded picture with the target prompt from the same noise
level (img2img). A round trip succeeds if the judge sees the same objects and background in the picture that
comes back; `error` is the root mean square over the latent in units of its spread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from studio.controls.control import AttentionControl
from studio.controls.force_source import ForceSource
from studio.controls.inject_qk import InjectQK
from studio.evaluate.control import Bench, Result, RowOf
from studio.evaluate.control_edit import TAU, figure, unedited
from studio.evaluate.control_regions import box_of
from studio.evaluate.edit_cases import (
    Case,
    draw_case,
    edit_case,
    edit_succeeded,
    rest_preserved,
    source_is_right,
)
from studio.evaluate.pictures import psnr, ssim
from studio.sampling import samplers, schedules
from studio.sampling.flow_edit import flow_edit
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.flowchef import flowchef
from studio.sampling.inversion import invert, inverted
from studio.sampling.lead import latent_mask
from studio.sampling.rf_inversion import rf_inversion
from studio.scenes.detect import Detection, detect
from studio.values import Latent, Mask

# Share of the steps that FlowEdit uses (33 of 50 in the paper), and its two scales; those of a model trained
# for a cfg_scale of 3, in the paper's proportion between FLUX and SD3.
SHARE = 33 / 50
SOURCE_SCALE, TARGET_SCALE = 1.5, 5.5
FLOWCHEF_STEPS = 28
METHODS = ("euler", "midpoint", "midpoint_reuse")


def judged(bench: Bench, index: int, *, what: str, method: str) -> Result | None:
    """One edit of a drawn scene."""
    case = edit_case(what, index)
    size = int(bench.settings["size"][0])
    before = draw_case(case.source, case.backgrounds[0], size)
    seen = detect(before)
    if not source_is_right(case, seen):
        return None
    latent = bench.encoded(before, 9000 + index)
    after = bench.picture(EDITS[method](bench, case, latent))
    over = schedules.from_strength(bench.schedule(), SHARE)
    plain = bench.picture(bench.run(case.target_prompt, latent.seed, latent=latent, sigmas=over).latent)
    edited, other = detect(after), detect(plain)
    outside, beside = (unedited(case, seen, found, before.shape[:2]) for found in (edited, other))
    return {
        "success": edit_succeeded(case, seen, edited),
        "preserved": rest_preserved(case, seen, edited),
        "plain_success": edit_succeeded(case, seen, other),
        "plain_preserved": rest_preserved(case, seen, other),
        "psnr_outside": figure(psnr(before, after, outside)),
        "ssim_outside": figure(ssim(before, after, outside)),
        "plain_psnr_outside": figure(psnr(before, plain, beside)),
        "plain_ssim_outside": figure(ssim(before, plain, beside)),
    }


def _flow_edit(bench: Bench, case: Case, latent: Latent) -> Latent:
    sigmas = bench.schedule()
    run = flow_edit(
        bench.parts,
        bench.text(case.source_prompt),
        bench.text(case.target_prompt),
        bench.text(""),
        latent,
        sigmas,
        n_max=round(SHARE * sigmas.steps),
        source_scale=SOURCE_SCALE,
        target_scale=TARGET_SCALE,
    )
    return run.latent


def _forced(bench: Bench, case: Case, latent: Latent) -> Latent:
    """Midpoint inversion, then the attention edit with the source on the picture's own path."""
    source = bench.text(case.source_prompt)
    path = invert(bench.parts, source, bench.text(""), latent, bench.schedule(), method="midpoint")
    controls: Sequence[AttentionControl] = (InjectQK(source, tau=TAU[case.what]), ForceSource(path))
    return bench.run(case.target_prompt, latent.seed, latent=inverted(path), controls=controls).latent


def _rf_inversion(bench: Bench, case: Case, latent: Latent) -> Latent:
    run = rf_inversion(
        bench.parts,
        bench.text(case.target_prompt),
        bench.text(""),
        latent,
        bench.schedule(),
        samplers.sampler("euler"),
        cfg(bench.cfg_scale),
    )
    return run.latent


def _flowchef(bench: Bench, case: Case, latent: Latent, masked: bool = False) -> Latent:
    """With the node's defaults, in the steps of the paper; `masked`: free where the changed thing stands
    before and after."""
    assert latent.tensor is not None
    free = free_of(case, latent.width) if masked else None
    steer = flowchef(latent, inside=latent_mask(free, latent, latent.tensor))
    sigmas = schedules.schedule(bench.settings["spacing"], FLOWCHEF_STEPS, float(bench.settings["shift"]))
    return bench.run(case.target_prompt, latent.seed, wraps=[steer], sigmas=sigmas).latent


def free_of(case: Case, size: int) -> Mask:
    """The ninths of the picture in which the changed thing stands before and after."""
    values = np.zeros((size, size), np.float32)
    for thing in (case.source[case.changed], case.target[case.changed]):
        left, top, right, bottom = (round(edge * size) for edge in box_of(thing.place))
        values[top:bottom, left:right] = 1
    return Mask(values)


EDITS: dict[str, Callable[[Bench, Case, Latent], Latent]] = {
    "flow_edit": _flow_edit,
    "invert_edit": _forced,
    "rf_inversion": _rf_inversion,
    "flowchef": _flowchef,
    "flowchef_masked": partial(_flowchef, masked=True),
}
# everywhere is free where the background changes
WITHOUT_BACKGROUND = ("flowchef_masked",)


def round_trip(bench: Bench, index: int, *, method: str) -> Result | None:
    """Picture to noise and back, led by its own prompt without guidance."""
    case = edit_case("colour", index)
    before = draw_case(case.source, case.backgrounds[0], int(bench.settings["size"][0]))
    latent = bench.encoded(before, 9000 + index)
    assert latent.tensor is not None
    seen = detect(bench.picture(latent))
    if not source_is_right(case, seen):
        return None
    source = bench.text(case.source_prompt)
    path = invert(bench.parts, source, bench.text(""), latent, bench.schedule(), method=method)
    back = bench.run(source, latent.seed, latent=inverted(path), cfg_scale=1.0, sampler=path.sampler).latent
    assert back.tensor is not None
    error = (back.tensor - latent.tensor).square().mean().sqrt() / latent.tensor.std()
    return {"success": same(seen, detect(bench.picture(back))), "error": float(error)}


def same(one: Detection, other: Detection) -> bool:
    """Whether two pictures show the same: background, and kind, colour, pattern and place of every object."""

    def facts(seen: Detection) -> list[tuple[str, str, str, str]]:
        return sorted((f.kind, f.colour, f.pattern, f.place) for f in seen.objects)

    return one.background == other.background and facts(one) == facts(other)


ROWS = (
    *(
        RowOf(method, what, partial(judged, what=what, method=method))
        for method in EDITS
        for what in ("colour", "kind", "background")
        if what != "background" or method not in WITHOUT_BACKGROUND
    ),
    *(RowOf("round_trip", method, partial(round_trip, method=method)) for method in METHODS),
)

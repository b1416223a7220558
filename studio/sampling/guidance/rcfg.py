"""Residual classifier-free guidance (arXiv 2312.12491, section 3.2): the unconditional estimate is not
computed in every step but stands still.

With a constant clean estimate r the virtual noise is (x - (1 - s) r) / s, and guidance on clean estimates is
D = r + w (c - r). Following the derivation, not the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from studio.controls.bounds import within
from studio.errors import StudioError, did_you_mean
from studio.sampling.denoiser import flow_denoised
from studio.sampling.guidance.cfg import check_scale
from studio.sampling.guidance.memory import Memory, Remembering
from studio.sampling.guidance.pair import row_of
from studio.sampling.guidance.reference import clean_picture, content, fitted
from studio.sampling.samplers import precise
from studio.values import Denoise, Guidance, Latent, Predict, Row, Step

MODES = ("picture", "first step")


def rcfg(
    cfg_scale: float = 1.5, mode: str = "first step", reference: Latent | None = None, delta: float = 1.0
) -> Guidance:
    """Guidance of strength `cfg_scale`, 0..30; up to 1 it is none (neutral), at one row a step.

    mode: "picture" takes `reference`, an encoded picture, for the unconditional estimate: no further row;
    "first step" takes the negative prompt's estimate in the first step: one further row in the run. delta:
    0..2, factor of the virtual velocity (x - r) / s.
    """
    check_scale(cfg_scale)
    within("delta", delta, 0, 2)
    if mode not in MODES:
        hint = did_you_mean(mode, MODES) or f"Possible: {', '.join(MODES)}."
        raise StudioError(f"There is no mode {mode!r}.", hint=hint, socket="mode")
    picture = None
    if mode == "picture":
        picture = clean_picture(
            reference,
            "Residual guidance from a picture needs one: the latent is missing, empty or full of noise.",
            hint='Connect Encode picture, or choose the mode "first step".',
            socket="reference",
        )

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        cond = row_of(rows, "cond")
        if cfg_scale <= 1:
            return lambda latent, step: flow_denoised(latent, predict(latent, step, (cond,))[0], step)
        kept: Memory = {} if picture is None else {0: picture}

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            if kept:
                (c,) = predict(latent, step, (cond,))
            else:
                u, c = predict(latent, step, (row_of(rows, "uncond"), cond))
                kept[0] = flow_denoised(latent, u, step)
            still = fitted(kept[0], latent, "The picture of residual guidance", socket="guidance")
            still = precise(still.to(latent.device))
            if delta != 1:
                still = precise(latent) - delta * (precise(latent) - still)
            return still + cfg_scale * (flow_denoised(latent, c, step) - still)

        return Remembering(denoise, (kept,))

    params = (
        ("cfg_scale", float(cfg_scale)),
        ("mode", mode),
        ("delta", float(delta)),
        ("picture", "" if picture is None else content(picture)),
    )
    return Guidance("rcfg", guide, params, remembers=mode == "first step" and cfg_scale > 1)

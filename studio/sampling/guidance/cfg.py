"""Classifier-free guidance (arXiv 2207.12598, eq. 6): v = u + w (c - u), both rows in one batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from studio.errors import StudioError
from studio.sampling.denoiser import flow_denoised
from studio.values import Denoise, Guidance, Predict, Row, Step

MAX_SCALE = 30.0


def cfg(cfg_scale: float = 3.0) -> Guidance:
    """Guidance of strength `cfg_scale`, 0..30; at 1 the unconditional row is not computed (neutral)."""
    if not (math.isfinite(cfg_scale) and 0 <= cfg_scale <= MAX_SCALE):
        raise StudioError(
            f"A cfg_scale of {cfg_scale} is not possible.",
            socket="cfg_scale",
            hint=f"Possible: 0 to {MAX_SCALE:g}; 1 = no guidance.",
        )

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        cond = row_of(rows, "cond")
        if cfg_scale == 1:
            return lambda latent, step: flow_denoised(latent, predict(latent, step, (cond,))[0], step)
        uncond = row_of(rows, "uncond")

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            u, c = predict(latent, step, (uncond, cond))
            return flow_denoised(latent, u + cfg_scale * (c - u), step)

        return denoise

    return Guidance("cfg", guide, (("cfg_scale", float(cfg_scale)),))


def row_of(rows: Sequence[Row], role: str) -> Row:
    """The one row of a role."""
    for row in rows:
        if row.role == role:
            return row
    raise StudioError(f"There is no {role!r} row; there are {', '.join(row.role for row in rows) or 'none'}.")

"""Embedded guidance: the number is an input of a guidance-distilled network (arXiv 2210.03142, section 3.2).

`guidance` is that number, `cfg_scale` real two-pass guidance on top of it, as FluxPipeline's `guidance_scale`
and `true_cfg_scale`; at cfg_scale 1 every step is one pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from studio.errors import StudioError
from studio.sampling.guidance.cfg import MAX_SCALE, cfg
from studio.values import Denoise, Guidance, Predict, Row

MAX_GUIDANCE = MAX_SCALE


def embedded_guidance(guidance: float = 3.5, cfg_scale: float = 1.0) -> Guidance:
    """Guidance that hands `guidance`, 0..30, to the network, in both rows where `cfg_scale` is not 1."""
    if not (math.isfinite(guidance) and 0 <= guidance <= MAX_GUIDANCE):
        raise StudioError(
            f"A guidance of {guidance} is not possible.",
            socket="guidance",
            hint=f"Possible: 0 to {MAX_GUIDANCE:g}; 3.5 is usual.",
        )
    rule = cfg(cfg_scale)

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        return rule.guide(predict, tuple(replace(row, guidance=(float(guidance),)) for row in rows))

    return Guidance("embedded", guide, (("cfg_scale", float(cfg_scale)), ("guidance", float(guidance))))

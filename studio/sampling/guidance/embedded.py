"""Embedded guidance: the number is an input of a guidance-distilled network (arXiv 2210.03142, section 3.2).

`guidance` is that number, `cfg_scale` real two-pass guidance on top of it, as FluxPipeline's `guidance_scale`
and `true_cfg_scale`; at cfg_scale 1 every step is one pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from studio.behaviour import Guide, Settings
from studio.errors import StudioError
from studio.sampling.guidance.cfg import MAX_SCALE, cfg
from studio.values import Denoise, Guidance, Predict, Row, Step

MAX_GUIDANCE = MAX_SCALE


def embedded_guidance(guidance: float = 3.5, cfg_scale: float = 1.0) -> Guidance:
    """Guidance that hands `guidance`, 0..30, to the network, in both rows where `cfg_scale` is not 1."""
    number = _checked(guidance)
    rule = cfg(cfg_scale)
    params = (("cfg_scale", float(cfg_scale)), ("guidance", number))
    return Guidance("embedded", _handed(rule, number), params)


def with_number(rule: Guidance, guidance: float) -> Guidance:
    """A rule that also hands `guidance`, 0..30, to the network in every row; in every step, where the rule
    itself may act in some only."""
    number = _checked(guidance)
    told = ("guidance", number)
    own = rule.at

    def at(step: Step) -> Settings:
        return (*(() if own is None else own(step)), told)

    made = replace(rule, guide=_handed(rule, number), params=(*rule.params, told))
    return made if own is None else replace(made, at=at)


def _handed(rule: Guidance, number: float) -> Guide:
    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        return rule.guide(predict, tuple(replace(row, guidance=(number,)) for row in rows))

    return guide


def _checked(guidance: float) -> float:
    if not (math.isfinite(guidance) and 0 <= guidance <= MAX_GUIDANCE):
        raise StudioError(
            f"A guidance of {guidance} is not possible.",
            socket="guidance",
            hint=f"Possible: 0 to {MAX_GUIDANCE:g}; 3.5 is usual.",
        )
    return float(guidance)

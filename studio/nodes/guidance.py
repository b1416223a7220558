"""Guidance rules as values."""

from __future__ import annotations

from typing import Annotated

from studio.api import Guidance, Slider, node
from studio.sampling.guidance.cfg import cfg as rule
from studio.sampling.guidance.embedded import embedded_guidance as embedded_rule


@node(group="Sampling", title="Guidance (CFG)")
def cfg(cfg_scale: Annotated[float, Slider(0, 30, 0.1)] = 3.0) -> Guidance:
    """Classifier-free guidance: how firmly the picture follows the prompt and leaves the negative prompt.

    cfg_scale: 1 = no guidance and half the work; 2 to 5 is usual; high values burn colours
    """
    return rule(cfg_scale)


@node(group="Sampling", title="Guidance (embedded)")
def embedded_guidance(
    guidance: Annotated[float, Slider(0, 30, 0.1)] = 3.5,
    cfg_scale: Annotated[float, Slider(0, 30, 0.1)] = 1.0,
) -> Guidance:
    """For models such as FLUX that take the guidance as an input: firm without a second pass.

    guidance: how firmly the picture follows the prompt; the number goes into the network
    cfg_scale: real two-pass guidance on top, with the negative prompt; 1 = none and half the work
    """
    return embedded_rule(guidance, cfg_scale)

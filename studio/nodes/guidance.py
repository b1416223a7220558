"""Guidance rules as values."""

from __future__ import annotations

from typing import Annotated

from studio.api import Guidance, Slider, node
from studio.sampling.guidance.cfg import cfg as rule


@node(group="Sampling", title="Guidance (CFG)")
def cfg(cfg_scale: Annotated[float, Slider(0, 30, 0.1)] = 3.0) -> Guidance:
    """Classifier-free guidance: how firmly the picture follows the prompt and leaves the negative prompt.

    cfg_scale: 1 = no guidance and half the work; 2 to 5 is usual; high values burn colours
    """
    return rule(cfg_scale)

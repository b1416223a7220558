"""The shift of a schedule by the size of the picture: more image tokens, more time at high noise.

The shift is e^mu, and mu lies on lines over the number of image tokens, as the pipelines of diffusers work it
out: FluxPipeline and QwenImagePipeline from their scheduler's config, Flux2Pipeline by a fit over size and
steps (`compute_empirical_mu`). Qwen-Image's stretched end of the list is left out. Needs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TOKEN = 16  # pixels of a token's side in all of these models
LEAST, MOST = 0.1, 30.0  # what Schedule takes: FLUX asks for 25 at 2048 x 2048
ENDLESS = 1_000_000_000


@dataclass(frozen=True)
class Line:
    """mu = `start` + `slope` * tokens, up to `tokens` image tokens."""

    tokens: int
    start: float
    slope: float


def line(base: float, most: float, tokens: int = 4096) -> tuple[Line, ...]:
    """From `base` at 256 tokens through `most` at `tokens`."""
    slope = (most - base) / (tokens - 256)
    return (Line(ENDLESS, base - slope * 256, slope),)


FLUX, QWEN = line(0.5, 1.15), line(0.5, 0.9, 8192)
RULES = ("flux", "qwen", "flux2")


def lines(rule: str, steps: int) -> tuple[Line, ...]:
    """The lines of a rule of `RULES` for a run of so many steps."""
    if rule == "qwen":
        return QWEN
    if rule != "flux2":
        return FLUX
    # compute_empirical_mu: between a fit at 10 steps and one at 200; beyond 4300 tokens that at 200 alone
    ten, many = (8.73809524e-05, 1.89833333), (0.00016927, 0.45666666)
    share = (steps - 200) / 190
    slope, start = (m + share * (m - t) for t, m in zip(ten, many, strict=True))
    return Line(4300, start, slope), Line(ENDLESS, many[1], many[0])


def shift_at(rule: str, width: int, height: int, steps: int) -> float:
    """The shift for a picture of so many pixels; 3 decimals, within the 0.1..30 of Schedule."""
    tokens = (width // TOKEN) * (height // TOKEN)
    found = next(one for one in lines(rule, steps) if tokens <= one.tokens)
    return round(min(max(math.exp(found.start + found.slope * tokens), LEAST), MOST), 3)

"""Weak-to-strong reflection (W2SD, arXiv 2502.00473, algorithm 1): a strong step forwards, a weak one back,
and the step again from where that led; the difference of both moves the latent towards what makes the
strong rule strong.

The pair here are two guidance rules. As an estimate for Euler: the whole way x -> x'' divided by the step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from studio.controls.bounds import window
from studio.controls.control import in_range
from studio.errors import StudioError
from studio.sampling.guidance.cfg import cfg
from studio.sampling.samplers import advance, precise, velocity
from studio.values import Denoise, Guidance, Predict, Row, Step


def w2sd(strong: Guidance, weak: Guidance | None = None, start: float = 0.0, end: float = 0.5) -> Guidance:
    """`strong`, with a reflection against `weak` (None = the prompt alone) in the steps from `start` to
    `end`; an empty range is `strong` itself. A reflected step is two more estimates: one weak, one strong.

    The last step, which ends in the clean picture, is never reflected. For the sampler euler.
    """
    window(start, end)
    weak = weak or cfg(1.0)
    if weak.only_sampler:
        raise StudioError(
            f"{weak.name!r} goes forwards only, so that it cannot be the weak rule, which goes back.",
            hint="Connect a plain Guidance (CFG) with a small scale, or nothing.",
            socket="weak",
        )

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        forwards = strong.guide(predict, rows)
        if start >= end:
            return forwards
        backwards = weak.guide(predict, rows)

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            there = forwards(latent, step)
            if step.sigma_next == 0 or not in_range(step, start, end):
                return there
            ahead = advance(latent, there, step)
            back = Step(step.index, step.total, step.sigma_next, step.sigma)
            reflected = advance(ahead, backwards(ahead, back), back)
            slope = velocity(reflected, forwards(reflected, step), step.sigma)
            again = precise(reflected) + (step.sigma_next - step.sigma) * precise(slope)
            total = (again - precise(latent)) / (step.sigma_next - step.sigma)
            return precise(latent) - step.sigma * total

        return denoise

    params = (("start", float(start)), ("end", float(end)), ("strong", repr(strong)), ("weak", repr(weak)))
    return Guidance(
        f"w2sd {strong.name}",
        guide,
        params,
        "euler" if start < end else strong.only_sampler,
        strong.perturbs or weak.perturbs,
        strong.remembers or weak.remembers,
    )

"""Rules over the pair of predictions, conditional and unconditional: what CFG and its kin share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from studio.controls.control import in_range
from studio.errors import StudioError
from studio.sampling.denoiser import flow_denoised
from studio.sampling.guidance.memory import Memory, Remembering
from studio.values import AtStep, Denoise, Guide, Predict, Row, Settings, Step

# (conditional, unconditional, step) -> velocity; picture, channel, height, width each
Combine = Callable[[torch.Tensor, torch.Tensor, Step], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Recalling:
    """A `Combine` with what it remembers of earlier steps."""

    rule: Combine
    memory: Memory

    def __call__(self, c: torch.Tensor, u: torch.Tensor, step: Step) -> torch.Tensor:
        return self.rule(c, u, step)


def row_of(rows: Sequence[Row], role: str) -> Row:
    """The one row of a role."""
    for row in rows:
        if row.role == role:
            return row
    raise StudioError(f"There is no {role!r} row; there are {', '.join(row.role for row in rows) or 'none'}.")


def pair_guide(
    combine: Callable[[], Combine], *, start: float = 0.0, end: float = 1.0, neutral: bool = False
) -> Guide:
    """A rule in the steps from `start` to `end` (shares of the run), the prompt alone elsewhere or if
    `neutral`; the unconditional row is computed where the rule acts and nowhere else.

    `combine` is called once a run and gives the rule, whose memory is then that run's own.
    """

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        cond = row_of(rows, "cond")

        def alone(latent: torch.Tensor, step: Step) -> torch.Tensor:
            return flow_denoised(latent, predict(latent, step, (cond,))[0], step)

        if neutral or start >= end:
            return alone
        uncond, rule = row_of(rows, "uncond"), combine()

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            if not in_range(step, start, end):
                return alone(latent, step)
            u, c = predict(latent, step, (uncond, cond))
            return flow_denoised(latent, rule(c, u, step), step)

        return Remembering(denoise, (rule.memory,)) if isinstance(rule, Recalling) else denoise

    return guide


def in_steps(params: Settings, start: float, end: float, *, neutral: bool = False) -> AtStep:
    """`Guidance.at` of a rule that counts in the steps from `start` to `end` and leaves the others to the
    prompt alone."""

    def at(step: Step) -> Settings:
        return () if neutral or not in_range(step, start, end) else params

    return at


def each(tensor: torch.Tensor) -> torch.Tensor:
    """Numbers of each picture, shaped so that they multiply a latent: picture -> picture, 1, 1, 1."""
    return tensor.reshape(-1, 1, 1, 1)

"""Train `assets/models/scenes-flux`: a FLUX-shaped, guidance-distilled flow transformer on drawn scenes.

    python -m studio.training.start_flux --teacher assets/models/scenes-sd3
    python -m studio.training.scenes_flux --world 2 --teacher assets/models/scenes-sd3 --stages 256g:90

The guidance number is drawn from 1 to 5, and the target is the guided velocity u + g (c - u) of a teacher
(guidance distillation, arXiv 2210.03142, stage one): of scenes-sd3, whose latents and words are the same, or
of the network's own moving average. A teacher's velocity has no noise of its own, and its tokens after each
block are matched too, which its blocks, where the student starts (`start_flux`), make easy. Without a
teacher: `--stages 64:40,128:60,256:60,256g:20`, as scenes-sd3 with the number 1, which means the conditional
velocity itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.training.recipe import Student, read_exported
from studio.training.recipe_flux import PLAIN, FluxStudent, read_flux
from studio.training.stages import Lesson, Recipe, Teach, command

STRONGEST = 5.0
# Rows with the number 1, and the true target where the network teaches itself: else it would drift.
ANCHORED = 0.25


class Teacher:
    """Targets of guided stages: see `stages.Teach`. `network` None: the student's own moving average."""

    def __init__(self, network: Student | None, compiled: bool = False) -> None:
        self.network = network
        self.compiled = torch.compile(network.observed, dynamic=False) if network and compiled else None

    def observed(self, network: Any) -> Callable[..., Any]:
        return self.compiled or network.observed

    @torch.no_grad()
    def __call__(
        self,
        average: Any,
        ids: Tensor,
        noisy: Tensor,
        sigma: Tensor,
        target: Tensor,
        generator: torch.Generator,
        kept: Tensor | None = None,
    ) -> Lesson:
        network = self.network or average
        empty = torch.zeros_like(ids[:1])
        empty[:, 0], empty[:, 1] = 1, 3
        said, unsaid = network.encode(ids), network.encode(empty)
        context, pooled = (torch.cat([a, b.expand_as(a)]) for a, b in zip(said, unsaid, strict=True))
        pair = torch.cat([noisy, noisy]), torch.cat([sigma, sigma])
        both, states = self.observed(network)(
            context, pooled, *pair, None if kept is None else torch.cat([kept, kept])
        )
        cond, uncond = both.float().chunk(2)
        drawn = torch.rand(2, len(ids), generator=generator, device=noisy.device)
        number = PLAIN + (STRONGEST - PLAIN) * drawn[0]
        number[drawn[1] < ANCHORED] = PLAIN
        guided = uncond + number[:, None, None] * (cond - uncond)
        if self.network:
            return Lesson(guided, number, [state[: len(ids)] for state in states])
        return Lesson(torch.where((number == PLAIN)[:, None, None], target, guided), number)


def teacher(name: str, device: str, compiled: bool = False) -> Teach:
    """The teacher called `self`, or the one in an exported scenes-sd3 folder."""
    if name == "self":
        return Teacher(None)
    network = Student().to(device).eval().requires_grad_(False)
    read_exported(network, Path(name))
    return Teacher(network, compiled)


RECIPE = Recipe(
    out=Path("checkpoints/scenes_flux.pt"),
    stages="256g:90",
    make=FluxStudent,
    read=read_flux,
    teacher=teacher,
)

if __name__ == "__main__":
    command(RECIPE, __doc__)

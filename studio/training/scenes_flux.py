"""Train `assets/models/scenes-flux`: a FLUX-shaped, guidance-distilled flow transformer on drawn scenes.

    python -m studio.training.scenes_flux --stages 64:40,128:60,256:60,256g:20     minutes; resumes
    python -m studio.training.scenes_flux --world 2 --warm FOLDER --teacher FOLDER     FOLDER: scenes-sd3's

The stages, the loss and the probe are those of scenes-sd3 (`studio/training/stages.py`); the guidance number
is 1 all the time, which means the conditional velocity itself. In the guided stage (256g) it is drawn from 1
to 5, and the target becomes the guided velocity u + g (c - u) of a teacher (guidance distillation, arXiv
2210.03142, stage one): of the network's own moving average, or of scenes-sd3, whose latents and words are the
same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.training.recipe import Student, read_exported
from studio.training.recipe_flux import PLAIN, FluxStudent, read_flux
from studio.training.stages import Recipe, Teach, command

STRONGEST = 5.0
# Rows that keep the number 1 and the true target, so that a network that teaches itself does not drift.
ANCHORED = 0.25


class Teacher:
    """Targets of guided stages: see `stages.Teach`. `network` None: the student's own moving average."""

    def __init__(self, network: Student | None) -> None:
        self.network = network

    @torch.no_grad()
    def __call__(
        self,
        average: Any,
        ids: Tensor,
        noisy: Tensor,
        sigma: Tensor,
        target: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """(target [batch, token, channel], guidance [batch])."""
        network = self.network or average
        empty = torch.zeros_like(ids)
        empty[:, 0], empty[:, 1] = 1, 3
        context, pooled = network.encode(torch.cat([ids, empty]))
        both = network.velocity(context, pooled, torch.cat([noisy, noisy]), torch.cat([sigma, sigma]))
        cond, uncond = both.float().chunk(2)
        number = PLAIN + (STRONGEST - PLAIN) * torch.rand(len(ids), generator=generator)
        number[torch.rand(len(ids), generator=generator) < ANCHORED] = PLAIN
        number = number.to(noisy.device)
        guided = uncond + number[:, None, None] * (cond - uncond)
        return torch.where((number == PLAIN)[:, None, None], target, guided), number


def teacher(name: str, device: str) -> Teach:
    """The teacher called `self`, or the one in an exported scenes-sd3 folder."""
    if name == "self":
        return Teacher(None)
    network = Student().to(device).eval().requires_grad_(False)
    read_exported(network, Path(name))
    return Teacher(network)


RECIPE = Recipe(
    out=Path("checkpoints/scenes_flux.pt"),
    stages="64:40,128:60,256:60,256g:20",
    make=FluxStudent,
    read=read_flux,
    teacher=teacher,
)

if __name__ == "__main__":
    command(RECIPE, __doc__)

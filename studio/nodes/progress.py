"""What nodes tell of a run while it goes on."""

from __future__ import annotations

from collections.abc import Callable

from studio.api import Context
from studio.models.family import Parts
from studio.sampling.previews import preview
from studio.values import StepResult


def telling(parts: Parts, ctx: Context, *, latents: bool = False) -> Callable[[StepResult], None]:
    """`on_step` of a run: how far it is, with a preview of its clean estimates, or of its latents."""

    def report(result: StepResult) -> None:
        step, shown = result.step, result.latent if latents else result.denoised
        ctx.step(step.index + 1, step.total, lambda: preview(parts, shown))

    return report

"""Strict numerics (sampling.md 1.6): every picture of a batch is a run of its own, so that it is bit by bit
what it is alone; a batch of another size would take other kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from studio.sampling.denoiser import Calls
from studio.values import Latent, Seen, StepResult

if TYPE_CHECKING:
    from studio.sampling.loop import Run


def one_by_one(
    canvas: Latent,
    run: Callable[[Latent, Callable[[StepResult], None] | None], Run],
    on_step: Callable[[StepResult], None] | None,
) -> Run:
    """`run(canvas, on_step)` for every picture of a canvas, and all of them as one run; steps are counted
    through."""
    pictures = enumerate(singles(canvas))
    return joined(canvas, [run(one, counted(on_step, k, canvas.batch)) for k, one in pictures])


def singles(canvas: Latent) -> list[Latent]:
    """Every picture of a batch as a canvas of its own."""
    tensor = canvas.tensor
    return [
        replace(
            canvas,
            batch=1,
            seed=canvas.seed + k,
            source=None,
            tensor=None if tensor is None else tensor[k : k + 1],
        )
        for k in range(canvas.batch)
    ]


def counted(
    on_step: Callable[[StepResult], None] | None, picture: int, pictures: int
) -> Callable[[StepResult], None] | None:
    """`on_step` as the steps of all pictures see it, for one of them."""
    if on_step is None:
        return None

    def told(result: StepResult) -> None:
        step = result.step
        index, total = step.index + picture * step.total, step.total * pictures
        on_step(replace(result, step=replace(step, index=index, total=total)))

    return told


def joined(canvas: Latent, runs: Sequence[Run]) -> Run:
    """Runs of the pictures of a batch as one."""
    first, calls = runs[0], Calls()
    for run in runs:
        calls.take(run.calls)
    latents = {
        role: canvas.with_tensor(torch.cat([_tensor(run.latents[role]) for run in runs]), own.family)
        for role, own in first.latents.items()
    }
    maps = tuple(
        replace(same[0], values=torch.cat([one.values for one in same]))
        for same in zip(*(run.seen.maps for run in runs), strict=True)
    )
    estimates = tuple(
        replace(same[0], latent=torch.cat([one.latent for one in same]))
        for same in zip(*(run.seen.estimates for run in runs), strict=True)
    )
    return replace(
        first,
        latents=latents,
        seen=Seen(maps, estimates),
        report=_reports([run.report for run in runs]),
        calls=calls.as_json(),
        resumed=min(run.resumed for run in runs),
    )


def _reports(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the first told, with the decisions of every picture under its number."""
    told = dict(reports[0])
    if "followers" in told:
        told["followers"] = [
            {**follower, "pictures": {str(k): one["pictures"]["0"] for k, one in enumerate(same)}}
            if "pictures" in follower
            else follower
            for follower, same in zip(
                told["followers"], zip(*(report["followers"] for report in reports), strict=True), strict=True
            )
        ]
    return told


def _tensor(latent: Latent) -> torch.Tensor:
    assert latent.tensor is not None
    return latent.tensor

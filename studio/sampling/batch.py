"""Several runs of one shape in one batch (sampling.md 10.2), each with its own prompts, canvas, seed, noise.

Within 1e-6 a call of what each is alone, since a batch of another size takes other kernels. Guidance and step
caches decide picture by picture as ever; what looks at a whole run at once is not batched (`key_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from studio.controls.control import AttentionControl
from studio.models.family import Parts
from studio.sampling.controlled import attached_controls, check_sampler
from studio.sampling.denoiser import Calls, make_predict
from studio.sampling.loop import Run, check_finite, check_flow, keep, start_latent, step_noise
from studio.sampling.samplers import run_sampler, steps_of
from studio.sampling.trajectories import TARGET, Trajectories
from studio.values import (
    Attachment,
    Conditioning,
    Guidance,
    Latent,
    Row,
    Sampler,
    Sigmas,
    StepResult,
    Wrap,
)

MOST = 4
"""Runs made together at once: beyond it a step gets longer and nothing faster on a CPU."""


@dataclass(frozen=True, eq=False)
class Item:
    """One run of a batch. `on_step` sees its own share of every step and may raise to leave."""

    positive: Conditioning
    negative: Conditioning
    canvas: Latent
    on_step: Callable[[StepResult], None] | None = None


@dataclass(frozen=True, eq=False)
class SideBySide(Trajectories):
    """Items one after the other, `batch` pictures each; the network's rows are told apart as pictures of one
    batch are."""

    items: tuple[Item, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(f"item{number}" for number in range(len(self.items)))

    def network_roles(self, rows: Sequence[Row]) -> tuple[str, ...]:
        pictures = len(self.items) * self.batch
        return tuple(f"{row.role}:{k}" for row in rows for k in range(pictures))

    def both(self) -> tuple[Row, Row]:
        """The rows of guidance with the conditionings of every item."""
        sides = (("uncond", [i.negative for i in self.items]), ("cond", [i.positive for i in self.items]))
        uncond, cond = (Row(every[0], role, tuple(every[1:])) for role, every in sides)
        return uncond, cond


class _LeftError(Exception):
    """Items left after a step; the others go on from there."""

    def __init__(self, result: StepResult) -> None:
        self.result = result


@dataclass(eq=False)
class _Going:
    """The items that still go, by their numbers, and where they are."""

    numbers: list[int]
    latent: torch.Tensor
    resume: tuple[int, torch.Tensor, tuple[torch.Tensor, ...]] | None = None
    gone: set[int] = field(default_factory=set)


def key_of(
    model: str,
    canvas: Latent,
    positive: Conditioning,
    negative: Conditioning,
    sigmas: Sigmas,
    sampler: Sampler,
    guidance: Guidance,
    wraps: Sequence[Wrap],
    attachments: Sequence[Attachment | AttentionControl],
) -> tuple[object, ...] | None:
    """Runs of equal keys can be made together; None for one that must be alone. `model`: digest of the
    weights."""
    if wraps or guidance.perturbs or sigmas.steps == 0:
        return None
    if any(isinstance(one, AttentionControl) or one.at is None for one in attachments):
        return None
    texts = tuple((tuple(c.embeds.shape), c.pooled is None) for c in (positive, negative))
    start = None if canvas.tensor is None else (canvas.family, tuple(canvas.tensor.shape), canvas.sigma)
    size = (canvas.width, canvas.height, canvas.batch)
    return (model, size, start, texts, sigmas.values, sampler, guidance, tuple(attachments))


def sample_batch(
    parts: Parts,
    items: Sequence[Item],
    sigmas: Sigmas,
    sampler: Sampler,
    guidance: Guidance,
    *,
    attachments: Sequence[Attachment] = (),
    left: Callable[[int, BaseException], None] | None = None,
) -> list[Run | BaseException]:
    """The run of every item, or what its `on_step` raised; all of one shape (`key_of`).

    An item that leaves makes the batch smaller, unless something in the run remembers its rows. `left` hears
    of it at once: number and error.
    """
    check_flow(parts, sigmas)
    check_sampler(guidance.name, guidance.only_sampler, sampler.name)
    out: list[Run | BaseException] = [RuntimeError("not made")] * len(items)
    calls, steps = Calls(), tuple(steps_of(sigmas))
    with torch.inference_mode(), ExitStack() as stack:
        starts = [start_latent(parts, item.canvas, sigmas) for item in items]
        pictures = starts[0].shape[0]
        controlled = stack.enter_context(
            attached_controls(parts, attachments, steps, pictures * len(items), sampler=sampler.name)
        )
        shrinks = not guidance.remembers and not controlled.followers
        going = _Going(list(range(len(items))), torch.cat(starts))
        while going.numbers:
            beside = SideBySide(batch=pictures, items=tuple(items[n] for n in going.numbers))
            predict = make_predict(parts, controlled.around, beside, calls)
            noises = [step_noise(starts[n], items[n].canvas.seed) for n in going.numbers]

            def told(result: StepResult, beside: SideBySide = beside, going: _Going = going) -> None:
                _tell(result, beside, going, out, left)
                over = result.step.index + 1 >= min(sampler.stop_after or len(steps), len(steps))
                if not over and (len(going.gone) == len(going.numbers) or (going.gone and shrinks)):
                    raise _LeftError(result)

            try:
                final = run_sampler(
                    sampler,
                    guidance.guide(predict, beside.both()),
                    going.latent,
                    sigmas,
                    noise=lambda purpose, i, noises=noises: torch.cat([one(purpose, i) for one in noises]),
                    on_step=told,
                    resume=going.resume,
                )
            except _LeftError as stop:
                going = _smaller(going, stop.result, pictures)
                continue
            check_finite(final)
            report: dict[str, Any] = controlled.report()
            for number, piece in zip(going.numbers, final.split(pictures), strict=True):
                if number not in going.gone:
                    latents = {TARGET: keep(items[number].canvas, piece, parts)}
                    out[number] = Run(latents, report=_own(report, number, pictures), calls=calls.as_json())
            break
    return out


def _tell(
    result: StepResult,
    beside: SideBySide,
    going: _Going,
    out: list[Run | BaseException],
    left: Callable[[int, BaseException], None] | None,
) -> None:
    """Hand every item its share of a step, and see who leaves."""
    latents, estimates = (t.split(beside.batch) for t in (result.latent, result.denoised))
    for number, latent, denoised in zip(going.numbers, latents, estimates, strict=True):
        on_step = beside.items[going.numbers.index(number)].on_step
        if number in going.gone or on_step is None:
            continue
        try:
            on_step(replace(result, latent=latent, denoised=denoised, memory=()))
        except Exception as error:  # noqa: BLE001 - whatever one item raises, the others go on
            going.gone.add(number)
            out[number] = error
            if left is not None:
                left(number, error)


def _smaller(going: _Going, result: StepResult, pictures: int) -> _Going:
    """The batch without those that left, where it stands."""
    stay = [place for place, number in enumerate(going.numbers) if number not in going.gone]
    rows = [place * pictures + k for place in stay for k in range(pictures)]
    latent = result.latent[rows]
    memory = tuple(item[rows] for item in result.memory)
    resume = (result.step.index + 1, latent, memory)
    return _Going([going.numbers[place] for place in stay], latent, resume)


def _own(report: dict[str, Any], number: int, pictures: int) -> dict[str, Any]:
    """What followers told, with the pictures of one item alone, numbered from 0."""
    told = dict(report)
    if "followers" in told:
        own = range(number * pictures, (number + 1) * pictures)
        told["followers"] = [
            {
                **follower,
                "pictures": {
                    str(k - own.start): follower["pictures"][str(k)]
                    for k in own
                    if str(k) in follower.get("pictures", {})
                },
            }
            for follower in told["followers"]
        ]
    return told

"""A schedule found for a model: BOSS on some runs, then evolution, checked by running it, and never worse
than the plain one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch

from studio.errors import StudioError
from studio.models.family import Parts
from studio.sampling.loop import sample_latent, start_latent
from studio.sampling.samplers import sampler
from studio.sampling.search.boss import cheapest, chosen, even_levels, jump_costs, total_cost
from studio.sampling.search.evolution import Levels, evolve
from studio.values import Conditioning, Guidance, Latent, Sigmas, StepResult

Tick = Callable[[StepResult], None]
MOST_FINE = 200
CHILDREN = 4


@dataclass(frozen=True)
class Case:
    """What one or several pictures (the latent's batch) are searched on: prompts and a canvas."""

    positive: Conditioning
    negative: Conditioning
    latent: Latent


@dataclass(frozen=True)
class Found:
    """A schedule, and what it is worth. Errors: mean squared distance of the final latent to that of the fine
    run, per element; `held_out` ones of `sigmas` and the plain list on cases that took no part in the search,
    None without any.

    `found` is False where no list ran better than the plain one on the cases of the search: then `sigmas` is
    the plain one. `evolved_error`: of what evolution made of BOSS's list. `cost`, `even_cost`: what BOSS
    minimises, of its list and of evenly taken levels.
    """

    sigmas: Sigmas
    found: bool
    fine: int
    cost: float
    even_cost: float
    boss_error: float
    evolved_error: float
    plain_error: float
    held_out_error: float | None = None
    held_out_plain_error: float | None = None

    @property
    def gain(self) -> float | None:
        """By which share the error fell on the held-out cases, or on those of the search if there are
        none."""
        now, before = min(self.evolved_error, self.plain_error), self.plain_error
        if self.held_out_error is not None and self.held_out_plain_error is not None:
            now, before = self.held_out_error, self.held_out_plain_error
        return None if before == 0 else 1 - now / before


def find_schedule(
    parts: Parts,
    cases: Sequence[Case],
    guidance: Guidance,
    fine: Sigmas,
    plain: Sigmas,
    *,
    held_out: Sequence[Case] = (),
    generations: int = 0,
    children: int = CHILDREN,
    on_step: Callable[[int, int], None] | None = None,
) -> Found:
    """Search a list of `plain.steps` Euler steps among the levels of `fine` on the cases.

    plain: what it must beat. generations: of `children` lists each, every one of which is run on all cases;
    0 = BOSS alone. `on_step(i, total)` is called after every step of a run, total as `calls_of` says, and may
    raise to stop.
    """
    if not cases:
        raise StudioError("There is nothing to search on.", hint="Give at least one picture.")
    if not plain.steps <= fine.steps <= MOST_FINE:
        raise StudioError(
            f"A fine run of {fine.steps} steps is not possible.",
            socket="fine",
            hint=f"Possible: from the {plain.steps} steps that are wanted to {MOST_FINE}.",
        )
    total, steps = calls_of(fine, plain, len(cases), len(held_out), generations * children), count(1)

    def tick(_: StepResult) -> None:
        if on_step is not None:
            on_step(min(next(steps), total), total)

    runs = [_fine_run(parts, case, guidance, fine, tick) for case in cases]
    costs = np.mean([jump_costs(latents, fine) for latents in runs], axis=0)
    levels = cheapest(costs, plain.steps)
    ends = [latents[-1] for latents in runs]

    def score(levels: Levels) -> float:
        return _error(parts, cases, guidance, chosen(fine, levels), ends, tick)

    error, plain_error = score(levels), _error(parts, cases, guidance, plain, ends, tick)
    evolved, evolved_error = levels, error
    if generations:
        first = {levels: error}
        evolved, evolved_error = evolve(
            lambda tried: first[tried] if tried in first else score(tried),
            [levels],
            generations=generations,
            children=children,
        )
    better = evolved_error < plain_error
    name = "boss" if evolved == levels else "evolved"
    best = chosen(fine, evolved, name) if better else plain
    held: tuple[float | None, float | None] = (None, None)
    if held_out:
        ends = [_fine_run(parts, case, guidance, fine, tick)[-1] for case in held_out]
        before = _error(parts, held_out, guidance, plain, ends, tick)
        now = _error(parts, held_out, guidance, best, ends, tick) if better else before
        held = now, before
    return Found(
        best,
        better,
        fine.steps,
        total_cost(costs, levels),
        total_cost(costs, even_levels(fine.steps, plain.steps)),
        error,
        evolved_error,
        plain_error,
        *held,
    )


def calls_of(fine: Sigmas, plain: Sigmas, cases: int, held_out: int = 0, tried: int = 0) -> int:
    """How many steps a search takes at most; `tried`: generations times children."""
    return (cases + held_out) * (fine.steps + 2 * plain.steps) + cases * tried * plain.steps


def _fine_run(parts: Parts, case: Case, guidance: Guidance, fine: Sigmas, tick: Tick) -> list[torch.Tensor]:
    with torch.inference_mode():
        latents = [start_latent(parts, case.latent, fine)]

    def keep(result: StepResult) -> None:
        latents.append(result.latent)
        tick(result)

    sample_latent(
        parts, case.positive, case.negative, case.latent, fine, sampler("euler"), guidance, on_step=keep
    )
    return latents


def _error(
    parts: Parts,
    cases: Sequence[Case],
    guidance: Guidance,
    sigmas: Sigmas,
    ends: Sequence[torch.Tensor],
    tick: Tick,
) -> float:
    """Mean squared distance of the runs' ends to those given."""
    found = []
    for case, end in zip(cases, ends, strict=True):
        made = sample_latent(
            parts,
            case.positive,
            case.negative,
            case.latent,
            sigmas,
            sampler("euler"),
            guidance,
            on_step=tick,
        ).tensor
        assert made is not None
        found.append(float(((made.double() - end.double().to(made.device)) ** 2).mean()))
    return float(np.mean(found))

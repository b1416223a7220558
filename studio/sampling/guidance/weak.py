"""Guidance away from a weaker network: what skip-layer, perturbed-attention and smoothed-energy guidance
share (arXiv 2406.02507 for the idea).

v <- v + scale (c - c_weak): `c` is the prompt's own prediction, `c_weak` that of the same row while the
network is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from studio.controls.bounds import window, within
from studio.controls.control import AttentionControl, in_range
from studio.errors import StudioError
from studio.models.family import Site, adapter_for
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.memory import Remembering
from studio.sampling.guidance.pair import row_of
from studio.sampling.samplers import precise
from studio.values import Around, Denoise, Guidance, Keeping, Predict, Row, Setting, Settings, Step

MOST_SCALE = 10.0
# Blocks that suit where nobody named some: as deep as 7, 8 and 9 of the 24 of SD3.5 medium.
FROM, TO, OF = 7, 10, 24


def away_from(
    name: str,
    guidance: Guidance | None,
    around: Around,
    scale: float,
    start: float,
    end: float,
    params: tuple[tuple[str, Setting], ...],
    acts: Callable[[Step, float, float], bool] = in_range,
) -> Guidance:
    """`guidance` (None = the prompt alone) moved away from the network that `around` makes, in the steps from
    `start` to `end` (shares of the run; `acts` tells which these are): one further call of one row in each.

    Scale 0 and an empty range are `guidance` itself.
    """
    window(start, end)
    within("scale", scale, 0, MOST_SCALE)
    inner = guidance or cfg(1.0)
    if scale == 0 or start >= end:
        return inner

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        seen: dict[str, tuple[Row, torch.Tensor]] = {}
        weak: dict[int, Row] = {}  # one for each row that the inner rule asks, so that texts are kept
        now: list[torch.Tensor] = []

        def watched(latent: torch.Tensor, step: Step, asked: Sequence[Row]) -> tuple[torch.Tensor, ...]:
            found = predict(latent, step, asked)
            if latent is now[0]:
                for row, one in zip(asked, found, strict=True):
                    if row.around is None:
                        seen.setdefault(row.role, (row, one))
            return found

        rule = inner.guide(watched, rows)

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            now[:] = [latent]
            seen.clear()
            guided = rule(latent, step)
            if not acts(step, start, end):
                return guided
            row, c = seen.get("cond") or _alone(predict, latent, step, row_of(rows, "cond"))
            if id(row) not in weak:
                weak[id(row)] = replace(row, role="weak", around=around)
            (bad,) = predict(latent, step, (weak[id(row)],))
            return precise(guided) - step.sigma * scale * (precise(c) - precise(bad))

        return Remembering(denoise, (), (rule,)) if isinstance(rule, Keeping) else denoise

    def at(step: Step) -> Settings:
        own = inner.at(step) if inner.at is not None else (("guidance", repr(inner)),)
        return (*own, ("weak", name), *params, ("scale", scale)) if acts(step, start, end) else own

    given = (("scale", float(scale)), ("start", float(start)), ("end", float(end)))
    return Guidance(
        f"{name} {inner.name}",
        guide,
        (*params, *given, ("guidance", repr(inner))),
        inner.only_sampler,
        perturbs=True,
        remembers=inner.remembers,
        at=at,
    )


def _alone(predict: Predict, latent: torch.Tensor, step: Step, cond: Row) -> tuple[Row, torch.Tensor]:
    return cond, predict(latent, step, (cond,))[0]


def chosen_blocks(name: str, blocks: Sequence[int], sites: Sequence[Site]) -> tuple[Site, ...]:
    """The joint sites with these numbers; none named = those that suit. StudioError for one
    that the network lacks."""
    joint = [site for site in sites if site.joint]
    strange = [block for block in blocks if not 0 <= block < len(joint)]
    if strange:
        raise StudioError(
            f"{name} is set to block {strange[0]}, which this network does not have.",
            hint=f"It has the blocks 0 to {len(joint) - 1}; leave the field empty for those that suit.",
            socket="blocks",
        )
    if len(set(blocks)) >= len(joint):
        raise StudioError(
            f"{name} is set to all {len(joint)} blocks of this network, so that nothing would be left of it.",
            hint="Name some of them, or leave the field empty for those that suit.",
            socket="blocks",
        )
    first = FROM * len(joint) // OF
    usual = range(first, max(-(-TO * len(joint) // OF), first + 1))
    return tuple(joint[block] for block in sorted(set(blocks)) or usual)


def attention_changed(
    name: str, blocks: Sequence[int], control: Callable[[tuple[int, ...], tuple[str, ...]], AttentionControl]
) -> Around:
    """A network whose attention one control changes, for one forward: `control(sites, roles)` of the numbers
    of the chosen blocks and the roles of the call's rows."""

    @contextmanager
    def around(network: object, step: Step, roles: tuple[str, ...]) -> Iterator[None]:
        from studio.controls.attach import attach  # brings diffusers, which takes seconds to load

        assert isinstance(network, torch.nn.Module)
        adapter = adapter_for(network)
        sites = tuple(site.index for site in chosen_blocks(name, blocks, adapter.sites(network)))
        own = tuple(dict.fromkeys(role.partition(":")[0] for role in roles))
        with (
            attach(network, [control(sites, own)], adapter, steps=(step,), roles=roles) as attached,
            attached.call(step, roles),
        ):
            yield

    return around

"""The step cache as an attachment, and the published caches as settings of it (sampling.md 4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from studio.blocks.gates import Drift, FixedSteps, Interval, Limits
from studio.blocks.hooks import taken_over
from studio.blocks.parts import Part, StepCache
from studio.blocks.session import Session
from studio.blocks.stack import blocks_of
from studio.errors import StudioError
from studio.values import Attachment


def attachment(cache: StepCache) -> Attachment:
    """The cache for the `attachments` of a run; its `with` block gives a `Session`, or None where the cache
    is neutral and nothing is attached."""

    @contextmanager
    def attach(network: object) -> Iterator[Session | None]:
        assert isinstance(network, torch.nn.Module)
        if cache.is_neutral():
            yield None
            return
        blocks = blocks_of(network)
        session = Session(blocks, cache)
        modules = [network.get_submodule(block.name) for block in blocks]
        with taken_over(network, modules, session.around):
            yield session

    return Attachment("step_cache", attach, (("cache", repr(cache)),), cache.acting)


def first_block(
    tau: float = 0.08, *, order: int = 0, form: str = "newton", limits: Limits | None = None
) -> StepCache:
    """FirstBlockCache (ParaAttention), DBCache F1B0: all blocks but the first, while its residual stays."""
    part = Part(Drift(tau), 1, -1, order, form, limits=limits or Limits(warm=1))
    return StepCache("first block", (part,))


def confident_taylor(
    tau: float = 0.1, *, order: int = 1, form: str = "newton", limits: Limits | None = None
) -> StepCache:
    """Confidence-Gated Taylor: as above, while the first block does what was forecast for it."""
    part = Part(Drift(tau, forecast=True), 1, -1, order, form, limits=limits or Limits(warm=3))
    return StepCache("confidence", (part,))


def taylor(
    every: int = 3,
    *,
    growth: float = 0.0,
    order: int = 1,
    form: str = "newton",
    axis: str = "step",
    limits: Limits | None = None,
) -> StepCache:
    """TaylorSeer (arXiv 2503.06923) on one residual in place of every module's: one full step in `every`,
    with `growth` ever fewer."""
    part = Part(Interval(every, growth), 0, -1, order, form, axis, limits or Limits(warm=3))
    return StepCache("taylor", (part,))


def delta_dit(every: int = 2, *, boundary: float = 0.5, limits: Limits | None = None) -> StepCache:
    """Delta-DiT (arXiv 2406.01125): before `boundary`, a share of the steps, the rear half of the blocks is
    kept (outlines come from the front), after it the front half (details come from the rear)."""
    limits = limits or Limits(warm=1)
    rear = Part(Interval(every), 0.5, -1, 0, limits=limits, end=boundary)
    front = Part(Interval(every), 0, 0.5, 0, limits=limits, start=boundary)
    return StepCache("delta", (rear, front), mild=True)


def fixed_steps(
    full: Sequence[int] | None, *, order: int = 1, form: str = "newton", axis: str = "step"
) -> StepCache:
    """These steps in full, by index from 0, all others skipped; None = no cache. The first one is always."""
    if full is not None and any(index < 0 for index in full):
        raise StudioError("Steps are numbered from 1.", hint="For example: 1-3, 6, 9.", socket="full_steps")
    kept = None if full is None else tuple(sorted(set(full)))
    part = Part(FixedSteps(kept), 0, -1, order, form, axis, Limits(warm=1))
    return StepCache("fixed steps", (part,))

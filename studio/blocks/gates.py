"""When a step cache may skip: gates, and limits that hold for all of them (sampling.md 4.2)."""

from __future__ import annotations

from dataclasses import dataclass

from studio.errors import StudioError


@dataclass(frozen=True)
class Interval:
    """One full step in `every` (TaylorSeer arXiv 2503.06923, PAB); 1 = none is skipped.

    `growth` 0..1: from the t-th step on one in `growth` * t where that is more: what happens early decides
    the picture, and features move ever less.
    """

    every: int = 3
    growth: float = 0.0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise StudioError(
                f"One full step in {self.every} is not possible.",
                hint="Take 1 (no cache) or more.",
                socket="every",
            )
        if not 0 <= self.growth <= 1:
            raise StudioError(
                f"A growth of {self.growth} is not possible.", hint="Possible: 0 to 1.", socket="growth"
            )

    def distance(self, full: int) -> int:
        """How far the next full step is from the one of this index."""
        return max(self.every, round(self.growth * (full + 1))) if self.every > 1 else 1


@dataclass(frozen=True)
class Drift:
    """Skip while the block before the range does nearly what it did: mean|r - r'| / mean|r'| < tau, r its
    residual now, r' the one of the last full step (FirstBlockCache) or, with `forecast`, the one expected now
    (Confidence-Gated Taylor). 0 = none is skipped."""

    tau: float = 0.1
    forecast: bool = False

    def __post_init__(self) -> None:
        if not self.tau >= 0:
            raise StudioError(
                f"A tolerance of {self.tau} is not possible.",
                hint="Take 0 (no cache) or more.",
                socket="tolerance",
            )


@dataclass(frozen=True)
class FixedSteps:
    """The steps that run in full, by index from 0; all others are skipped (static masks, BAC schedules,
    replays). None = all run in full."""

    full: tuple[int, ...] | None = None


Gate = Interval | Drift | FixedSteps


@dataclass(frozen=True)
class Limits:
    """`warm` first and `last` last steps are full; at most `most` skips in a row (0 = any number); `budget`
    for the sum of drifts since the last full step (0 = none; gates that measure a drift)."""

    warm: int = 3
    last: int = 0
    most: int = 0
    budget: float = 0.0


def never(gate: Gate) -> bool:
    """Whether a gate skips nothing at all."""
    if isinstance(gate, Interval):
        return gate.every == 1
    if isinstance(gate, Drift):
        return gate.tau == 0
    return gate.full is None

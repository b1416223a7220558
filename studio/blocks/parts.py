"""What a step cache is made of: block range, predictor, gate, limits, and the steps where it is at work."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from studio.blocks.forecast import FORMS, MOST_ORDER
from studio.blocks.gates import Drift, FixedSteps, Gate, Interval, Limits, never
from studio.errors import StudioError, did_you_mean
from studio.values import Settings, Step

FEW_STEPS = 4
AXES = ("step", "sigma")
# a block by number (negative from the end), or a share of the depth
Depth = int | float


@dataclass(frozen=True)
class Part:
    """Blocks `first`..`last` (both in it; a float is a share of the depth, and `last` then the end) at the
    steps of [start, end), shares of the run.

    `order` 0..2 and `form` (newton, taylor) say how the range's residual is forecast, `axis` whether over
    step numbers or noise levels.
    """

    gate: Gate = field(default_factory=Interval)
    first: Depth = 0
    last: Depth = -1
    order: int = 1
    form: str = "newton"
    axis: str = "step"
    limits: Limits = field(default_factory=Limits)
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if self.order not in range(MOST_ORDER + 1):
            raise StudioError(
                f"An order of {self.order} is not possible.", hint="Possible: 0, 1 and 2.", socket="order"
            )
        for what, given, known in (("predictor", self.form, FORMS), ("axis", self.axis, AXES)):
            if given not in known:
                raise StudioError(
                    f"There is no {what} {given!r}.",
                    hint=did_you_mean(given, known) or f"Possible: {', '.join(known)}.",
                    socket=what,
                )

    def range(self, count: int) -> tuple[int, int]:
        """(first, last) block of a network of `count`; StudioError where it has no such blocks."""
        first = _number(self.first, count)
        last = _number(self.last, count) - isinstance(self.last, float)
        lowest = 1 if self.probes else 0
        if not lowest <= first <= last < count:
            needs = ", and this gate needs the block before them" if self.probes else ""
            raise StudioError(
                f"Blocks {self.first} to {self.last} are not in a network of {count} blocks{needs}.",
                hint=f"Blocks are numbered from 0 to {count - 1}.",
                socket="blocks",
            )
        return first, last

    @property
    def probes(self) -> bool:
        """Whether the gate looks at the block before the range."""
        return isinstance(self.gate, Drift)

    def at(self, step: Step) -> float:
        """Where a step lies on the axis of the forecast."""
        return float(step.index) if self.axis == "step" else -step.sigma

    def works(self, step: Step) -> bool:
        """Whether the step lies in [start, end) (sampling.md 1.4)."""
        begin, end = (math.floor(share * step.total + 1e-9) for share in (self.start, self.end))
        return begin <= step.index < end

    def acting(self, step: Step) -> Settings:
        """What of it counts at a step: () where it is not at work."""
        if not self.works(step) or never(self.gate):
            return ()
        gate, limits = self.gate, self.limits
        full = step.index < limits.warm or step.index >= step.total - limits.last
        if isinstance(gate, FixedSteps):
            full = full or gate.full is None or step.index in gate.full
            decides = "skip"
        else:
            decides = repr((gate, limits.most, limits.budget))
        kind = (type(gate).__name__, isinstance(gate, Drift) and gate.forecast)
        shape = (("range", (self.first, self.last)), ("order", self.order), ("form", self.form))
        return (*shape, ("axis", self.axis), ("gate", kind), ("decides", "full" if full else decides))


@dataclass(frozen=True)
class StepCache:
    """Parts that never work on one block at one step. `mild`: it may be used in runs of up to four steps."""

    name: str
    parts: tuple[Part, ...]
    mild: bool = False

    def is_neutral(self) -> bool:
        """Whether it can never skip anything."""
        return all(never(part.gate) or part.start >= part.end for part in self.parts)

    def acting(self, step: Step) -> Settings:
        """What of its parts counts at a step, by their numbers; () = nothing."""
        found = ((f"part {number}", part.acting(step)) for number, part in enumerate(self.parts))
        return tuple((name, acting) for name, acting in found if acting)

    def ranges(self, count: int) -> tuple[tuple[int, int], ...]:
        """The block range of every part; StudioError where two would meet."""
        found = [part.range(count) for part in self.parts]
        for i, (one, (a, b)) in enumerate(zip(self.parts, found, strict=True)):
            for other, (c, d) in zip(self.parts[i + 1 :], found[i + 1 :], strict=True):
                apart = one.end <= other.start or other.end <= one.start
                if not apart and a - one.probes <= d and c - other.probes <= b:
                    raise StudioError(
                        f"Two parts of {self.name!r} meet: blocks {a} to {b} and {c} to {d}.",
                        hint="Give them other blocks or other steps.",
                        socket="blocks",
                    )
        return tuple(found)


def check_steps(total: int, mild: bool) -> None:
    """StudioError for a run that is too short for a cache (sampling.md 4.3, rule 4)."""
    if total <= FEW_STEPS and not mild:
        raise StudioError(
            f"A step cache does not fit a run of {total} steps: neighbouring steps differ too much.",
            hint=f"Take more than {FEW_STEPS} steps, the mode 'delta' with warm 1, or no cache.",
            socket="attachments",
        )


def _number(depth: Depth, count: int) -> int:
    if isinstance(depth, float):
        return round(depth * count)
    return depth + count if depth < 0 else depth

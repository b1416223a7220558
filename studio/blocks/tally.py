"""What a step cache did in a run, for the record of the picture."""

from __future__ import annotations

import statistics
from typing import Any

from studio.values import Step

NONE = "The step cache skipped no step of this run."
NOT_LET = (
    "The step cache skipped no step of this run: those that it would have skipped are needed in full by what "
    "looks at the run or steers it."
)


class Tally:
    """Counts calls, decisions and errors; `blocks`: how many the network has."""

    def __init__(self, name: str, blocks: int) -> None:
        self.name = name
        self.blocks = blocks
        self._steps = 0
        self._decisions: dict[str, dict[int, bool]] = {}
        self._errors: list[float] = []
        self._held = 0
        # (seconds, share of the work done) of every call
        self._calls: list[tuple[float, float]] = []

    def decided(self, picture: str, step: Step, skip: bool) -> None:
        """A picture's decision; a step with several counts as skipped if any of them is."""
        self._steps = step.total
        known = self._decisions.setdefault(picture, {})
        known[step.index] = known.get(step.index, False) or skip

    def error(self, relative: float) -> None:
        """How far a forecast was off where the truth was known."""
        self._errors.append(relative)

    def held(self) -> None:
        """What is attached to the run needs a step in full that the cache would have skipped."""
        self._held += 1

    def call(self, seconds: float, rows_run: int, rows: int) -> None:
        """One call of the network: rows that ran in all blocks together, and rows of the call."""
        self._calls.append((seconds, rows_run / max(rows * self.blocks, 1)))

    def snapshot(self) -> list[Any]:
        """All that was counted, as JSON lists."""
        decisions = [
            [picture, [list(pair) for pair in steps.items()]] for picture, steps in self._decisions.items()
        ]
        calls = [list(call) for call in self._calls]
        return [self._steps, decisions, list(self._errors), calls, self._held]

    def restore(self, state: list[Any]) -> None:
        """Take up what `snapshot` gave."""
        self._steps, decisions, errors, calls, self._held = state
        self._decisions = {picture: dict(steps) for picture, steps in decisions}
        self._errors = list(errors)
        self._calls = [(seconds, share) for seconds, share in calls]

    def report(self) -> dict[str, object]:
        """JSON values. Steps are numbered from 1. `error_estimate`: mean relative error that the forecast
        would have had at the full steps after skipped ones (None if there were none), `seconds_saved`
        against the median full call (None if no call was full)."""
        full = [seconds for seconds, share in self._calls if share == 1]
        saved = None
        if full:
            usual = statistics.median(full)
            saved = round(sum(usual - seconds for seconds, share in self._calls if share < 1), 3)
        skipped = any(any(steps.values()) for steps in self._decisions.values())
        return {
            "name": "step_cache",
            "mode": self.name,
            "steps": self._steps,
            "pictures": {
                picture: {
                    "full": [index + 1 for index, skip in sorted(steps.items()) if not skip],
                    "skipped": [index + 1 for index, skip in sorted(steps.items()) if skip],
                }
                for picture, steps in self._decisions.items()
            },
            "calls": len(self._calls),
            "work": round(statistics.fmean(s for _, s in self._calls), 4) if self._calls else 1.0,
            "error_estimate": round(statistics.fmean(self._errors), 5) if self._errors else None,
            "seconds_saved": saved,
            **({} if skipped else {"warning": NOT_LET if self._held else NONE}),
        }

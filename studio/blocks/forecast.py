"""What a feature will be at a later step, from its values at earlier ones (sampling.md 4.2).

`taylor`: nested differences over the distance to the last value, summed as a Taylor series (TaylorSeer,
arXiv 2503.06923, eq. 8); exact for constant and linear features only. `newton`: divided differences over the
true distances; exact for a polynomial of its order at any spacing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

MOST_ORDER = 2
FORMS = ("newton", "taylor")


class History:
    """The last values of one feature as differences, `order` + 1 tensors at most; fp32 for half precision."""

    def __init__(self, order: int, form: str) -> None:
        self.order = order
        self.form = form
        self._at: list[float] = []
        self._differences: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self._differences)

    def record(self, value: torch.Tensor, at: float) -> None:
        """A value at a position; positions are given in one direction, none twice."""
        made = [value.float() if value.dtype in (torch.float16, torch.bfloat16) else value]
        for level, before in enumerate(self._differences[: self.order]):
            span = at - self._at[level if self.form == "newton" else 0]
            made.append((made[level] - before) / span)
        self._differences = made
        self._at = [at, *self._at][: self.order + 1]

    def forecast(self, at: float) -> torch.Tensor:
        """The value at a position; at least one must have been recorded."""
        weigh: Callable[[int], float] = self._newton(at) if self.form == "newton" else self._taylor(at)
        made = self._differences[0]
        for level, difference in enumerate(self._differences[1:], 1):
            made = torch.add(made, difference, alpha=weigh(level))
        return made

    def snapshot(self) -> list[Any]:
        """The positions and the differences."""
        return [list(self._at), list(self._differences)]

    def restore(self, state: list[Any]) -> None:
        """Take up what `snapshot` gave."""
        self._at, self._differences = list(state[0]), list(state[1])

    @property
    def last(self) -> torch.Tensor:
        """The value recorded last."""
        return self._differences[0]

    def _taylor(self, at: float) -> Callable[[int], float]:
        return lambda level: (at - self._at[0]) ** level / math.factorial(level)

    def _newton(self, at: float) -> Callable[[int], float]:
        return lambda level: math.prod(at - place for place in self._at[:level])

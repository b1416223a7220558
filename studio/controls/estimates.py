"""The DT view: the clean estimate of chosen steps, kept to be shown side by side (arXiv 2503.10637).

Nothing is attached to the network: the loop keeps what it works out anyway. The estimate of the last step is
the final latent itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from studio.controls.control import Several
from studio.errors import StudioError
from studio.values import Step


@dataclass(frozen=True)
class Estimates(Several):
    """Keeps `count` estimates, spread evenly over the steps, the last one always among them."""

    technique: ClassVar[str] = "estimates"

    count: int = 8

    def __post_init__(self) -> None:
        if self.count < 1:
            raise StudioError(
                f"{self.count} estimates cannot be kept.", socket="count", hint="Keep 1 or more."
            )

    def wants_estimate(self, step: Step) -> bool:
        return step.index in chosen(self.count, step.total)


def chosen(count: int, total: int) -> tuple[int, ...]:
    """`count` step numbers of 0..total-1, evenly spread with both ends; the last alone if count is 1."""
    if count >= total:
        return tuple(range(total))
    if count == 1:
        return (total - 1,)
    return tuple(round(i * (total - 1) / (count - 1)) for i in range(count))

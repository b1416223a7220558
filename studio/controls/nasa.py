"""NASA, negative-away steer attention: Z = Z+ - alpha Z- (SNOOPI, arXiv 2412.02687).

Here for completeness. It takes from the size of what the image gets (equal prompts scale it by 1 - alpha), so
that on joint-attention models pictures turn grey or to noise; by the NAG paper FLUX-schnell breaks at alpha
0.25. Use `controls/negative.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from studio.controls.bounds import within
from studio.controls.negative import Avoid

WARNING = (
    "NASA takes away more than what you avoid: pictures may turn grey or noisy. NAG does the same job "
    "without that."
)


@dataclass(frozen=True)
class Nasa(Avoid):
    """`alpha` 0..1: how much of the negative answer is taken away; 0 = nothing."""

    technique: ClassVar[str] = "nasa"
    alpha: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        within("alpha", self.alpha, 0, 1)

    def is_neutral(self) -> bool:
        return super().is_neutral() or self.alpha == 0

    def mixed(self, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        return positive - self.alpha * negative

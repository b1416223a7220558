"""What guidance rules remember from step to step, where a run can be left and taken up (sampling.md 1.7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from studio.values import Denoise, Keeping, Step

# step -> what was remembered at it; picture, channel, height, width or picture
Memory = dict[int, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Remembering:
    """A `denoise` with all that it remembers (`Keeping`). `inner`: rules inside it that may remember too."""

    run: Denoise = field(repr=False)
    memories: tuple[Memory, ...]
    inner: tuple[Denoise, ...] = ()

    def __call__(self, latent: torch.Tensor, step: Step) -> torch.Tensor:
        return self.run(latent, step)

    def snapshot(self) -> list[Any]:
        own: list[Any] = [[[index, kept] for index, kept in memory.items()] for memory in self.memories]
        return [own, [rule.snapshot() if isinstance(rule, Keeping) else [] for rule in self.inner]]

    def restore(self, state: list[Any]) -> None:
        own, inner = state
        for memory, kept in zip(self.memories, own, strict=True):
            memory.clear()
            memory.update((index, tensor) for index, tensor in kept)
        for rule, kept in zip(self.inner, inner, strict=True):
            if isinstance(rule, Keeping):
                rule.restore(kept)

"""The full steps of a step cache, found from one run of another prompt (sampling.md 4.2, "static / BAC")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from studio.blocks.hooks import taken_over
from studio.blocks.masks import best_steps, distances
from studio.blocks.stack import blocks_of
from studio.values import Attachment


class Recorder:
    """Keeps the residual of the whole stack, every row, at each call of the network."""

    def __init__(self) -> None:
        self.features: list[torch.Tensor] = []
        self.attachment = Attachment("record", self._attach)
        self._first = torch.empty(0)

    @contextmanager
    def _attach(self, network: object) -> Iterator[None]:
        assert isinstance(network, torch.nn.Module)
        blocks = blocks_of(network)
        modules = [network.get_submodule(blocks[i].name) for i in (0, -1)]

        def around(index: int, original: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
            if index == 0:
                self._first = kwargs["hidden_states"]
            text, image = original(**kwargs)
            if index == 1:
                self.features.append((image - self._first).cpu())
            return text, image

        with taken_over(network, modules, around):
            yield


def searched(features: list[torch.Tensor], full: int, *, warm: int = 1, order: int = 1) -> tuple[int, ...]:
    """The steps to run in full, the `warm` first ones among them: what features tell of early steps says
    little of what they do to the picture."""
    first = max(min(warm, full) - 1, 0)
    found = best_steps(distances(features[first:], order=order), full - first)
    return (*range(first), *(index + first for index in found))

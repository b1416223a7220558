"""The blocks of a network in the order in which they run, for techniques that leave some of them out."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from studio.errors import StudioError
from studio.models.family import adapter_for

# Classes whose blocks take hidden_states and encoder_hidden_states by name and return (text, image), image
# tokens apart from the text in every block.
CLASSES = ("SD3Transformer2DModel", "FluxTransformer2DModel", "QwenImageTransformer2DModel")


@dataclass(frozen=True)
class Block:
    """`name`: of the module below the transformer; `text_out`: whether the network goes on with its text."""

    name: str
    text_out: bool


def blocks_of(transformer: torch.nn.Module) -> tuple[Block, ...]:
    """Every block with a joint attention, in order; StudioError for networks whose blocks work otherwise."""
    given = type(transformer).__name__
    if not any(known.__name__ in CLASSES for known in type(transformer).__mro__):
        raise StudioError(
            f"Step caches do not know networks of class {given}.",
            hint=f"They know {', '.join(CLASSES)}.",
            socket="attachments",
        )
    sites = [site for site in adapter_for(transformer).sites(transformer) if site.joint]
    last = len(sites) - 1
    return tuple(
        Block(site.name.rpartition(".")[0], site.text_out and index < last)
        for index, site in enumerate(sites)
    )

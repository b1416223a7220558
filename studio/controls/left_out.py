"""A network without some of its blocks, for the length of a `with` block."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.hooks import ModelHook
from diffusers.hooks._helpers import TransformerBlockRegistry

from studio.controls.intercept import Hooks


@contextmanager
def without_blocks(network: torch.nn.Module, names: Sequence[str]) -> Iterator[None]:
    """The network without these blocks, given by module name: they hand on what they get."""
    hooks = Hooks()
    try:
        for name in names:
            hooks.put(network.get_submodule(name), _Skip())
        yield
    finally:
        hooks.remove()


class _Skip(ModelHook):  # type: ignore[misc]
    """A block that returns its inputs, each stream in the place where the block returns it.

    diffusers' own TransformerBlockSkipHook (0.42.1) always returns the picture first, which exchanges the
    streams of SD3 and FLUX.
    """

    def new_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
        # the picture's tokens (or the joint sequence) are the first argument of every block
        image = list(given.values())[1]
        known = TransformerBlockRegistry.get(type(module))
        text_place = known.return_encoder_hidden_states_index
        if text_place is None:
            return image
        text = given["encoder_hidden_states"]
        return (text, image) if text_place < known.return_hidden_states_index else (image, text)

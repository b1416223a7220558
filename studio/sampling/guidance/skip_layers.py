"""Skip-layer guidance (SLG; Stability AI's SD3.5 reference code, and diffusers' `skip_guidance_layers`): away
from a network that leaves some of its blocks out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.hooks import ModelHook
from diffusers.hooks._helpers import TransformerBlockRegistry

from studio.controls.intercept import Hooks
from studio.models.family import adapter_for
from studio.sampling.guidance.weak import away_from, chosen_blocks
from studio.values import Guidance, Step


def skip_layers(
    guidance: Guidance | None = None,
    scale: float = 2.8,
    blocks: Sequence[int] = (),
    start: float = 0.01,
    end: float = 0.2,
) -> Guidance:
    """`guidance` away from the network without `blocks` (numbers of joint blocks; none = those that suit).

    scale 0..10, 0 = neutral; 2.8 over the first fifth is Stability AI's setting for SD3.5 medium.
    """

    @contextmanager
    def around(network: object, step: Step, roles: tuple[str, ...]) -> Iterator[None]:
        assert isinstance(network, torch.nn.Module)
        sites = chosen_blocks("Skip-layer guidance", blocks, adapter_for(network).sites(network))
        with without_blocks(network, [site.name.rpartition(".")[0] for site in sites]):
            yield

    given = (("blocks", tuple(blocks)),)
    return away_from("skip_layers", guidance, around, scale, start, end, given)


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

"""Step caches of diffusers under our loop, to measure ours beside them (sampling.md 4.1).

They are put on as the library documents it, where it has no entry of its own (SD3 is no CacheMixin) by the
function behind it; state is reset before every picture and the cache context is set, without which they
would fail or remember the picture before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.hooks import HookRegistry
from diffusers.models.cache_utils import CacheMixin

from studio.values import Attachment, Step

TAYLOR_EVERY = 3


@dataclass
class Library:
    """A cache of diffusers on a network of its own; it stays there. `apply(network, library)` puts it on."""

    name: str
    apply: Callable[[torch.nn.Module, Library], None] = field(repr=False)
    timestep: float = 1000.0
    _on: bool = False

    @property
    def attachment(self) -> Attachment:
        """For the `attachments` of a run of that network."""

        @contextmanager
        def attach(network: object) -> Iterator[Library]:
            assert isinstance(network, torch.nn.Module)
            registry = HookRegistry.check_if_exists_or_initialize(network)
            if not self._on:
                self.apply(network, self)
                registry.invalidate_child_registries_cache()
                self._on = True
            registry.reset_stateful_hooks(recurse=True)
            self._network = network
            yield self

        return Attachment(self.name, attach)

    @contextmanager
    def call(self, step: Step, roles: Sequence[str], controls: Any = None) -> Iterator[None]:
        """Around one forward."""
        self.timestep = step.sigma * 1000
        network: Any = self._network
        with CacheMixin.cache_context(network, "batch"):
            yield

    def report(self) -> Mapping[str, object]:
        """Nothing is told."""
        return {"name": self.name}


def libraries(steps: int) -> tuple[Library, ...]:
    """Those that know such networks, with settings near ours."""
    from diffusers import hooks

    def first_block(network: torch.nn.Module, own: Library) -> None:
        hooks.apply_first_block_cache(network, hooks.FirstBlockCacheConfig(threshold=0.08))

    def taylor(network: torch.nn.Module, own: Library) -> None:
        config = hooks.TaylorSeerCacheConfig(
            cache_interval=TAYLOR_EVERY, disable_cache_before_step=3, taylor_factors_dtype=torch.float32
        )
        hooks.apply_taylorseer_cache(network, config)

    def mag(network: torch.nn.Module, own: Library) -> None:
        # without ratios of the model it skips by its limits alone
        config = hooks.MagCacheConfig(num_inference_steps=steps, mag_ratios=[1.0] * steps)
        hooks.apply_mag_cache(network, config)

    def broadcast(network: torch.nn.Module, own: Library) -> None:
        config = hooks.PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2, current_timestep_callback=lambda: own.timestep
        )
        hooks.apply_pyramid_attention_broadcast(network, config)

    return (
        Library("diffusers first block 0.08", first_block),
        Library(f"diffusers TaylorSeer {TAYLOR_EVERY}, order 1", taylor),
        Library("diffusers MagCache, ratios 1", mag),
        Library("diffusers attention broadcast 2", broadcast),
    )

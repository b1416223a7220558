"""Step caches of diffusers and cache-dit under our loop, to measure ours beside them (sampling.md 4.1).

They are put on as the library documents it, where it has no entry of its own (SD3 is no CacheMixin) by the
function behind it; state is reset before every picture and the cache context is set, without which they
would fail or remember the picture before.
"""

from __future__ import annotations

import importlib
import importlib.util
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
    """A cache of a library on a network of its own; it stays there. `apply(network, library)` puts it on,
    `reset` empties it before a picture, where that is not done through diffusers' hooks."""

    name: str
    apply: Callable[[torch.nn.Module, Library], None] = field(repr=False)
    reset: Callable[[torch.nn.Module], object] | None = field(default=None, repr=False)
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
            if self.reset is not None:
                self.reset(network)
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

    found = (
        Library("diffusers first block 0.08", first_block),
        Library(f"diffusers TaylorSeer {TAYLOR_EVERY}, order 1", taylor),
        Library("diffusers MagCache, ratios 1", mag),
        Library("diffusers attention broadcast 2", broadcast),
    )
    return (*found, *_cache_dit(steps))


def has_cache_dit() -> bool:
    """Whether cache-dit is installed; it is no requirement."""
    return importlib.util.find_spec("cache_dit") is not None


def _cache_dit(steps: int) -> tuple[Library, ...]:
    """DBCache with the settings nearest to our first block, without and with its Taylor forecasts."""
    if not has_cache_dit():
        return ()
    cache_dit: Any = importlib.import_module("cache_dit")

    def put(order: int) -> Callable[[torch.nn.Module, Library], None]:
        def apply(network: torch.nn.Module, own: Library) -> None:
            names = ("transformer_blocks", "single_transformer_blocks")
            lists = [getattr(network, name) for name in names if hasattr(network, name)]
            pattern = cache_dit.ForwardPattern.Pattern_1
            adapter = cache_dit.BlockAdapter(
                transformer=network,
                blocks=lists if len(lists) > 1 else lists[0],
                forward_pattern=[pattern] * len(lists) if len(lists) > 1 else pattern,
                has_separate_cfg=False,
            )
            config = cache_dit.DBCacheConfig(
                Fn_compute_blocks=1,
                Bn_compute_blocks=0,
                max_warmup_steps=min(6, max(steps - 2, 1)),
                residual_diff_threshold=0.08,
                num_inference_steps=steps,
            )
            # SD3's last block gives no text, which its forecasts of the text would need
            forecast = cache_dit.TaylorSeerCalibratorConfig(
                taylorseer_order=max(order, 1), enable_encoder_calibrator=False
            )
            cache_dit.enable_cache(
                adapter, cache_config=config, **({"calibrator_config": forecast} if order else {})
            )

        return apply

    def reset(network: torch.nn.Module) -> object:
        return cache_dit.refresh_context(network, num_inference_steps=steps)

    return (
        Library("cache-dit DBCache F1B0 0.08", put(0), reset),
        Library("cache-dit DBCache F1B0 0.08, Taylor 1", put(1), reset),
    )

"""Hooks on the network's modules: every attention call of a planned site goes through `execute`.

A diffusers ModelHook on each attention module enters a TorchFunctionMode that catches the first joint call of
`scaled_dot_product_attention`; hooks lie on the shared module, the function mode is per thread (controls.md
3.5). Detaching leaves every module as it was, whatever other hooks it has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from diffusers.hooks import HookRegistry, ModelHook
from torch.overrides import TorchFunctionMode

from studio.models.family import Site

NAME = "weft_attention"
SDPA = torch.nn.functional.scaled_dot_product_attention


class Watcher(Protocol):
    """Whoever the hooks report to: the attached controls."""

    def forward(self, original: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
        """One call of the whole network."""

    def works(self, site: Site) -> bool:
        """Whether anybody acts at this site in the call that runs."""

    def attention(self, site: Site, kernel: Kernel) -> torch.Tensor | None:
        """The output of the site's joint call; None if this is not it."""

    def after(self, site: Site, output: Any) -> Any:
        """What the module returns."""


class Kernel:
    """The network's own call of `scaled_dot_product_attention`, with the arguments that it was given."""

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        self.q: torch.Tensor = given.pop("query")
        self.k: torch.Tensor = given.pop("key")
        self.v: torch.Tensor = given.pop("value")
        self.mask: torch.Tensor | None = given.get("attn_mask")
        self.scale: float | None = given.get("scale")
        self.gqa: bool = bool(given.get("enable_gqa", False))
        self._given = given

    def plain(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return SDPA(q, k, v, **self._given)

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        return SDPA(q, k, v, **{**self._given, "attn_mask": mask})


class _Catch(TorchFunctionMode):
    """Hands attention calls to the watcher until it took one; all else passes through."""

    def __init__(self, watcher: Watcher, site: Site) -> None:
        super().__init__()
        self.watcher = watcher
        self.site = site
        self.open = True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is SDPA and self.open:
            out = self.watcher.attention(self.site, Kernel(args, kwargs or {}))
            if out is not None:
                self.open = False
                return out
        return func(*args, **kwargs) if kwargs else func(*args)


class SiteHook(ModelHook):  # type: ignore[misc]
    """On one attention module."""

    def __init__(self, watcher: Watcher, site: Site) -> None:
        super().__init__()
        self.watcher = watcher
        self.site = site

    def new_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not self.watcher.works(self.site):
            return self.fn_ref.original_forward(*args, **kwargs)
        with _Catch(self.watcher, self.site):
            output = self.fn_ref.original_forward(*args, **kwargs)
        return self.watcher.after(self.site, output)


class NetworkHook(ModelHook):  # type: ignore[misc]
    """On the whole network."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def new_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if args:
            names = list(inspect.signature(type(module).forward).parameters)[1:]
            kwargs = dict(zip(names, args, strict=False)) | kwargs
        return self.watcher.forward(self.fn_ref.original_forward, kwargs)


class Hooks:
    """The hooks of one attach, and how to take them off again."""

    def __init__(self) -> None:
        self._modules: list[tuple[torch.nn.Module, bool, bool]] = []

    def put(self, module: torch.nn.Module, hook: ModelHook) -> None:
        before = vars(module)
        self._modules.append((module, "forward" in before, "_diffusers_hook" in before))
        HookRegistry.check_if_exists_or_initialize(module).register_hook(hook, NAME)

    def remove(self) -> tuple[str, ...]:
        """Take all hooks off, the last first. Returns the names of foreign hooks that were put on after ours
        and are still there; they keep working."""
        later: dict[str, None] = {}
        for module, had_forward, had_registry in reversed(self._modules):
            registry = vars(module).get("_diffusers_hook")
            if registry is None or NAME not in registry.hooks:
                continue
            place = registry._hook_order.index(NAME)
            above = registry._hook_order[place + 1 :]
            later.update(dict.fromkeys(above))
            if above:
                _unlink(registry, place)
            else:
                registry.remove_hook(NAME, recurse=False)
                if not had_forward:
                    # remove_hook leaves the class's own forward behind as an attribute
                    vars(module).pop("forward", None)
            if not had_registry and not registry.hooks:
                del module._diffusers_hook
        self._modules.clear()
        return tuple(later)


def _unlink(registry: HookRegistry, place: int) -> None:
    """Take a hook out of the middle; HookRegistry.remove_hook would cut off the next one (diffusers 0.42)."""
    reference, above = registry._fn_refs[place], registry._fn_refs[place + 1]
    below = reference.original_forward or reference.forward
    if above.original_forward is not None:
        above.original_forward = below
    else:
        above.forward = below
    del registry.hooks[registry._hook_order[place]]
    del registry._hook_order[place], registry._fn_refs[place]


@contextmanager
def own_backends(network: torch.nn.Module) -> Iterator[None]:
    """Processors without an attention backend of their own while this lasts; afterwards as they were."""
    found: dict[int, tuple[Any, bool, Any]] = {}
    for module in network.modules():
        processor = getattr(module, "processor", None)
        if processor is not None and hasattr(processor, "_attention_backend"):
            found[id(processor)] = (
                processor,
                "_attention_backend" in vars(processor),
                processor._attention_backend,
            )
    for processor, _, backend in found.values():
        if backend is not None:
            processor._attention_backend = None
    try:
        yield
    finally:
        for processor, had, backend in found.values():
            if had:
                processor._attention_backend = backend
            else:
                vars(processor).pop("_attention_backend", None)

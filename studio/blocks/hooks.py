"""Calls of a network's blocks, taken over for the length of a `with` block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from studio.errors import StudioError
from studio.models.alone import OneThread

# around(index, original, kwargs) -> what the block returns
Around = Callable[[int, Callable[..., Any], dict[str, Any]], Any]


_ALONE = OneThread("There are two step caches on one network.", "Keep one of them.", "attachments")


@contextmanager
def taken_over(network: torch.nn.Module, blocks: Sequence[torch.nn.Module], around: Around) -> Iterator[None]:
    """Every call of a block by this thread goes through `around`; afterwards the modules are as before.

    Another thread that takes over the same network waits; calls of other threads pass through. StudioError
    if this thread has taken it over already, or if somebody else has put a hook on a block in between and
    left it there.
    """
    with _ALONE(network):
        own, live = threading.get_ident(), True
        put: list[tuple[torch.nn.Module, bool, Any, Any]] = []

        def hook(index: int, original: Any) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                if args or not live or threading.get_ident() != own:
                    return original(*args, **kwargs)
                return around(index, original, kwargs)

            return forward

        try:
            for index, block in enumerate(blocks):
                original = block.forward
                forward = hook(index, original)
                put.append((block, "forward" in vars(block), original, forward))
                block.forward = forward
            yield
        finally:
            live = False
            foreign = [block for block, *rest in reversed(put) if not _restored(block, *rest)]
        if foreign:
            raise StudioError(
                f"Hooks were put on {len(foreign)} blocks of the network after the step cache and are still "
                "there.",
                hint="Take hooks off in the reverse order of putting them on. They keep working.",
            )


def _restored(block: torch.nn.Module, had: bool, original: Any, forward: Any) -> bool:
    if vars(block).get("forward") is not forward:
        return False
    if had:
        block.forward = original
    else:
        del block.forward
    return True

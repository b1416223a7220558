"""Device and dtype policy, CPU generators from a seed, and the guard around work on tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from studio.errors import StudioError

MAX_SEED = 2**53 - 1


@dataclass(frozen=True)
class Placement:
    """Where the weights lie and in which dtype."""

    device: torch.device
    dtype: torch.dtype


def place(device: str = "auto") -> Placement:
    """The placement for `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    On a CPU always fp32: without native bf16 a matrix product is a hundred times slower (sampling 1.5).
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = device.partition(":")[0]
    if kind == "cpu":
        return Placement(torch.device("cpu"), torch.float32)
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise StudioError(
                "No CUDA device was found.", hint="Use --device cpu, or install torch for your GPU."
            )
        chosen = torch.device(device)
        if chosen.index is not None and chosen.index >= torch.cuda.device_count():
            raise StudioError(
                f"There is no {device}; this machine has {torch.cuda.device_count()} CUDA device(s)."
            )
        return Placement(chosen, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise StudioError("No Apple GPU (mps) was found.", hint="Use --device cpu.")
        return Placement(torch.device(device), torch.float32)
    raise StudioError(f"Unknown device {device!r}.", hint="Possible: auto, cpu, cuda, cuda:<number>, mps.")


def device_memory(device: torch.device) -> dict[str, int]:
    """Bytes of memory at `device`, and how many of them are free; empty where the system does not say."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return {"total": int(total), "free": int(free)}
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return {name: page * os.sysconf(what) for name, what in
                (("total", "SC_PHYS_PAGES"), ("free", "SC_AVPHYS_PAGES"))}
    except (AttributeError, OSError, ValueError):
        return {}


def start_noise(shape: tuple[int, int, int, int], seed: int) -> torch.Tensor:
    """Noise of a run, batch, channel, height, width: fp32 on CPU; image k from a fresh generator of
    `seed + k`."""
    rows = [torch.randn((1, *shape[1:]), generator=generator(seed + k)) for k in range(shape[0])]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def generator(seed: int) -> torch.Generator:
    """A CPU generator; `seed` 0..2**63-1: seeds of people end at 2**53-1, those worked out by hashing do
    not."""
    if type(seed) is not int or not 0 <= seed < 2**63:
        possible = f"Possible: 0 to {MAX_SEED}."
        raise StudioError(f"The seed {seed} is not possible.", socket="seed", hint=possible)
    return torch.Generator("cpu").manual_seed(seed)


@contextmanager
def guard() -> Iterator[None]:
    """No gradients inside, and the global RNG of torch afterwards as before, also after an exception.

    Studio hands this to the engine, which puts it around every node.
    """
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if _on_gpu() else None
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def _on_gpu() -> bool:
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]

"""The physical limit of a piece of work: its floating-point operations at the speed at which this machine
multiplies matrices (sampling.md 17). Nothing that does the same multiplications can be faster.

Operations are counted as they run (matrix products, convolutions, attention); two for every multiply-add.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

SIDE = {"cpu": 1024, "cuda": 8192}
LEAST_SECONDS = 0.3
Shape = tuple[int, ...]
Made = TypeVar("Made")


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


# the counter knows the attention kernels of GPUs alone
KERNELS = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}


@dataclass(frozen=True)
class Limit:
    """`flops` of a piece of work, the `speed` (per second) of matrix products beside it."""

    flops: float
    speed: float

    @property
    def seconds(self) -> float:
        """The least time it can take."""
        return self.flops / self.speed

    def columns(self, took: float | None = None) -> dict[str, object]:
        """The last columns of a table: `gflop`, `gemm_gflops`, `limit_seconds`, and `of_limit`, how much of
        the limit's speed was reached in `took` seconds."""
        found: dict[str, object] = {
            "gflop": round(self.flops / 1e9, 2),
            "gemm_gflops": round(self.speed / 1e9, 1),
        }
        if took is not None:
            found["of_limit"] = round(self.seconds / took, 3) if took > 0 else None
        return found | {"limit_seconds": round(self.seconds, 4)}


def limit_of(work: Callable[[], object], device: torch.device, dtype: torch.dtype) -> Limit:
    """Do the work once, counted, and take the speed of this machine beside it."""
    return Limit(flops_of(work), gemm_speed(str(device), dtype))


def flops_of(work: Callable[[], object]) -> float:
    """Floating-point operations of a call; it is done once."""
    return counted(work)[1]


def counted(work: Callable[[], Made]) -> tuple[Made, float]:
    """What a call gives, and its floating-point operations."""
    with FlopCounterMode(display=False, custom_mapping=KERNELS) as counter:
        made = work()
    return made, float(counter.get_total_flops())


@cache
def gemm_speed(device: str, dtype: torch.dtype) -> float:
    """Operations a second of the best of many products of square matrices, measured once a process with the
    threads that it has. On a CPU by its processor time, where that is less than the clock's: other programs
    on the same cores do not count."""
    kind = torch.device(device).type
    side = SIDE.get(kind, 2048)
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(side, side, generator=generator).to(device, dtype)
    best, begun = float("inf"), time.perf_counter()
    torch.mm(left, left)
    while time.perf_counter() - begun < LEAST_SECONDS or best == float("inf"):
        _wait(kind)
        start, busy = time.perf_counter(), time.process_time()
        torch.mm(left, left)
        _wait(kind)
        took = time.perf_counter() - start
        if kind == "cpu":
            spent = (time.process_time() - busy) / torch.get_num_threads()
            took = min(took, spent) if spent > 0 else took
        best = min(best, took)
    return 2 * side**3 / best


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()

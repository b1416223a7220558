"""The state of a training run: weights, moving average, optimisers, gradients shared between processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

# Decay of the moving average on a CPU (a thousand steps in all), on an accelerator (tens of thousands).
LONGEST_AVERAGE = (0.996, 0.999)


def muon_split(student: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """(hidden matrices of the blocks, everything else): Muon orthogonalises only the first."""
    hidden: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in student.named_parameters():
        matrix = parameter.ndim == 2 and "transformer_blocks" in name and "norm" not in name
        (hidden if matrix else rest).append(parameter)
    return hidden, rest


def optimisers_of(student: nn.Module, kind: str, rate: float) -> list[torch.optim.Optimizer]:
    fused = next(student.parameters()).device.type == "cuda"
    adam: dict[str, Any] = {"betas": (0.9, 0.97), "weight_decay": 0.01, "lr": rate, "fused": fused}
    if kind == "adamw":
        return [torch.optim.AdamW(student.parameters(), **adam)]
    hidden, rest = muon_split(student)
    muon = torch.optim.Muon(hidden, lr=rate * 2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, **adam)]


class Run:
    """Everything that a checkpoint holds: weights, their moving average, optimiser states, where we are.

    `make()`: a new network; `read(network, warm)`: takes the weights of an exported folder.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        read: Callable[[Any, Path], None],
        out: Path,
        device: str,
        kind: str,
        rate: float,
        rank: int = 0,
        world: int = 1,
        warm: Path | None = None,
    ) -> None:
        torch.manual_seed(0)
        self.out, self.rank, self.world, self.device = out, rank, world, device
        self.student = make().to(device)
        self.observed = self.student.observed  # a recipe may put a compiled one in its place
        self.average = make().to(device).requires_grad_(False)
        self.average.load_state_dict(self.student.state_dict())
        self.optimisers = optimisers_of(self.student, kind, rate)
        self.rate, self.kind = rate, kind
        self.state: dict[str, Any] = {"step": 0, "samples": 0, "stages": {}}
        if out.exists():
            saved = torch.load(out, weights_only=True, map_location=device)
            self.student.load_state_dict(saved["student"])
            self.average.load_state_dict(saved["average"])
            if saved["kind"] == kind and saved.get("optimisers"):
                for optimiser, stored in zip(self.optimisers, saved["optimisers"], strict=True):
                    optimiser.load_state_dict(stored)
            self.state = saved["state"]
        elif warm:
            read(self.student, warm)
            self.average.load_state_dict(self.student.state_dict())
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["peak"] = rate * (2 if isinstance(optimiser, torch.optim.Muon) else 1)

    def save(self) -> None:
        saved = {
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "kind": self.kind,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "state": self.state,
        }
        torch.save(saved, self.out.with_suffix(".tmp"))
        os.replace(self.out.with_suffix(".tmp"), self.out)

    def step(self, loss: Tensor, scale: float, clock: float) -> float:
        """One update; returns the first process's `clock`, so that all processes stop at the same step."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * scale
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        clock = self._share(clock)
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.state["step"] += 1
        longest = LONGEST_AVERAGE[self.device != "cpu"]
        decay = min(longest, (1 + self.state["step"]) / (20 + self.state["step"]))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.student.parameters()), 1 - decay)
        return clock

    def _share(self, clock: float) -> float:
        """Average the gradients over the processes, in one message together with the first one's clock."""
        if self.world == 1:
            return clock
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.student.parameters()]
        flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([clock * (self.rank == 0)])])
        torch.distributed.all_reduce(flat)
        start = 0
        for parameter, gradient in zip(self.student.parameters(), gradients, strict=True):
            part = flat[start : start + gradient.numel()].view_as(gradient)
            parameter.grad = part / self.world
            start += gradient.numel()
        return float(flat[-1])


def settle(device: str) -> None:
    """Settings of a process that trains on `device`: without cuDNN's attention, whose backward pass failed in
    the FLUX-shaped network and gave wrong gradients to low-rank additions (torch 2.11, H100)."""
    if device != "cpu":
        torch.backends.cuda.enable_cudnn_sdp(False)


def fast_bfloat16(device: str) -> bool:
    """Whether bf16 products beat fp32 here: with AVX-512 bf16 or AMX they do, else they lose 50-fold."""
    if device != "cpu":
        return True
    took = {}
    for kind in (torch.float32, torch.bfloat16):
        left, right = torch.ones(1024, 192, dtype=kind), torch.ones(192, 768, dtype=kind)
        left @ right
        began = time.perf_counter()
        left @ right
        took[kind] = time.perf_counter() - began
    return took[torch.bfloat16] < took[torch.float32]

"""Low-rank additions to the linear layers of a network (LoRA, arXiv 2106.09685), in training and in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


class LowRank(nn.Module):
    """A frozen linear layer plus up(down(x)); at the start `up` is zero and nothing is added."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.normal_(self.down.weight, std=1 / base.in_features**0.5)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def linear_layers(network: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """(parent, attribute, full name) of every linear layer inside the transformer blocks."""
    for name, module in list(network.named_modules()):
        for child, layer in module.named_children():
            if isinstance(layer, nn.Linear) and "transformer_blocks" in f"{name}.{child}":
                yield module, child, f"{name}.{child}"


def add_low_rank(network: nn.Module, rank: int) -> dict[str, LowRank]:
    """Wrap the linear layers of all blocks in place; {name of the layer: its wrapper}."""
    found = {}
    for parent, child, name in list(linear_layers(network)):
        found[name] = LowRank(getattr(parent, child), rank)
        setattr(parent, child, found[name])
    return found


def save_low_rank(layers: dict[str, LowRank], path: Path, note: dict[str, str]) -> None:
    """One fp16 safetensors file with the keys that diffusers' `load_lora_weights` reads."""
    stored = {}
    for name, layer in layers.items():
        stored[f"transformer.{name}.lora_A.weight"] = layer.down.weight.detach().half().cpu().contiguous()
        stored[f"transformer.{name}.lora_B.weight"] = layer.up.weight.detach().half().cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(stored, path, metadata=note)


def load_low_rank(layers: dict[str, LowRank], path: Path) -> None:
    stored = load_file(path)
    with torch.no_grad():
        for name, layer in layers.items():
            layer.down.weight.copy_(stored[f"transformer.{name}.lora_A.weight"])
            layer.up.weight.copy_(stored[f"transformer.{name}.lora_B.weight"])

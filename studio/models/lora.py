"""LoRA over a loaded model: a second network that shares every weight of the first and adds
strength * scale * up(down(x)) to some of its linear layers (LoRA, arXiv 2106.09685, section 4.1).

The first network is not touched: its weights are never written and its modules carry nothing, so that there
is nothing to take back after a run, an exception or a cancel, and models with different LoRAs lie in memory
beside each other with one copy of the weights. A LoRA of strength 0 gives the model itself.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.errors import BadModel, StudioError
from studio.models.embedded import composed_card
from studio.models.family import Parts, parts_of
from studio.models.lora_files import Factors, Layers, check_lora, read_lora
from studio.models.weight_files import stamp
from studio.values import Model

# Networks with a LoRA, and files of factors, that are kept for one loaded model.
KEPT = 6
STRENGTHS = (-4.0, 4.0)


class Added(nn.Module):
    """A linear layer and what is added to it, factors of scale 1; it answers for the layer where one asks for
    its sizes."""

    def __init__(self, base: nn.Module, additions: tuple[Factors, ...]) -> None:
        super().__init__()
        self.base = base
        self.additions = additions
        self.train(base.training)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x)
        for one in self.additions:
            flat = torch.addmm(out.flatten(0, -2), F.linear(x, one.down).flatten(0, -2), one.up.T)
            out = flat.view(out.shape) if one.bias is None else flat.view(out.shape) + one.bias
        return out

    @property
    def weight(self) -> Tensor:
        return self.base.weight  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias  # type: ignore[return-value]

    @property
    def in_features(self) -> int:
        return int(self.base.in_features)  # type: ignore[arg-type]

    @property
    def out_features(self) -> int:
        return int(self.base.out_features)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class LoraSource:
    """Holds a model with a LoRA: loads the base, and lays the LoRA over it."""

    base: Model
    path: Path
    digest: str
    strength: float
    mark: tuple[str, int, int, int] = field(repr=False)

    def parts(self, model: Model) -> Parts:
        """The base's parts with other networks where the LoRA adds something."""
        if not self.path.is_file() or stamp([self.path])[0] != self.mark:
            raise BadModel(
                f"The LoRA {self.path.name} has changed since it was loaded.",
                hint="Run again to load the new file.",
            )
        return with_lora(parts_of(self.base), self.path, self.digest, self.strength, model.card)


def lora_model(
    base: Model,
    path: Path,
    digest: str,
    strength: float = 1.0,
    card: Mapping[str, object] | None = None,
    ref: str = "",
) -> Model:
    """A handle to `base` with the LoRA of a file; the base itself at strength 0.

    `digest`: SHA-256 of the file; `strength` -4..4; `card`: what is known of the LoRA (`title`, `preset`);
    `ref`: how the two together are called, if they have a name. Raises BadModel for a file that is no LoRA;
    whether it fits is found when the weights are asked for.
    """
    low, high = STRENGTHS
    if not low <= strength <= high:
        raise StudioError(
            f"A LoRA strength of {strength:g} is not possible.",
            socket="strength",
            hint=f"Possible: {low:g} to {high:g}; 0 = without it.",
        )
    if strength == 0:
        return base
    check_lora(path)
    source = LoraSource(base, path, digest, float(strength), stamp([path])[0])
    told = composed_card(base.card, card or {"title": f"{base.title} + {path.stem}"})
    return Model(ref or base.ref, base.family, digest_with(base.digest, digest, strength), source, told)


def digest_with(base: str, lora: str, strength: float) -> str:
    """SHA-256 of a model with a LoRA, out of those of the model and of the file."""
    return base if strength == 0 else sha256(f"{base}\0{lora}\0{float(strength)!r}".encode()).hexdigest()


def with_lora(
    parts: Parts, path: Path, digest: str, strength: float, card: Mapping[str, object] | None = None
) -> Parts:
    """Other parts, with networks of their own that share all weights; kept for as long as `parts` is."""
    kept: OrderedDict[tuple[str, float], Parts] = _memory(parts, "lora parts")
    key = (digest, strength)
    if key not in kept:
        layers = _factors(parts, path, digest)
        components = {
            name: copied(module, {layer: scaled(one, strength, parts) for layer, one in layers[name].items()})
            if name in layers
            else module
            for name, module in parts.components.items()
        }
        told = dict(parts.card if card is None else card)
        kept[key] = replace(parts, components=components, card=told, notes={})
        _trim(kept)
    kept.move_to_end(key)
    return kept[key]


def scaled(factors: Factors, strength: float, parts: Parts) -> Factors:
    """Where and in what the model computes, multiplied by the strength: their scale is 1."""
    whole = factors.scale * strength

    def placed(tensor: Tensor, by: float = 1.0) -> Tensor:
        return (tensor if by == 1 else by * tensor).to(parts.device, parts.dtype)

    bias = None if factors.bias is None else placed(factors.bias, whole)
    return Factors(placed(factors.down), placed(factors.up, whole), bias)


def copied(module: nn.Module, additions: Mapping[str, Factors]) -> Any:
    """A network of the same modules and the same parameters, `additions` laid over its linear layers by name;
    the first network keeps no trace. Further additions to a layer come after those it has."""
    seen: dict[int, nn.Module] = {}

    def copy_of(one: nn.Module, name: str) -> nn.Module:
        if name not in additions and id(one) in seen:
            return seen[id(one)]
        base = one
        if isinstance(one, Added):
            base, had = one.base, one.additions
        else:
            had = ()
        twin = _twin(base)
        twin._modules = {
            child: None if part is None else copy_of(part, f"{name}.{child}" if name else child)
            for child, part in base._modules.items()
        }
        new = (*had, additions[name]) if name in additions else had
        made = Added(twin, new) if new else twin
        if name not in additions:
            seen[id(one)] = made
        return made

    with torch.no_grad():
        return copy_of(module, "")


def _twin(module: nn.Module) -> nn.Module:
    """The same module under another identity: its parameters are shared, its hooks and its list of children
    are its own."""
    twin = copy.copy(module)
    for name, value in vars(module).items():
        if name.endswith("_hooks") or "_hooks_" in name:
            twin.__dict__[name] = type(value)() if isinstance(value, dict) else value
        elif name in ("_parameters", "_buffers", "_modules"):
            twin.__dict__[name] = dict(value)
    # what a control or a library has laid over this one instance belongs to it alone
    for name in ("forward", "_diffusers_hook"):
        twin.__dict__.pop(name, None)
    return twin


def _factors(parts: Parts, path: Path, digest: str) -> Layers:
    kept: OrderedDict[str, Layers] = _memory(parts, "lora files")
    if digest not in kept:
        kept[digest] = read_lora(path, parts)
        _trim(kept)
    kept.move_to_end(digest)
    return kept[digest]


def _memory(parts: Parts, name: str) -> Any:
    """What this model has worked out already; it goes when the model goes."""
    return parts.notes.setdefault(name, OrderedDict())


def _trim(kept: OrderedDict[Any, Any]) -> None:
    while len(kept) > KEPT:
        kept.popitem(last=False)

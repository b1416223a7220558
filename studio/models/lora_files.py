"""LoRA files (arXiv 2106.09685): which layers of a model they add to, and what; safetensors alone.

Read are the keys of diffusers and peft (`transformer.LAYER.lora_A.weight`, `lora_B`), the older ones with
`lora.down` and `lora.up`, and kohya's, whose layer names are joined by underscores; those of FLUX in its
authors' own layout go through diffusers' converter. What is no plain LoRA is refused by its kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from studio.errors import BadModel, did_you_mean
from studio.models.family import Parts
from studio.models.weight_files import check_safetensors, read_header

SAVE = "Save it with diffusers' save_lora_weights, or merge it into a model of its own."
CONVERT = (
    "Convert it where you trust it: state = torch.load(file, weights_only=True), then "
    'safetensors.torch.save_file(state, "new.safetensors").'
)
EXAMPLE = "Give the path of a *.safetensors file, or a LoRA that the Models page lists."

_ENDS = {
    r"\.lora_A(?:\.\w+)?\.weight": "down",
    r"\.lora_B(?:\.\w+)?\.weight": "up",
    r"\.lora_B(?:\.\w+)?\.bias": "bias",
    r"\.lora(?:_linear_layer)?[._]down\.weight": "down",
    r"\.lora(?:_linear_layer)?[._]up\.weight": "up",
    r"\.alpha": "alpha",
}
# other kinds of additions, by what their tensors are called
_KINDS = {
    r"dora_scale|lora_magnitude_vector": "DoRA",
    r"hada_w\d": "LoHa",
    r"lokr_w\d": "LoKr",
    r"oft_|boft_": "OFT",
    r"\.diff(_b)?$": "a difference of whole weights",
    r"lora_embedding_[AB]": "a LoRA of embeddings",
}
_FULL = ("base_model.model.", "model.diffusion_model.", "diffusion_model.")
_JOINED = {
    "lora_transformer_": "transformer",
    "lora_unet_": "transformer",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "lora_te_": "text_encoder",
}
# names of layers in layouts that only the library can translate
_FOREIGN = re.compile(r"double_blocks|(?<!transformer_)single_blocks|\.processor\.")


@dataclass(frozen=True, eq=False)
class Factors:
    """What is added to one linear layer: scale * (up(down(x)) + bias). `down`: rank, in; `up`: out, rank."""

    down: Tensor
    up: Tensor
    bias: Tensor | None = None
    scale: float = 1.0


@dataclass(eq=False)
class _Found:
    tensors: dict[str, Tensor] = field(default_factory=dict)


Layers = Mapping[str, Mapping[str, Factors]]


def read_lora(path: Path, parts: Parts) -> Layers:
    """The factors of a file for a model: component -> layer -> factors, fp32 on the CPU.

    Raises BadModel for a pickle, a damaged file, one of another kind, and one whose layers or shapes are not
    this model's.
    """
    names = check_lora(path)
    stored = load_file(path)
    settings = _settings(path)
    if any(_FOREIGN.search(name) for name in names):
        stored, settings = _translated(path, stored, parts), {}
    found: dict[str, dict[str, _Found]] = {}
    linear = {name: _linear(module) for name, module in parts.components.items() if module is not None}
    joined = {name: {layer.replace(".", "_"): layer for layer in own} for name, own in linear.items()}
    strange: list[str] = []
    for name, tensor in stored.items():
        layer, end = _split(path, name)
        place = _place(layer, linear, joined)
        if place is None:
            strange.append(layer)
            continue
        component, layer = place
        found.setdefault(component, {}).setdefault(layer, _Found()).tensors[end] = tensor
    if strange:
        _refuse_strange(path, sorted(set(strange)), bool(found), parts, linear)
    return {
        component: {
            layer: _factors(path, f"{component}.{layer}", one, linear[component][layer], settings)
            for layer, one in layers.items()
        }
        for component, layers in found.items()
    }


def check_lora(path: Path) -> tuple[str, ...]:
    """The names of a file's tensors, out of its header alone; BadModel unless all of them belong to a
    LoRA."""
    check_safetensors(path, EXAMPLE, CONVERT)
    names = tuple(read_header(path))
    for name in names:
        for pattern, kind in _KINDS.items():
            if re.search(pattern, name):
                raise BadModel(f"{path.name} is {kind}, not a plain LoRA: {name!r}.", hint=SAVE)
    if not any(_end(name) in ("down", "up") for name in names):
        raise BadModel(
            f"{path.name} is no LoRA: its first tensor is {names[0]!r}.",
            hint="A LoRA has tensors such as transformer.LAYER.lora_A.weight.",
        )
    return names


def _end(name: str) -> str:
    return next((end for pattern, end in _ENDS.items() if re.search(pattern + "$", name)), "")


def _split(path: Path, name: str) -> tuple[str, str]:
    for pattern, end in _ENDS.items():
        cut = re.sub(pattern + "$", "", name)
        if cut != name:
            return cut, end
    raise BadModel(f"{path.name} holds {name!r}, which belongs to no plain LoRA.", hint=SAVE)


def _linear(module: Any) -> dict[str, nn.Module]:
    """The linear layers of a component by name."""
    if not isinstance(module, nn.Module):
        return {}
    return {name: layer for name, layer in module.named_modules() if hasattr(layer, "in_features")}


def _place(
    layer: str, linear: Mapping[str, Mapping[str, nn.Module]], joined: Mapping[str, Mapping[str, str]]
) -> tuple[str, str] | None:
    """(component, layer) of a name in a file; None if the model has no such layer. `joined`: its layers by
    component and by their names with underscores in place of dots."""
    for start in _FULL:
        layer = layer.removeprefix(start)
    for start, component in _JOINED.items():
        if layer.startswith(start):
            known, wanted = joined.get(component, {}), layer.removeprefix(start)
            return (component, known[wanted]) if wanted in known else None
    head, _, rest = layer.partition(".")
    if head in linear and rest in linear[head]:
        return head, rest
    return ("transformer", layer) if layer in linear["transformer"] else None


def _refuse_strange(
    path: Path, strange: list[str], some: bool, parts: Parts, linear: Mapping[str, Mapping[str, nn.Module]]
) -> None:
    title = str(parts.card.get("title") or parts.family.title)
    if not some:
        raise BadModel(
            f"The LoRA {path.name} is for another network: {title} has none of its layers, such as "
            f"{strange[0]!r}.",
            hint=f"Use it with the model it was made for; this one is a {parts.family.title}.",
        )
    known = [f"{component}.{name}" for component, layers in linear.items() for name in layers]
    raise BadModel(
        f"The LoRA {path.name} has {len(strange)} layer(s) that {title} does not have, first {strange[0]!r}.",
        hint=did_you_mean(strange[0], known) or "Use it with the model it was made for.",
    )


def _factors(path: Path, name: str, found: _Found, layer: nn.Module, settings: Mapping[str, Any]) -> Factors:
    tensors = found.tensors
    for end, key in (("down", "lora_A"), ("up", "lora_B")):
        if end not in tensors:
            raise BadModel(
                f"The LoRA {path.name} is incomplete: {name!r} lacks {key}.",
                hint="Download or copy it again.",
            )
    down, up = tensors["down"].float(), tensors["up"].float()
    inside, outside = int(layer.in_features), int(layer.out_features)  # type: ignore[arg-type]
    if down.ndim == 4 and up.ndim == 4 and down.shape[2:] == up.shape[2:] == (1, 1):
        down, up = down[..., 0, 0], up[..., 0, 0]
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1] or not down.shape[0]:
        raise BadModel(
            f"The two halves of {name!r} in {path.name} do not fit each other: {tuple(up.shape)} after "
            f"{tuple(down.shape)}.",
            hint="The file is damaged.",
        )
    if (down.shape[1], up.shape[0]) != (inside, outside):
        raise BadModel(
            f"The LoRA {path.name} takes {down.shape[1]} channels to {up.shape[0]} at {name!r}; this model's "
            f"layer takes {inside} to {outside}.",
            hint="It was made for a model of another size.",
        )
    bias = tensors["bias"].float() if "bias" in tensors else None
    if not all(bool(torch.isfinite(t).all()) for t in (down, up, *([] if bias is None else [bias]))):
        raise BadModel(f"The LoRA {path.name} holds values at {name!r} that are not finite numbers.")
    return Factors(down, up, bias, _scale(name, tensors.get("alpha"), down.shape[0], settings))


def _scale(name: str, alpha: Tensor | None, rank: int, settings: Mapping[str, Any]) -> float:
    """alpha / rank; alpha = rank where nobody says (peft: / sqrt(rank) with rank-stabilised LoRA)."""
    if alpha is not None:
        return float(alpha) / rank
    component, _, layer = name.partition(".")
    given = settings.get(f"{component}.lora_alpha")
    for pattern, special in (settings.get(f"{component}.alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", layer):
            given = special
    if not isinstance(given, int | float):
        return 1.0
    return float(given) / (rank**0.5 if settings.get(f"{component}.use_rslora") is True else rank)


def _settings(path: Path) -> Mapping[str, Any]:
    """The settings that diffusers writes beside the tensors; empty without them."""
    with safe_open(path, "pt") as file:
        written = (file.metadata() or {}).get("lora_adapter_metadata", "{}")
    try:
        found = json.loads(written)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _translated(path: Path, stored: dict[str, Tensor], parts: Parts) -> dict[str, Tensor]:
    """The same LoRA in diffusers' layout, by the library's own converter."""
    import diffusers

    pipeline = getattr(diffusers, parts.family.pipeline)
    try:
        found, alphas = pipeline.lora_state_dict(dict(stored), return_alphas=True)
    except Exception as error:
        # the converter raises a dozen types; all mean that it does not know this file
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadModel(
            f"The layers of {path.name} are named in a layout that cannot be translated for "
            f"{parts.family.title}: {said}",
            hint=SAVE,
        ) from error
    return {**found, **{name: torch.as_tensor(alpha) for name, alpha in (alphas or {}).items()}}

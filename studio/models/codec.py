"""ValueCodec for everything that travels on edges: digest, size, read-only hand-out, and bytes without
pickle.

On disk a value is a safetensors container whose metadata names the class and its plain fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from studio.errors import StudioError
from studio.values import Conditioning, Image, Latent, Mask, Model, Sigmas

HANDLE_BYTES = 1024
Fields = tuple[dict[str, Any], dict[str, torch.Tensor]]


class TensorCodec:
    """Images, masks, latents, conditionings, sigmas, tensors and model handles; see
    `graph.digest.ValueCodec`."""

    name = "weft"

    def handles(self, value: object) -> bool:
        return isinstance(value, (Model, *_SPLIT))

    def digest(self, value: object) -> str:
        if isinstance(value, Model):
            return hashlib.sha256(f"Model\0{value.digest}".encode()).hexdigest()
        plain, heavy = _split(value)
        total = hashlib.sha256(json.dumps([_kind(value).__name__, plain], sort_keys=True).encode())
        for name in sorted(heavy):
            tensor = heavy[name].detach().cpu().contiguous()
            total.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
        return total.hexdigest()

    def nbytes(self, value: object) -> int:
        if isinstance(value, Model):
            return HANDLE_BYTES
        _, heavy = _split(value)
        return HANDLE_BYTES + sum(tensor.nbytes for tensor in heavy.values())

    def readonly(self, value: Any) -> Any:
        """Pictures and masks are read-only already; tensors know no such thing and are copied."""
        if isinstance(value, torch.Tensor):
            return value.clone()
        if isinstance(value, Latent) and value.tensor is not None:
            return replace(value, tensor=value.tensor.clone())
        if isinstance(value, Conditioning):
            pooled = None if value.pooled is None else value.pooled.clone()
            return replace(value, embeds=value.embeds.clone(), pooled=pooled)
        return value

    def dump(self, value: object) -> bytes | None:
        if isinstance(value, Model):
            return None
        plain, heavy = _split(value)
        heavy = {name: tensor.detach().cpu().contiguous() for name, tensor in heavy.items()}
        return bytes(save(heavy, metadata={"weft": json.dumps([_kind(value).__name__, plain])}))

    def load(self, data: bytes) -> object:
        try:
            head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            name, plain = json.loads(head["__metadata__"]["weft"])
            kind = {kind.__name__: kind for kind in _SPLIT}[name]
            return _SPLIT[kind][1](plain, load(data))
        except (KeyError, TypeError, ValueError, IndexError, SafetensorError, StudioError) as error:
            raise ValueError(f"The stored value is damaged: {error}") from error

    def describe(self, value: object) -> str:
        """Sizes, never contents."""
        if isinstance(value, torch.Tensor):
            return f"Tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        if isinstance(value, Conditioning):
            return f"Conditioning of {value.embeds.shape[1]} tokens for {value.family}"
        if isinstance(value, Latent):
            return f"Latent {value.width}x{value.height}, {value.batch} picture(s)"
        return repr(value)


def _split(value: object) -> Fields:
    return _SPLIT[_kind(value)][0](value)


def _kind(value: object) -> type:
    return next(kind for kind in _SPLIT if isinstance(value, kind))


def _from_latent(value: Any) -> Fields:
    heavy = {} if value.tensor is None else {"tensor": value.tensor}
    if value.source is not None:
        heavy["source"] = _tensor(value.source.pixels)
    return {
        "width": value.width,
        "height": value.height,
        "batch": value.batch,
        "seed": value.seed,
        "family": value.family,
    }, heavy


def _to_latent(plain: Mapping[str, Any], heavy: Mapping[str, torch.Tensor]) -> Latent:
    source = Image(heavy["source"].numpy()) if "source" in heavy else None
    return Latent(**plain, tensor=heavy.get("tensor"), source=source)


def _from_conditioning(value: Any) -> Fields:
    heavy = {"embeds": value.embeds} | ({} if value.pooled is None else {"pooled": value.pooled})
    return {"text": value.text, "family": value.family}, heavy


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    # from_numpy warns about read-only arrays; nobody writes to this tensor
    return torch.frombuffer(bytearray(array.tobytes()), dtype=_TORCH[array.dtype.str[1:]]).reshape(
        array.shape
    )


_TORCH = {"u1": torch.uint8, "f4": torch.float32}
_SPLIT: dict[
    type, tuple[Callable[[Any], Fields], Callable[[Mapping[str, Any], Mapping[str, torch.Tensor]], object]]
] = {
    Image: (lambda v: ({}, {"pixels": _tensor(v.pixels)}), lambda p, h: Image(h["pixels"].numpy())),
    Mask: (lambda v: ({}, {"values": _tensor(v.values)}), lambda p, h: Mask(h["values"].numpy())),
    Latent: (_from_latent, _to_latent),
    Conditioning: (
        _from_conditioning,
        lambda p, h: Conditioning(**p, embeds=h["embeds"], pooled=h.get("pooled")),
    ),
    Sigmas: (
        lambda v: ({"values": list(v.values), "name": v.name}, {}),
        lambda p, h: Sigmas(tuple(p["values"]), p["name"]),
    ),
    torch.Tensor: (lambda v: ({}, {"tensor": v}), lambda p, h: h["tensor"]),
}

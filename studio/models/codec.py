"""ValueCodec for everything that travels on edges: digest, size, read-only hand-out, and bytes without
pickle.

On disk a value is a safetensors container whose metadata names the class and its plain fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from studio.errors import StudioError
from studio.values import (
    Conditioning,
    Estimate,
    Image,
    Inversion,
    KeptValues,
    Latent,
    Mask,
    Model,
    Seen,
    SeenMap,
    Sigmas,
)

HANDLE_BYTES = 1024
Fields = tuple[dict[str, Any], dict[str, torch.Tensor]]


class TensorCodec:
    """Images, masks, latents, conditionings, sigmas, what was seen, tensors and model handles; see
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
        if isinstance(value, (Seen, Inversion)):
            plain, heavy = _split(value)
            return _SPLIT[type(value)][1](plain, {name: tensor.clone() for name, tensor in heavy.items()})
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
        if isinstance(value, Seen):
            return f"Seen: {len(value.maps)} map(s), {len(value.estimates)} estimate(s)"
        if isinstance(value, Inversion):
            kept = f", {len(value.values)} kept value(s)" if value.values else ""
            return f"Inversion of {value.sigmas.steps} steps ({value.sampler}){kept}"
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
        **({"sigma": value.sigma} if value.sigma else {}),
    }, heavy


def _to_latent(plain: Mapping[str, Any], heavy: Mapping[str, torch.Tensor]) -> Latent:
    source = Image(heavy["source"].numpy()) if "source" in heavy else None
    return Latent(**plain, tensor=heavy.get("tensor"), source=source)


def _from_conditioning(value: Any) -> Fields:
    heavy = {"embeds": value.embeds} | ({} if value.pooled is None else {"pooled": value.pooled})
    return {"text": value.text, "family": value.family}, heavy


def _from_seen(value: Any) -> Fields:
    heavy = {f"map{i}": item.values for i, item in enumerate(value.maps)}
    heavy |= {f"estimate{i}": item.latent for i, item in enumerate(value.estimates)}
    maps = [{name: getattr(item, name) for name in _MAP_FIELDS} for item in value.maps]
    return {"maps": maps, "estimates": [[item.step, item.sigma] for item in value.estimates]}, heavy


def _to_seen(plain: Mapping[str, Any], heavy: Mapping[str, torch.Tensor]) -> Seen:
    maps = (
        SeenMap(**{name: _frozen(given) for name, given in item.items()}, values=heavy[f"map{i}"])
        for i, item in enumerate(plain["maps"])
    )
    estimates = (
        Estimate(step, sigma, heavy[f"estimate{i}"]) for i, (step, sigma) in enumerate(plain["estimates"])
    )
    return Seen(tuple(maps), tuple(estimates))


def _from_inversion(value: Any) -> Fields:
    plain: dict[str, Any] = {"sampler": value.sampler}
    heavy = {"states": value.states}
    for name in ("latent", "positive", "sigmas"):
        plain[name], tensors = _split(getattr(value, name))
        heavy |= {f"{name}.{key}": tensor for key, tensor in tensors.items()}
    plain["values"] = [[kept.step, kept.half, kept.site] for kept in value.values]
    for index, kept in enumerate(value.values):
        heavy |= {f"image{index}": kept.image, f"text{index}": kept.text}
    return plain, heavy


def _to_inversion(plain: Mapping[str, Any], heavy: Mapping[str, torch.Tensor]) -> Inversion:
    def part(kind: type, name: str) -> Any:
        mine = {key.removeprefix(f"{name}."): t for key, t in heavy.items() if key.startswith(f"{name}.")}
        return _SPLIT[kind][1](plain[name], mine)

    return Inversion(
        part(Latent, "latent"),
        part(Conditioning, "positive"),
        part(Sigmas, "sigmas"),
        plain["sampler"],
        heavy["states"],
        tuple(
            KeptValues(step, half, site, heavy[f"image{i}"], heavy[f"text{i}"])
            for i, (step, half, site) in enumerate(plain["values"])
        ),
    )


def _frozen(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    # from_numpy warns about read-only arrays; nobody writes to this tensor
    return torch.frombuffer(bytearray(array.tobytes()), dtype=_TORCH[array.dtype.str[1:]]).reshape(
        array.shape
    )


_MAP_FIELDS = tuple(f.name for f in fields(SeenMap) if f.name != "values")
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
    Seen: (_from_seen, _to_seen),
    Inversion: (_from_inversion, _to_inversion),
    torch.Tensor: (lambda v: ({}, {"tensor": v}), lambda p, h: h["tensor"]),
}

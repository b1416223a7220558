"""Prompts that were encoded before are not encoded again (sampling.md 10.2).

A conditioning is found by everything that makes it: digests of encoders and tokenizers, the text (without
its weights), lengths, number type, device, threads, and the code that chooses the layers; whichever node
asks, and whichever network the texts are for. Components whose files nobody has told are not cached.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch

from studio.models.family import Parts, TextReport
from studio.models.folders import Folder
from studio.values import Conditioning, Store

# component -> digest of its files; a changed copy of a component is another object and has none
_known: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def is_text(component: str) -> bool:
    """Whether a component of this name reads or encodes text."""
    return component.startswith(("text_encoder", "tokenizer"))


def tell_files(parts: Parts, folder: Folder, file_digest: Callable[[Path], str]) -> None:
    """Remember which files the text components of a model were loaded from."""
    for name, component in parts.components.items():
        if component is not None and is_text(name):
            whole = hashlib.sha256()
            for path in folder.files:
                if path.parent.name == name:
                    whole.update(f"{path.name}\0{file_digest(path)}\n".encode())
            _known[component] = whole.hexdigest()


def encoded(parts: Parts, text: str, store: Store | None) -> tuple[Conditioning, TextReport]:
    """`Family.encode_text` through a store; bit-equal to encoding afresh. What is found is the store's own:
    its tensors are never written to."""
    key = None if store is None else key_of(parts, text)
    if store is None or key is None:
        return parts.family.encode_text(parts, text)
    found = store.get(key)
    if found is None:
        made, report = parts.family.encode_text(parts, text)
        pooled = None if made.pooled is None else plain(made.pooled)
        found = [plain(made.embeds), pooled, list(report.unknown), report.cut, report.limit]
        store.put(key, found, 1.0, disk=True)
    embeds, pooled, unknown, cut, limit = found
    return Conditioning(text, parts.family.name, embeds, pooled), TextReport(tuple(unknown), cut, limit)


def key_of(parts: Parts, text: str) -> str | None:
    """What a text's conditioning is kept under; None where a component's files are not known."""
    texts = {name: part for name, part in parts.components.items() if part is not None and is_text(name)}
    if any(part not in _known for part in texts.values()):
        return None
    config = parts.transformer.config
    made = (
        "weft-text/1",
        parts.family.name,
        sorted((name, _known[part]) for name, part in texts.items()),
        text,
        sorted(parts.family.text_lengths(parts).items()),
        # what encoders do not have is filled up to the width that the network reads
        getattr(config, "joint_attention_dim", None),
        (str(parts.dtype), str(parts.device), torch.__version__, torch.get_num_threads()),
        _code(type(parts.family).__module__),
    )
    return hashlib.sha256(repr(made).encode()).hexdigest()


@lru_cache(maxsize=32)
def _code(module: str) -> str:
    """SHA-256 of a family's source."""
    file = importlib.import_module(module).__file__
    return hashlib.sha256(Path(file).read_bytes() if file else b"").hexdigest()


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on CPU that is an ordinary tensor, so that a value outlives inference mode."""
    with torch.inference_mode(False):
        return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)

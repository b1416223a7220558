"""Upscaler files of other networks, through spandrel where it is installed; safetensors only, as everywhere.

spandrel imports torchvision for three names of two networks (LaMa, RestoreFormer). Where torchvision is
missing, a stand-in takes its place during that import alone: diffusers and transformers look for torchvision,
and must not find the stand-in.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from studio.errors import BadModel

OURS = "RRDBNet and SRVGGNetCompact (Real-ESRGAN, ESRGAN)"
STAND_IN = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
# what is asked of the stand-in by name; any of it raises when it is called
NAMES = ("InterpolationMode", "rotate", "normalize")


class Other(nn.Module):
    """A network of spandrel's with the attributes of ours; nobody knows how far it looks, so `reach` is more
    than any tile."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found.model
        self.scale = int(found.scale)
        self.fold = int(found.size_requirements.multiple_of or 1)
        self.least = int(found.size_requirements.minimum or 1)
        self.reach = 10_000

    def forward(self, pictures: Tensor) -> Tensor:
        made: Tensor = self.found(pictures)
        return made


def check_known(path: Path) -> None:
    """BadModel for a network that is not ours, where nobody else is here to read it."""
    if importlib.util.find_spec("spandrel") is None:
        raise BadModel(
            f"{path.name} holds a network that Weft does not know.",
            hint=f"Weft itself reads {OURS}; with the package spandrel installed also some forty others.",
        )


def read_other(path: Path) -> nn.Module:
    """The network of a file, made by spandrel; raises BadModel if it is missing or does not know it."""
    check_known(path)
    try:
        with _stand_in():
            spandrel = importlib.import_module("spandrel")
    except ImportError as error:
        raise BadModel(
            f"{path.name} needs the package spandrel, which cannot start here: {error}.",
            hint="Install what it lacks, or reinstall spandrel with its dependencies.",
        ) from error
    try:
        found = spandrel.ModelLoader().load_from_state_dict(load_file(path))
    except Exception as error:
        # spandrel raises a dozen types here; all mean that it cannot read this file
        what = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadModel(f"{path.name} holds a network that spandrel cannot read: {what}") from error
    if not isinstance(found, spandrel.ImageModelDescriptor) or found.input_channels != 3:
        raise BadModel(
            f"{path.name} is a {found.architecture.name}, which makes no larger picture of an RGB picture."
        )
    return Other(found).eval().requires_grad_(False)


@contextmanager
def _stand_in() -> Iterator[None]:
    """torchvision, if it is missing: three names that can be imported and not used."""
    if importlib.util.find_spec("torchvision") is not None:
        yield
        return
    made = {name: ModuleType(name) for name in STAND_IN}
    for module in made.values():
        for name in NAMES:
            setattr(module, name, _missing(name))
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in STAND_IN:
            sys.modules.pop(name, None)


def _missing(name: str) -> Any:
    def call(*_: object, **__: object) -> None:
        raise BadModel(f"This network needs {name} of torchvision, which is not installed.")

    call.BILINEAR = call.NEAREST = None  # type: ignore[attr-defined]
    return call

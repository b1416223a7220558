"""Real SD3 pipelines beside our parts on the same weights: miniatures, and the embedded model where it
exists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.models.device import place
from studio.models.family import Parts, parts_of
from studio.models.folders import check_folder
from studio.models.loading import ModelStore, load_folder
from studio.models.pictures import encode_picture
from studio.models.tiny import save_tiny
from studio.values import Image, Latent

INPUTS = ("hidden_states", "timestep", "encoder_hidden_states", "pooled_projections")


@dataclass
class Pair:
    """The stock pipeline and our parts, loaded from one folder."""

    stock: Any
    ours: Parts
    size: int
    length: int


@pytest.fixture(
    scope="session", params=["tiny", "tiny-kl-t5", pytest.param("embedded", marks=pytest.mark.model)]
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    from diffusers import StableDiffusion3Pipeline

    if request.param == "embedded":
        folder: Path = request.getfixturevalue("embedded_folder")
    else:
        kl = "kl" in request.param
        folder = save_tiny("sd3", tmp_path_factory.mktemp("pair") / "sd3", t5=kl, vae="kl" if kl else "tiny")
    checked = check_folder(folder)
    # diffusers 0.42 wants to be told that a model has no T5, although its index says so
    absent = {} if "text_encoder_3" in checked.classes else {"text_encoder_3": None, "tokenizer_3": None}
    stock = StableDiffusion3Pipeline.from_pretrained(
        folder, dtype=torch.float32, low_cpu_mem_usage=False, local_files_only=True, **absent
    )
    stock.set_progress_bar_config(disable=True)
    length = checked.card["max_sequence_length"]
    assert isinstance(length, int)
    return Pair(stock, load_folder(checked, place("cpu")), 256 if request.param == "embedded" else 64, length)


@pytest.fixture(scope="session", params=["tiny:sd3", "tiny:flux"])
def tiny_parts(request: pytest.FixtureRequest) -> Iterator[Parts]:
    """Random miniatures of every family that has a whole pipeline."""
    store = ModelStore(device="cpu")
    yield parts_of(store.load(request.param))
    store.close()


@pytest.fixture(scope="session")
def tiny_picture(tiny_parts: Parts) -> Latent:
    """A picture of noise, 64 x 64 pixels, encoded."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encode_picture(tiny_parts, Image(pixels), seed=5)


@pytest.fixture(scope="session")
def recorded() -> Callable[[torch.nn.Module], AbstractContextManager[list[dict[str, torch.Tensor]]]]:
    """`with recorded(transformer) as calls`: what the network is given, call by call."""

    @contextmanager
    def record(transformer: torch.nn.Module) -> Iterator[list[dict[str, torch.Tensor]]]:
        calls: list[dict[str, torch.Tensor]] = []

        def note(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            assert not args
            calls.append({name: kwargs[name].clone() for name in INPUTS})

        handle = transformer.register_forward_pre_hook(note, with_kwargs=True)
        try:
            yield calls
        finally:
            handle.remove()

    return record

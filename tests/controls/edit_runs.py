"""Whole runs of the miniature pipelines, for the tests of editing controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from studio.controls.control import AttentionControl, Branch, Maps
from studio.models.family import Parts, adapter_for, parts_of
from studio.models.loading import ModelStore
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import Run, sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Conditioning, Latent, Sigmas, Step

MODELS = ("tiny:sd3", "tiny:flux")
OLD, NEW = "a red star on the left", "a blue heart on the left"
STEPS = 5
# two batch shapes take other kernels: 3e-7 a call, enlarged by the guidance over the steps
CLOSE = 1e-5


@cache
def store() -> ModelStore:
    return ModelStore(device="cpu")


def parts_for(ref: str) -> Parts:
    return parts_of(store().load(ref))


def text(parts: Parts, words: str) -> Conditioning:
    return encode_prompt(parts, words, "the miniature")[0]


def joint(parts: Parts) -> int:
    """How many joint sites there are."""
    return sum(site.joint for site in adapter_for(parts.transformer).sites(parts.transformer))


def sampled(
    parts: Parts,
    *controls: AttentionControl,
    prompt: str | Conditioning = NEW,
    steps: int = STEPS,
    batch: int = 1,
    scale: float = 3.0,
    seed: int = 3,
    size: tuple[int, int] = (64, 64),
    latent: Latent | None = None,
    sigmas: Sigmas | None = None,
    name: str = "euler",
) -> Run:
    positive = text(parts, prompt) if isinstance(prompt, str) else prompt
    return sample_run(
        parts,
        positive,
        text(parts, ""),
        latent or Latent(*size, batch, seed),
        sigmas or flow(steps, 3.0),
        sampler(name),
        cfg(scale),
        attachments=controls,
    )


def tensor(run: Run, role: str = "target") -> torch.Tensor:
    found = run.latents[role].tensor
    assert found is not None
    return found


@dataclass(frozen=True, eq=False)
class Beside(AttentionControl):
    """Runs further trajectories, changes nothing, and writes down every latent after every step."""

    others: tuple[Branch, ...] = ()
    kept: list[dict[str, torch.Tensor]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "beside"

    def branches(self) -> tuple[Branch, ...]:
        return self.others

    def step_end(
        self, latents: Mapping[str, torch.Tensor], step: Step, maps: Maps
    ) -> Mapping[str, torch.Tensor]:
        self.kept.append({role: latent.clone() for role, latent in latents.items()})
        return {}


class FakeMaps:
    """Means that a test wrote."""

    def __init__(self, **means: torch.Tensor) -> None:
        self.means: dict[str, torch.Tensor] = {}
        for role, value in means.items():
            self.means[role] = value

    def add(self, name: str, site: Any, step: Step, roles: Sequence[str], value: torch.Tensor) -> None:
        raise AssertionError("a test's maps are not added to")

    def mean(self, name: str, role: str) -> torch.Tensor | None:
        return self.means.get(role)

"""Local blend: outside the words' area the target becomes the source again (arXiv 2508.07519, section 4.2).

Where the words lie is read from text-to-image maps of both pictures, each from its own queries and keys
before any edit, averaged over the chosen sites and all steps so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch.nn import functional as F

from studio.controls.bounds import some_step, within
from studio.controls.control import AttentionControl, Branch, Call, Maps, Need, Probe, in_range
from studio.controls.sites import check_sites
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Conditioning, Step, TokenSpan

KERNEL, SIGMA = 7, 1.0


@dataclass(frozen=True)
class Blend(AttentionControl):
    """The blend of a run with a trajectory "source"; without an edit beside it, of two prompts.

    `source_words`, `target_words`: tokens of the words in either prompt, one map for each entry; one of the
    two may be empty (a word that only one prompt has). `sites`: joint sites whose maps are read. `eta`: share
    of the steps that are blended, 0 = none; those before the first map are left alone (CFG-Zero calls no
    network there). `threshold`: part of a map's maximum above which a place belongs to the words; below 0
    everything does (no blend), from 1 on nothing. `max_pool`: SD3's 3x3 widening.
    """

    technique: ClassVar[str] = "blend"

    source: Conditioning
    source_words: tuple[TokenSpan, ...]
    target_words: tuple[TokenSpan, ...]
    sites: tuple[int, ...]
    eta: float = 0.5
    threshold: float = 0.3
    max_pool: bool = False
    negative: Conditioning | None = None
    led_by: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        within("eta", self.eta, 0, 1)
        within("threshold", self.threshold, -1, 2)
        if not self.source_words and not self.target_words:
            raise StudioError(
                "The local blend has no words to look for.",
                hint="Name the words that change, in either prompt.",
                socket="words",
            )
        if not self.sites:
            raise StudioError("The local blend has no blocks to read maps from.", socket="look_at")

    def is_neutral(self) -> bool:
        return self.eta == 0 or self.threshold < 0

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        check_sites(self.sites, sites, socket="look_at")
        some_step("eta", 0, self.eta, steps, socket="eta")

    def branches(self) -> tuple[Branch, ...]:
        return (Branch("source", self.source, self.negative),)

    def needs(self, site: Site, step: Step) -> Need:
        wanted = site.joint and site.index in self.sites and in_range(step, 0, self.eta)
        return Need.PROBE if wanted else Need.NONE

    def probe(self, call: Call) -> Sequence[Probe]:
        return [
            Probe(call.layout.rows(role), tuple(word.tokens for word in words))
            for _, role, words in self._readings()
        ]

    def step_end(
        self, latents: Mapping[str, torch.Tensor], step: Step, maps: Maps
    ) -> Mapping[str, torch.Tensor]:
        if not in_range(step, 0, self.eta):
            return {}
        source, target = latents["source"], latents["target"]
        inside = torch.zeros_like(target[:, :1], dtype=torch.bool)
        for name, role, _ in self._readings():
            seen = maps.mean(name, role)
            if seen is None:
                return {}
            size = target.shape[-2], target.shape[-1]
            inside |= word_area(seen.to(target.device), size, self.threshold, self.max_pool)
        return {"target": torch.where(inside, target, source)}

    def _readings(self) -> list[tuple[str, str, tuple[TokenSpan, ...]]]:
        """What is probed: the map's name, the role, and the words."""
        both = [("source", self.source_words), ("target", self.target_words)]
        asked = [(role, words) for role, words in both if words]
        return [(f"{self.name}/{i}" if i else self.name, *item) for i, item in enumerate(asked)]


def word_area(seen: torch.Tensor, size: tuple[int, int], threshold: float, max_pool: bool) -> torch.Tensor:
    """Where any word lies: bool, batch, 1, height, width, from its map (batch, image token, word).

    `size`: height, width of the latent. Each map is smoothed on the token grid, divided by its maximum and
    cut at the threshold.
    """
    batch, _, words = seen.shape
    maps = seen.float().transpose(1, 2).reshape(batch * words, 1, *token_grid(seen.shape[1], size))
    maps = F.conv2d(maps, _gaussian().to(maps.device), padding=KERNEL // 2)
    if max_pool:
        maps = F.max_pool2d(maps, 3, stride=1, padding=1)
    maps = maps / maps.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    maps = F.interpolate(maps, size=size, mode="nearest")
    return (maps > threshold).reshape(batch, words, *size).any(1, keepdim=True)


def token_grid(tokens: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of square patches that cover a latent of height, width."""
    height, width = size
    side = round((height * width / tokens) ** 0.5)
    grid = height // side, width // side
    if grid[0] * grid[1] != tokens:
        raise StudioError(f"{tokens} image tokens do not cover a latent of {height} x {width}.")
    return grid


def _gaussian() -> torch.Tensor:
    """1, 1, KERNEL, KERNEL; sums to 1."""
    line = torch.exp(-((torch.arange(KERNEL) - KERNEL // 2) ** 2) / (2 * SIGMA**2))
    kernel = line[:, None] * line[None, :]
    return (kernel / kernel.sum())[None, None]

"""What the tests of regions, word weights and avoiding share: tiny networks, rows, and where tokens lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from studio.controls.control import AttentionControl, Call, Maps, Need
from studio.controls.regional import Regional, RegionText
from studio.models.family import Parts, Site
from studio.models.text import encode_prompt
from studio.models.tiny import TEXT_WIDTH, tiny_transformer
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import Run, sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Conditioning, Latent, Region, Step
from tests.controls.attaching import GRID, draw

NETWORKS = ("sd3", "sd35", "flux", "flux2", "qwen_image", "z_image")
ROWS = ("uncond:0", "uncond:1", "cond:0", "cond:1")
LEFT = Region("left", "a red star", (0.0, 0.0, 0.5, 1.0))
RIGHT = Region("right", "a blue ring", (0.5, 0.0, 1.0, 1.0))
STEPS = 4


def network_of(name: str) -> torch.nn.Module:
    """A tiny network; `sd35` is SD3 with attention of the image alone (`attn2`) in its first block."""
    if name != "sd35":
        return tiny_transformer(name)
    from diffusers import SD3Transformer2DModel

    from studio.models.tiny import _spread

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _spread(
            SD3Transformer2DModel(
                sample_size=8,
                patch_size=2,
                in_channels=4,
                out_channels=4,
                num_layers=3,
                attention_head_dim=8,
                num_attention_heads=2,
                joint_attention_dim=TEXT_WIDTH,
                caption_projection_dim=16,
                pooled_projection_dim=32,
                pos_embed_max_size=32,
                dual_attention_layers=(0, 1),
                qk_norm="rms_norm",
            )
        )


def family_of(name: str) -> str:
    return "sd3" if name == "sd35" else name


def said(seed: int, tokens: int = 3, text: str = "words") -> Conditioning:
    """A prompt that no encoder made."""
    return Conditioning(f"{text} {seed}", "tiny", draw(1, tokens, TEXT_WIDTH, seed=seed))


def regional(*seeds: int, regions: Sequence[Region] = (LEFT, RIGHT), **settings: Any) -> Regional:
    """Regions with made-up prompts, one seed each."""
    texts = tuple(RegionText(r, said(seed)) for r, seed in zip(regions, seeds, strict=True))
    return Regional("the whole", texts, **settings)


def image_tokens(family: str, output: torch.Tensor, grid: tuple[int, int] = GRID) -> torch.Tensor:
    """The answer of a network by token: row, grid row, grid column, channel."""
    height, width = grid
    rows = output.shape[0]
    if family in ("flux", "flux2", "qwen_image"):
        return output[:, : height * width].reshape(rows, height, width, -1)
    if family == "z_image":
        output = output[:, :, 0]
    blocks = output.reshape(rows, output.shape[1], height, 2, width, 2)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(rows, height, width, -1)


@dataclass(frozen=True)
class Watch(AttentionControl):
    """Keeps what joint attention gives to image and text at the first joint site."""

    found: list[tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=list, compare=False)

    @property
    def name(self) -> str:
        return "watch"

    def needs(self, site: Site, step: Step) -> Need:
        return Need.AFTER if site.index == 0 else Need.NONE

    def after(self, call: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Maps) -> None:
        self.found.append((image.clone(), None if text is None else text.clone()))

    def tokens(self, grid: tuple[int, int] = GRID) -> torch.Tensor:
        """row, grid row, grid column, channel of the last call."""
        image = self.found[-1][0][:, : grid[0] * grid[1]]
        return image.reshape(image.shape[0], *grid, -1)


@dataclass(frozen=True)
class Forced(Regional):
    """Regions of which none is left out, so that the general path runs."""

    def is_neutral(self) -> bool:
        return False

    def _repeats_base(self, text: RegionText) -> bool:
        return False


def prompt(parts: Parts, text: str) -> Conditioning:
    return encode_prompt(parts, text, "it")[0]


def sampled(
    parts: Parts,
    *controls: AttentionControl,
    text: str = "a red star",
    negative: str = "",
    scale: float = 3.0,
    batch: int = 1,
    seed: int = 3,
    steps: int = STEPS,
    size: tuple[int, int] = (96, 64),
) -> Run:
    """A run of a tiny model, width and height in pixels."""
    return sample_run(
        parts,
        prompt(parts, text),
        prompt(parts, negative),
        Latent(*size, batch, seed),
        flow(steps, 3.0),
        sampler("euler"),
        cfg(scale),
        attachments=controls,
    )


def tensor(run: Run) -> torch.Tensor:
    found = run.latent.tensor
    assert found is not None
    return found

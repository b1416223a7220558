"""What the recipes share: the network's shapes, the tokenizer, text encoding as the stock pipeline does it,
saving."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from diffusers.models.embeddings import get_2d_sincos_pos_embed_from_grid
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, PreTrainedTokenizerFast

from studio.scenes.caption import VOCABULARY
from studio.scenes.world import COLOURS, KINDS, PATTERNS, SIZES

TEXT_TOKENS = 40
SPECIAL = ("<pad>", "<start>", "<unknown>", "<end>")
NATIVE = 256
PATCH_PIXELS = 16
SHIFT = 3.0
# Classes of the probe: nothing, or one of the kinds, colours, patterns and sizes; read after block PROBED.
MARK_CLASSES = (1 + len(KINDS), 1 + len(COLOURS), 1 + len(PATTERNS), 1 + len(SIZES))
PROBED = 3
TEXT_SHAPES = ((128, 3, 4, 128), (64, 2, 2, 64))  # width, layers, heads, pooled size of the two CLIP encoders


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word or comma; other punctuation is dropped; words outside the vocabulary become
    <unknown>."""
    words = {word: i for i, word in enumerate((*SPECIAL, *VOCABULARY))}
    core = Tokenizer(models.WordLevel(words, unk_token=SPECIAL[2]))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\s\.;:!\?\"'\(\)\[\]_/-]+"), "removed"),
            pre_tokenizers.Split(",", "isolated"),
        ]
    )
    core.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[1]} $A {SPECIAL[3]}", special_tokens=[(SPECIAL[1], 1), (SPECIAL[3], 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        unk_token=SPECIAL[2],
        eos_token=SPECIAL[3],
        model_max_length=TEXT_TOKENS,
        padding_side="right",
        truncation_side="right",
    )


def make_text_encoders() -> list[CLIPTextModelWithProjection]:
    return [
        CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=len(SPECIAL) + len(VOCABULARY),
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                projection_dim=pooled,
                max_position_embeddings=TEXT_TOKENS,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=3,
            )
        )
        for width, layers, heads, pooled in TEXT_SHAPES
    ]


def make_transformer() -> SD3Transformer2DModel:
    model = SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=7,
        attention_head_dim=32,
        num_attention_heads=6,
        joint_attention_dim=sum(shape[0] for shape in TEXT_SHAPES),
        caption_projection_dim=192,
        pooled_projection_dim=sum(shape[3] for shape in TEXT_SHAPES),
        pos_embed_max_size=32,
        qk_norm="rms_norm",
    )
    for (
        block
    ) in model.transformer_blocks:  # adaLN-zero (Peebles and Xie 2022): every block starts as the identity
        for norm in (block.norm1, block.norm1_context):
            nn.init.zeros_(norm.linear.weight)
            nn.init.zeros_(norm.linear.bias)
    for layer in (model.norm_out.linear, model.proj_out):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model


class Student(nn.Module):
    """Text encoders and transformer as one module: (token ids, noisy latent, sigma) -> velocity in
    patches."""

    def __init__(self) -> None:
        super().__init__()
        self.text = nn.ModuleList(make_text_encoders())
        self.transformer = make_transformer()
        # Reads what lies at each image token from the middle of the network; a training aid, never exported.
        self.probe = nn.Sequential(nn.LayerNorm(192), nn.Linear(192, sum(MARK_CLASSES)))
        self.probed = PROBED
        self.positions: dict[int, Tensor] = {}

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids [batch, token] -> (context [batch, token, channel], pooled [batch, channel]), as SD3's
        pipeline."""
        states, pooled = [], []
        for encoder in self.text:
            out = encoder(ids, output_hidden_states=True)
            states.append(out.hidden_states[-2])
            pooled.append(out.text_embeds)
        return torch.cat(states, -1), torch.cat(pooled, -1)

    def position(self, side: int) -> Tensor:
        """Position embedding [1, side * side, channel] of a side x side token grid spread over the native 16
        x 16 one.

        Small pictures take the *centres* of the tokens they stand for, so places keep their meaning over the
        stages.
        """
        if side not in self.positions:
            table = self.transformer.pos_embed
            native = NATIVE // PATCH_PIXELS
            factor = native / side
            index = (table.pos_embed_max_size - native) / 2 + torch.arange(side) * factor + (factor - 1) / 2
            steps = index.float() * table.base_size / table.pos_embed_max_size
            grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy")).reshape(2, 1, side, side)
            made = get_2d_sincos_pos_embed_from_grid(self.transformer.inner_dim, grid, output_type="pt")
            self.positions[side] = made.float().unsqueeze(0).to(next(self.parameters()).device)
        return self.positions[side]

    def forward(self, ids: Tensor, latent: Tensor, sigma: Tensor) -> Tensor:
        """Velocity [batch, token, 2 * 2 * 16] (row, column, channel in a patch) at noise level sigma
        [batch]."""
        context, pooled = self.encode(ids)
        return self.velocity(context, pooled, latent, sigma)

    def velocity(self, context: Tensor, pooled: Tensor, latent: Tensor, sigma: Tensor) -> Tensor:
        return self.observed(context, pooled, latent, sigma)[0]

    def observed(
        self, context: Tensor, pooled: Tensor, latent: Tensor, sigma: Tensor, kept: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """(velocity, image tokens after each block [batch, token, channel]); of the tokens `kept` [batch, n]
        alone where it is given."""
        network = self.transformer
        hidden = network.pos_embed.proj(latent).flatten(2).transpose(1, 2)
        hidden = hidden + self.position(latent.shape[-1] // 2)
        if kept is not None:
            hidden = hidden.gather(1, kept[..., None].expand(-1, -1, hidden.shape[-1]))
        modulation = network.time_text_embed(sigma * 1000.0, pooled)
        context = network.context_embedder(context)
        states = []
        for block in network.transformer_blocks:
            context, hidden = block(hidden_states=hidden, encoder_hidden_states=context, temb=modulation)
            states.append(hidden)
        return network.proj_out(network.norm_out(hidden, modulation)), states


def read_exported(student: Student, folder: Path) -> None:
    """Take the weights that `save_pipeline` wrote (fp16, so good to three digits)."""
    for module, name, file in (
        (student.transformer, "transformer", "diffusion_pytorch_model"),
        (student.text[0], "text_encoder", "model"),
        (student.text[1], "text_encoder_2", "model"),
    ):
        module.load_state_dict(stored(folder / name / f"{file}.safetensors"), strict=False)


def stored(path: Path) -> dict[str, Tensor]:
    """The weights of a file in fp32; exported ones are fp16, so good to three digits."""
    return {key: value.float() for key, value in load_file(path).items()}


def patches(latent: Tensor) -> Tensor:
    """[batch, channel, h, w] -> [batch, token, 2 * 2 * channel], the order of the transformer's output."""
    b, c, h, w = latent.shape
    return latent.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(b, h * w // 4, 4 * c)


def unpatches(tokens: Tensor, side: int) -> Tensor:
    """The inverse of `patches` for a square latent of `side` cells."""
    b = tokens.shape[0]
    return (
        tokens.reshape(b, side // 2, side // 2, 2, 2, -1).permute(0, 5, 1, 3, 2, 4).reshape(b, -1, side, side)
    )


def shifted(sigma: Tensor, shift: float) -> Tensor:
    return shift * sigma / (1 + (shift - 1) * sigma)


def levels(steps: int, shift: float = SHIFT) -> list[float]:
    """Noise levels at which Euler steps begin, without the last 0; the first is 1."""
    return shifted(torch.linspace(1, 1 / steps, steps), shift).tolist()


@torch.no_grad()
def sample(
    student: Any,
    ids: Tensor,
    side: int,
    *,
    steps: int = 16,
    cfg_scale: float = 3.0,
    shift: float = SHIFT,
    seed: int = 0,
    noise: Tensor | None = None,
) -> Tensor:
    """Euler with the CFG pair batched: ids [n, token] -> latents [n, 16, side, side], from `noise` or from
    that of the seed. For judging in a recipe."""
    device = ids.device
    generator = torch.Generator("cpu").manual_seed(seed)
    latent = torch.randn(len(ids), 16, side, side, generator=generator).to(device) if noise is None else noise
    empty = torch.zeros_like(ids)
    empty[:, 0], empty[:, 1] = 1, 3
    context, pooled = student.encode(torch.cat([empty, ids]))
    sigmas = [*levels(steps, shift), 0.0]
    for now, following in pairwise(sigmas):
        both = torch.cat([latent, latent])
        v = student.velocity(context, pooled, both, torch.full((len(both),), now, device=device)).float()
        v0, v1 = unpatches(v, side).chunk(2)
        latent = latent + (following - now) * (v0 + cfg_scale * (v1 - v0))
    return latent


def save_pipeline(
    folder: Path, student: Student, autoencoder: nn.Module, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Write a stock `StableDiffusion3Pipeline` folder in fp16 safetensors (no pickles)."""
    from diffusers import StableDiffusion3Pipeline

    pipeline = StableDiffusion3Pipeline(
        transformer=student.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=autoencoder,
        text_encoder=student.text[0],
        tokenizer=tokenizer,
        text_encoder_2=student.text[1],
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    pipeline.to(dtype=torch.float32)


def latent_to_rgb(autoencoder: nn.Module, latents: np.ndarray, pictures: np.ndarray) -> dict[str, list]:
    """Least squares from latent cells to the mean colour (0..1) of their 8 x 8 pixels: the live preview's
    map."""
    n, c, h, w = latents.shape
    cells = latents.transpose(0, 2, 3, 1).reshape(-1, c).astype(np.float64)
    colours = pictures.reshape(n, h, 8, w, 8, 3).mean((2, 4)).reshape(-1, 3) / 255.0
    solution, *_ = np.linalg.lstsq(np.c_[cells, np.ones(len(cells))], colours, rcond=None)
    return {"factors": np.round(solution[:-1], 5).tolist(), "bias": np.round(solution[-1], 5).tolist()}


def write_card(folder: Path, card: dict) -> None:
    (folder / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

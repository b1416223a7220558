"""The FLUX-shaped network of the recipes: double and single blocks, rotary positions, a small T5, a guidance
input.

The vocabulary, the tokenizer (one token a word, for both text encoders) and the latents are those of
`training/recipe.py`; so is the order of a patch in what the student predicts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from studio.models.flux import image_ids, pack
from studio.scenes.caption import VOCABULARY
from studio.training.recipe import (
    MARK_CLASSES,
    NATIVE,
    PATCH_PIXELS,
    SHIFT,
    SPECIAL,
    TEXT_TOKENS,
    Student,
    read_exported,
    stored,
)

WIDTH, HEAD = 192, 32
DOUBLE, SINGLE = 4, 3  # seven in all, as scenes-sd3 has, whose weights they can start from
AXES = (4, 14, 14)  # picture, row, column
TEXT_WIDTH, POOLED = 128, 64
PROBED = 3  # after this block, counted over double and single ones
PLAIN = 1.0  # the guidance number that means the conditional velocity itself


def make_clip() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(SPECIAL) + len(VOCABULARY),
            hidden_size=POOLED,
            intermediate_size=4 * POOLED,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=TEXT_TOKENS,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=3,
        )
    )


def make_t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(SPECIAL) + len(VOCABULARY),
            attn_implementation="eager",  # on a GPU the fused backward pass of a position bias failed
            d_model=TEXT_WIDTH,
            d_kv=32,
            d_ff=4 * TEXT_WIDTH,
            num_layers=3,
            num_heads=TEXT_WIDTH // 32,
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=3,
        )
    )


def make_transformer() -> FluxTransformer2DModel:
    model = FluxTransformer2DModel(
        in_channels=64,
        num_layers=DOUBLE,
        num_single_layers=SINGLE,
        attention_head_dim=HEAD,
        num_attention_heads=WIDTH // HEAD,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=POOLED,
        guidance_embeds=True,
        axes_dims_rope=AXES,
    )
    # adaLN-zero (Peebles and Xie 2022): every block starts as the identity; the guidance has no effect yet
    closed = [block.norm.linear for block in model.single_transformer_blocks]
    closed += [norm.linear for b in model.transformer_blocks for norm in (b.norm1, b.norm1_context)]
    closed += [model.norm_out.linear, model.proj_out, model.time_text_embed.guidance_embedder.linear_2]
    for layer in closed:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model


class FluxStudent(nn.Module):
    """Text encoders and transformer as one module; used as `recipe.Student` is."""

    def __init__(self) -> None:
        super().__init__()
        self.clip, self.t5 = make_clip(), make_t5()
        self.transformer = make_transformer()
        # Reads what lies at each image token from the middle of the network; a training aid, never exported.
        self.probe = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, sum(MARK_CLASSES)))
        self.probed = PROBED
        self.guidance = PLAIN
        self.positions: dict[int, tuple[Tensor, Tensor]] = {}
        points = torch.arange(64).reshape(16, 2, 2).permute(1, 2, 0).reshape(-1)
        self.register_buffer("patch_order", points, persistent=False)

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids [batch, token] -> (context [batch, token, channel], pooled [batch, channel]), as FLUX's
        pipeline: no attention mask, padding counts."""
        return self.t5(ids).last_hidden_state, self.clip(ids).pooler_output

    def position(self, side: int) -> tuple[Tensor, Tensor]:
        """Rotation (cos, sin) [side * side, HEAD] of a side x side token grid spread over the native 16 x 16.

        Small pictures take the *centres* of the tokens they stand for, so places keep their meaning over the
        stages.
        """
        if side not in self.positions:
            factor = NATIVE / PATCH_PIXELS / side
            ids = image_ids(side, side) * factor
            ids[:, 1:] += (factor - 1) / 2
            device = next(self.parameters()).device
            cos, sin = self.transformer.pos_embed(ids)
            self.positions[side] = cos.to(device), sin.to(device)
        return self.positions[side]

    def velocity(self, context: Tensor, pooled: Tensor, latent: Tensor, sigma: Tensor) -> Tensor:
        return self.observed(context, pooled, latent, sigma)[0]

    def observed(
        self,
        context: Tensor,
        pooled: Tensor,
        latent: Tensor,
        sigma: Tensor,
        kept: Tensor | None = None,
        guidance: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """(velocity [batch, token, 2 * 2 * 16] in the order of `recipe.patches`, image tokens after each
        block); of the tokens `kept` [batch, n] alone where it is given. guidance [batch]: the number that
        goes into the network; None = `self.guidance`."""
        network = self.transformer
        hidden = network.x_embedder(pack(latent))
        cos, sin = self.position(latent.shape[-1] // 2)
        # text has ids 0: it is not turned
        still = cos.new_ones(context.shape[1], HEAD), sin.new_zeros(context.shape[1], HEAD)
        rotary: tuple[Any, Any] = torch.cat([still[0], cos]), torch.cat([still[1], sin])
        if kept is not None:
            hidden = hidden.gather(1, kept[..., None].expand(-1, -1, WIDTH))
            shown = torch.cat([torch.arange(context.shape[1], device=kept.device).expand(len(kept), -1),
                               kept + context.shape[1]], 1)  # fmt: skip
            rotary = _ByRow(rotary[0][shown]), _ByRow(rotary[1][shown])
        number = torch.full_like(sigma, self.guidance) if guidance is None else guidance
        modulation = network.time_text_embed(sigma * 1000.0, number * 1000.0, pooled)
        context = network.context_embedder(context)
        states = []
        for block in (*network.transformer_blocks, *network.single_transformer_blocks):
            context, hidden = block(hidden, context, modulation, rotary)
            states.append(hidden)
        velocity = network.proj_out(network.norm_out(hidden, modulation))
        return velocity[..., self.patch_order], states


class _ByRow:
    """A rotation table [row, token, HEAD] where diffusers expects one table for all rows: however it is
    indexed for broadcasting, it gives row, token, 1 (all heads), HEAD."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def __getitem__(self, index: object) -> Tensor:
        return self.table[:, :, None]


def read_flux(student: FluxStudent, folder: Path) -> None:
    """Take the weights that `save_flux` wrote (fp16, so good to three digits); or, out of a scenes-sd3
    folder, what both have: the vectors of the words, the CLIP encoder, the embedders and the blocks."""
    if json.loads((folder / "model_index.json").read_text())["_class_name"] == "StableDiffusion3Pipeline":
        _read_relative(student, folder)
        return
    for module, name, file in (
        (student.transformer, "transformer", "diffusion_pytorch_model"),
        (student.clip, "text_encoder", "model"),
        (student.t5, "text_encoder_2", "model"),
    ):
        _take(module, stored(folder / name / f"{file}.safetensors"))


def _take(module: nn.Module, weights: dict[str, Tensor]) -> None:
    # transformers writes one of two tied tables, and CLIP with or without this prefix
    state = {key.removeprefix("text_model."): value for key, value in weights.items()}
    missing = set(module.load_state_dict(state, strict=False).missing_keys) - {"encoder.embed_tokens.weight"}
    if missing:
        raise SystemExit(f"the stored {type(module).__name__} lacks {', '.join(sorted(missing))}")


def _read_relative(student: FluxStudent, folder: Path) -> None:
    other = Student()
    read_exported(other, folder)
    words, clip = list(other.text)
    _take(student.clip, clip.state_dict())
    with torch.no_grad():
        # T5 adds to its word table without norm in between: the table keeps the scale that it starts with
        table: Tensor = words.get_input_embeddings().weight  # type: ignore[operator]
        student.t5.shared.weight.copy_((table - table.mean(0)) / (table - table.mean(0)).std())
        _take_network(student, other)


def _take_network(student: FluxStudent, other: Student) -> None:
    """The first blocks of an SD3-shaped network become double blocks, which are built alike; of the others
    the image's half becomes a single block. Positions have no counterpart: rotations must learn theirs."""
    flux, sd3 = student.transformer, other.transformer
    # a packet is ordered channel, row, column, as the inputs of the convolution are
    flux.x_embedder.weight.copy_(sd3.pos_embed.proj.weight.flatten(1))
    flux.x_embedder.bias.copy_(sd3.pos_embed.proj.bias)
    flux.time_text_embed.timestep_embedder.load_state_dict(sd3.time_text_embed.timestep_embedder.state_dict())
    flux.time_text_embed.text_embedder.linear_2.load_state_dict(
        sd3.time_text_embed.text_embedder.linear_2.state_dict()
    )
    blocks = list(sd3.transformer_blocks)
    for mine, theirs in zip(flux.transformer_blocks, blocks[:DOUBLE], strict=True):
        mine.load_state_dict(theirs.state_dict())
    for mine, theirs in zip(flux.single_transformer_blocks, blocks[DOUBLE:], strict=True):
        for part in ("weight", "bias"):
            getattr(mine.norm.linear, part).copy_(getattr(theirs.norm1.linear, part)[: 3 * WIDTH])
        for name in ("to_q", "to_k", "to_v", "norm_q", "norm_k"):
            getattr(mine.attn, name).load_state_dict(getattr(theirs.attn, name).state_dict())
        mine.proj_mlp.load_state_dict(theirs.ff.net[0].proj.state_dict())
        leaving = theirs.attn.to_out[0], theirs.ff.net[2]
        mine.proj_out.weight.copy_(torch.cat([layer.weight for layer in leaving], 1))
        mine.proj_out.bias.copy_(leaving[0].bias + leaving[1].bias)
    flux.norm_out.load_state_dict(sd3.norm_out.state_dict())
    for part in ("weight", "bias"):
        theirs_part = getattr(sd3.proj_out, part)
        getattr(flux.proj_out, part)[student.patch_order] = theirs_part.to(student.patch_order.device)


def save_flux(
    folder: Path, student: FluxStudent, autoencoder: nn.Module, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Write a stock `FluxPipeline` folder in fp16 safetensors (no pickles)."""
    from diffusers import FluxPipeline

    pipeline = FluxPipeline(
        transformer=student.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=autoencoder,
        text_encoder=student.clip,
        tokenizer=tokenizer,
        text_encoder_2=student.t5,
        tokenizer_2=tokenizer,
    )
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    pipeline.to(dtype=torch.float32)

"""FLUX.1 (Black Forest Labs): what our loop must know of FluxTransformer2DModel.

Conventions of diffusers' FluxPipeline: the network takes packets of 2 x 2 latent points (`pack`) with the ids
(0, row, column), text with ids 0; timestep sigma; T5's tokens as text, CLIP for the pooled vector alone; rows
positive then negative; the guidance number is an input (`models.guidance_input`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from studio.errors import BadModel, StudioError
from studio.models.family import AttentionAdapter, Component, Parts, TextReport, Token
from studio.models.flux_attention import ATTENTION
from studio.models.sd3 import T5_TOKENIZER, TOKENIZER
from studio.models.text import read_prompt
from studio.models.words import read_tokens
from studio.values import Conditioning, Row, Step

LARGEST = 2048  # positions are computed, not looked up; the models were trained up to about two megapixels
TEXT_TOKENS = 512


@dataclass(frozen=True)
class Flux:
    """The family; see `models.family.Family`."""

    name: str = "flux"
    pipeline: str = "FluxPipeline"
    title: str = "FLUX.1"
    components: tuple[Component, ...] = (
        Component("transformer", (("diffusers", "FluxTransformer2DModel"),)),
        Component("vae", (("diffusers", "AutoencoderKL"), ("diffusers", "AutoencoderTiny"))),
        Component("text_encoder", (("transformers", "CLIPTextModel"),)),
        Component("text_encoder_2", (("transformers", "T5EncoderModel"),)),
        Component("tokenizer", TOKENIZER, weights=False),
        Component("tokenizer_2", T5_TOKENIZER, weights=False),
    )
    attention: AttentionAdapter = ATTENTION

    def check(self, parts: Parts) -> None:
        config = parts.transformer.config
        clip, t5 = (parts.components[name].config for name in ("text_encoder", "text_encoder_2"))
        packed, rope = 4 * parts.vae.config.latent_channels, config.axes_dims_rope
        for ours, given, theirs, wanted in (
            ("in_channels", config.in_channels, "four times vae.latent_channels", packed),
            ("out_channels", config.out_channels or packed, "four times vae.latent_channels", packed),
            ("pooled_projection_dim", config.pooled_projection_dim, "text_encoder's width", clip.hidden_size),
            ("joint_attention_dim", config.joint_attention_dim, "text_encoder_2's width", t5.d_model),
            ("attention_head_dim", config.attention_head_dim, "axes_dims_rope together", sum(rope)),
        ):
            if given != wanted:
                raise BadModel(
                    f"Components do not fit: transformer.{ours} is {given}, {theirs} is {wanted}.",
                    hint="The folder mixes parts of two models, or is a Fill, Control or Kontext model.",
                )
        if self._length(parts) > clip.max_position_embeddings:
            raise BadModel(
                f"tokenizer makes {self._length(parts)} tokens, but its encoder has "
                f"{clip.max_position_embeddings} positions.",
                hint="Set model_max_length in tokenizer_config.json.",
            )

    def size_step(self, parts: Parts) -> int:
        return 2 * self._pixels(parts)

    def size_limit(self, parts: Parts) -> int:
        return LARGEST

    def latent_shape(self, parts: Parts, batch: int, width: int, height: int) -> tuple[int, int, int, int]:
        pixels = self._pixels(parts)
        return batch, int(parts.transformer.config.in_channels) // 4, height // pixels, width // pixels

    def order(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        return tuple(sorted(rows, key=lambda row: "uncond" in row.role))

    def text_inputs(
        self, parts: Parts, conditionings: Sequence[Conditioning], batch: int
    ) -> dict[str, torch.Tensor]:
        lengths = {c.embeds.shape[1] for c in conditionings}
        if len(lengths) > 1:
            raise StudioError(
                f"The prompts have {' and '.join(map(str, sorted(lengths)))} text tokens; rows of one "
                "batch need the same number.",
                hint="Encode both prompts with the same model.",
            )
        embeds, pooled = [], []
        wide = parts.transformer.config.joint_attention_dim
        for c in conditionings:
            if c.pooled is None or c.embeds.shape[-1] != wide:
                raise StudioError(
                    f"The conditioning of {c.text!r} has {c.embeds.shape[-1]} channels; this model "
                    f"takes {wide}.",
                    hint="Encode the prompt with the same model that samples.",
                )
            embeds.append(c.embeds.expand(batch, -1, -1))
            pooled.append(c.pooled.expand(batch, -1))
        text = {
            "encoder_hidden_states": torch.cat(embeds),
            "pooled_projections": torch.cat(pooled),
            "txt_ids": torch.zeros(lengths.pop(), 3),
        }
        return {name: tensor.to(parts.device, parts.dtype) for name, tensor in text.items()}

    def velocity(
        self,
        parts: Parts,
        latent: torch.Tensor,
        step: Step,
        text: dict[str, torch.Tensor],
        rows: int,
        levels: Sequence[float] | None = None,
    ) -> torch.Tensor:
        height, width = latent.shape[-2:]
        packed = pack(latent).to(parts.dtype)
        stacked = packed if rows == 1 else torch.cat([packed] * rows)
        # times 1000 and back, as scheduler and pipeline do: the network's input is then bit-equal
        given = step.sigma if levels is None else [*levels] * rows
        timestep = torch.tensor(given, dtype=torch.float32, device=parts.device) * 1000
        output: torch.Tensor = parts.transformer(
            hidden_states=stacked,
            timestep=timestep.expand(stacked.shape[0]).to(parts.dtype) / 1000,
            img_ids=image_ids(height // 2, width // 2).to(parts.device, parts.dtype),
            **text,
            joint_attention_kwargs=None,
            return_dict=False,
        )[0]
        return unpack(output.float(), height, width)

    def text_lengths(self, parts: Parts) -> dict[str, int]:
        return {"tokenizer": self._length(parts), "tokenizer_2": self._t5_length(parts)}

    def encode_text(self, parts: Parts, text: str) -> tuple[Conditioning, TextReport]:
        lengths = self.text_lengths(parts)
        reports = [read_prompt(parts.components[name], text, room) for name, room in lengths.items()]
        clip, t5 = (self._ids(parts, name, text, room) for name, room in lengths.items())
        pooled = parts.components["text_encoder"](clip, output_hidden_states=False).pooler_output
        embeds = parts.components["text_encoder_2"](t5, output_hidden_states=False)[0]
        unknown = [word for word in reports[1].unknown if word in reports[0].unknown]
        report = TextReport(tuple(unknown), min((r.cut for r in reports), key=len), max(lengths.values()))
        return Conditioning(text, self.name, embeds, pooled), report

    def tokens(self, parts: Parts, text: str) -> tuple[Token, ...]:
        return read_tokens(parts.components["tokenizer_2"], text, self._t5_length(parts))

    def decode(self, parts: Parts, latent: torch.Tensor) -> torch.Tensor:
        config = parts.vae.config
        latent = latent.to(parts.device, parts.dtype) / config.scaling_factor + config.shift_factor
        pixels: torch.Tensor = parts.vae.decode(latent, return_dict=False)[0]
        return pixels.float()

    def encode_pixels(self, parts: Parts, pixels: torch.Tensor) -> torch.Tensor:
        config = parts.vae.config
        encoded = parts.vae.encode(pixels.to(parts.device, parts.dtype))
        latent = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        scaled: torch.Tensor = (latent.float() - config.shift_factor) * config.scaling_factor
        return scaled

    def _ids(self, parts: Parts, tokenizer: str, text: str, length: int) -> torch.Tensor:
        ids: torch.Tensor = parts.components[tokenizer](
            [text], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        return ids.to(parts.device)

    def _t5_length(self, parts: Parts) -> int:
        given = parts.card.get("max_sequence_length", TEXT_TOKENS)
        if type(given) is not int or not 1 <= given <= TEXT_TOKENS:
            raise BadModel(
                f"The card's max_sequence_length is {given!r}; it must be a whole number from 1 to "
                f"{TEXT_TOKENS}."
            )
        return given

    def _length(self, parts: Parts) -> int:
        return int(parts.components["tokenizer"].model_max_length)

    def _pixels(self, parts: Parts) -> int:
        """Pixels along one side of a latent point; AutoencoderTiny and KL name their stages alike."""
        return int(2 ** (len(parts.vae.config.block_out_channels) - 1))


def pack(latent: torch.Tensor) -> torch.Tensor:
    """batch, channel, height, width -> batch, token, 4 channel (ordered channel, row, column)."""
    batch, channels, height, width = latent.shape
    points = latent.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return points.reshape(batch, height * width // 4, 4 * channels)


def unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The inverse of `pack` for a latent of this height and width."""
    points = tokens.reshape(tokens.shape[0], height // 2, width // 2, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return points.reshape(tokens.shape[0], -1, height, width)


def image_ids(rows: int, columns: int) -> torch.Tensor:
    """token, 3: (0, row, column) of every image token."""
    grid = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros(rows, columns, dtype=torch.int64), *grid], -1).reshape(-1, 3).float()


FAMILY = Flux()

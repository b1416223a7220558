"""Stable Diffusion 3 and 3.5 (arXiv 2403.03206): what our loop must know of SD3Transformer2DModel.

Conventions of diffusers' StableDiffusion3Pipeline: one batch with rows negative then positive, timestep
1000 sigma, text = both CLIP encoders side by side, padded to T5's width, then the T5 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from studio.errors import BadModel, StudioError
from studio.models.family import AttentionAdapter, Component, Parts, TextReport, Token
from studio.models.sd3_attention import ATTENTION
from studio.models.text import read_prompt
from studio.models.words import read_tokens
from studio.values import Conditioning, Row, Step

CLIP = (("transformers", "CLIPTextModelWithProjection"),)
TOKENIZER = tuple(
    ("transformers", name)
    for name in ("CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")
)
T5_TOKENIZER = (*TOKENIZER, ("transformers", "T5Tokenizer"), ("transformers", "T5TokenizerFast"))


@dataclass(frozen=True)
class SD3:
    """The family; see `models.family.Family`."""

    name: str = "sd3"
    pipeline: str = "StableDiffusion3Pipeline"
    title: str = "Stable Diffusion 3"
    components: tuple[Component, ...] = (
        Component("transformer", (("diffusers", "SD3Transformer2DModel"),)),
        Component("vae", (("diffusers", "AutoencoderKL"), ("diffusers", "AutoencoderTiny"))),
        Component("text_encoder", CLIP),
        Component("text_encoder_2", CLIP),
        Component("text_encoder_3", (("transformers", "T5EncoderModel"),), optional=True),
        Component("tokenizer", TOKENIZER, weights=False),
        Component("tokenizer_2", TOKENIZER, weights=False),
        Component("tokenizer_3", T5_TOKENIZER, weights=False, optional=True),
    )
    attention: AttentionAdapter = ATTENTION

    def check(self, parts: Parts) -> None:
        config = parts.transformer.config
        clip = [parts.components[name].config for name in ("text_encoder", "text_encoder_2")]
        self._agree(
            "transformer.pooled_projection_dim",
            config.pooled_projection_dim,
            "both text encoders' projection_dim together",
            sum(c.projection_dim for c in clip),
        )
        if sum(c.hidden_size for c in clip) > config.joint_attention_dim:
            raise BadModel(
                f"The text encoders give {sum(c.hidden_size for c in clip)} channels, but the transformer "
                f"takes at most {config.joint_attention_dim} (joint_attention_dim)."
            )
        self._agree(
            "transformer.in_channels",
            config.in_channels,
            "vae.latent_channels",
            parts.vae.config.latent_channels,
        )
        if parts.components.get("text_encoder_3") is not None:
            if parts.components.get("tokenizer_3") is None:
                raise BadModel("The model has a text_encoder_3 but no tokenizer_3.")
            self._agree(
                "transformer.joint_attention_dim",
                config.joint_attention_dim,
                "text_encoder_3.d_model",
                parts.components["text_encoder_3"].config.d_model,
            )
        for index in ("tokenizer", "tokenizer_2"):
            room = parts.components[index.replace("tokenizer", "text_encoder")].config.max_position_embeddings
            if self._length(parts) > room:
                raise BadModel(
                    f"{index} makes {self._length(parts)} tokens, but its encoder has {room} positions.",
                    hint="Set model_max_length in tokenizer_config.json.",
                )

    def size_step(self, parts: Parts) -> int:
        return int(self._pixels(parts) * parts.transformer.config.patch_size)

    def size_limit(self, parts: Parts) -> int:
        return int(parts.transformer.config.pos_embed_max_size) * self.size_step(parts)

    def latent_shape(self, parts: Parts, batch: int, width: int, height: int) -> tuple[int, int, int, int]:
        pixels = self._pixels(parts)
        return batch, int(parts.transformer.config.in_channels), height // pixels, width // pixels

    def order(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        return tuple(sorted(rows, key=lambda row: "uncond" not in row.role))

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
        text = {"encoder_hidden_states": torch.cat(embeds), "pooled_projections": torch.cat(pooled)}
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
        stacked = latent if rows == 1 else torch.cat([latent] * rows)
        # the product in fp32, as the scheduler makes its timesteps: the network's input is then bit-equal
        given = step.sigma if levels is None else [*levels] * rows
        timestep = torch.tensor(given, dtype=torch.float32, device=parts.device) * 1000
        output: torch.Tensor = parts.transformer(
            hidden_states=stacked.to(parts.dtype),
            timestep=timestep.expand(stacked.shape[0]),
            **text,
            joint_attention_kwargs=None,
            return_dict=False,
        )[0]
        return output.float()

    def text_lengths(self, parts: Parts) -> dict[str, int]:
        length = self._length(parts)
        lengths = {"tokenizer": length, "tokenizer_2": length}
        if parts.components.get("text_encoder_3") is not None:
            lengths["tokenizer_3"] = self._t5_length(parts)
        return lengths

    def encode_text(self, parts: Parts, text: str) -> tuple[Conditioning, TextReport]:
        lengths = self.text_lengths(parts)
        reports = [read_prompt(parts.components[name], text, room) for name, room in lengths.items()]
        clip = [self._clip(parts, text, suffix) for suffix in ("", "_2")]
        embeds = torch.cat([hidden for hidden, _ in clip], dim=-1)
        t5 = self._t5(parts, text, embeds)
        embeds = torch.nn.functional.pad(embeds, (0, t5.shape[-1] - embeds.shape[-1]))
        embeds = torch.cat([embeds, t5], dim=-2)
        pooled = torch.cat([vector for _, vector in clip], dim=-1)
        unknown = [word for word in reports[0].unknown if all(word in other.unknown for other in reports)]
        report = TextReport(tuple(unknown), min((r.cut for r in reports), key=len), max(lengths.values()))
        return Conditioning(text, self.name, embeds, pooled), report

    def tokens(self, parts: Parts, text: str) -> tuple[Token, ...]:
        length = self._length(parts)
        found = [read_tokens(parts.components[name], text, length) for name in ("tokenizer", "tokenizer_2")]
        if parts.components.get("text_encoder_3") is not None:
            found.append(read_tokens(parts.components["tokenizer_3"], text, self._t5_length(parts), length))
        return tuple(dict.fromkeys(token for tokens in found for token in tokens))

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

    def _clip(self, parts: Parts, text: str, suffix: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states before the last layer (1, token, channel) and the pooled vector (1, channel)."""
        tokenizer, encoder = parts.components["tokenizer" + suffix], parts.components["text_encoder" + suffix]
        ids = tokenizer(
            [text], padding="max_length", max_length=self._length(parts), truncation=True, return_tensors="pt"
        ).input_ids
        output = encoder(ids.to(parts.device), output_hidden_states=True)
        return output.hidden_states[-2], output[0]

    def _t5(self, parts: Parts, text: str, like: torch.Tensor) -> torch.Tensor:
        """T5's tokens (1, token, channel); without a T5 as many zeros as the card (256 by default) says."""
        length = self._t5_length(parts)
        encoder: Any = parts.components.get("text_encoder_3")
        if encoder is None:
            return like.new_zeros((1, length, parts.transformer.config.joint_attention_dim))
        ids = parts.components["tokenizer_3"](
            [text],
            padding="max_length",
            max_length=length,
            truncation=True,
            add_special_tokens=True,
            return_tensors="pt",
        ).input_ids
        hidden: torch.Tensor = encoder(ids.to(parts.device))[0]
        return hidden

    def _t5_length(self, parts: Parts) -> int:
        given = parts.card.get("max_sequence_length", 256)
        if type(given) is not int or not 0 <= given <= 512:
            raise BadModel(
                f"The card's max_sequence_length is {given!r}; it must be a whole number from 0 to 512."
            )
        return given

    def _length(self, parts: Parts) -> int:
        return int(parts.components["tokenizer"].model_max_length)

    def _pixels(self, parts: Parts) -> int:
        """Pixels along one side of a latent point; AutoencoderTiny and KL name their stages alike."""
        return int(2 ** (len(parts.vae.config.block_out_channels) - 1))

    def _agree(self, ours: str, given: int, theirs: str, wanted: int) -> None:
        if given != wanted:
            raise BadModel(
                f"Components do not fit: {ours} is {given}, {theirs} is {wanted}.",
                hint="The folder mixes parts of two models.",
            )


FAMILY = SD3()

"""Where FluxTransformer2DModel attends (FLUX.1, Kontext, Fill): the sequence is [text, image, references].

Double blocks first, then single blocks. All text ids are 0, so text has no order of its own and appended
prompts change no position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from studio.models.attention_layout import (
    CommonAdapter,
    Segments,
    appended,
    check_rows,
    id_grid,
    image_spans,
    numbered,
    text_spans,
)
from studio.models.family import Site, TokenLayout


class FluxAttention(CommonAdapter):
    """See `models.family.AttentionAdapter`."""

    def sites(self, transformer: Any) -> tuple[Site, ...]:
        double = range(len(transformer.transformer_blocks))
        single = range(len(transformer.single_transformer_blocks))
        return numbered(
            [
                *((f"transformer_blocks.{i}.attn", "joint_double", i) for i in double),
                *((f"single_transformer_blocks.{i}.attn", "joint_single", i) for i in single),
            ]
        )

    def token_layout(
        self, transformer: Any, kwargs: Mapping[str, Any], roles: tuple[str, ...], segments: Segments
    ) -> TokenLayout:
        rows, tokens, _ = kwargs["encoder_hidden_states"].shape
        check_rows(roles, rows)
        grid, references = id_grid(kwargs["img_ids"])
        spans = text_spans(0, tokens, segments) | image_spans(tokens, grid, references)
        return TokenLayout(spans, grid, roles, tokens + kwargs["hidden_states"].shape[1])

    def join_text(
        self, kwargs: Mapping[str, Any], segments: Sequence[tuple[str, torch.Tensor]]
    ) -> dict[str, Any]:
        ids = kwargs["txt_ids"]
        more = [self.text_ids(ids, embeds.shape[1]) for _, embeds in segments]
        return {
            **kwargs,
            "encoder_hidden_states": appended(kwargs["encoder_hidden_states"], segments),
            "txt_ids": torch.cat([ids, *more], dim=-2),
        }

    def text_ids(self, like: torch.Tensor, tokens: int) -> torch.Tensor:
        """The ids of a prompt of its own, with the axes of `like`."""
        return like.new_zeros((*like.shape[:-2], tokens, like.shape[-1]))


ATTENTION = FluxAttention()

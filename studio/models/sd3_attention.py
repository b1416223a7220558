"""Where SD3Transformer2DModel attends (SD3, SD3.5): the sequence is [image, text]; text has no positions.

SD3.5 medium has a second attention of the image alone in its first blocks (`attn2`). The last block throws
its text output away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from studio.models.attention_layout import (
    CommonAdapter,
    Segments,
    appended,
    check_rows,
    image_spans,
    numbered,
    streams,
    text_spans,
)
from studio.models.family import Site, TokenLayout


class SD3Attention(CommonAdapter):
    """See `models.family.AttentionAdapter`."""

    def sites(self, transformer: Any) -> tuple[Site, ...]:
        named = []
        for i, block in enumerate(transformer.transformer_blocks):
            named.append((f"transformer_blocks.{i}.attn", "joint_double", i))
            if block.attn2 is not None:
                named.append((f"transformer_blocks.{i}.attn2", "image_self", i))
        keeps = [not block.context_pre_only for block in transformer.transformer_blocks]
        return tuple(replace(site, text_out=keeps[site.block]) for site in numbered(named))

    def token_layout(
        self, transformer: Any, kwargs: Mapping[str, Any], roles: tuple[str, ...], segments: Segments
    ) -> TokenLayout:
        patch = transformer.config.patch_size
        rows, _, height, width = kwargs["hidden_states"].shape
        check_rows(roles, rows)
        spans = image_spans(0, (height // patch, width // patch), ())
        tokens, image = kwargs["encoder_hidden_states"].shape[1], spans["image"].stop
        spans |= text_spans(image, tokens, segments)
        return TokenLayout(spans, (height // patch, width // patch), roles, image + tokens)

    def join_text(
        self, kwargs: Mapping[str, Any], segments: Sequence[tuple[str, torch.Tensor]]
    ) -> dict[str, Any]:
        return {**kwargs, "encoder_hidden_states": appended(kwargs["encoder_hidden_states"], segments)}

    def outputs(
        self, site: Site, output: Any, layout: TokenLayout
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        image, text = streams(site, output, layout)
        return image, text if site.text_out else None


ATTENTION = SD3Attention()

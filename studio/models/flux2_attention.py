"""Where Flux2Transformer2DModel attends (FLUX.2 dev and klein): as FLUX.1, but text tokens are counted.

Ids have four axes: picture, row, column, text index. An appended prompt counts from 0 like the base prompt.
The key-value mode of klein puts references first and leaves them out of later calls: refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from studio.errors import StudioError
from studio.models.attention_layout import Segments
from studio.models.family import TokenLayout
from studio.models.flux_attention import FluxAttention


class Flux2Attention(FluxAttention):
    """See `models.family.AttentionAdapter`."""

    def token_layout(
        self, transformer: Any, kwargs: Mapping[str, Any], roles: tuple[str, ...], segments: Segments
    ) -> TokenLayout:
        if kwargs.get("kv_cache_mode") is not None:
            raise StudioError(
                f"FLUX.2's key-value mode {kwargs['kv_cache_mode']!r} and attention controls do not go "
                "together: its calls leave the reference pictures out of the sequence.",
                hint="Sample without kv_cache_mode.",
            )
        return super().token_layout(transformer, kwargs, roles, segments)

    def text_ids(self, like: torch.Tensor, tokens: int) -> torch.Tensor:
        ids = super().text_ids(like, tokens)
        ids[..., 3] = torch.arange(tokens, dtype=like.dtype, device=like.device)
        return ids


ATTENTION = Flux2Attention()

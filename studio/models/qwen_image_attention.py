"""Where QwenImageTransformer2DModel attends (Qwen-Image and its edit models): [text, image, references].

Text positions start behind the picture's and are counted on; the network takes no ids for them. `place`
therefore rewrites the second result of its `pos_embed` for the length of a call, so that an appended prompt
starts where the base prompt starts. Padding is told by encoder_hidden_states_mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from studio.errors import StudioError
from studio.models.attention_layout import (
    CommonAdapter,
    Segments,
    appended,
    check_rows,
    image_spans,
    numbered,
    text_spans,
)
from studio.models.family import Site, TokenLayout


class QwenImageAttention(CommonAdapter):
    """See `models.family.AttentionAdapter`."""

    def sites(self, transformer: Any) -> tuple[Site, ...]:
        blocks = range(len(transformer.transformer_blocks))
        return numbered([(f"transformer_blocks.{i}.attn", "joint_double", i) for i in blocks])

    def token_layout(
        self, transformer: Any, kwargs: Mapping[str, Any], roles: tuple[str, ...], segments: Segments
    ) -> TokenLayout:
        rows, tokens, _ = kwargs["encoder_hidden_states"].shape
        check_rows(roles, rows)
        first = kwargs["img_shapes"][0]
        shapes = first if isinstance(first, list) else [first]
        frames, height, width = shapes[0]
        if frames != 1 or transformer.config.use_layer3d_rope:
            raise StudioError(
                f"Attention controls know one generated picture in a call; this one has {frames} frames"
                f"{' or layers' if transformer.config.use_layer3d_rope else ''}.",
                hint="Use Qwen-Image or Qwen-Image-Edit, not the layered model.",
            )
        references = [f * h * w for f, h, w in shapes[1:]]
        spans = text_spans(0, tokens, segments) | image_spans(tokens, (height, width), references)
        length = tokens + kwargs["hidden_states"].shape[1]
        mask = kwargs.get("encoder_hidden_states_mask")
        pad = None
        if mask is not None and not bool(mask.all()):
            pad = torch.ones((rows, length), dtype=torch.bool, device=mask.device)
            pad[:, :tokens] = mask.bool()
        return TokenLayout(spans, (height, width), roles, length, pad)

    def join_text(
        self, kwargs: Mapping[str, Any], segments: Sequence[tuple[str, torch.Tensor]]
    ) -> dict[str, Any]:
        embeds = appended(kwargs["encoder_hidden_states"], segments)
        mask = kwargs.get("encoder_hidden_states_mask")
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones((mask.shape[0], embeds.shape[1] - mask.shape[1]))], dim=1)
        return {**kwargs, "encoder_hidden_states": embeds, "encoder_hidden_states_mask": mask}

    @contextmanager
    def place(self, transformer: Any, segments: Segments) -> Iterator[None]:
        sizes = [size for _, size in segments]

        def restart(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
            image, text = output
            base = text.shape[0] - sum(sizes)
            return image, torch.cat([text[:base], *(text[:size] for size in sizes)])

        handle = transformer.pos_embed.register_forward_hook(restart, with_kwargs=True) if sizes else None
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()


ATTENTION = QwenImageAttention()

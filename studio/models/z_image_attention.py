"""Where ZImageTransformer2DModel attends (Z-Image): the sequence is [image, its padding, text].

Image and captions come as lists and are padded to multiples of 32; the padding is attended to. A caption
counts from 1 and the image stands behind it, so that a longer caption would move the image. `place`
therefore wraps `patchify_and_embed` for the length of a call: the base caption alone places the image, and
every appended prompt is padded and counted like a caption of its own. Before the joint layers image and text
pass refiners of their own (image_self, text_self). The omni mode has another order and is refused.

The image's padding is the span "image/ref:pad": like a reference it is seen, but not generated.
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
    numbered,
    text_spans,
)
from studio.models.family import Site, TokenLayout

MULTIPLE = 32


class ZImageAttention(CommonAdapter):
    """See `models.family.AttentionAdapter`."""

    def sites(self, transformer: Any) -> tuple[Site, ...]:
        groups = (
            ("noise_refiner", "image_self"),
            ("context_refiner", "text_self"),
            ("layers", "joint_single"),
        )
        return numbered(
            [
                (f"{group}.{i}.attention", kind, i)
                for group, kind in groups
                for i in range(len(getattr(transformer, group)))
            ]
        )

    def token_layout(
        self, transformer: Any, kwargs: Mapping[str, Any], roles: tuple[str, ...], segments: Segments
    ) -> TokenLayout:
        pictures, captions = kwargs["x"], kwargs["cap_feats"]
        if isinstance(pictures[0], list):
            raise StudioError(
                "Attention controls do not know the omni mode of Z-Image.", hint="Sample without references."
            )
        check_rows(roles, len(pictures))
        shapes = {tuple(picture.shape) for picture in pictures}
        if len(shapes) > 1 or pictures[0].shape[1] != 1:
            raise StudioError(
                f"The pictures of one call have the shapes {', '.join(map(str, sorted(shapes)))} (channels, "
                "frames, height, width); controls need one frame and equal sizes."
            )
        patch = kwargs.get("patch_size", 2)
        height, width = pictures[0].shape[-2] // patch, pictures[0].shape[-1] // patch
        image = height * width
        spans = {"image": slice(0, image)}
        if image < _padded(image):
            spans["image/ref:pad"] = slice(image, _padded(image))
        padded = [(name, _padded(size)) for name, size in segments]
        own = sum(size for _, size in segments)
        bases = [_padded(len(caption) - own) for caption in captions]
        tokens = max(bases) + sum(size for _, size in padded)
        spans |= text_spans(_padded(image), tokens, padded)
        length = _padded(image) + tokens
        pad = None
        if len(set(bases)) > 1:
            pad = torch.ones((len(bases), length), dtype=torch.bool, device=pictures[0].device)
            for row, base in enumerate(bases):
                pad[row, _padded(image) + base : spans["text"].stop] = False
        return TokenLayout(spans, (height, width), roles, length, pad)

    def join_text(
        self, kwargs: Mapping[str, Any], segments: Sequence[tuple[str, torch.Tensor]]
    ) -> dict[str, Any]:
        captions = []
        for row, caption in enumerate(kwargs["cap_feats"]):
            own = [(name, embeds[row : row + 1] if len(embeds) > 1 else embeds) for name, embeds in segments]
            captions.append(appended(caption[None], own)[0])
        return {**kwargs, "cap_feats": captions}

    @contextmanager
    def place(self, transformer: Any, segments: Segments) -> Iterator[None]:
        sizes = [size for _, size in segments]
        plain = transformer.patchify_and_embed

        def patchify_and_embed(images: Any, captions: Any, patch: int, frames: int) -> Any:
            bases = [caption[: len(caption) - sum(sizes)] for caption in captions]
            image, texts, size, image_ids, text_ids, image_pad, text_pad = plain(images, bases, patch, frames)
            wide = max(len(text) for text in texts)
            for row, caption in enumerate(captions):
                # the base prompts of all rows end alike, and a segment has one place; nobody sees the fill
                parts = [_wider(texts[row], text_ids[row][: len(texts[row])], text_pad[row], wide)]
                for segment in caption[len(bases[row]) :].split(sizes):
                    count = _padded(len(segment))
                    ids = transformer.create_coordinate_grid((count, 1, 1), (1, 0, 0), segment.device)
                    real = torch.zeros(len(segment), dtype=torch.bool, device=segment.device)
                    parts.append(_wider(segment, ids.flatten(0, 2), real, count))
                texts[row], text_ids[row], text_pad[row] = (
                    torch.cat(part) for part in zip(*parts, strict=True)
                )
            return image, texts, size, image_ids, text_ids, image_pad, text_pad

        if sizes:
            transformer.patchify_and_embed = patchify_and_embed
        try:
            yield
        finally:
            if sizes:
                del transformer.patchify_and_embed


def _wider(
    features: torch.Tensor, ids: torch.Tensor, pad: torch.Tensor, tokens: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The three with `tokens` tokens; what is added counts as padding."""
    fill, missing = tokens - len(features), tokens - len(ids)
    return (
        torch.cat([features, features[-1:].expand(fill, -1)]),
        torch.cat([ids, ids[-1:].expand(missing, -1)]),
        torch.cat([pad, pad.new_ones(fill)]),
    )


def _padded(tokens: int) -> int:
    """The next multiple of 32."""
    return -(-tokens // MULTIPLE) * MULTIPLE


ATTENTION = ZImageAttention()

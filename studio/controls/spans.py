"""Copying spans of q, k or v between the rows of one network call; nothing is written in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from studio.errors import StudioError
from studio.models.family import TokenLayout


def pairs(layout: TokenLayout, into: str, out_of: str) -> tuple[list[int], list[int]]:
    """Rows of two roles, picture by picture; both empty where a call has neither."""
    target, source = list(layout.rows(into)), list(layout.rows(out_of))
    if len(target) != len(source):
        raise StudioError(
            f"A network call has {len(target)} row(s) of {into!r} but {len(source)} of {out_of!r}.",
            hint="Both pictures must go through the network together.",
        )
    return target, source


def copied(
    tensor: torch.Tensor, layout: TokenLayout, spans: Sequence[str], into: str, out_of: str
) -> torch.Tensor:
    """The tensor (row, head, S, channel) with these spans of the rows `into` taken from the rows `out_of`."""
    target, source = pairs(layout, into, out_of)
    if not target:
        return tensor
    made = tensor.clone()
    for span in spans:
        tokens = layout.span(span)
        made[target, :, tokens] = tensor[source, :, tokens]
    return made

"""Attention recipes that never build an attention map: each is one or two fused calls (controls.md 4).

Shapes: q row, head, query, channel; k and v row, head, key, channel; `mask` is bool (True = seen) or
additive, broadcastable to row, head, query, key; `scale` None = 1 / sqrt(channels). Nothing is written in
place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch.nn import functional as F

from studio.errors import StudioError

# The widest head that fused kernels take (flash attention on CUDA).
WIDEST_HEAD = 256
# Queries of one piece where a recipe has to build scores after all.
PIECE = 128

Groups = Sequence[Sequence[int]]


def attention_mass(
    q: torch.Tensor,
    k: torch.Tensor,
    groups: Groups,
    *,
    offset: int = 0,
    mask: torch.Tensor | None = None,
    scale: float | None = None,
    gqa: bool = False,
) -> torch.Tensor:
    """The share of each query's softmax that lies on groups of keys, mean over heads: row, query, group;
    fp32.

    Token t of a group is key `offset + t`; an empty group has no mass. The values are indicator columns, as
    many groups at once as a head has channels (the "V-probe").
    """
    wide = k.shape[-1]
    found = []
    for first in range(0, len(groups), wide):
        some = tuple(tuple(group) for group in groups[first : first + wide])
        marks = _indicator(some, offset, k.shape[2], wide, k.dtype, k.device)
        values = marks.expand(k.shape[0], k.shape[1], -1, -1)
        mass = F.scaled_dot_product_attention(q, k, values, attn_mask=mask, scale=scale, enable_gqa=gqa)
        found.append(mass[..., : len(some)].float().mean(1))
    if not found:
        return q.new_zeros((q.shape[0], q.shape[2], 0), dtype=torch.float32)
    return found[0] if len(found) == 1 else torch.cat(found, -1)


def spread(
    q: torch.Tensor,
    k: torch.Tensor,
    masks: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    scale: float | None = None,
) -> torch.Tensor:
    """Masks on the keys carried along the attention to the queries, mean over heads.

    masks: row (or 1), key, mask, any values. Returns row, query, mask; fp32. With the image's own queries and
    keys a mask spreads over what belongs together.
    """
    wide = k.shape[-1]
    found = []
    for part in masks.to(k.dtype).split(wide, dim=-1):
        values = F.pad(part, (0, wide - part.shape[-1]))[:, None]
        values = values.expand(k.shape[0], k.shape[1], -1, -1)
        moved = F.scaled_dot_product_attention(q, k, values, attn_mask=mask, scale=scale)
        found.append(moved[..., : part.shape[-1]].float().mean(1))
    return found[0] if len(found) == 1 else torch.cat(found, -1)


def replace_logits(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    other_q: torch.Tensor,
    other_k: torch.Tensor,
    keys: slice,
    *,
    mask: torch.Tensor | None = None,
    scale: float | None = None,
    widest: int = WIDEST_HEAD,
) -> torch.Tensor:
    """Attention of `q` in which the scores with the keys in `keys` are those of `other_q` and `other_k`.

    other_q and other_k have the shapes of q and k. Heads are doubled: [q, other_q] with [k, 0] outside and
    [0, other_k] inside. Where that is wider than `widest`, the softmax is built for a few queries at a time.
    """
    wide = q.shape[-1]
    scale = 1 / math.sqrt(wide) if scale is None else scale
    inside = torch.zeros(k.shape[2], dtype=torch.bool, device=k.device)
    inside[keys] = True
    if 2 * wide > widest:
        pieces = range(0, q.shape[2], PIECE)
        return torch.cat(
            [
                _replaced_piece(q, k, v, other_q, other_k, inside, mask, scale, slice(first, first + PIECE))
                for first in pieces
            ],
            dim=2,
        )
    here = inside[:, None]
    zero = k.new_zeros(())
    double_k = torch.cat([torch.where(here, zero, k), torch.where(here, other_k, zero)], -1)
    double_q = torch.cat([q, other_q], -1)
    double_v = F.pad(v, (0, 2 * wide - v.shape[-1]))
    out = F.scaled_dot_product_attention(double_q, double_k, double_v, attn_mask=mask, scale=scale)
    return out[..., : v.shape[-1]]


def reweighted(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tokens: Sequence[int],
    weight: float,
    *,
    renormalise: bool = False,
    mask: torch.Tensor | None = None,
    scale: float | None = None,
) -> torch.Tensor:
    """Attention in which some keys count `weight` times: after the softmax (P2P, rows no longer sum to 1), or
    with `renormalise` before it, by log(weight) on their scores (weight > 0)."""
    if renormalise:
        bias = columns_bias(((tokens, weight),), k.shape[2], k)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=joined(bias, mask), scale=scale)
    values = v * columns_scale(((tokens, weight),), k.shape[2], v)
    return F.scaled_dot_product_attention(q, k, values, attn_mask=mask, scale=scale)


def columns_scale(
    terms: Sequence[tuple[Sequence[int], float]], keys: int, like: torch.Tensor
) -> torch.Tensor:
    """Factors of the values: key, 1; terms are (keys, weight) and multiply."""
    factors = torch.ones((keys, 1), dtype=like.dtype, device=like.device)
    for tokens, weight in terms:
        factors[list(tokens)] *= weight
    return factors


def columns_bias(terms: Sequence[tuple[Sequence[int], float]], keys: int, like: torch.Tensor) -> torch.Tensor:
    """An additive mask 1, 1, 1, key of the logarithms of weights > 0; terms are (keys, weight) and add up."""
    bias = torch.zeros(keys, dtype=like.dtype, device=like.device)
    for tokens, weight in terms:
        if not weight > 0:
            raise StudioError(
                f"A weight of {weight:g} has no logarithm.", hint="Possible are weights above 0."
            )
        bias[list(tokens)] += math.log(weight)
    return bias[None, None, None]


def take(tensor: torch.Tensor, spans: Sequence[slice], dim: int = 2) -> torch.Tensor:
    """Some slices of an axis, one after the other; a view where there is one alone."""
    parts = [tensor.narrow(dim, span.start, span.stop - span.start) for span in spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def joined(one: torch.Tensor | None, other: torch.Tensor | None) -> torch.Tensor | None:
    """Two masks as one: both must let a key be seen; additive ones add."""
    if one is None or other is None:
        return other if one is None else one
    if one.dtype == torch.bool and other.dtype == torch.bool:
        return one & other
    dtype = other.dtype if one.dtype == torch.bool else one.dtype
    return additive(one, dtype) + additive(other, dtype)


def additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask in its additive form: 0 where bool True, -inf where False."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -math.inf)


@lru_cache(maxsize=32)
def _indicator(
    groups: tuple[tuple[int, ...], ...],
    offset: int,
    keys: int,
    wide: int,
    dtype: torch.dtype,
    device: torch.device,
) -> torch.Tensor:
    """1 where a key (axis 0) lies in a group (axis 1), as wide as a head so that fused kernels take it."""
    with torch.inference_mode(False):
        marks = torch.zeros((keys, wide), dtype=dtype)
        for column, group in enumerate(groups):
            for token in group:
                if not 0 <= offset + token < keys:
                    raise StudioError(
                        f"There is no token {token} to read; the text has fewer tokens.",
                        hint="Find the words in the prompt that is sampled.",
                    )
                marks[offset + token, column] = 1
        return marks.to(device)


def _replaced_piece(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    other_q: torch.Tensor,
    other_k: torch.Tensor,
    inside: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    piece: slice,
) -> torch.Tensor:
    own = q[:, :, piece] @ k.mT
    scores = torch.where(inside, other_q[:, :, piece] @ other_k.mT, own).float() * scale
    if mask is not None:
        some = mask if mask.shape[-2] == 1 else mask[..., piece, :]
        scores = scores + additive(some, scores.dtype)
    return torch.softmax(scores, -1).to(v.dtype) @ v

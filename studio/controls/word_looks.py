"""Both ways of a word's attention: where the picture looks at the word, and where the word looks.

Joint attention has two blocks between text and picture. Word maps read one, the mass that image queries put
on a word; the other is the word's own softmax over the picture. Each is wrong in places of its own, so a mask
is cut from their geometric mean, which needs both (on scenes-sd3 it parts an object from the rest better than
either: docs/measured.md). Ours; the two blocks are called T2I and I2T in arXiv 2508.07519.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from studio.controls.control import Call, Maps, Need
from studio.controls.fused import additive
from studio.controls.word_maps import PICTURE_ROWS, WordMaps
from studio.models.family import Site
from studio.values import Step

LOOKS = "/looks"


@dataclass(frozen=True)
class WordLooks(WordMaps):
    """Word maps, and where the words look at the same blocks and steps, kept as "word_maps/looks" with the
    same columns: the share of the softmax of a word's queries at each place, mean over its tokens and over
    heads. The columns of other text are 0: nobody asks for them. Only the rows of the words' own queries are
    computed."""

    technique: ClassVar[str] = "word_maps"

    def needs(self, site: Site, step: Step) -> Need:
        return Need.PROBE | Need.AFTER if self.where.at(site, step) else Need.NONE

    def after(self, call: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Maps) -> None:
        for role in PICTURE_ROWS:
            rows = call.layout.rows(role)
            if rows:
                looks = self._looks(call, rows)
                maps.add(self.name + LOOKS, call.site, call.step, [call.layout.roles[r] for r in rows], looks)

    def _looks(self, call: Call, rows: tuple[int, ...]) -> torch.Tensor:
        """row, image token, column; fp32."""
        start, image = call.layout.span("text").start, call.layout.span("image")
        keys, words = call.k[list(rows)].float(), []
        for word in self.words:
            asked = [start + token for token in word.tokens]
            queries = call.q[list(rows)][:, :, asked].float()
            if keys.shape[1] != queries.shape[1]:
                keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
            scores = queries @ keys.mT * (call.scale or queries.shape[-1] ** -0.5)
            if call.mask is not None:
                scores = masked(scores, call.mask, rows, asked)
            words.append(scores.softmax(-1)[..., image].mean((1, 2)))
        empty = torch.zeros_like(words[0])
        return torch.stack([*words, empty, empty], -1)


def masked(
    scores: torch.Tensor, mask: torch.Tensor, rows: tuple[int, ...], asked: list[int]
) -> torch.Tensor:
    """Scores (row, head, query, key) of some rows and queries under the mask of a whole call, bool (True =
    seen) or additive, broadcastable to row, head, query, key."""
    mask = mask[(None,) * (4 - mask.ndim)]
    mask = mask[list(rows)] if mask.shape[0] > 1 else mask
    mask = mask[:, :, asked] if mask.shape[2] > 1 else mask
    return scores + additive(mask, scores.dtype)


def both_ways(to: torch.Tensor, looks: torch.Tensor) -> torch.Tensor:
    """The geometric mean of the two maps of each word, each divided by its maximum: ..., row, column, group;
    0..1. A map of zeros stays zeros."""
    least = torch.finfo(torch.float32).tiny
    one, other = (m.float() / m.float().amax((-3, -2), keepdim=True).clamp_min(least) for m in (to, looks))
    return (one * other).sqrt()

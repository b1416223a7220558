"""Word maps: how strongly each place of the picture looks at each word (controls.md 7 (p)).

The mass of the joint softmax that image queries put on the tokens of a word, mean over heads, read by a
fused probe (controls.md 4). In MM-DiT this is the block T2I of arXiv 2508.07519. Looking changes nothing: a
probe is one attention more, beside the network's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from studio.controls.control import Call, Need, Probe, Several
from studio.controls.where import Where
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Step, TokenSpan

# The rows that make the picture itself, of a plain run and of one with branches.
PICTURE_ROWS = ("cond", "target")
OTHER, REST = "other words", "rest of the text"


@dataclass(frozen=True)
class WordMaps(Several):
    """Maps of `words`; their columns are one for each word, the other words of the prompt together, and the
    rest of the text (padding, start and end).

    `others`: all tokens of the prompt that stand for words. The columns and what is left of 1, the mass on
    the picture itself, sum to 1. `every`: keep the map of each block and step, not only the mean.
    """

    technique: ClassVar[str] = "word_maps"

    words: tuple[TokenSpan, ...]
    others: tuple[int, ...] = ()
    where: Where = field(default_factory=Where)
    every: bool = False
    led_by: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not self.words:
            raise StudioError("There is no word to watch.", socket="words", hint="Name words of the prompt.")
        taken: dict[int, str] = {}
        for word in self.words:
            for token in word.tokens:
                if token in taken:
                    raise StudioError(
                        f"The words {taken[token]!r} and {word.text!r} share a token, so that their maps "
                        "would count it twice.",
                        socket="words",
                        hint="Watch them one at a time, or name each word once.",
                    )
                taken[token] = word.text

    @property
    def labels(self) -> tuple[str, ...]:
        return (*(word.text for word in self.words), OTHER, REST)

    @property
    def detail(self) -> bool:
        return self.every

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        self.where.check("Watch words", sites, steps)

    def needs(self, site: Site, step: Step) -> Need:
        return Need.PROBE if self.where.at(site, step) else Need.NONE

    def probe(self, call: Call) -> Sequence[Probe]:
        rows = call.layout.rows(*PICTURE_ROWS)
        return (Probe(rows, self.groups(call.layout.size("text"))),) if rows else ()

    def groups(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The text tokens of each column, for a text of `size` tokens; every token lies in one."""
        named = {token for word in self.words for token in word.tokens}
        others = tuple(sorted(set(self.others) - named))
        rest = tuple(token for token in range(size) if token not in named and token not in others)
        return (*(word.tokens for word in self.words), others, rest)


def min_max(maps: torch.Tensor) -> torch.Tensor:
    """Each map stretched to 0..1 over its grid; a flat map becomes 0. maps: ..., row, column, group."""
    low = maps.amin((-3, -2), keepdim=True)
    spread = maps.amax((-3, -2), keepdim=True) - low
    flat = spread <= 1e-12 * low.abs().clamp_min(1e-30)
    return torch.where(flat, 0.0, (maps - low) / torch.where(flat, 1.0, spread))


def over_words(maps: torch.Tensor, sharpness: float = 1.0) -> torch.Tensor:
    """The softmax over groups at each place; maps: ..., row, column, group, masses >= 0; sums to 1.

    A word's score is the logarithm of its mass relative to its own mean, so that words which are looked at
    everywhere do not win everywhere. `sharpness` multiplies the scores: 1 gives plain shares. Groups
    without any mass (no tokens) get none.
    """
    mean = maps.mean((-3, -2), keepdim=True)
    scores = torch.log(maps.clamp_min(1e-30) / mean.clamp_min(1e-30)) * sharpness
    scores = torch.where(mean > 0, scores, torch.full_like(scores, -torch.inf))
    # all groups empty: nothing to share
    return torch.softmax(scores, -1).nan_to_num(0.0)

"""Word weight: words of the prompt count more or less for the picture (Prompt-to-Prompt, arXiv 2208.01626,
section 3.2, attention re-weighting).

What the image takes from the tokens of a word is multiplied by its weight after the softmax (the paper's
form), or before it, so that the rest gives way (`renormalise`). The text's own tokens attend as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from studio.controls.bounds import some_step, window, within
from studio.controls.control import Call, Columns, Need, Several, in_range
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Step, TokenSpan

MOST_WEIGHT = 4.0
PICTURE = ("cond", "target")


@dataclass(frozen=True)
class WordWeight(Several):
    """Weights of words of the prompt that the picture (in an edit: the edited picture) is made from.

    `words`: (tokens, weight) pairs; weights 0..4, 1 = as it is, several on one token multiply. With
    `renormalise` a weight is above 0.
    """

    technique: ClassVar[str] = "weight"
    words: tuple[tuple[TokenSpan, float], ...]
    renormalise: bool = False
    start: float = 0.0
    end: float = 1.0
    led_by: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        window(self.start, self.end)
        for span, weight in self.words:
            within(f"The weight of {span.text!r}", weight, 0, MOST_WEIGHT, socket="weight")
            if self.renormalise and weight == 0:
                raise StudioError(
                    f"The weight of {span.text!r} is 0, which cannot be renormalised.",
                    hint="Give a little more, such as 0.01, or switch renormalising off.",
                    socket="weight",
                )

    @property
    def only_name(self) -> str:
        said = ", ".join(f"{span.text} {weight:g}" for span, weight in self.words)
        return f"weight: {said}" if said else "weight"

    def is_neutral(self) -> bool:
        return all(weight == 1 for _, weight in self.words) or self.start >= self.end

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        some_step("The word weight", self.start, self.end, steps, socket="end")

    def steady(self, step: Step) -> object:
        return in_range(step, self.start, self.end)

    def cropped(self, part: tuple[float, float, float, float]) -> WordWeight:
        """Itself: it means the same everywhere."""
        return self

    def needs(self, site: Site, step: Step) -> Need:
        if not site.joint or not in_range(step, self.start, self.end):
            return Need.NONE
        return Need.COLUMNS

    def columns(self, call: Call) -> Sequence[Columns]:
        rows = call.layout.rows(*PICTURE)
        return [
            Columns(rows, span.tokens, weight, not self.renormalise)
            for span, weight in self.words
            if weight != 1
        ]

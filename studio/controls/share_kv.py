"""Keep the look: the target asks, but sees the keys and values of the source's picture (arXiv 2412.18597,
DiTCtrl, in its form for pictures; MasaCtrl before it, arXiv 2304.08465).

So the object keeps colour and texture while its pose, place or shape follows the new prompt. With words, the
source's foreground is shown only to the target's foreground and the background to the background. DiTCtrl
shows text tokens other than the words the background; here they see everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch.nn import functional as F

from studio.controls.bounds import some_step, window, within
from studio.controls.control import (
    Branch,
    Call,
    Need,
    Outputs,
    Owns,
    Pass,
    PassSet,
    Probe,
    Several,
    Write,
    in_range,
)
from studio.controls.sites import check_sites
from studio.controls.spans import copied, pairs
from studio.controls.tokens import reference_spans
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Conditioning, Step, TokenSpan


@dataclass(frozen=True)
class KeepLook(Several):
    """Keys and values of the trajectory "source" at `sites`, in the steps from `start` to `end` (0..1).

    `joint`: text tokens are shared too, as DiTCtrl does. `source_words`, `target_words`: the object in either
    prompt; both or none. Their maps are read at `map_sites` from the first step on; until there is one,
    everything is shared. `threshold`: part of a map, 0..1 between its minimum and maximum, from which a place
    is foreground.
    """

    technique: ClassVar[str] = "look"

    source: Conditioning
    sites: tuple[int, ...]
    start: float = 0.04
    end: float = 0.5
    joint: bool = False
    source_words: TokenSpan | None = None
    target_words: TokenSpan | None = None
    map_sites: tuple[int, ...] = ()
    threshold: float = 0.3
    negative: Conditioning | None = None
    led_by: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        window(self.start, self.end)
        within("threshold", self.threshold, -1, 2)
        if (self.source_words is None) != (self.target_words is None):
            raise StudioError(
                "The object must be named in both prompts, or in none.",
                hint="Say what it is called in the kept picture and in the new one.",
                socket="words",
            )
        if self.masked and not self.map_sites:
            raise StudioError("There are no blocks to read maps of the words from.", socket="look_at")

    @property
    def only_name(self) -> str:
        return f"{self.technique} in blocks {', '.join(map(str, self.sites))}"

    @property
    def masked(self) -> bool:
        """Whether foreground and background are kept apart."""
        return self.source_words is not None and self.target_words is not None

    def is_neutral(self) -> bool:
        return self.start == self.end or not self.sites

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        check_sites(self.sites, sites, socket="blocks")
        check_sites(self.map_sites, sites, socket="look_at")
        some_step("Keeping the look", self.start, self.end, steps, socket="end")

    def branches(self) -> tuple[Branch, ...]:
        return (Branch("source", self.source, self.negative),)

    def needs(self, site: Site, step: Step) -> Need:
        found = Need.NONE
        if not site.joint:
            return found
        if self.masked and site.index in self.map_sites and in_range(step, 0, self.end):
            found |= Need.PROBE
        if site.index in self.sites and in_range(step, self.start, self.end):
            found |= Need.EDIT | (Need.PASSES if self.masked else Need.NONE)
        return found

    def writes(self, site: Site, step: Step) -> tuple[Write, ...]:
        if Need.EDIT not in self.needs(site, step):
            return ()
        return tuple(Write("target", span, tensor) for tensor in "kv" for span in self._shared())

    def edit(self, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        k, v = (copied(x, call.layout, self._shared(), "target", "source") for x in (call.k, call.v))
        return call.q, k, v

    def probe(self, call: Call) -> Sequence[Probe]:
        assert self.source_words is not None
        assert self.target_words is not None
        return [
            Probe(call.layout.rows("source"), (self.source_words.tokens,)),
            Probe(call.layout.rows("target"), (self.target_words.tokens,)),
        ]

    def owns(self, site: Site, step: Step) -> tuple[Owns, ...]:
        return (Owns(("target",)),)

    def passes(self, call: Call) -> Sequence[PassSet]:
        rows, _ = pairs(call.layout, "target", "source")
        if not rows or call.maps is None or self.target_words is None:
            return ()
        kept, made = call.maps.mean(self.name, "source"), call.maps.mean(f"{self.name}/1", "target")
        if kept is None or made is None:
            return ()
        device = call.q.device
        foreground = self._foreground(kept).to(device)
        inside = self._foreground(made).to(device)
        word = torch.zeros(call.layout.size("text"), dtype=torch.bool, device=device)
        word[list(self.target_words.tokens)] = True
        others = reference_spans(call.layout)
        keys = ("text", "image", *others)
        ends = call.layout.size("text"), sum(call.layout.size(name) for name in others)

        def seen(image: torch.Tensor) -> torch.Tensor:
            """Mask over `keys`, row, 1, 1, key: all but the image tokens outside."""
            return F.pad(image, ends, value=True)[:, None, None]

        def combine(inner: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
            front, back, rest = outputs
            return {
                **rest,
                "text": torch.where(word[:, None], front["text"], rest["text"]),
                "image": torch.where(inside[:, None, :, None], front["image"], back["image"]),
            }

        passes = (
            Pass(("text", "image"), keys, seen(foreground)),
            Pass(("image",), keys, seen(~foreground)),
            Pass(("text", *others), keys),
        )
        return (PassSet(tuple(rows), passes, combine),)

    def _foreground(self, seen: torch.Tensor) -> torch.Tensor:
        """bool, batch, image token, from a map (batch, image token, 1)."""
        low, high = seen.amin(1), seen.amax(1)
        spread = (high - low).clamp_min(torch.finfo(seen.dtype).tiny)
        return (seen[..., 0] - low) / spread >= self.threshold

    def _shared(self) -> tuple[str, ...]:
        return ("text", "image") if self.joint else ("image",)

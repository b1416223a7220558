"""Regional prompting: every box or painted mask has a prompt of its own (controls.md 7 (b)).

Training-free Regional Prompting for Diffusion Transformers (arXiv 2411.02395), in three forms:

* `open`: one pass. Every region's text and its own image tokens see each other, the base prompt and the
  whole picture see each other, texts are blind to each other (the mask of EliGen, arXiv 2501.01097).
* `strict`: the published scheme. Two passes, base prompt with everything and regions kept apart from each
  other; the image takes (1 - r) of the regions and r of the base. With r = 0 nothing leaks between regions
  at any site, those of the image alone (SD3.5-M, Z-Image) included.
* `hard`: as `strict`, but with r = 0 for the first share of the steps, so that every region is painted on its
  own before all become one picture (after RAG-Diffusion, arXiv 2411.06558, where each is cut out and pasted).

The published scheme runs without guidance. With it, regions that are kept apart are so in the rows of the
negative prompt as well, and there the negative prompt does not see the picture: it is one text for all
regions, and would carry one into the other. Else those rows stay as they are.

The negative prompt of a region stands in the rows of the negative prompt, at the region's place: it works
through guidance, so it does nothing in a run without negative rows. `controls/negative.py` takes the same
regions for such runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from studio.controls.bounds import some_step, window, within
from studio.controls.control import (
    POSITIVE,
    AttentionControl,
    Call,
    Need,
    Owns,
    TextSegment,
    in_range,
)
from studio.controls.crop import Box, crop_region
from studio.controls.region_passes import (
    Share,
    Weighed,
    image_set,
    negative_set,
    pass_of,
    share_of,
    strict_set,
    unmasked_set,
)
from studio.controls.tokens import ORDER, Bools, Cover, Floats, Prompt, cover, together
from studio.errors import StudioError
from studio.models.family import Site, TokenLayout
from studio.values import Conditioning, Region, Step

OPEN, STRICT, HARD = "open", "strict", "hard"
MODES = (OPEN, STRICT, HARD)
NEGATIVE = tuple(f"{role}.uncond" if role != "cond" else "uncond" for role in POSITIVE)
TARGET = ("target",)
MOST_REGIONS = 64


@dataclass(frozen=True)
class RegionText:
    """A region and what the encoder made of its texts, each cut to its own tokens; None = no text.

    `edited`: what the edited picture reads instead of `prompt` (the row "target" of an edit); `emptied`: it
    reads nothing there.
    """

    region: Region
    prompt: Conditioning | None
    negative: Conditioning | None = None
    edited: Conditioning | None = None
    emptied: bool = False


@dataclass(frozen=True)
class Regional(AttentionControl):
    """Regions over the base prompt of the run.

    `base`: text of that prompt; a lowest region over the whole canvas that only repeats it is left out.
    `background`: what no region covers reads it too (None: the base prompt alone). `overlap`: order (the
    later region on top) or share (both). `base_ratio` 0..1 (strict, hard). `alone`: share of the steps with
    the regions painted on their own (hard). `single_every`: in single-stream blocks only every n-th is
    masked, at the others every token sees every prompt, as published. Regions have their own ranges within
    `start`..`end`. From the part `borders` of the steps on every token sees every prompt too: where things
    are is settled by then, and what they look like is drawn better together. Strength and base ratio count
    there as before.
    """

    technique: ClassVar[str] = "regions"
    led_by_any: ClassVar[bool] = True
    base: str
    regions: tuple[RegionText, ...]
    background: Conditioning | None = None
    mode: str = OPEN
    overlap: str = ORDER
    base_ratio: float = 0.2
    start: float = 0.0
    end: float = 1.0
    alone: float = 0.1
    single_every: int = 1
    borders: float = 1.0
    # pass sets of one network call, shared by its sites; gone with its layout
    _made: WeakKeyDictionary[TokenLayout, dict[object, tuple[Weighed, ...]]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise StudioError(f"Mode {self.mode!r} is not possible.", hint=f"Possible: {', '.join(MODES)}.")
        within("base ratio", self.base_ratio, 0, 1)
        within("alone", self.alone, 0, 1)
        within("borders", self.borders, 0, 1)
        within("single every", self.single_every, 1, 64)
        window(self.start, self.end)
        for text in self.regions:
            within(f"The strength of region {called(text.region)}", text.region.strength, 0, 2)
            window(text.region.start, text.region.end)
        if len(self.regions) > MOST_REGIONS:
            raise StudioError(f"{len(self.regions)} regions are too many.", hint=f"At most {MOST_REGIONS}.")

    @property
    def led_by(self) -> str | None:
        """Its base prompt; regions without one stand over any."""
        return self.base if self.base.strip() else None

    def is_neutral(self) -> bool:
        if self.mode != OPEN and self.base_ratio == 1 and self.alone_ends() == 0:
            return not any(r.negative for r in self.regions)
        return not any(r.prompt or r.negative or r.edited for r in self.kept().values())

    def alone_ends(self) -> float:
        """The share of the steps in which regions are painted on their own."""
        return self.alone if self.mode == HARD else 0.0

    def kept(self) -> dict[int, RegionText]:
        """The regions that change anything, by their place in the list: strength and range are not empty,
        and it is not the lowest one that repeats the base prompt everywhere."""
        kept = {i: r for i, r in enumerate(self.regions) if r.region.strength > 0}
        kept = {
            i: r for i, r in kept.items() if max(r.region.start, self.start) < min(r.region.end, self.end)
        }
        lowest = next(iter(kept), None)
        if lowest is not None and self._repeats_base(kept[lowest]):
            del kept[lowest]
        return kept

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        for text in self.kept().values():
            start, end = max(text.region.start, self.start), min(text.region.end, self.end)
            some_step(f"Region {called(text.region)}", start, end, steps, socket="attachments")

    def active(self, step: Step) -> tuple[int, ...]:
        """The regions at a step, by their place in the list."""
        if not in_range(step, self.start, self.end):
            return ()
        kept = self.kept().items()
        return tuple(i for i, r in kept if in_range(step, r.region.start, r.region.end))

    def segments(self, step: Step) -> tuple[TextSegment, ...]:
        found = []
        for index in self.active(step):
            text = self.regions[index]
            texts = {"": text.prompt, ".edited": text.edited, ".not": text.negative}
            found += [(f"{self.name}.{index}{end}", made) for end, made in texts.items() if made is not None]
        if found and self.background is not None:
            found.append((f"{self.name}.rest", self.background))
        return tuple(TextSegment(name, made) for name, made in found)

    def steady(self, step: Step) -> object:
        return self.active(step), self._ratio(step), self._bordered(step)

    def cropped(self, part: Box) -> Regional:
        """The regions that reach into this part, as they lie in it."""
        found = ((crop_region(text.region, part), text) for text in self.regions)
        return replace(
            self,
            regions=tuple(replace(text, region=region) for region, text in found if region is not None),
        )

    def needs(self, site: Site, step: Step) -> Need:
        if site.kind == "text_self" or not self.segments(step):
            return Need.NONE
        if site.kind == "image_self":
            apart = self.mode != OPEN and self._bordered(step) and self._painted(step)
            return Need.PASSES if apart else Need.NONE
        return Need.PASSES

    def owns(self, site: Site, step: Step) -> tuple[Owns, ...]:
        active = [self.regions[i] for i in self.active(step)]
        painted = any(r.prompt or r.edited for r in active)
        avoided = site.joint and any(r.negative for r in active)
        apart = painted and self.mode != OPEN and self._bordered(step)
        return (*((Owns(),) if painted else ()), *((Owns(NEGATIVE),) if avoided or apart else ()))

    def passes(self, call: Call) -> tuple[Weighed, ...]:
        active, ratio = self.active(call.step), self._ratio(call.step)
        made = self._made.setdefault(call.layout, {})
        key = (call.site.kind == "image_self", self._masked(call), active, ratio, call.q.dtype)
        if key not in made:
            if call.site.kind == "image_self":
                made[key] = tuple(self._image_sets(call, active, ratio))
            else:
                made[key] = tuple(self._joint_sets(call, active, ratio))
        return made[key]

    def _joint_sets(self, call: Call, active: Sequence[int], ratio: float) -> Iterator[Weighed]:
        layout = call.layout
        for names, rows in self._readers(layout, active):
            if not self._masked(call):
                biases = {name: self._bias(i) for i, name in names.items()}
                if self.background is not None:
                    biases[f"{self.name}.rest"] = 0.0
                yield unmasked_set(layout, biases, rows, 0.0 if self.mode == OPEN else ratio, call.q)
            elif self.mode == OPEN:
                yield self._open(call, active, names, rows)
            else:
                yield self._strict(call, active, names, rows, ratio)
        yield from self._negative_sets(call, active, ratio)

    def _negative_sets(self, call: Call, active: Sequence[int], ratio: float) -> Iterator[Weighed]:
        """The rows of the negative prompt: what each region avoids, and the borders of strict regions."""
        layout = call.layout
        avoided = {i: f"{self.name}.{i}.not" for i in active if self.regions[i].negative is not None}
        left = layout.rows(*NEGATIVE)
        if left and self.mode != OPEN and self._masked(call):
            covered = self._cover(layout, active)
            for names, rows in self._readers(layout, active, negative=True):
                apart = self._apart(layout, active, names)
                if not rows or bool(apart.all()):
                    continue
                shown = covered.member.astype(np.float64)
                prompts = self._prompts(layout, active, avoided, shown, 0.0)
                share = self._share(call, active, names, ratio)
                yield negative_set(call, rows, prompts, apart, share)
                left = tuple(row for row in left if row not in rows)
        if avoided:
            yield self._open(call, active, avoided, left, rest=False)

    def _readers(
        self, layout: TokenLayout, active: Sequence[int], *, negative: bool = False
    ) -> Iterator[tuple[Mapping[int, str], tuple[int, ...]]]:
        """Segment of each region with a prompt, and the rows that read them, or with `negative` the rows of
        the negative prompt beside these; the edited picture's apart."""
        roles, target = (NEGATIVE, (f"{TARGET[0]}.uncond",)) if negative else (POSITIVE, TARGET)
        plain = {i: f"{self.name}.{i}" for i in active if self.regions[i].prompt is not None}
        edited = {i: f"{self.name}.{i}.edited" for i in active if self.regions[i].edited is not None}
        emptied = {i for i in active if self.regions[i].emptied}
        told = (i for i in active if i not in emptied and (i in plain or i in edited))
        both = {i: edited.get(i) or plain[i] for i in told}
        if both == plain:
            if plain:
                yield plain, layout.rows(*roles)
            return
        if plain:
            yield plain, layout.rows(*(role for role in roles if role not in target))
        if both:
            yield both, layout.rows(*target)

    def _open(
        self,
        call: Call,
        active: Sequence[int],
        names: Mapping[int, str],
        rows: tuple[int, ...],
        rest: bool = True,
    ) -> Weighed:
        layout, covered = call.layout, self._cover(call.layout, active)
        everywhere = np.ones_like(covered.rest)
        prompts = [Prompt("text", layout.size("text"), everywhere)]
        prompts += self._prompts(layout, active, names, covered.share)
        if rest and self.background is not None:
            prompts.append(self._prompt(layout, f"{self.name}.rest", covered.rest))
        own = pass_of(call, prompts, None)
        return Weighed(rows, (own,), lambda _, outputs: outputs[0])

    def _strict(
        self, call: Call, active: Sequence[int], names: Mapping[int, str], rows: tuple[int, ...], ratio: float
    ) -> Weighed:
        layout, covered = call.layout, self._cover(call.layout, active)
        member = covered.member[[active.index(i) for i in names]]
        outside = np.where(member.any(axis=0), 0.0, 1.0)
        prompts = self._prompts(layout, active, names, covered.member.astype(np.float64), 0.0)
        if self.background is not None:
            prompts.append(self._prompt(layout, f"{self.name}.rest", outside))
        elif outside.any():
            prompts.append(Prompt("text", layout.size("text"), outside, asks=False))
        share = self._share(call, active, names, ratio)
        return strict_set(call, rows, prompts, self._apart(layout, active, names), share)

    def _image_sets(self, call: Call, active: Sequence[int], ratio: float) -> Iterator[Weighed]:
        """Image-only sites: the same borders, without texts."""
        layout = call.layout
        for negative in (False, True):
            for names, rows in self._readers(layout, active, negative=negative):
                apart = self._apart(layout, active, names)
                if rows and not (negative and bool(apart.all())):
                    yield image_set(call, rows, apart, self._share(call, active, names, ratio))

    def _apart(self, layout: TokenLayout, active: Sequence[int], names: Mapping[int, str]) -> torch.Tensor:
        """Which image tokens see each other where the regions of `names` are kept apart: token, token."""
        return together(self._members(layout, active, names))

    def _share(self, call: Call, active: Sequence[int], names: Mapping[int, str], ratio: float) -> Share:
        member = self._members(call.layout, active, names)
        return share_of(ratio, [self.regions[i].region.strength for i in names], member, call.q)

    def _members(self, layout: TokenLayout, active: Sequence[int], names: Iterable[int]) -> Bools:
        return self._cover(layout, active).member[[active.index(i) for i in names]]

    def _bias(self, index: int) -> float:
        return math.log(self.regions[index].region.strength)

    def _prompts(
        self,
        layout: TokenLayout,
        active: Sequence[int],
        names: Mapping[int, str],
        share: Floats,
        least: float = -math.inf,
    ) -> list[Prompt]:
        """`least`: of what is added to their scores."""
        shares, at = dict(zip(active, share, strict=True)), self._prompt
        return [
            replace(at(layout, name, shares[i]), bias=max(least, self._bias(i))) for i, name in names.items()
        ]

    def _prompt(self, layout: TokenLayout, name: str, share: Floats) -> Prompt:
        span = f"text/seg:{name}"
        return Prompt(span, layout.size(span), share)

    def _cover(self, layout: TokenLayout, active: Sequence[int]) -> Cover:
        return cover(tuple(self.regions[i].region for i in active), layout.grid, self.overlap)

    def _painted(self, step: Step) -> bool:
        """Whether a region with a prompt is there at this step."""
        return any(self.regions[i].prompt or self.regions[i].edited for i in self.active(step))

    def _bordered(self, step: Step) -> bool:
        return in_range(step, self.start, max(self.start, self.borders))

    def _masked(self, call: Call) -> bool:
        site = call.site
        skipped = site.kind == "joint_single" and site.block % self.single_every != 0
        return self._bordered(call.step) and not skipped

    def _ratio(self, step: Step) -> float:
        return 0.0 if in_range(step, self.start, self.start + self.alone_ends()) else self.base_ratio

    def _repeats_base(self, text: RegionText) -> bool:
        region = text.region
        return (
            region.mask is None
            and tuple(region.box) == (0, 0, 1, 1)
            and text.negative is None
            and text.edited is None
            and not text.emptied
            and text.prompt is not None
            and text.prompt.text == self.base
            and region.strength == 1
            and (self.mode == OPEN or self.background is None)
        )


def called(region: Region) -> str:
    """A region as a message names it."""
    return repr(region.name or region.id)

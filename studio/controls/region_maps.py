"""Region maps: how strongly each place of the picture looks at each word of a region's own prompt.

The same reading as word maps (controls.md 7 (p); the block T2I of arXiv 2508.07519), in the passes that
regions make: each place's softmax runs over the keys that the regions let it see, so that a word has no mass
where it may not act. Looking changes nothing. Keys that a third control appends are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from studio.controls.control import Call, Maps, Need, Pass, Several
from studio.controls.fused import attention_mass, joined, take
from studio.controls.passes import Here, network_mask, pick, row_index
from studio.controls.regional import Regional
from studio.controls.where import Where
from studio.controls.word_maps import PICTURE_ROWS
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Step


@dataclass(frozen=True)
class RegionWord:
    """A column: some tokens of a region's segment. `region`: its place in the list, from 0; `span`: of the
    segment that the picture reads; `tokens`: within it."""

    label: str
    region: int
    span: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class RegionMaps(Several):
    """Maps of the words of regions, one column for each of `words`; 0 where and when a word cannot be seen.

    `regions`: the control that leads the run. `every`: keep the map of each block and step.
    """

    technique: ClassVar[str] = "region_maps"

    regions: Regional
    words: tuple[RegionWord, ...]
    where: Where = field(default_factory=Where)
    every: bool = False

    def __post_init__(self) -> None:
        if not self.words:
            raise StudioError("No region has a word to watch.", hint="Give a region a prompt of its own.")

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(word.label for word in self.words)

    @property
    def detail(self) -> bool:
        return self.every

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        self.where.check("Watch regions", sites, steps)

    def needs(self, site: Site, step: Step) -> Need:
        there = self.where.at(site, step) and Need.PASSES in self.regions.needs(site, step)
        return Need.AFTER if there else Need.NONE

    def after(self, call: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Maps) -> None:
        layout = call.layout
        rows = layout.rows(*PICTURE_ROWS)
        if not rows or not any(word.span in layout.spans for word in self.words):
            return
        mass = call.q.new_zeros((len(rows), layout.size("image"), len(self.words)), dtype=torch.float32)
        here = Here(layout)
        for one in self.regions.passes(call):
            read = [place for place, row in enumerate(rows) if row in one.rows]
            own = tuple(rows[place] for place in read)
            passes = [each for each in one.passes if "image" in each.queries]
            if own:
                for each, weight in zip(passes, one.weights, strict=True):
                    mass[read] += weight * self._mass(call, here, own, one.rows, each)
        maps.add(self.name, call.site, call.step, [layout.roles[row] for row in rows], mass)

    def _mass(
        self, call: Call, here: Here, rows: tuple[int, ...], of: tuple[int, ...], each: Pass
    ) -> torch.Tensor:
        """row, image token, column of one pass; `of`: the rows of its mask."""
        layout, index, start = call.layout, row_index(rows, here.rows), 0
        places: dict[str, int] = {}
        for name in each.keys:
            places[name] = start
            start += layout.size(name)
        keys = [layout.span(name) for name in each.keys]
        groups = [
            tuple(places[word.span] + token for token in word.tokens) if word.span in places else ()
            for word in self.words
        ]
        network = network_mask(call.mask, here)
        if network is not None:
            network = network if network.shape[0] == 1 else pick(network, index)
            network = network if network.shape[2] == 1 else network[:, :, layout.span("image")]
            network = take(network, keys, dim=3)
        return attention_mass(
            pick(call.q, index)[:, :, layout.span("image")],
            take(pick(call.k, index), keys),
            groups,
            mask=joined(_of_picture(each, layout.size, [of.index(row) for row in rows]), network),
            scale=call.scale,
            gqa=call.q.shape[1] != call.k.shape[1],
        )


def _of_picture(each: Pass, size: Callable[[str], int], rows: list[int]) -> torch.Tensor | None:
    """The mask of a pass for the queries of the picture: row, head, query, key."""
    mask = each.mask
    if mask is None:
        return None
    before = each.queries[: each.queries.index("image")]
    first = sum(size(name) for name in before)
    mask = mask if mask.shape[0] == 1 else mask[rows]
    return mask if mask.shape[2] == 1 else mask[:, :, first : first + size("image")]

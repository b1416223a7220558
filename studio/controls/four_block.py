"""The four-block view: how much picture and text look at each other (arXiv 2508.07519, section 3).

A joint attention has four blocks, named by the flow X2Y = from queries X to keys Y of controls.md: T2I (image
queries, text keys), I2I, I2T (text queries, image keys) and T2T. Each query's masses sum to 1, so
T2I + I2I = 1 and I2T + T2T = 1. Read with fused probes; the run is untouched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from studio.controls.control import Call, Maps, Need, Several
from studio.controls.fused import attention_mass, take
from studio.controls.where import Where
from studio.controls.word_maps import PICTURE_ROWS
from studio.models.family import Site
from studio.values import SeenMap, Step

BLOCKS = ("T2I", "I2I", "I2T", "T2T")


@dataclass(frozen=True)
class FourBlock(Several):
    """The four masses at chosen blocks and steps, mean over heads and over the queries of a kind."""

    technique: ClassVar[str] = "four_block"

    where: Where = field(default_factory=Where)

    @property
    def labels(self) -> tuple[str, ...]:
        return BLOCKS

    @property
    def detail(self) -> bool:
        return True

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        self.where.check("Watch blocks", sites, steps)

    def needs(self, site: Site, step: Step) -> Need:
        return Need.AFTER if self.where.at(site, step) else Need.NONE

    def after(self, call: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Maps) -> None:
        rows = call.layout.rows(*PICTURE_ROWS)
        if rows:
            roles = [call.layout.roles[row] for row in rows]
            maps.add(self.name, call.site, call.step, roles, block_masses(call, rows))


def block_masses(call: Call, rows: Sequence[int]) -> torch.Tensor:
    """T2I, I2I, I2T, T2T of some rows over their base text and all picture tokens, references included:
    row, 1, 4; fp32. Appended prompts are left out, padding is not looked at."""
    layout, chosen = call.layout, list(rows)
    base = layout.span("text")
    pictures = [span for name, span in layout.spans.items() if name.partition("/")[0] == "image"]
    spans = sorted((base, *pictures), key=lambda span: span.start)
    keys = take(call.k[chosen], spans)
    before = sum(span.stop - span.start for span in spans if span.start < base.start)
    words = (tuple(range(before, before + base.stop - base.start)),)
    mask = None if layout.pad is None else take(layout.pad[chosen], spans, 1)[:, None, None, :]
    real = torch.ones(1, base.stop - base.start) if layout.pad is None else layout.pad[chosen][:, base]
    from_image, from_text = (
        attention_mass(call.q[chosen, :, span], keys, words, mask=mask, scale=call.scale)[..., 0]
        for span in (layout.span("image"), base)
    )
    weight = real.to(from_text)
    t2i, t2t = from_image.mean(1), (from_text * weight).sum(1) / weight.sum(1)
    return torch.stack((t2i, 1 - t2i, 1 - t2t, t2t), -1)[:, None]


@dataclass(frozen=True)
class BlockRow:
    """One line of the table: the masses at one block and step; `kind` is that of the site."""

    block: int
    kind: str
    step: int
    sigma: float
    t2i: float
    i2i: float
    i2t: float
    t2t: float


def block_table(maps: Sequence[SeenMap], picture: int = 0) -> tuple[BlockRow, ...]:
    """The maps of a FourBlock as a table, by step and block; several of one place are averaged."""
    places: dict[tuple[int, int], list[SeenMap]] = {}
    for map in maps:
        if map.step >= 0 and map.index >= 0:
            places.setdefault((map.step, map.index), []).append(map)
    rows = []
    for (step, index), found in sorted(places.items()):
        masses = torch.stack([map.values[picture].reshape(4) for map in found]).mean(0)
        numbers = [float(value) for value in masses]
        rows.append(BlockRow(index, found[0].kind, step, found[0].sigma, *numbers))
    return tuple(rows)

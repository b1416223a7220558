"""The regions of a layout become a control: every text is encoded, and an edit's other words are matched to
the regions that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from studio.controls.regional import OPEN, Regional, RegionText
from studio.controls.tokens import ORDER
from studio.errors import StudioError
from studio.values import Conditioning, Layout


def make_regional(
    layout: Layout,
    encode: Callable[[str], Conditioning],
    *,
    edited: Layout | None = None,
    mode: str = OPEN,
    overlap: str = ORDER,
    base_ratio: float = 0.2,
    start: float = 0.0,
    end: float = 1.0,
    alone: float = 0.1,
    single_every: int = 1,
    borders: float = 1.0,
) -> Regional:
    """The control of a layout. `encode` makes a segment of a text (`models.words.segment_conditioning`).

    `edited`: in an edit, what the edited picture's regions say, matched by id; places are those of `layout`.
    """
    other = {region.id: region.prompt for region in (edited.regions if edited else ())}
    strange = sorted(other.keys() - {region.id for region in layout.regions})
    if strange:
        raise StudioError(
            f"The edited layout has a region {strange[0]!r}, which the layout does not have.",
            hint=f"It has {', '.join(repr(region.id) for region in layout.regions) or 'no regions'}.",
            socket="edited",
        )

    def made(text: str) -> Conditioning | None:
        return encode(text) if text.strip() else None

    texts = []
    for region in layout.regions:
        said = other.get(region.id, region.prompt)
        text = RegionText(region, made(region.prompt), made(region.negative))
        if said.strip() != region.prompt.strip():
            text = replace(text, edited=made(said), emptied=not said.strip())
        texts.append(text)
    background = made(layout.background) if texts else None
    return Regional(
        layout.prompt,
        tuple(texts),
        background,
        mode,
        overlap,
        base_ratio,
        start,
        end,
        alone,
        single_every,
        borders,
    )

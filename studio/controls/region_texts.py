"""The regions of a layout become a control: every text is encoded, and an edit's other words are matched to
the regions that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from studio.controls.regional import OPEN, Regional, RegionText
from studio.controls.tokens import ORDER
from studio.errors import StudioError
from studio.values import Conditioning, Layout, Mask


def strange(id: str, known: Iterable[str]) -> tuple[str, str]:
    """What is wrong with a region of the edited layout that the layout lacks, and what to do."""
    there = ", ".join(map(repr, known)) or "no regions"
    return f"The edited layout has a region {id!r}, which the layout does not have.", f"It has {there}."


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

    `edited`: in an edit, what the edited picture's regions say, matched by id; an emptied prompt says nothing
    there. All else of it (`unread_of`) is that of `layout`.
    """
    other = {region.id: region.prompt for region in (edited.regions if edited else ())}
    known = [region.id for region in layout.regions]
    for id in sorted(other.keys() - {*known}):
        told, hint = strange(id, known)
        raise StudioError(told, hint=hint, socket="edited")

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


# What of a region an edit takes from the layout alone, and what it is where nothing is said.
_PLAIN: Mapping[str, object] = {
    "box": (0.0, 0.0, 1.0, 1.0),
    "mask": None,
    "negative": "",
    "strength": 1.0,
    "start": 0.0,
    "end": 1.0,
}


def unread(one: Mapping[str, object], edited: Mapping[str, object]) -> list[str]:
    """The fields of an edited region, beside its prompt, that differ from the region's: nobody reads them."""
    found = []
    for name, plain in _PLAIN.items():
        mine, theirs = (_plain(fields.get(name, plain)) for fields in (one, edited))
        boxed = name == "box" and one.get("mask") is not None and edited.get("mask") is not None
        if mine != theirs and not boxed:
            found.append(name)
    return found


def unread_of(layout: Layout, edited: Layout) -> Iterator[str]:
    """A sentence for each region of an edited layout of which more than the prompt was changed, and for its
    background."""
    known = {region.id: region for region in layout.regions}
    for region in edited.regions:
        if region.id in known:
            found = unread(vars(known[region.id]), vars(region))
            if found:
                yield only_prompt(region.name or region.id, found)
    if edited.background.strip() != layout.background.strip():
        yield BACKGROUND


BACKGROUND = "The background of the edited layout differs from that of the layout; only the layout's is read."


def only_prompt(called: str, found: Sequence[str]) -> str:
    """The sentence about what is read of an edited region."""
    said = f"{', '.join(found[:-1])} and {found[-1]}" if len(found) > 1 else found[0]
    return f"Of region {called!r} in the edited layout only the prompt is read, not its {said}."


def _plain(value: object) -> object:
    """Something that can be compared: numbers for masks and boxes."""
    if isinstance(value, Mask):
        return value.values.shape, value.values.tobytes()
    return tuple(value) if isinstance(value, list) else value

"""Regions: a list of boxes and painted masks, each with a prompt of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, NamedTuple

from studio.api import (
    Attachment,
    Choice,
    Conditioning,
    Context,
    Image,
    Mask,
    Model,
    Prompt,
    Refusal,
    Regions,
    Slider,
    StudioError,
    Text,
    View,
    node,
    to_array,
)
from studio.controls.region_texts import make_regional, unread_of
from studio.controls.regional import MODES, MOST_REGIONS
from studio.controls.tokens import ORDER, SHARE, cover
from studio.models.family import Parts, parts_of
from studio.models.prompt_weights import has_weights
from studio.models.text import encode_prompt
from studio.models.words import segment_conditioning
from studio.nodes.prompt import outline, review_carried, review_cut
from studio.pixels import read_picture, to_mask
from studio.values import Layout, Region

# fine enough to see whether a region shows anywhere
LOOK = (32, 32)


@node(group="Steer", title="Layout")
def layout(prompt: Prompt = "", regions: Regions = [], background: Prompt = "", *, ctx: Context) -> Layout:  # noqa: B006 - read only
    """What is where: boxes and painted masks in the picture, each with its own words. The last one lies on
    top.

    prompt: the whole picture, in one sentence
    regions: a list; each has an id, a prompt, and a box (left, top, right, bottom from 0 to 1) or a mask
    background: what shows where no region is; empty = the prompt alone
    """
    for text in (prompt, background, *(r.get(name, "") for r in regions for name in ("prompt", "negative"))):
        ctx.policy.check_prompt(text, socket="regions")
    return Layout(prompt, tuple(_region(entry, ctx) for entry in regions), background)


def _problem(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong with a region, by the rules of the list that `layout` takes."""
    regions = next(param for param in layout.spec.params if param.name == "regions")  # type: ignore[attr-defined]
    found: tuple[str, str] | None = regions.problem([{"id": "it", **entry}])
    return None if found is None else (found[0].removeprefix("Region 1: "), found[1])


def review_region(view: View) -> Iterator[Refusal]:
    """A box or a range that is none."""
    given = {name: view.widgets.get(name) for name in ("start", "end", "strength")}
    box = [view.widgets.get(edge) for edge in ("left", "top", "right", "bottom")]
    entry = {"box": [0, 0, 1, 1] if view.feeding("mask") or None in box else box}
    found = _problem({**entry, **{name: value for name, value in given.items() if value is not None}})
    if found is not None:
        yield Refusal(*found)
    if len(tuple(islice(regions_of(view), MOST_REGIONS + 1))) > MOST_REGIONS:
        yield Refusal(f"The layout has {MOST_REGIONS} regions already.", "No more are possible.", "layout")


def regions_of(view: View) -> Iterator[tuple[View, Mapping[str, Any]]]:
    """(node, settings) of the regions that a layout node brings in, the last one first; those that only a run
    can tell are left out."""
    while view.kind == "add_region":
        yield view, view.widgets
        fed = view.feeding("layout")
        if len(fed) != 1:
            return
        view = fed[0]
    if view.kind == "layout" and isinstance(view.widgets.get("regions"), list | tuple):
        yield from ((view, entry) for entry in reversed(view.widgets["regions"]))


def review_texts(view: View) -> Iterator[Refusal]:
    """A range that ends before it starts, a network that cannot be steered, and texts of regions that the
    model does not read to their end."""
    yield from review_range(view)
    yield from review_carried(view)
    model = outline(view)
    for socket in ("layout", "edited"):
        for source in view.feeding(socket):
            for at, entry in islice(regions_of(source), MOST_REGIONS):
                called = f"Region {entry.get('name') or entry.get('id') or at.title!r}"
                for name in ("prompt", "negative"):
                    text = entry.get(name)
                    if isinstance(text, str):
                        place = name if at.kind == "add_region" else "regions"
                        for found in review_cut(model, text, place, f"{called}, {name}"):
                            yield replace(found, at=at)


@node(group="Steer", title="Add region", review=review_region)
def add_region(
    layout: Layout,
    prompt: Prompt = "",
    left: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    top: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    right: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    bottom: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
    mask: Mask | None = None,
    negative: Prompt = "",
    strength: Annotated[float, Slider(0, 2, 0.05)] = 1.0,
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    name: Text = "",
) -> Layout:
    """One more region on top of a layout.

    prompt: what shows there
    left: edges of the box, from 0 (left and top of the picture) to 1
    mask: takes the place of the box, such as one made from words that were watched
    negative: what to avoid there; it works through guidance, or through Avoid (NAG)
    strength: how much its words count; 0 = not at all, 1 = as written. Below 1 the prompt of the whole
        picture steps in
    start: from which part of the steps on it is there
    end: up to which part of the steps
    name: to tell regions apart; empty = a number
    """
    taken = {region.id for region in layout.regions}
    number = len(layout.regions) + 1
    id = name or f"region {number}"
    id = f"{id} ({number})" if id in taken else id
    box = (left, top, right, bottom)
    found = _problem(
        {
            "prompt": prompt,
            "negative": negative,
            "box": [0, 0, 1, 1] if mask is not None else list(box),
            "strength": strength,
            "start": start,
            "end": end,
        }
    )
    if found is not None:
        raise StudioError(found[0], hint=found[1])
    if number > MOST_REGIONS:
        raise StudioError(f"The layout has {MOST_REGIONS} regions already.", hint="No more are possible.")
    region = Region(id, prompt, box, mask, name, negative, strength, start, end)
    return replace(layout, regions=(*layout.regions, region))


class RegionalPrompts(NamedTuple):
    """The prompt of the whole picture, and the control that goes with it."""

    conditioning: Conditioning
    attachment: Attachment


def review_range(view: View) -> Iterator[Refusal]:
    """A range that ends before it starts."""
    start, end = view.widgets.get("start", 0.0), view.widgets.get("end", 1.0)
    if start > end:
        yield Refusal(f"It starts at {start:g} and ends at {end:g}.", "Let start be below end.", "start")


@node(group="Steer", title="Regions", technique="regions", review=review_texts)
def regional_prompts(
    model: Model,
    layout: Layout,
    edited: Layout | None = None,
    mode: Annotated[str, Choice(*MODES)] = "open",
    overlap: Annotated[str, Choice(ORDER, SHARE)] = ORDER,
    base_ratio: Annotated[float, Slider(0, 1, 0.05)] = 0.2,
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    alone: Annotated[float, Slider(0, 1, 0.05)] = 0.1,
    single_every: Annotated[int, Slider(1, 8, 1)] = 1,
    borders: Annotated[float, Slider(0, 1, 0.05)] = 0.6,
    *,
    ctx: Context,
) -> RegionalPrompts:
    """Give every region its own prompt. Take the conditioning to "positive" of Sample and the attachment to
    its attachments.

    layout: the regions, and the prompt of the whole picture
    edited: for an edit: the same regions with other words, which only the new picture reads; without words
        nothing is said there
    mode: open lets regions see each other and make one picture; strict keeps them apart; hard paints each on
        its own at first
    overlap: order puts the later region on top; share mixes both
    base_ratio: for strict and hard: how much the prompt of the whole picture has its say in the regions
    start: from which part of the steps on regions count
    end: up to which part; the rest of the steps joins everything by the prompt of the whole picture
    alone: for hard: the part of the steps in which each region is painted on its own
    single_every: for FLUX: regions count in every n-th of the single-stream blocks
    borders: up to which part of the steps regions keep to their own prompts; from there on everything reads
        all of them, and boxes no longer count. 1 = to the end, which keeps strict regions wholly apart

    What a region avoids stands in the negative prompt, at its place: it needs guidance above 1. Without
    guidance, connect the layout to Avoid (NAG) as well.
    """
    parts = parts_of(model)
    base, warnings, _ = encode_prompt(parts, layout.prompt, model.title, ctx.kept)
    for warning in warnings:
        ctx.warn(warning)
    for place, region in enumerate(layout.regions, 1):
        silent = not (region.prompt.strip() or region.negative.strip() or _said(edited, region.id))
        if region.strength > 0 and silent:
            ctx.warn(
                f"{named(region, place)} has no prompt, so the prompt of the whole picture paints there."
            )
        warn_of_text(parts, model.title, named(region, place), region.prompt, ctx)
        warn_of_text(parts, model.title, named(region, place), region.negative, ctx)
    if overlap == ORDER:
        _warn_of_hidden(layout, ctx)
    for said in unread_of(layout, edited) if edited else ():
        ctx.warn(said)
    control = make_regional(
        layout,
        lambda text: segment_conditioning(parts, text, kept=ctx.kept),
        edited=edited,
        mode=mode,
        overlap=overlap,
        base_ratio=base_ratio,
        start=start,
        end=end,
        alone=alone,
        single_every=single_every,
        borders=borders,
    )
    return RegionalPrompts(base, control)  # type: ignore[arg-type]


def named(region: Region, place: int) -> str:
    """What a region is called in messages: by its name, else by its place in the list, from 1."""
    return f"Region {region.name!r}" if region.name else f"Region {place}"


def _said(edited: Layout | None, id: str) -> bool:
    return edited is not None and any(region.id == id and region.prompt.strip() for region in edited.regions)


def warn_of_text(parts: Parts, title: str, called: str, text: str, ctx: Context) -> None:
    """Words of a region that the model does not know, and weights, which it cannot have."""
    if not text.strip():
        return
    _, warnings, _ = encode_prompt(parts, text, title, ctx.kept)
    for warning in warnings:
        ctx.warn(f"{called}: {warning}")
    if has_weights(text):
        ctx.warn(f"{called}: weights such as (star:1.3) do nothing in a region; set its strength.")


def _region(entry: Mapping[str, Any], ctx: Context) -> Region:
    """A region of the list, with its mask opened."""
    reference = entry.get("mask") if entry.get("shape", "mask") == "mask" else None
    mask = None
    if reference is not None:
        picture = read_picture(ctx.open_file(reference["file"]), max_pixels=ctx.policy.max_decoded_pixels)
        mask = painted_mask(picture)
        if not mask.values.any():
            raise StudioError(
                f"The mask of region {entry.get('name') or entry['id']!r} is empty.",
                hint="Paint white where the region is.",
                socket="regions",
            )
    plain = ("name", "prompt", "negative", "strength", "start", "end", "role", "locked")
    return Region(
        entry["id"],
        box=tuple(float(edge) for edge in entry.get("box", (0, 0, 1, 1))),  # type: ignore[arg-type]
        mask=mask,
        **{"prompt": "", **{name: entry[name] for name in plain if name in entry}},
    )


def painted_mask(picture: Image) -> Mask:
    """The mask of a painted picture: white is inside, black and transparent outside."""
    pixels = to_array(picture)
    light = pixels[..., :3].mean(axis=-1)
    return to_mask(light * pixels[..., 3] if picture.has_alpha else light)


def _warn_of_hidden(layout: Layout, ctx: Context) -> None:
    """Regions that never show, as far as it does not depend on the step."""
    if not layout.regions or len({(region.start, region.end) for region in layout.regions}) > 1:
        return
    for index in cover(layout.regions, LOOK).hidden:
        region = layout.regions[index]
        ctx.warn(f"{named(region, index + 1)} lies wholly under others; nothing of it will show.")

"""What can be told of regions before a run: settings that do nothing there, times at which nothing has a
place, and what of the edited layout nobody reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from studio.api import Refusal, View
from studio.controls.control import in_range
from studio.controls.leading import parting, same
from studio.controls.region_texts import BACKGROUND, only_prompt, strange, unread
from studio.controls.regional import HARD, MOST_REGIONS, OPEN
from studio.models.outline import Outline
from studio.nodes.prompt import layout_prompt, prompt_of
from studio.nodes.regions import regional_prompts, regions_of
from studio.values import Step

DEFAULTS = {param.name: param.default for param in regional_prompts.spec.params}  # type: ignore[attr-defined]


def review_regional(view: View, model: Outline | None, steps: Sequence[Step]) -> Iterator[Refusal]:
    """Regions at the `attachments` of a run; warnings, but for an edited region that is nowhere."""
    for source in view.feeding("attachments"):
        if source.kind != "regional_prompts":
            continue
        for found in (*_idle(source, model), *_placeless(source, steps), *_edited(view, source)):
            yield replace(found, level="warning", at=found.at or source)
        yield from _strange(source)
    yield from _overlaps(view)


def _idle(source: View, model: Outline | None) -> Iterator[Refusal]:
    """Settings that were changed and mean something in another mode or network only."""
    given = source.widgets
    changed = {name for name, usual in DEFAULTS.items() if given.get(name, usual) != usual}
    mode = given.get("mode")
    if "base_ratio" in changed and mode == OPEN:
        yield Refusal(
            "The base ratio does nothing in the mode open: all of the picture reads its prompt there.",
            "Choose strict or hard, or leave it.",
            "base_ratio",
        )
    if "alone" in changed and mode is not None and mode != HARD:
        yield Refusal(
            f"Regions are painted alone in the mode hard only; in {mode} it does nothing.",
            "Choose hard, or leave it.",
            "alone",
        )
    sites = () if model is None else model.sites
    if "single_every" in changed and sites and not any(site.kind == "joint_single" for site in sites):
        yield Refusal(
            f"The network of {model.title} has no single-stream blocks, so this does nothing.",  # type: ignore[union-attr]
            "Leave it at 1.",
            "single_every",
        )


def _placeless(source: View, steps: Sequence[Step]) -> Iterator[Refusal]:
    """Regions that are there only when borders have ended, so that their boxes count for nothing."""
    start, end, borders = (source.widgets.get(name) for name in ("start", "end", "borders"))
    if start is None or end is None or borders is None:
        return
    if not _some(start, min(end, borders), steps) and _some(start, end, steps):
        told = f"They begin at {start:g} of the steps, and borders end at {borders:g}: none has a place."
        hint = "Let the borders end later, or let regions begin sooner."
        if start < borders:
            between = f"between their start, {start:g}, and the end of borders, {borders:g}"
            told = f"No step of {len(steps)} lies {between}: none has a place."
            hint = "Let the borders end later, or take more steps."
        yield Refusal(told, hint, "borders")
        return
    for layout in source.feeding("layout"):
        for at, entry in islice(regions_of(layout), MOST_REGIONS):
            first, last = entry.get("start", 0.0), entry.get("end", 1.0)
            if None in (first, last) or not entry.get("prompt") or entry.get("strength") == 0:
                continue
            first, last = max(first, start), min(last, end)
            if _some(first, last, steps) and not _some(first, min(last, borders), steps):
                called = f"Region {entry.get('name') or entry.get('id') or at.title!r}"
                told = f"begins at {first:g} of the steps, when borders have ended at {borders:g}"
                if first < borders:
                    told = f"begins at {first:g}, borders end at {borders:g}, and no step lies between"
                yield Refusal(
                    f"{called} {told}: it has no place.",
                    "Let it begin sooner, or let the borders of Regions end later.",
                    "start" if at.kind == "add_region" else "regions",
                    at=at,
                )


def _some(start: float, end: float, steps: Sequence[Step]) -> bool:
    """Whether a share of the run holds a step of it; where steps are not known, whether it holds anything."""
    return any(in_range(step, start, end) for step in steps) if steps else start < end


def _edited(view: View, source: View) -> Iterator[Refusal]:
    """What the edited layout changes and nobody reads."""
    plain, edited = (_listed(source, socket) for socket in ("layout", "edited"))
    for id, entry in edited.items():
        found = unread(plain[id], entry) if id in plain else []
        if found:
            said = only_prompt(str(entry.get("name") or id), found)
            yield Refusal(said, "Change it in the layout, whose places both pictures have.", "edited")
    grounds = [_background(source, socket) for socket in ("layout", "edited")]
    if None not in grounds and grounds[0] != grounds[1]:
        yield Refusal(BACKGROUND, "Change it there, or leave it.", "edited")
    whole, plain_prompt = (layout_prompt(source, socket) for socket in ("edited", "layout"))
    leads = prompt_of(view, "target" if view.feeding("target") else "positive")
    if whole is not None and leads is not None and same(whole) not in (same(leads), same(plain_prompt or "")):
        one, other = parting(whole, leads)
        yield Refusal(
            f"The edited layout says {one!r} of the whole picture, which nobody reads: the new picture is "
            f"led by {other!r}.",
            "Encode it, and connect it as the prompt of the new picture.",
            "edited",
        )


def _strange(source: View) -> Iterator[Refusal]:
    """A region of the edited layout that the layout lacks, where both are lists."""
    lists = [source.feeding(socket) for socket in ("layout", "edited")]
    if any(len(fed) != 1 or fed[0].kind != "layout" for fed in lists):
        return
    if any("id" not in entry for (fed,) in lists for _, entry in islice(regions_of(fed), MOST_REGIONS)):
        return
    plain, edited = (_listed(source, socket) for socket in ("layout", "edited"))
    for id in sorted(edited.keys() - plain.keys()):
        yield Refusal(*strange(id, plain), "edited", at=source)


def _listed(source: View, socket: str) -> dict[str, Mapping[str, Any]]:
    """The regions of the list of a layout by id; those of added regions only a run can tell."""
    found = (entry for layout in source.feeding(socket) for entry in islice(regions_of(layout), MOST_REGIONS))
    return {str(entry["id"]): entry for at, entry in found if at.kind == "layout" and "id" in entry}


def _background(source: View, socket: str) -> str | None:
    fed = source.feeding(socket)
    text = fed[0].widgets.get("background") if len(fed) == 1 and fed[0].kind == "layout" else None
    return text.strip() if isinstance(text, str) else None


def _overlaps(view: View) -> Iterator[Refusal]:
    """What is avoided in regions that lie over each other in another way than the regions do."""
    controls = view.feeding("attachments")
    for avoid in controls:
        for regions in controls if avoid.kind in ("nag", "nasa") else ():
            ways = [control.widgets.get("overlap") for control in (regions, avoid)]
            one_layout = regions.feeding("layout") == avoid.feeding("layout") != ()
            if regions.kind == "regional_prompts" and one_layout and None not in ways and ways[0] != ways[1]:
                yield Refusal(
                    f"{regions.title!r} has the overlap {ways[0]}, and {avoid.title!r} {ways[1]}: where the "
                    "regions lie over each other, what they avoid is not where they are.",
                    "Choose the same for both.",
                    "overlap",
                    "warning",
                    avoid,
                )

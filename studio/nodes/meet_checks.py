"""Which of the attachments of a run cannot be there together, as far as their settings tell: pairs that the
table of techniques refuses (controls/composition.py), and those that meet in a step and a block and change
the same there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from studio.api import Refusal, StudioError, View
from studio.controls.composition import REFUSED, TITLES, partners, rule, title
from studio.controls.control import in_range
from studio.controls.inject_qk import FEW_STEPS, PROJECTIONS
from studio.controls.plan import meeting, told
from studio.controls.sites import few_step_sites, last_sites, vital_sites, words_site
from studio.controls.where import parse_blocks
from studio.models.outline import Outline
from studio.nodes.edit import LOOK_SHARE, blends
from studio.nodes.prompt import prompt_of
from studio.nodes.regions import regions_of
from studio.values import Step

# Where an attachment has the prompt of the old picture, which runs beside the new one.
_OLD = {"edit_by_prompt": "source", "keep_look": "source", "change_words": "words"}
_ORDER = tuple(TITLES)


def refused_pairs(views: Sequence[View], beside: Sequence[View] = ()) -> Iterator[Refusal]:
    """Pairs that cannot go together at all, among `views` and of one of them with one of `beside`."""
    pairs = [*combinations(views, 2), *((one, other) for one in beside for other in views)]
    for one, other in pairs:
        found = rule(one.technique, other.technique)
        if found.verdict != REFUSED:
            continue
        name = title(one.technique)
        if one.technique == other.technique and one.title == other.title:
            both = f"two of {name!r}"
        else:
            both = f"{one.title!r} and {other.title!r}"
        yield Refusal(
            f"{both[0].upper()}{both[1:]} cannot be used in one run: {found.reason}.",
            f"Disconnect one of them. {name} goes with {partners(one.technique)}.",
            "attachments",
        )


def other_pictures(views: Sequence[View]) -> Iterator[Refusal]:
    """Two that keep an old picture beside the new one, each another."""
    led = [(view, said) for view in views if (said := _old_prompt(view)) is not None]
    for (one, mine), (other, theirs) in combinations(led, 2):
        if mine.casefold().split() != theirs.casefold().split():
            yield Refusal(
                f"{one.title!r} and {other.title!r} have different old pictures beside the new one: "
                f"{mine[:60]!r} and {theirs[:60]!r}.",
                "Connect one prompt to both.",
                "attachments",
            )


def meeting_pairs(views: Sequence[View], model: Outline, steps: Sequence[Step]) -> Iterator[Refusal]:
    """Pairs that act in one step and one block and change, or decide, the same there."""
    ordered = sorted(views, key=lambda view: _ORDER.index(view.technique) if view.technique in TITLES else -1)
    for one, other in combinations(ordered, 2):
        found = rule(one.technique, other.technique)
        what = "" if found.verdict == REFUSED else _same(one, other)
        mine, theirs = (_places(view, model, steps) if what else None for view in (one, other))
        if mine is None or theirs is None:
            continue
        when = [step for step in steps if step.index in mine[0] & theirs[0]]
        where = [site for site in model.sites if site.index in mine[1] & theirs[1]]
        if when and where:
            reason, remedy = told(one.technique, other.technique, what)
            yield Refusal(
                meeting(repr(one.title), repr(other.title), reason, where, when), remedy, "attachments"
            )


def _old_prompt(view: View) -> str | None:
    """The prompt of the old picture that an attachment keeps beside the new one; None if it keeps none, or
    only the run can tell."""
    given = view.widgets
    if view.kind == "follow_picture":
        return next((prompt_of(source, "positive") for source in view.feeding("inversion")), None)
    if view.kind == "edit_by_prompt":
        acts = given.get("tau") != 0 or bool(blends(view))
    else:
        acts = given.get("start") != given.get("end")
    return prompt_of(view, _OLD[view.kind]) if acts and view.kind in _OLD else None


def _same(one: View, other: View) -> str:
    """What both change or decide; empty if nothing."""
    mine, theirs = _writes(one), _writes(other)
    for tensor in mine:
        if tensor in theirs:
            # as the plan says it of the new picture
            return {
                "image": "both change how the parts of the new picture look at each other",
                "text": "both change what the words say to the new picture",
            }[tensor[0]]
    return "both decide what each part of the picture may look at" if _owns(one) and _owns(other) else ""


def _writes(view: View) -> tuple[tuple[str, str], ...]:
    """The tokens and tensors of the new picture that an attachment overwrites."""
    given = view.widgets
    if view.kind == "edit_by_prompt" and given.get("block") == "none":
        spans: Mapping[str, tuple[str, ...]] = PROJECTIONS.get(str(given.get("projection")), {})
        return tuple((span, tensor) for tensor, names in spans.items() for span in names)
    if view.kind == "keep_look":
        shared = ("text", "image") if given.get("text_too") else ("image",)
        return tuple((span, tensor) for tensor in "kv" for span in shared)
    if view.kind == "change_words":
        return (("text", "k"), ("text", "v"))
    if view.kind == "keep_subject":
        return () if given.get("text_scale") in (1, None) or given.get("strength") == 0 else (("text", "k"),)
    if view.kind == "inject_values":
        return (("image", "v"), *((("text", "v"),) if given.get("words") else ()))
    return ()


def _owns(view: View) -> bool:
    """Whether an attachment decides what each part of the new picture looks at."""
    given = view.widgets
    if view.kind == "edit_by_prompt":
        return given.get("block", "none") != "none"
    if view.kind == "keep_look":
        return bool(str(given.get("words", "")).strip() or str(given.get("new_words", "")).strip())
    return view.kind == "regional_prompts"


def _places(view: View, model: Outline, steps: Sequence[Step]) -> tuple[set[int], set[int]] | None:
    """The steps and the blocks in which an attachment acts; None if only the run can tell."""
    given, kind, sites = view.widgets, view.kind, model.sites
    every = set(range(model.blocks))
    if kind == "regional_prompts":
        painted = _painted(view, steps)
        return None if painted is None else (painted, every)
    if kind == "inject_values":
        return _put_back(view, model, steps)
    start, end = (0, given.get("tau")) if kind == "edit_by_prompt" else (given.get("start"), given.get("end"))
    written = given.get("blocks", "")
    if start is None or end is None or not isinstance(written, str):
        return None
    try:
        blocks = parse_blocks(written)
    except StudioError:
        return None
    if blocks is None and kind == "keep_look":
        blocks = last_sites(sites, LOOK_SHARE)
    elif blocks is None and kind == "keep_subject":
        blocks = vital_sites(sites)
    elif blocks is None and kind == "change_words":
        blocks = words_site(sites)
    elif blocks is None and kind == "edit_by_prompt" and len(steps) <= FEW_STEPS:
        blocks = few_step_sites(sites)
    return {s.index for s in steps if in_range(s, start, end)}, set(blocks or every)


def _put_back(view: View, model: Outline, steps: Sequence[Step]) -> tuple[set[int], set[int]] | None:
    """The first steps of a run that starts where the inverted picture stands, in the last share of blocks."""
    count = view.widgets.get("steps")
    shares = [source.widgets.get("keep_from") for source in view.feeding("inversion")]
    if not isinstance(count, int) or len(shares) != 1 or not isinstance(shares[0], int | float):
        return None
    first = min(int(shares[0] * model.blocks), model.blocks - 1)
    return {s.index for s in steps if s.index < count}, set(range(first, model.blocks))


def _painted(view: View, steps: Sequence[Step]) -> set[int] | None:
    """The steps in which a region has a prompt; None if only the run can tell."""
    found: set[int] = set()
    start, end = view.widgets.get("start"), view.widgets.get("end")
    layouts = view.feeding("layout")
    if start is None or end is None or len(layouts) != 1:
        return None
    for at, entry in regions_of(layouts[0]):
        ranged = [entry.get(name, usual) for name, usual in (("start", 0), ("end", 1), ("strength", 1))]
        if at.kind == "add_region" and any(name not in entry for name in ("prompt", "start", "end")):
            return None
        if str(entry.get("prompt") or "").strip() and ranged[2] and not _repeats(at, entry, view):
            first, last = max(ranged[0], start), min(ranged[1], end)
            found |= {s.index for s in steps if in_range(s, first, last)}
    return found


def _repeats(at: View, entry: Mapping[str, Any], view: View) -> bool:
    """Whether a region of a list may only repeat the prompt of the whole picture over all of it."""
    whole = list(entry.get("box") or ()) == [0, 0, 1, 1] and view.widgets.get("mode") == "open"
    said = at.kind == "layout" and entry.get("prompt") == at.widgets.get("prompt")
    return whole and said and not entry.get("negative")

"""Several attachments in one run, and the check that they go together and act at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from studio.api import Attachment, Refusal, StudioError, View, node
from studio.controls.bounds import some_step
from studio.controls.where import Where, parse_blocks
from studio.models.outline import Outline
from studio.models.prompt_weights import read_weights
from studio.nodes.edit import blends
from studio.nodes.guidance_checks import sampler_name
from studio.nodes.leading_checks import review_leading
from studio.nodes.meet_checks import meeting_pairs, other_pictures, refused_pairs
from studio.nodes.prompt import outline
from studio.nodes.region_checks import review_regional
from studio.nodes.regions import regions_of
from studio.nodes.step_cache import review_caches
from studio.sampling import schedules
from studio.sampling.schedules import steps_left
from studio.values import Step


@node(group="Steer", title="Use together")
def together(
    first: list[Attachment],
    second: list[Attachment] = [],  # noqa: B006 - read only
    third: list[Attachment] = [],  # noqa: B006 - read only
    fourth: list[Attachment] = [],  # noqa: B006 - read only
) -> list[Attachment]:
    """Several ways to steer or watch one run; they always act in the same order, however they are connected.

    first: anything for the "attachments" input of Sample, or another "Use together"
    """
    return [*first, *second, *third, *fourth]


def review_attachments(view: View) -> Iterator[Refusal]:
    """What is at the `attachments` input and cannot act: techniques that do not go together
    (controls/composition.py), in no step of the run, in blocks that the model lacks, or for another model."""
    steering = [source for source in view.feeding("attachments") if source.technique]
    yield from refused_pairs(steering)
    yield from other_pictures(steering)
    model, steps = outline(view), run_steps(view)
    sampler = next(map(sampler_name, view.feeding("sampler")), "")
    yield from review_caches(view, model, steps, sampler)
    yield from review_leading(view)
    yield from review_regional(view, model, steps)
    for source in steering:
        yield from _strange(source, model)
        for error in _idle(source, steps):
            yield Refusal(error.message, error.hint, error.socket, at=source)
        if source.kind == "watch_regions":
            for watched in source.feeding("regions"):
                if watched.technique != "regions" or watched not in steering:
                    yield Refusal(
                        f"{watched.title!r} does not lead this run.",
                        "Connect the Regions node that also goes to the attachments of Sample.",
                        "regions",
                        at=source,
                    )
    if model is not None and model.sites and steps:
        yield from meeting_pairs(steering, model, steps)


# Nodes whose settings tell how many steps a run has.
SCHEDULES = ("schedule", "schedule_by_size", "schedule_from_list", "found_schedule", "search_schedule")


def run_steps(view: View) -> tuple[Step, ...]:
    """The steps of the run that a node makes, as far as they can be told; empty if not. Their noise levels
    are only in order."""
    fed = view.feeding("sigmas")
    known = len(fed) == 1 and fed[0].kind in SCHEDULES
    settings = fed[0].widgets if known else {}
    total, strength = settings.get("steps"), settings.get("strength")
    if known and isinstance(written := settings.get("levels"), str):
        try:
            total = schedules.written(written).steps
        except StudioError:
            return ()
    if not isinstance(total, int) or not isinstance(strength, int | float):
        return ()
    total = steps_left(total, strength)
    if view.kind == "edit_picture":
        share = view.widgets.get("strength")
        total = math.floor(share * total + 1e-9) if isinstance(share, int | float) else 0
    return tuple(Step(i, total, 1 - i / total, 1 - (i + 1) / total) for i in range(total))


def _strange(source: View, model: Outline | None) -> Iterator[Refusal]:
    """An attachment made for a model of another family, or set to blocks of which nobody knew the model."""
    own = outline(source)
    if model is not None and own is not None and own.family != model.family:
        yield Refusal(
            f"{source.title!r} was made for {own.title} ({own.family}), and the run has {model.title} "
            f"({model.family}).",
            "Connect one Load model to both.",
            "model",
            at=source,
        )
    blocks = source.widgets.get("blocks")
    if own is None and not source.feeding("model") and model is not None and isinstance(blocks, str):
        try:
            Where(parse_blocks(blocks) or ()).check(source.title, model.sites)
        except StudioError as error:
            yield Refusal(error.message, error.hint, error.socket, at=source)


def _idle(source: View, steps: Sequence[Step]) -> Iterator[StudioError]:
    """What the run would raise because a share of it holds none of its steps."""
    for what, start, end, socket in _shares(source):
        try:
            some_step(what, start, end, steps, socket=socket)
        except StudioError as error:
            yield error


def _shares(source: View) -> Iterator[tuple[str, float, float, str]]:
    """(what acts, from, to, setting) of an attachment that would change or see something, shares of the
    run."""
    given, kind = source.widgets, source.kind
    start, end = given.get("start"), given.get("end")
    if kind == "edit_by_prompt":
        for name in ("tau", "eta") if blends(source) else ("tau",):
            if name in given:
                yield name, 0, given[name], name
    elif kind == "regional_prompts":
        yield from _region_shares(source)
    elif start is not None and end is not None and kind in _SAID and _acts(source):
        yield _SAID[kind], start, end, "end"


# What to say of an attachment whose part of the run holds no step, by the kind of its node.
_SAID = {
    "keep_look": "Keeping the look",
    "keep_subject": "Keeping the subject",
    "change_words": "Changing the words",
    "word_weight": "The word weight",
    "weighted_prompt": "The word weight",
    "nag": "What you avoid",
    "nasa": "What you avoid",
    "watch_words": "Watching words",
    "watch_regions": "Watching regions",
    "watch_blocks": "Watching blocks",
    "watch_concepts": "Watching concepts",
}


def _acts(source: View) -> bool:
    """Whether an attachment is more than nothing, as far as its settings say; False where only a run can
    tell."""
    given, kind = source.widgets, source.kind
    if kind == "keep_subject":
        return given.get("strength") != 0
    if kind == "word_weight":
        return bool(str(given.get("words", "")).strip()) and given.get("weight") != 1
    if kind == "weighted_prompt":
        try:
            return any(weight != 1 for _, _, weight in read_weights(str(given.get("text", ""))).weights)
        except StudioError:
            return False
    if kind in ("nag", "nasa"):
        pushes = given.get("alpha") != 0 and given.get("scale") != 1
        return pushes and bool(str(given.get("avoid", "")).strip())
    return True


def _region_shares(source: View) -> Iterator[tuple[str, float, float, str]]:
    start, end = source.widgets.get("start"), source.widgets.get("end")
    if start is None or end is None:
        return
    for layout in source.feeding("layout"):
        for at, entry in regions_of(layout):
            if at.kind == "layout" and entry.get("prompt") and entry.get("strength", 1) > 0:
                called = f"Region {entry.get('name') or entry['id']!r}"
                first, last = max(entry.get("start", 0), start), min(entry.get("end", 1), end)
                yield called, first, last, "end" if end < entry.get("end", 1) else "start"

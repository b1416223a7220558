"""The step cache: fewer full passes of the network in one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from inspect import signature
from typing import Annotated, Any

from studio.api import Attachment, Choice, Number, Refusal, Slider, StudioError, Text, View, node
from studio.blocks import step_cache as presets
from studio.blocks.forecast import FORMS
from studio.blocks.gates import Limits
from studio.blocks.parts import StepCache, check_steps
from studio.blocks.stack import CLASSES
from studio.controls.where import parse_blocks
from studio.models.outline import Outline
from studio.models.presets import NOISY
from studio.nodes.guidance_checks import CHANGED, chain
from studio.nodes.prompt import refused
from studio.values import Step

MODES = ("taylor", "first block", "confidence", "delta", "fixed steps")
# techniques that a cache may carry along (`AttentionControl.steady`), and those that ask nothing of a block
STEADY = frozenset({"regions", "nag", "nasa", "weight", "force", "estimates", ""})


def review_step_cache(view: View) -> Iterator[Refusal]:
    """Fields that cannot be read, and a mode that lacks what it goes by."""
    try:
        _cache_of(view)
    except StudioError as error:
        yield refused(error)
    written = view.widgets.get("full_steps")
    if view.widgets.get("mode") == "fixed steps" and isinstance(written, str) and not written.strip():
        yield Refusal(
            f"{view.title!r} goes by fixed steps and names no steps, so nothing is skipped.",
            "Write the full ones under full_steps, such as 1-4, 7, 10, or choose another mode.",
            "full_steps",
            "warning",
        )


@node(group="Sampling", title="Step cache", review=review_step_cache)
def step_cache(
    mode: Annotated[str, Choice(*MODES)] = "taylor",
    every: Annotated[int, Slider(1, 10, 1)] = 2,
    growth: Annotated[float, Slider(0, 1, 0.01)] = 0.3,
    tolerance: Annotated[float, Slider(0, 1, 0.01)] = 0.1,
    order: Annotated[int, Slider(0, 2, 1)] = 1,
    predictor: Annotated[str, Choice(*FORMS)] = "newton",
    warm: Annotated[int, Number(0, 200)] = 6,
    last: Annotated[int, Number(0, 200)] = 0,
    most: Annotated[int, Number(0, 200)] = 0,
    full_steps: Annotated[str, Text()] = "",
    blocks: Annotated[str, Text()] = "",
    budget: Annotated[float, Slider(0, 5, 0.05)] = 0.0,
) -> Attachment:
    """Faster: neighbouring steps are much alike, so some of them reuse what the model did before. The picture
    changes a little; the record tells how many steps were skipped and how far the guesses were off.

    mode: taylor = one full step in so many (TaylorSeer); first block = skip while the first block hardly
    changes (FirstBlockCache); confidence = skip while its change was foreseen; delta = half of the blocks
    (Delta-DiT, also for runs of few steps); fixed steps = those written below
    every: taylor and delta: one full step in this many; 1 = no cache
    growth: taylor: this share of the steps done may lie between two full ones, so that late steps, which
    change little, are skipped more; 0 = always the same distance
    tolerance: first block and confidence: how much may have changed; 0 = no cache
    order: how what is missing is guessed: 0 = as it was, 1 = along a line, 2 = along a curve
    predictor: newton is exact at any distance, taylor as published
    warm: so many steps at the start are full
    last: so many steps at the end are full
    most: skipped steps in a row; 0 = any number
    full_steps: fixed steps: the full ones, such as 1-4, 7, 10; all others are skipped; empty = no cache
    blocks: only these blocks of the model are skipped, in one piece such as 2-5, and the others always work;
    empty: those that belong to the mode
    budget: first block and confidence: a full step as soon as the changes since the last one come to this
    much; 0 = no such limit
    """
    return presets.attachment(
        made(mode, every, growth, tolerance, order, predictor, warm, last, most, full_steps, blocks, budget)
    )


def made(
    mode: str,
    every: int,
    growth: float,
    tolerance: float,
    order: int,
    predictor: str,
    warm: int,
    last: int,
    most: int,
    full_steps: str,
    blocks: str = "",
    budget: float = 0.0,
) -> StepCache:
    """The cache of these settings; StudioError for steps or blocks that cannot be read."""
    limits = Limits(warm, last, most, budget)
    if mode == "first block":
        found = presets.first_block(tolerance, order=order, form=predictor, limits=limits)
    elif mode == "confidence":
        found = presets.confident_taylor(tolerance, order=order, form=predictor, limits=limits)
    elif mode == "delta":
        found = presets.delta_dit(every, limits=limits)
    elif mode == "fixed steps":
        found = presets.fixed_steps(_steps(full_steps), order=order, form=predictor)
    else:
        found = presets.taylor(every, growth=growth, order=order, form=predictor, limits=limits)
    return _in_blocks(found, blocks)


def _in_blocks(cache: StepCache, written: str) -> StepCache:
    """The cache on a range of blocks, as written; as it is where nothing is."""
    numbers = parse_blocks(written)
    if not numbers:
        return cache
    if len(cache.parts) > 1:
        raise StudioError(
            f"The mode {cache.name!r} has block ranges of its own.",
            hint="Leave blocks empty, or take another mode.",
            socket="blocks",
        )
    if numbers[-1] - numbers[0] + 1 != len(numbers):
        raise StudioError(
            f"The blocks {written!r} are not in one piece.",
            hint=f"For example {numbers[0]}-{numbers[-1]}.",
            socket="blocks",
        )
    part = replace(cache.parts[0], first=numbers[0], last=numbers[-1])
    if part.probes and part.first == 0:
        raise StudioError(
            f"The mode {cache.name!r} looks at the block before those it skips, and before block 0 is none.",
            hint="Begin at block 1 or later.",
            socket="blocks",
        )
    return replace(cache, parts=(part,))


def review_caches(
    view: View, model: Outline | None, steps: Sequence[Step], sampler: str = ""
) -> Iterator[Refusal]:
    """Step caches at the `attachments` of a run that cannot work there, or would save nothing."""
    attached = view.feeding("attachments")
    caches = [source for source in attached if source.kind == "step_cache"]
    if len(caches) > 1:
        yield Refusal(
            "There are two step caches in one run.", "Disconnect one of them.", "attachments", at=caches[1]
        )
    for source in caches:
        try:
            cache = _cache_of(source)
        except StudioError:
            continue
        if cache is None or cache.is_neutral():
            continue
        title = source.title
        if view.kind == "edit_picture":
            yield Refusal(
                f"{title!r} does not go with FlowEdit, which draws new noise at every step.",
                "Disconnect it.",
                "attachments",
                at=source,
            )
        if sampler in NOISY:
            yield Refusal(
                f"{title!r} guesses blocks from the steps before, and {sampler} draws new noise at every "
                "step: the picture falls apart.",
                "Choose euler.",
                "attachments",
                "warning",
                at=source,
            )
        if model is not None and model.network in CLASSES and model.blocks:
            try:
                cache.ranges(model.blocks)
            except StudioError as error:
                yield Refusal(error.message, error.hint, "blocks", at=source)
        if model is not None and model.network and model.network not in CLASSES:
            yield Refusal(
                f"{title!r} does not know {model.title}: its blocks work in another way.",
                "Disconnect it; it knows models like SD3 and FLUX.1.",
                "attachments",
                at=source,
            )
        for guidance in chain(view):
            if guidance.kind in CHANGED:
                yield Refusal(
                    f"{guidance.title!r} changes the blocks that {title!r} would skip.",
                    "Disconnect one of them.",
                    "attachments",
                    at=source,
                )
        if steps:
            yield from _short(source, cache, len(steps))
        for other in attached:
            if other.technique not in STEADY:
                yield Refusal(
                    f"{other.title!r} must see every step: while it acts, {title!r} skips none.",
                    "Let it end early, or expect no gain.",
                    "attachments",
                    "warning",
                    at=source,
                )


def _short(source: View, cache: StepCache, total: int) -> Iterator[Refusal]:
    """A run that is too short for the cache, or too short to skip anything."""
    try:
        check_steps(total, cache.mild)
    except StudioError as error:
        yield Refusal(error.message, error.hint, "mode", at=source)
        return
    full = {i for part in cache.parts for i in getattr(part.gate, "full", None) or ()}
    if full and max(full) >= total:
        inside = any(0 < i < total for i in full)
        yield Refusal(
            f"{source.title!r} names full steps up to {max(full) + 1}, and the run has {total}"
            + ("." if inside else ": all but the first would be skipped."),
            f"Name steps from 1 to {total}.",
            "full_steps",
            "warning" if inside else "error",
            at=source,
        )
    if all(part.limits.warm + part.limits.last >= total for part in cache.parts):
        yield Refusal(
            f"{source.title!r} would skip nothing: all {total} steps are first or last ones.",
            "Lower warm or last.",
            "warm",
            "warning",
            at=source,
        )


def _cache_of(view: View) -> StepCache | None:
    """The cache that a node's settings make; None where an edge feeds one of them."""
    given: dict[str, Any] = {
        name: view.widgets.get(name, param.default) for name, param in signature(made).parameters.items()
    }
    return None if None in given.values() else made(**given)


def _steps(written: str) -> tuple[int, ...] | None:
    """ "1-4, 7" -> 0, 1, 2, 3, 6; None if nothing is written."""
    if written.strip().casefold() in ("", "all"):
        return None
    try:
        numbers = parse_blocks(written) or ()
    except StudioError as error:
        raise StudioError(
            f"The steps {written!r} cannot be read.", hint="For example: 1-4, 7, 10.", socket="full_steps"
        ) from error
    return tuple(number - 1 for number in numbers)

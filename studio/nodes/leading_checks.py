"""Attachments made for another prompt than the one that leads the picture, told before a run; what only the
run can tell is found by `controls/leading.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from studio.api import Refusal, StudioError, View
from studio.controls.leading import HINT, same, unlike
from studio.models.prompt_weights import read_weights
from studio.nodes.prompt import layout_prompt, prompt_of
from studio.nodes.relay import chain

# The input by which an attachment gets the prompt that must lead the picture.
LED_BY = {
    "word_weight": "positive",
    "watch_words": "positive",
    "edit_by_prompt": "target",
    "keep_look": "target",
    "change_words": "prompt",
}
# The inputs by which the prompt of another picture of the run comes in.
BESIDE = {
    "edit_by_prompt": "source",
    "keep_look": "source",
    "change_words": "words",
    "keep_subject": "description",
}


def review_leading(view: View) -> Iterator[Refusal]:
    """At a node that samples: its attachments, and those of the relays at its wraps, each against the prompt
    that leads its part."""
    controls = view.feeding("attachments")
    leading = "target" if view.feeding("target") else "positive"
    beside = [(view, "source")] if leading == "target" else []
    yield from _unlike(controls, (view, leading), beside)
    for control in controls:
        pooled = control.kind == "change_words" and control.widgets.get("pooled") == "words"
        if pooled and control not in view.feeding(leading):
            yield Refusal(
                f"The pooled vector of the other words goes with the prompt of {control.title!r}, and "
                f"another node leads {view.title!r}.",
                f"Connect its prompt to {view.title!r}, or choose 'own'.",
                "pooled",
                "warning",
                control,
            )
    for first in view.feeding("wraps"):
        for relay in chain(first) if first.kind == "relay" else ():
            if relay.widgets.get("at") != 1:
                kept = controls if relay.widgets.get("keep_controls") is True else ()
                own = (relay if relay.feeding("positive") else view, "positive")
                yield from _unlike([*kept, *relay.feeding("attachments")], own)


def _unlike(
    controls: Sequence[View], leading: tuple[View, str], beside: Sequence[tuple[View, str]] = ()
) -> Iterator[Refusal]:
    leads = prompt_of(*leading)
    if leads is None:
        return
    others = [*beside, *((control, BESIDE[control.kind]) for control in controls if control.kind in BESIDE)]
    others += [(path, "positive") for control in controls for path in control.feeding("inversion")]
    for control in controls:
        wanted = None if _nothing(control) else led_by(control)
        if wanted is None or same(wanted) == same(leads):
            continue
        if control.kind == "regional_prompts":
            texts = [prompt_of(*other) for other in others]
            if not wanted.strip() or None in texts or same(wanted) in [same(str(text)) for text in texts]:
                continue
        wired = LED_BY.get(control.kind)
        yield Refusal(
            unlike(repr(control.title), wanted, leads),
            HINT if wired else f"Connect the conditioning of {control.title!r} to {leading[0].title!r} too.",
            wired or leading[1],
            at=control if wired else leading[0],
        )


def led_by(control: View) -> str | None:
    """The prompt that an attachment is made for; None if it goes with any, or only the run can tell."""
    if control.kind == "regional_prompts":
        return layout_prompt(control)
    if control.kind == "weighted_prompt":
        try:
            return read_weights(str(control.widgets["text"])).text
        except (StudioError, KeyError):
            return None
    return prompt_of(control, LED_BY[control.kind]) if control.kind in LED_BY else None


def _nothing(control: View) -> bool:
    """Whether an attachment does nothing, as its settings say."""
    given = control.widgets
    start, end = given.get("start"), given.get("end")
    if isinstance(start, int | float) and isinstance(end, int | float) and start >= end:
        return True
    if control.kind == "word_weight":
        return given.get("weight") == 1 or given.get("words", "?") == ""
    if control.kind == "weighted_prompt":
        try:
            return all(weight == 1 for _, _, weight in read_weights(str(given.get("text", ""))).weights)
        except StudioError:
            return True
    if control.kind == "edit_by_prompt":
        return given.get("tau") == 0 and (given.get("eta") == 0 or given.get("threshold", 0) < 0)
    return False

"""Controls that mean words of one prompt go with the run that this prompt leads (controls.md 3.4, rule 6): in
another one the same tokens are other words."""

from __future__ import annotations

from collections.abc import Iterable

from studio.controls.composition import called
from studio.controls.control import AttentionControl
from studio.errors import StudioError

MOST = 60


def check_led(controls: Iterable[AttentionControl], leads: str, others: Iterable[str] = ()) -> None:
    """StudioError for a control that was made for another prompt than the one that leads the picture; for one
    that is led by any (`led_by_any`) the prompts of the other pictures of the run, `others`, do too."""
    beside = [same(other) for other in others]
    for control in controls:
        wanted = control.led_by
        if wanted is None or same(wanted) == same(leads):
            continue
        if not (control.led_by_any and same(wanted) in beside):
            raise StudioError(unlike(called(control), wanted, leads), hint=HINT, socket="attachments")


HINT = "Connect one prompt to both."


def same(text: str) -> str:
    """A prompt without what no tokenizer tells apart: how wide its spaces are."""
    return " ".join(text.split())


def unlike(name: str, wanted: str, leads: str) -> str:
    """The sentence about a control and two prompts that are not the same, each from where they part on."""
    one, other = parting(wanted, leads)
    return f"{name} is made for the prompt {one!r}, and the picture is led by {other!r}."


def parting(one: str, other: str) -> tuple[str, str]:
    """Two texts, shortened so that the place where they part is among what is left."""
    one, other = same(one), same(other)
    apart = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    start = one.rfind(" ", 0, max(0, apart - MOST // 3)) + 1 if max(len(one), len(other)) > MOST else 0
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    rest = text[start:]
    return ("..." if start else "") + (rest if len(rest) <= MOST else rest[: MOST - 3] + "...")

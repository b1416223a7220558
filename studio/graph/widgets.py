"""Widgets: what a constant may be, checked strictly (E5), and how a page should draw it.

A widget stands in `Annotated[float, Slider(0, 1)]`; `Text`, `Prompt`, `Colour`, `Seed`, `ModelRef` and
`PictureRef` may stand alone (`seed: Seed = 0`). For a type checker those are plain `str`, `int` or `dict`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from studio.errors import did_you_mean

MAX_SEED = 2**53 - 1
"""Largest integer that JavaScript holds exactly; seeds end here."""


class Widget:
    """Base of all widgets: a sort, a socket type, and a strict check."""

    sort: ClassVar[str] = "text"
    type: ClassVar[str] = "Text"

    def problem(self, value: object) -> tuple[str, str] | None:
        """What is wrong with a value as (message, hint); None if it is fine. Never converts."""
        raise NotImplementedError

    def options(self) -> Mapping[str, Any]:
        """What the page needs to draw it, beside the sort."""
        return {}


def shown(value: object) -> str:
    """A value as text, cut to 60 characters, with its JSON type named where that is the point."""
    if value is None:
        return "null"
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number_problem(
    value: object, whole: bool, low: float | None, high: float | None, step: float | None
) -> tuple[str, str] | None:
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return f"{shown(value)} is not {wanted}.", f"Give {wanted}{_span(low, high)}."
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number.", f"Give {wanted}{_span(low, high)}."
    assert isinstance(value, (int, float))
    if (low is not None and value < low) or (high is not None and value > high):
        return f"{shown(value)} is out of range.", f"Give {wanted}{_span(low, high)}."
    if step and whole:
        start = int(low or 0)
        if (int(value) - start) % int(step):
            nearest = start + round((value - start) / step) * int(step)
            if high is not None and nearest > high:
                nearest -= int(step)
            return f"{value} is not on the step of {int(step)}.", f"The nearest is {nearest}."
    return None


def _span(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}" if high < 1e6 else f" from {low:g} to {high}"
    if low is not None:
        return f", at least {low:g}"
    return f", at most {high:g}" if high is not None else ""


@dataclass(frozen=True)
class Number(Widget):
    """A number field; `low` and `high` are inclusive, None = no bound. `step` binds whole numbers only:
    a step of a decimal slider is how it feels, not what it accepts."""

    low: float | None = None
    high: float | None = None
    step: float | None = None
    whole: bool = False
    sort: ClassVar[str] = "number"

    @property
    def value_type(self) -> str:
        """Int or Float."""
        return "Int" if self.whole else "Float"

    def problem(self, value: object) -> tuple[str, str] | None:
        return _number_problem(value, self.whole, self.low, self.high, self.step)

    def options(self) -> Mapping[str, Any]:
        return {
            "min": self.low,
            "max": self.high,
            "step": self.step or (1 if self.whole else None),
            "whole": self.whole,
        }


@dataclass(frozen=True)
class Slider(Number):
    """A slider from `low` to `high`, both inclusive."""

    sort: ClassVar[str] = "slider"


@dataclass(frozen=True)
class Toggle(Widget):
    """On or off."""

    sort: ClassVar[str] = "bool"
    type: ClassVar[str] = "Bool"

    def problem(self, value: object) -> tuple[str, str] | None:
        if isinstance(value, bool):
            return None
        return f"{shown(value)} is neither true nor false.", "Write true or false, without quotes."


@dataclass(frozen=True, init=False)
class Choice(Widget):
    """One of a few named options."""

    names: tuple[str, ...]
    sort: ClassVar[str] = "choice"

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", tuple(names))

    def problem(self, value: object) -> tuple[str, str] | None:
        if isinstance(value, str) and value in self.names:
            return None
        hint = did_you_mean(value, self.names) if isinstance(value, str) else ""
        return (
            f"{shown(value)} is not one of the choices.",
            hint or f"Choose {', '.join(map(repr, self.names))}.",
        )

    def options(self) -> Mapping[str, Any]:
        return {"choices": list(self.names)}


@dataclass(frozen=True)
class TextWidget(Widget):
    """Text of at most `max` characters, drawn with `lines` lines."""

    lines: int = 1
    max: int = 1_000
    sort: ClassVar[str] = "text"

    def problem(self, value: object) -> tuple[str, str] | None:
        if not isinstance(value, str):
            return f"{shown(value)} is not text.", "Put it in quotes."
        if len(value) > self.max:
            return f"The text has {len(value)} characters.", f"At most {self.max} fit."
        return None

    def options(self) -> Mapping[str, Any]:
        return {"lines": self.lines, "max": self.max}


@dataclass(frozen=True)
class PromptWidget(TextWidget):
    """Words for a model."""

    lines: int = 3
    max: int = 10_000
    sort: ClassVar[str] = "prompt"


@dataclass(frozen=True)
class ColourWidget(Widget):
    """A colour as "#rrggbb"."""

    sort: ClassVar[str] = "colour"

    def problem(self, value: object) -> tuple[str, str] | None:
        if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            return None
        return f"{shown(value)} is not a colour.", 'Write it as "#rrggbb", for example "#ff8800".'


@dataclass(frozen=True)
class SeedWidget(Number):
    """A whole number from 0 to 2**53 - 1."""

    low: float | None = 0
    high: float | None = MAX_SEED
    whole: bool = True
    sort: ClassVar[str] = "seed"


@dataclass(frozen=True)
class PictureRefWidget(Widget):
    """A stored picture: `{"file": "<sha256>", "name": "sketch.png"}`, never bytes, never a path."""

    sort: ClassVar[str] = "picture"
    type: ClassVar[str] = "PictureRef"

    def problem(self, value: object) -> tuple[str, str] | None:
        hint = 'Write {"file": "<SHA-256 of the picture>", "name": "sketch.png"}.'
        if not isinstance(value, dict) or not isinstance(value.get("file"), str):
            return f"{shown(value)} is not a reference to a stored picture.", hint
        if not re.fullmatch(r"[0-9a-f]{64}", value["file"]):
            return f"{shown(value['file'])} is not a SHA-256.", hint
        if set(value) - {"file", "name"} or not isinstance(value.get("name", ""), str):
            return f"{shown(value)} holds more than a file and a name.", hint
        return None


@dataclass(frozen=True)
class ModelRefWidget(TextWidget):
    """The name of a model: `embedded:name`, a folder, or `hub:owner/name`."""

    max: int = 1_000
    sort: ClassVar[str] = "model"


if TYPE_CHECKING:
    Text = str
    Prompt = str
    Colour = str
    Seed = int
    ModelRef = str
    PictureRef = dict[str, str]
else:
    Text, Prompt, Colour, Seed = TextWidget, PromptWidget, ColourWidget, SeedWidget
    ModelRef, PictureRef = ModelRefWidget, PictureRefWidget

__all__ = [
    "MAX_SEED",
    "Choice",
    "Colour",
    "ModelRef",
    "Number",
    "PictureRef",
    "Prompt",
    "Seed",
    "Slider",
    "Text",
    "Toggle",
    "Widget",
    "shown",
]

"""Widgets: what a constant may be, checked strictly (E5), and how a page should draw it.

A widget stands in `Annotated[float, Slider(0, 1)]`; `Text`, `Prompt`, `Colour`, `Seed`, `ModelRef`,
`PictureRef` and `Regions` may stand alone (`seed: Seed = 0`). For a type checker those are plain `str`,
`int`, `dict` or `list`.
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
    # what a value leads to beyond itself, "model" or "file": the host's policy is asked before anybody looks
    leads: ClassVar[str] = ""

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
    a step of a decimal slider is how it feels, not what it accepts.

    `lowest`: what a page shows in the place of `low`, where that value stands for something of its own, such
    as "automatic"; a document keeps the number.
    """

    low: float | None = None
    high: float | None = None
    step: float | None = None
    whole: bool = False
    lowest: str = ""
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
            **({"lowest": self.lowest} if self.lowest else {}),
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
    leads: ClassVar[str] = "model"


@dataclass(frozen=True)
class LoraRefWidget(TextWidget):
    """A LoRA: `embedded:name`, or the path of a safetensors file; the page offers those it finds."""

    max: int = 1_000
    sort: ClassVar[str] = "lora"
    leads: ClassVar[str] = "file"


@dataclass(frozen=True)
class FileRefWidget(TextWidget):
    """A name, `embedded:name`, or the path of a file."""

    max: int = 1_000
    leads: ClassVar[str] = "file"


MOST_REGIONS = 64
_REGION: dict[str, str | tuple[float, float]] = {
    "id": "text",
    "name": "text",
    "prompt": "prompt",
    "negative": "prompt",
    "shape": "shape",
    "box": "box",
    "mask": "mask",
    "strength": (0.0, 2.0),
    "start": (0.0, 1.0),
    "end": (0.0, 1.0),
    "role": "text",
    "locked": "bool",
}
_REGION_HINT = (
    'A region is {"id": "sky", "prompt": "a blue sky", "box": [0, 0, 1, 0.5]}; it may also have '
    f"{', '.join(name for name in _REGION if name not in ('id', 'prompt', 'box'))}."
)


def region_problem(region: object) -> tuple[str, str] | None:
    """What is wrong with one region of a list, as (message, hint); None if it is fine.

    A region is a JSON object (architecture.md 4): `id`, `prompt`, `box` (x0, y0, x1, y1 in 0..1 from the top
    left) or `mask` (a reference to a stored picture, with `shape` "mask"), and settings with defaults.
    """
    if not isinstance(region, dict):
        return f"{shown(region)} is not a region.", _REGION_HINT
    unknown = next((name for name in region if name not in _REGION), None)
    if unknown is not None:
        return f"A region has no {shown(unknown)}.", did_you_mean(str(unknown), _REGION) or _REGION_HINT
    if not region.get("id"):
        return "A region has no id.", _REGION_HINT
    for name, value in region.items():
        found = _region_value_problem(name, value)
        if found is not None:
            return (found[0] if name == "box" else f"{name}: {found[0]}"), found[1]
    if region.get("shape", "box") == "mask" and region.get("mask") is None:
        return "The shape is a mask, but there is no mask.", "Paint one, or set the shape to box."
    if "box" not in region and region.get("mask") is None:
        return "It has neither a box nor a mask.", _REGION_HINT
    if region.get("start", 0.0) >= region.get("end", 1.0):
        ends = f"{region.get('start', 0.0):g} to {region.get('end', 1.0):g}"
        return f"It is there from {ends} of the steps, which is never.", "Let start be below end."
    return None


def _region_value_problem(name: str, value: object) -> tuple[str, str] | None:
    sort = _REGION[name]
    if isinstance(sort, tuple):
        return _number_problem(value, False, sort[0], sort[1], None)
    if sort == "text":
        return TextWidget(max=100).problem(value)
    if sort == "prompt":
        return PromptWidget().problem(value)
    if sort == "bool":
        return Toggle().problem(value)
    if sort == "shape":
        return Choice("box", "mask").problem(value)
    if sort == "mask":
        return None if value is None else PictureRefWidget().problem(value)
    return _box_problem(value)


def _box_problem(box: object) -> tuple[str, str] | None:
    hint = "A box is [left, top, right, bottom], each from 0 to 1 of the canvas."
    if not isinstance(box, (list, tuple)) or len(box) != 4:
        return f"{shown(box)} is not a box.", hint
    for edge in box:
        problem = _number_problem(edge, False, None, None, None)
        if problem is not None:
            return f"{shown(list(box))} is not a box: {problem[0]}", hint
    x0, y0, x1, y1 = box
    if x0 >= x1 or y0 >= y1:
        ends = ("left", x0, "right", x1) if x0 >= x1 else ("top", y0, "bottom", y1)
        edges = f"{ends[0]} {ends[1]:.4g}, {ends[2]} {ends[3]:.4g}"
        return f"The box has no size: {edges}.", f"{hint} Right is beyond left, bottom below top."
    if min(x0, y0) < 0 or max(x1, y1) > 1:
        inside = [min(max(edge, 0), 1) for edge in box]
        near = f" The part inside is {inside}." if inside[0] < inside[2] and inside[1] < inside[3] else ""
        names = zip(("left", "top", "right", "bottom"), box, strict=True)
        beyond = ", ".join(f"{name} {edge:.4g}" for name, edge in names if not 0 <= edge <= 1)
        return f"The box leaves the canvas: {beyond}.", hint + near
    return None


@dataclass(frozen=True)
class RegionsWidget(Widget):
    """A list of regions, each a box or a painted mask with a prompt; the last one lies on top."""

    sort: ClassVar[str] = "regions"
    type: ClassVar[str] = "Regions"

    def problem(self, value: object) -> tuple[str, str] | None:
        if not isinstance(value, (list, tuple)):
            return f"{shown(value)} is not a list of regions.", _REGION_HINT
        if len(value) > MOST_REGIONS:
            return f"There are {len(value):,} regions.", f"At most {MOST_REGIONS} are possible."
        ids: dict[object, int] = {}
        for place, region in enumerate(value, 1):
            found = region_problem(region)
            if found is not None:
                name = region.get("name") if isinstance(region, dict) else None
                return f"Region {place}{f' {shown(name)}' if name else ''}: {found[0]}", found[1]
            if region["id"] in ids:
                return (
                    f"Regions {ids[region['id']]} and {place} have the id {shown(region['id'])}.",
                    "Give one of them another id.",
                )
            ids[region["id"]] = place
        return None

    def options(self) -> Mapping[str, Any]:
        return {"most": MOST_REGIONS}


if TYPE_CHECKING:
    Text = str
    Prompt = str
    Colour = str
    Seed = int
    ModelRef = str
    LoraRef = str
    FileRef = str
    PictureRef = dict[str, str]
    Regions = list[dict[str, Any]]
else:
    Text, Prompt, Colour, Seed = TextWidget, PromptWidget, ColourWidget, SeedWidget
    ModelRef, PictureRef, Regions = ModelRefWidget, PictureRefWidget, RegionsWidget
    LoraRef, FileRef = LoraRefWidget, FileRefWidget

__all__ = [
    "MAX_SEED",
    "Choice",
    "Colour",
    "FileRef",
    "LoraRef",
    "ModelRef",
    "Number",
    "PictureRef",
    "Prompt",
    "Regions",
    "Seed",
    "Slider",
    "Text",
    "Toggle",
    "Widget",
    "shown",
]

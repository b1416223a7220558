"""The values of a sweep's axis as a person writes them: lists, ranges, seeds and words."""

from __future__ import annotations

import csv
import math
import re

from studio.graph.node_spec import Param
from studio.graph.widgets import Number, Toggle

LISTED_BY_BAR = ("text", "prompt")  # sorts whose values hold commas themselves
TEXTS = (*LISTED_BY_BAR, "choice", "model", "colour")
SAID = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*:\s*({_NUMBER})(?:\s*:\s*({_NUMBER}))?")


def listed(text: str, param: Param, now: object, words: bool, most: int) -> list[object]:
    """The values that a text lists. Raises ValueError(message, hint)."""
    sort, bars = param.widget.sort, param.widget.sort in LISTED_BY_BAR and not words
    split = "|" if bars else ","
    try:
        rows = csv.reader([text.replace("\n", split)], delimiter=split, skipinitialspace=True, strict=True)
        items = [item.strip() for row in rows for item in row if item.strip()]
    except csv.Error:
        raise ValueError(
            "a quotation mark has no partner.", "Values with a comma stand in quotation marks."
        ) from None
    if words or sort in TEXTS:
        if items == ["*"] and sort == "choice":
            return list(param.widget.options()["choices"])
        return list(items)
    if isinstance(param.widget, Toggle):
        return [SAID.get(item.lower(), item) for item in items]
    if not isinstance(param.widget, Number):
        raise ValueError(
            "this input has no values that can be listed.", "Choose a number, a choice or a text."
        )
    found: list[object] = []
    for item in items:
        found += _numbers(item, param.widget, now, most)
    return found


def _numbers(item: str, widget: Number, now: object, most: int) -> list[object]:
    """One number, a range with its end, or `*n` seeds. Raises ValueError(message, hint)."""
    kind: type = int if widget.whole else float
    if widget.sort == "seed" and (several := re.fullmatch(r"\*\s*(\d{1,6})", item)):
        first = now if isinstance(now, int) else 0
        return [first + place for place in range(min(int(several[1]), most + 1))]
    if (found := _RANGE.fullmatch(item)) is not None:
        numbers = [_number(part, kind) for part in (found[1], found[2], found[3] or "1")]
        if not all(type(number) is kind and math.isfinite(number) for number in numbers):  # type: ignore[arg-type]
            wanted = "whole numbers" if widget.whole else "finite numbers"
            raise ValueError(f"{item} is no range of {wanted}.", "Write start:stop:step, for example 4:20:4.")
        start, stop, step = (kind(number) for number in numbers)
        if step == 0 or (stop - start) / step < 0:
            raise ValueError(
                f"{item} never comes to its end.", f"Write {found[1]}:{found[2]}:{-step or 1:g}."
            )
        count = math.floor(min((stop - start) / step, most) + 1e-9) + 1
        return [kind(round(start + place * step, 10)) for place in range(count)]
    return [_number(item, kind)]


def _number(text: str, kind: type) -> object:
    """The number, or the text itself where it is none: the widget then says what is wrong."""
    if not re.fullmatch(_NUMBER, text):
        return text
    value = float(text)
    return value if kind is float or not re.fullmatch(r"[+-]?\d+", text) else int(text)


def example(param: Param, words: bool) -> str:
    """How values of this input are written."""
    if words:
        return "red, blue."
    if param.widget.sort == "seed":
        return "*4 (four seeds)."
    if isinstance(param.widget, Number):
        return "1, 2, 3 or 4:20:4." if param.widget.whole else "0.5, 1, 1.5 or 1:5:0.5."
    if param.widget.sort in LISTED_BY_BAR:
        return "a red star | a blue star."
    return "two of its values with a comma between."

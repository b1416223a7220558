"""What a page sends with an event. It comes from a browser: every value is checked by whoever reads it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from studio.errors import BadDocument

if TYPE_CHECKING:
    import gradio as gr


def data(event: gr.EventData) -> Mapping[str, Any]:
    """The values by name; none for anything else than an object."""
    return event._data if isinstance(event._data, dict) else {}


def given(event: gr.EventData, name: str) -> object:
    """One value, whatever it is; None where there is none."""
    return data(event).get(name)


def text(event: gr.EventData, name: str, longest: int) -> str:
    """A text of at most `longest` characters. Raises BadDocument."""
    value = given(event, name)
    if not isinstance(value, str) or len(value) > longest:
        raise BadDocument(f"The page sent no usable {name}.", hint="Reload the page.")
    return value


def turn(event: gr.EventData) -> int:
    """`turn`, the number by which a page knows the answer to what it asked last; 0 where it is none."""
    value = given(event, "turn")
    return value if isinstance(value, int) else 0


def upload(event: gr.EventData, most: int) -> bytes:
    """The bytes of a file of at most `most` bytes, sent in base64 as `data`. Raises BadDocument, and
    binascii.Error where it did not arrive whole."""
    return base64.b64decode(text(event, "data", most // 3 * 4 + 4), validate=True)


def point(event: gr.EventData) -> tuple[float, float] | None:
    """`x` and `y` of an event, cut to 0..1; None where they are missing. Raises BadDocument."""
    place = [given(event, name) for name in ("x", "y")]
    return None if None in place else (_share(place[0]), _share(place[1]))


def number(event: gr.EventData, name: str, least: float, most: float, default: float) -> float:
    """A number cut to a range; `default` where there is none. Raises BadDocument."""
    value = given(event, name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadDocument(f"The page sent no usable {name}.", hint="Reload the page.")
    return min(max(float(value), least), most)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadDocument("The page sent no usable place.", hint="Reload the page.")
    return min(max(float(value), 0.0), 1.0)

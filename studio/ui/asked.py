"""What a page sends with an event. It comes from a browser: every value is checked by whoever reads it."""

from __future__ import annotations

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

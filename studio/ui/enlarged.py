"""What a picture that was made larger is called: by the words of the picture it comes from, or its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.history.generation import Generation

KIND = "upscale_picture"
FARTHEST = 8  # pictures that were made larger one after the other
UNNAMED = ("", "picture", "picture.png")  # what a picture of the history is called where it is loaded


def enlarged(item: Generation, get: Callable[[str], Generation | None]) -> dict[str, object] | None:
    """`of`: words of the picture behind it, "" where nothing is known; `times`: how many times as wide; None
    for a picture that no upscaler made. `get`: another picture of its owner."""
    times = _times(item) if KIND in item.record_json else None
    if times is None:
        return None
    words, found = _words(item), item
    for _ in range(FARTHEST):
        source = next((id for id, role in found.parents if role == "upscale"), None)
        behind = get(source) if source else None
        if words or behind is None:
            break
        words, found = _words(behind), behind
    return {"of": words, "times": times}


def _times(item: Generation) -> float | None:
    """The product of what the upscalers of its graph were set to."""
    nodes, params = _part(item, "nodes"), _part(item, "params")
    times = None
    for name, node in nodes.items():
        if isinstance(node, Mapping) and node.get("kind") == KIND:
            told = params.get(name)
            scale = told.get("scale") if isinstance(told, Mapping) else None
            times = (times or 1.0) * (float(scale) if isinstance(scale, int | float) else 1.0)
    return None if times is None or times <= 1 else round(times, 2)


def _words(item: Generation) -> str:
    """Its prompt, or the name of the file that it was made of."""
    if item.prompt:
        return item.prompt
    nodes = _part(item, "nodes")
    for name, told in _part(item, "params").items():
        node = nodes.get(name)
        picture = told.get("picture") if isinstance(told, Mapping) else None
        if isinstance(node, Mapping) and node.get("kind") == "load_image" and isinstance(picture, Mapping):
            given = str(picture.get("name", ""))
            if given not in UNNAMED:
                return given
    return ""


def _part(item: Generation, name: str) -> Mapping[str, Any]:
    part = item.record.get(name)
    return part if isinstance(part, Mapping) else {}

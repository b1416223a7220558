"""A layout as plain data, in the form of the `regions` of a workflow (architecture 4)."""

from __future__ import annotations

from typing import Any

from studio.layout.boxes import box_of
from studio.values import Layout, Region

_DEFAULTS = Region("", "")


def layout_json(layout: Layout) -> dict[str, Any]:
    """Prompt, background and regions as JSON values; the regions fit the Layout node.

    Settings at their defaults are left out, edges rounded to six digits. A painted mask is no JSON: its
    region is told by the box around it.
    """
    return {
        "prompt": layout.prompt,
        "background": layout.background,
        "regions": [_region_json(region) for region in layout.regions],
    }


def _region_json(region: Region) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": region.id,
        "prompt": region.prompt,
        "box": [round(float(edge), 6) for edge in box_of(region)],
    }
    for name in ("name", "negative", "strength", "start", "end", "role", "locked"):
        if getattr(region, name) != getattr(_DEFAULTS, name):
            found[name] = getattr(region, name)
    return found

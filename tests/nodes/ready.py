"""Ready workflows with other settings, and a picture of noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from studio.graph.document import Graph, loads
from studio.settings import ROOT
from studio.values import Image

FOLDER = ROOT / "assets" / "workflows"


def ready_workflow(name: str, settings: Mapping[str, Any] | None = None) -> Graph:
    """A ready workflow; `settings`: values by "node.widget"."""
    return changed(loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")), settings or {})


def changed(graph: Graph, settings: Mapping[str, Any]) -> Graph:
    """The graph with values by "node.widget"."""
    for place, value in settings.items():
        graph = graph.set(*place.split("."), value)
    return graph


def noise_picture(height: int, width: int, channels: int = 3) -> Image:
    """The same values every time."""
    return Image(np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8))

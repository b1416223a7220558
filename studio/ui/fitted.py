"""The settings of a workflow for another model: those that it asks for, but what the workflow wants stays.

The page does the same where a person chooses a model (assets/ui/presets.js).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from studio.graph.document import Graph
from studio.graph.registry import Registry
from studio.ui.forms import panel

# Where a model's settings lie, by kind of node. Other built-in nodes that have a setting of such a name mean
# something else by it; of a plugin's node or a sub-graph, what the form shows counts.
SETS: Mapping[str, tuple[str, ...]] = {
    "schedule": ("steps", "spacing", "shift"),
    "found_schedule": ("steps", "spacing", "shift"),
    "schedule_by_size": ("steps",),
    "shift_for_size": (),
    "cfg": ("cfg_scale", "guidance"),
    "embedded_guidance": ("cfg_scale", "guidance"),
    "apg": ("cfg_scale",),
    "cfg_zero": ("cfg_scale",),
    "linear_guidance": ("cfg_scale",),
    "residual_guidance": ("cfg_scale",),
    "choose_sampler": ("sampler",),
    "noisy_sampler": (),
    "momentum_sampler": (),
    "search_schedule": (),
    "inject_values": (),
    "upscale_picture": (),
}
NETWORK = "guidance"  # a number that goes into the network: the form fills it, -1 = as the model
Card = Mapping[str, Any]


def fitted(document: Graph, registry: Registry, before: Card, after: Card, size: Sequence[object]) -> Graph:
    """The document, made for the model of the card `before`, with the settings of the model of `after`, for
    a picture of `size`. What is another than its own model asks for is there for the workflow's sake and
    stays (`stays`)."""
    if any(node.kind == "relay" for node in document.nodes):
        return document  # models take turns: its settings are for both
    own, new = (_settings(card, size) for card in (before, after))
    new.setdefault("sampler", "euler")  # also where nothing is known of a model
    preset = after.get("preset")
    most = preset.get("most", math.inf) if isinstance(preset, Mapping) else math.inf
    for node, widget, now in places(document, registry):
        if widget not in new:
            continue
        chosen = own.get(widget, now) != now
        value = stays(widget, now, new, most) if chosen else new[widget]
        document = document.set(node, widget, value)
    return document


def stays(widget: str, value: Any, new: Mapping[str, object], most: float) -> object:
    """What becomes of a workflow's own value with a model of the settings `new` that takes `most` steps:
    guidance of two passes ends where a model has it in its network, and steps where more do no good."""
    if widget == "cfg_scale" and new.get(widget) == 1.0:
        return 1.0
    if widget == "steps" and value > most:
        return new.get(widget, most)
    return value


def places(document: Graph, registry: Registry) -> Iterator[tuple[str, str, object]]:
    """Node, setting and value of what a model asks for; what an edge feeds is left out."""
    fed = {edge.target for edge in document.edges}
    for node in document.nodes:
        for widget in SETS.get(node.kind, ()):
            if widget in node.widgets and (node.id, widget) not in fed and widget != NETWORK:
                yield node.id, widget, node.widgets[widget]
    kinds = {node.id: node.kind for node in document.nodes}
    names = {name for found in SETS.values() for name in found}
    for field in panel(document, registry):
        node_id, widget = str(field["node"]), str(field["widget"])
        kind = kinds[node_id]
        if (kind in SETS and (widget != NETWORK or widget not in SETS[kind])) or widget not in names:
            continue
        yield node_id, widget, document.node(node_id).widgets.get(widget, field["default"])


def _settings(card: Card, size: Sequence[object]) -> dict[str, object]:
    """What a model asks for by its preset; empty where none is known."""
    preset = card.get("preset")
    if not isinstance(preset, Mapping):
        return {}
    settings = dict(preset["settings"])
    return settings | _by_size(preset.get("lines") or (), size, settings.get("shift"))


def _by_size(lines: Sequence[Mapping[str, Any]], sides: Sequence[object], own: object) -> dict[str, object]:
    """The shift for a picture of these sides where a preset's lines say it (`models.size_shift`)."""
    if not lines or len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        return {} if own is None else {"shift": own}
    tokens = math.prod(int(str(side)) // 16 for side in sides)
    line = next((line for line in lines if tokens <= line["tokens"]), lines[-1])
    return {"shift": round(min(max(math.exp(line["start"] + line["slope"] * tokens), 0.1), 30.0), 3)}

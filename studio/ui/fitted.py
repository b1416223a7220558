"""The settings of a workflow for another model: those that it asks for, but what the workflow wants stays.

The page does the same where a person chooses a model (assets/ui/presets.js).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from studio.graph.document import Graph
from studio.graph.registry import Registry
from studio.models.presets import ENDLESS, preset_of
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


def fitted(
    document: Graph, registry: Registry, before: Card, after: Card, size: tuple[int, int] = (0, 0)
) -> Graph:
    """The document, made for the model of the card `before`, with the settings of the model of `after`, for
    a picture of `size` in pixels (0 = the model's own). What is another than its own model asks for is there
    for the workflow's sake and stays (`stays`)."""
    if any(node.kind == "relay" for node in document.nodes):
        return document  # models take turns: its settings are for both
    old, preset = (preset_of(card) for card in (before, after))
    own, new = (one.settings(*size) if one else {} for one in (old, preset))
    new.setdefault("sampler", "euler")  # also where nothing is known of a model
    for node, widget, now in places(document, registry):
        if widget not in new:
            continue
        chosen = own.get(widget, now) != now
        value = stays(widget, now, new, preset.most if preset else ENDLESS) if chosen else new[widget]
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
    """Node, setting and value of what a model may ask for, with a form or without; what an edge feeds is left
    out."""
    fed = {edge.target for edge in document.edges}
    for node in document.nodes:
        for widget in SETS.get(node.kind, ()):
            if widget != NETWORK and widget in node.widgets and (node.id, widget) not in fed:
                yield node.id, widget, node.widgets[widget]
    for field in panel(document, registry):
        node, widget = document.node(str(field["node"])), str(field["widget"])
        sets = SETS.get(node.kind)
        if sets is None or (widget == NETWORK and widget in sets):
            yield node.id, widget, node.widgets.get(widget, field["default"])

"""From a graph document to the form of Create: its exposed widgets, each with its role, kind and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from studio.graph.definitions import local
from studio.graph.document import Graph
from studio.graph.inline import inline

if TYPE_CHECKING:
    from studio.graph.registry import Registry

Field = dict[str, object]
# what the page has a maker for; any other kind is shown as text and keeps its value
KINDS = {
    "slider": "slider",
    "number": "number",
    "toggle": "bool",
    "bool": "bool",
    "choice": "choice",
    "text": "text",
    "prompt": "text",
    "seed": "number",
    "model": "model",
    "lora": "lora",
    "colour": "colour",
    "picture": "picture",
    "regions": "regions",
}
AVOID = ("avoid", "negative")
# settings that nearly every workflow has: from the first of them on, a form is folded ("More settings")
COMMON = frozenset(("width", "height", "steps", "cfg_scale", "sampler", "shift", "spacing", "model", "name"))
RATIOS = ((1, 1), (3, 2), (2, 3), (4, 3), (3, 4))


def missing_kinds(document: Graph, registry: Registry) -> list[str]:
    """The kinds of node that are not installed here, also inside of sub-graphs."""
    flat = inline(document, registry).graph
    return sorted({node.kind for node in flat.nodes if registry.find(node.kind) is None})


def panel(document: Graph, registry: Registry) -> list[Field]:
    """The fields of Create in order. `role`: prompt, avoid, seed, width, height, model or "".

    `more`: it belongs to the folded part of the form. A widget that an edge feeds, or whose node is unknown
    here, is left out: it would have no effect. One that is exposed twice is shown once.
    """
    specs = local(document, registry)
    fed = {edge.target for edge in document.edges}
    nodes = {node.id: node for node in document.nodes}
    fields: list[Field] = []
    shown: set[tuple[str, str]] = set()
    for exposed in sorted(document.exposed, key=lambda entry: entry.order):
        node = nodes.get(exposed.node)
        spec = specs.find(node.kind) if node else None
        place = (exposed.node, exposed.widget)
        if node is None or spec is None or place in fed or place in shown:
            continue
        shown.add(place)
        widgets: Sequence[Mapping[str, object]] = spec.to_json()["widgets"]  # type: ignore[assignment]
        widget = next((entry for entry in widgets if entry["name"] == exposed.widget), None)
        if widget is not None:
            fields.append(_field(exposed.node, exposed.label, widget))
    _give_roles(fields)
    more = False
    for field in fields:
        field["more"] = more = more or field["widget"] in COMMON
    return fields


def _field(node: str, label: str, widget: Mapping[str, object]) -> Field:
    sort = str(widget["kind"])
    field: Field = {
        "node": node,
        "widget": widget["name"],
        "label": label or widget.get("label") or widget["name"],
        "help": widget.get("help") or "",
        "sort": sort,
        "kind": KINDS.get(sort, "shown"),
        "role": "",
        "default": widget.get("default"),
        "whole": sort == "seed" or widget.get("whole") is True,
    }
    for name in ("min", "max", "step", "choices", "lines", "lowest"):
        if widget.get(name) is not None:
            field[name] = widget[name]
    return field


def _give_roles(fields: Sequence[Field]) -> None:
    """Each role goes to the field labelled with its name, else to the first that fits; which node it sits on
    does not matter."""
    fitting: dict[str, list[Field]] = {}
    for field in fields:
        fitting.setdefault(_role(field), []).append(field)
    for role, able in fitting.items():
        named = (field for field in able if role != "prompt" and str(field["label"]).lower() == role)
        next(named, able[0])["role"] = role


def _role(field: Field) -> str:
    named = f"{field['label']} {field['widget']}".lower()
    match field["sort"]:
        case "prompt":
            return "avoid" if any(word in named for word in AVOID) else "prompt"
        case "seed":
            return "seed"
        case "model":
            return "model"
        case "slider" | "number":
            return str(field["widget"]) if field["widget"] in ("width", "height") else ""
    return ""


def shapes(size: tuple[int, int], *, multiple: int = 16) -> list[dict[str, object]]:
    """The aspect chips: usual ratios of about the native area.

    size: native width, height in pixels; every side offered is a multiple of `multiple` and at least 64.
    """
    area = size[0] * size[1]
    chips: list[dict[str, object]] = []
    for across, down in RATIOS:
        unit = (area / (across * down)) ** 0.5
        width, height = (max(64, round(unit * side / multiple) * multiple) for side in (across, down))
        chips.append({"label": f"{across}:{down}", "width": width, "height": height})
    return chips

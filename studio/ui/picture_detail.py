"""One picture of the history in full: its settings node by node, timings, cache, machine, and its family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError
from studio.graph.document import Graph
from studio.graph.inline import inline
from studio.ui.how_it_ran import caches, calls, relays, table, together
from studio.ui.pictures import Pictures

if TYPE_CHECKING:
    from studio.history.store import Generation
    from studio.studio import Studio

LONGEST = 400  # characters of one value


def detail(studio: Studio, pictures: Pictures, owner: str, generation: str) -> dict[str, object]:
    """What the detail view shows besides the card; raises StudioError for a picture that is not there."""
    item = studio.history.show(owner, generation)
    record = item.record
    document: Graph | None = None
    try:
        document = studio.document_of(item.id, owner)
    except StudioError:
        pass  # its graph was lost with a damaged database; the record still tells the rest
    nodes = inline(document, studio.registry).graph.nodes if document else ()
    titles = {node.id: node.title for node in nodes if node.title}
    return {
        "picture": pictures.card(item),
        "settings": _settings(studio, record, titles),
        "work": _work(record, titles),
        "machine": _machine(record),
        "calls": calls(record),
        "relays": relays(record),
        "caches": caches(record),
        "warnings": [str(text) for text in table(record, "notes").get("warnings") or ()],
        "missing": _missing(studio, record),
        "family": _family(studio, pictures, owner, item),
    }


def _settings(studio: Studio, record: Mapping[str, Any], titles: Mapping[str, str]) -> list[list[object]]:
    """[node title, [[label, value], …]] for each node that has settings; a value that a widget has a word of
    ours for is followed by True."""
    kinds = {name: str(facts.get("kind")) for name, facts in table(record, "nodes").items()}
    found: list[list[object]] = []
    for node, values in table(record, "params").items():
        spec = studio.registry.find(kinds.get(node, ""))
        widgets: Any = spec.to_json()["widgets"] if spec else ()
        known: dict[str, Mapping[str, Any]] = {widget["name"]: widget for widget in widgets}
        rows = [_row(known.get(name, {}), name, value) for name, value in values.items()]
        if rows:
            found.append([titles.get(node, node), rows])
    return found


def _row(widget: Mapping[str, Any], name: str, value: object) -> list[object]:
    label, word = str(widget.get("label") or name), widget.get("lowest")
    return [label, word, True] if word and value == widget.get("min") else [label, _short(value)]


def _work(record: Mapping[str, Any], titles: Mapping[str, str]) -> list[dict[str, object]]:
    """Each node with its seconds, None where its value came from the cache; the slowest first. Then the nodes
    that were switched off, with `off`: muted or bypassed."""
    timings = table(record, "timings")
    nodes = sorted(table(record, "nodes"), key=lambda node: -(timings.get(node) or 0.0))
    worked: list[dict[str, object]] = [
        {"node": titles.get(node, node), "seconds": timings.get(node)} for node in nodes
    ]
    words = {"mute": "muted", "bypass": "bypassed"}
    off = [(node, words.get(str(mode))) for node, mode in table(record, "off").items()]
    return worked + [{"node": titles.get(n, n), "seconds": None, "off": word} for n, word in off if word]


def _machine(record: Mapping[str, Any]) -> list[list[str]]:
    model = table(record, "model")
    rows: dict[str, object] = {
        "Device": record.get("device"),
        "Precision": record.get("dtype"),
        "Model weights": str(model.get("digest") or "")[:12],
        "Runs made together": together(record),
        **table(record, "versions"),
    }
    return [[name, str(value)] for name, value in rows.items() if value]


def _missing(studio: Studio, record: Mapping[str, Any]) -> list[str]:
    """Kinds of node that this studio does not have any more: such a picture cannot be made again here."""
    kinds = {str(facts.get("kind")) for facts in table(record, "nodes").values()}
    return sorted(kind for kind in kinds if studio.registry.find(kind) is None)


def _family(studio: Studio, pictures: Pictures, owner: str, item: Generation) -> dict[str, object]:
    found = studio.history.family(owner, item.id)
    return {
        "start": found.start,
        "members": {name: pictures.card(one) if one else None for name, one in found.members.items()},
        "links": [list(link) for link in found.links],
    }


def _short(value: object) -> str:
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"

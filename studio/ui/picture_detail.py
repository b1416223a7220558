"""One picture of the history in full: its settings node by node, timings, cache, machine, and its family."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError
from studio.graph.document import Graph
from studio.graph.inline import inline
from studio.ui.pictures import Pictures

if TYPE_CHECKING:
    from studio.history.store import Generation
    from studio.studio import Studio

LONGEST = 400  # characters of one value
MOST_STEPS, MOST_PICTURES = 1000, 16


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
        "caches": caches(record),
        "warnings": [str(text) for text in _table(record, "notes").get("warnings") or ()],
        "missing": _missing(studio, record),
        "family": _family(studio, pictures, owner, item),
    }


def _settings(studio: Studio, record: Mapping[str, Any], titles: Mapping[str, str]) -> list[list[object]]:
    """[node title, [[label, value], …]] for each node that has settings; a value that a widget has a word of
    ours for is followed by True."""
    kinds = {name: str(facts.get("kind")) for name, facts in _table(record, "nodes").items()}
    found: list[list[object]] = []
    for node, values in _table(record, "params").items():
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
    timings = _table(record, "timings")
    nodes = sorted(_table(record, "nodes"), key=lambda node: -(timings.get(node) or 0.0))
    worked: list[dict[str, object]] = [
        {"node": titles.get(node, node), "seconds": timings.get(node)} for node in nodes
    ]
    words = {"mute": "muted", "bypass": "bypassed"}
    off = [(node, words.get(str(mode))) for node, mode in _table(record, "off").items()]
    return worked + [{"node": titles.get(n, n), "seconds": None, "off": word} for n, word in off if word]


def caches(record: Mapping[str, Any]) -> list[dict[str, object]]:
    """What step caches did: for each picture of the run its number from 1, how many steps there were, the
    numbers of those skipped, how far the guesses were off (share) and the seconds saved; None = not known.
    A record may come from anywhere: what is not as we write it is left out."""
    found: list[dict[str, object]] = []
    for notes in _table(record, "notes").values():
        told = _table(notes, "step_cache") if isinstance(notes, Mapping) else {}
        steps = told.get("steps")
        if type(steps) is not int or not 0 < steps <= MOST_STEPS:
            continue
        for number, (_, steps_of) in enumerate(list(_table(told, "pictures").items())[:MOST_PICTURES], 1):
            given = steps_of.get("skipped") if isinstance(steps_of, Mapping) else None
            skipped = [s for s in given if type(s) is int] if isinstance(given, list) else []
            found.append(
                {
                    "picture": number,
                    "steps": steps,
                    "skipped": [step for step in skipped if 0 < step <= steps],
                    **{name: _number(told.get(name)) for name in ("error_estimate", "seconds_saved")},
                }
            )
    return found


def _number(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None  # type: ignore[arg-type]


def _machine(record: Mapping[str, Any]) -> list[list[str]]:
    model = _table(record, "model")
    rows: dict[str, object] = {
        "Device": record.get("device"),
        "Precision": record.get("dtype"),
        "Model weights": str(model.get("digest") or "")[:12],
        "Network calls": network_calls(record),
        "Computed of these calls": computed(record),
        **how_it_ran(record),
        **_table(record, "versions"),
    }
    return [[name, str(value)] for name, value in rows.items() if value]


def network_calls(record: Mapping[str, Any]) -> str:
    """How often all runs of a picture called their network, and for how many rows of guidance; empty if the
    record does not tell."""
    forwards = rows = 0
    for notes in _table(record, "notes").values():
        told = _table(notes, "network") if isinstance(notes, Mapping) else {}
        if type(told.get("forwards")) is int and type(told.get("rows")) is int:
            forwards, rows = forwards + told["forwards"], rows + told["rows"]
    return f"{forwards} ({rows} rows)" if forwards else ""


def computed(record: Mapping[str, Any]) -> str:
    """Which share of their blocks the network calls of a picture computed; the rest came from a step cache.
    Empty without a cache."""
    calls, done, cached = 0, 0.0, False
    for notes in _table(record, "notes").values():
        given = notes if isinstance(notes, Mapping) else {}
        forwards, work = (
            _table(given, "network").get("forwards"),
            _number(_table(given, "step_cache").get("work")),
        )
        if type(forwards) is not int or forwards < 1:
            continue
        share = min(max(work, 0.0), 1.0) if work is not None else 1.0
        calls, done, cached = calls + forwards, done + forwards * share, cached or work is not None
    return f"{100 * done / calls:.1f} %" if cached else ""


def how_it_ran(record: Mapping[str, Any]) -> dict[str, str]:
    """What a run did not do as a whole and alone: where it was ended, how many steps an earlier run had made,
    how many runs were one batch."""
    found: dict[str, str] = {}
    for notes in _table(record, "notes").values():
        given = notes if isinstance(notes, Mapping) else {}
        stopped, resumed, together = (_table(given, name) for name in ("stopped", "resumed", "together"))
        if type(stopped.get("after")) is int and type(stopped.get("of")) is int:
            found["Ended after step"] = f"{stopped['after']} / {stopped['of']}"
        if type(resumed.get("steps")) is int:
            found["Steps of an earlier run"] = str(resumed["steps"])
        if type(together.get("runs")) is int:
            found["Runs made together"] = str(together["runs"])
    return found


def _missing(studio: Studio, record: Mapping[str, Any]) -> list[str]:
    """Kinds of node that this studio does not have any more: such a picture cannot be made again here."""
    kinds = {str(facts.get("kind")) for facts in _table(record, "nodes").values()}
    return sorted(kind for kind in kinds if studio.registry.find(kind) is None)


def _family(studio: Studio, pictures: Pictures, owner: str, item: Generation) -> dict[str, object]:
    found = studio.history.family(owner, item.id)
    return {
        "start": found.start,
        "members": {name: pictures.card(one) if one else None for name, one in found.members.items()},
        "links": [list(link) for link in found.links],
    }


def _table(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _short(value: object) -> str:
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"

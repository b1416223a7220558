"""A graph document as something to run elsewhere: a Python script, and a call of the studio's API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pprint import pformat
from typing import Any, TypeGuard

from studio.graph.document import Graph, to_json

PYTHON = '''\
"""A Weft graph as a script. In the folder of Weft: PYTHONPATH=. .venv/bin/python weft_graph.py"""

from studio.graph.document import load
from studio.policy import Policy
from studio.settings import Settings
from studio.studio import Studio

# kind, settings; id by id
NODES = {nodes}

# from "id.output" to "id.input"
EDGES = {edges}
{definitions}

def document():
    """The graph as Weft reads it."""
    return load({{
        "format": "weft/graph",
        "version": {version},
        "nodes": [{{"id": id, **node}} for id, node in NODES.items()],
        "edges": [{{"from": a.rsplit(".", 1), "to": b.rsplit(".", 1)}} for a, b in EDGES],{given}
    }})


if __name__ == "__main__":
    studio = Studio(Settings.from_args([]), Policy.local())
    report = studio.run(document())
    print(report.status, *(report.error or {{}}).values())
    for output in report.outputs:
        print(output.name, output.path)
    studio.close()
'''
CALL = '''\
"""The same graph, made by a running Weft. Needs: pip install gradio_client"""

import json

from gradio_client import Client

GRAPH = json.loads({text})

client = Client("{url}")
answer = client.predict(GRAPH, "", api_name="/run_graph")
print(answer["status"], answer.get("error"))
for picture in answer.get("pictures", []):
    print(picture["url"])
'''


def as_python(document: Graph) -> str:
    """A script that builds this graph node by node and runs it."""
    nodes: dict[str, Any] = {}
    for node in document.nodes:
        entry: dict[str, Any] = {"kind": node.kind, "kind_version": node.kind_version}
        if node.title:
            entry["title"] = node.title
        if node.mode != "normal":
            entry["mode"] = node.mode
        nodes[node.id] = {**entry, "widgets": dict(node.widgets)}
    edges = [(".".join(edge.source), ".".join(edge.target)) for edge in document.edges]
    pairs = "".join(f"    {pair!r},\n" for pair in edges)
    subs = to_json(document)["definitions"]
    return PYTHON.format(
        nodes=_block(nodes),
        edges=f"[\n{pairs}]",
        version=document.version,
        definitions=f"\n# sub-graphs by name\nDEFINITIONS = {pformat(subs, width=100)}\n" if subs else "",
        given='\n        "definitions": DEFINITIONS,' if subs else "",
    )


def as_call(document: Graph, url: str) -> str:
    """A script that hands this graph to the studio at `url` (with a slash at its end)."""
    data = to_json(document)
    data.pop("kinds", None)
    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return CALL.format(text=repr(text), url=url)


def _block(value: Mapping[str, object], depth: int = 1) -> str:
    """A dictionary with one entry a line, down to the settings of a node."""
    if not value:
        return "{}"
    lines = [
        f"{'    ' * depth}{name!r}: {_block(entry, depth + 1) if _deep(entry, name, depth) else repr(entry)},"
        for name, entry in value.items()
    ]
    return "\n".join(("{", *lines, "    " * (depth - 1) + "}"))


def _deep(entry: object, name: str, depth: int) -> TypeGuard[Mapping[str, object]]:
    return isinstance(entry, Mapping) and (depth == 1 or (depth == 2 and name == "widgets"))

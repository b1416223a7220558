"""A graph document as something to run elsewhere: a Python script, and a call of the studio's API."""

from __future__ import annotations

import json
import pprint
from typing import Any

from studio.graph.document import Graph, to_json

PYTHON = '''\
"""A Weft graph as a script. Run it with the Python of Weft: .venv/bin/python this_file.py"""

from studio.graph.document import load
from studio.policy import Policy
from studio.settings import Settings
from studio.studio import Studio

# kind, settings; id by id
NODES = {nodes}

# from "id.output" to "id.input"
EDGES = {edges}


def document():
    """The graph as Weft reads it."""
    return load({{
        "format": "weft/graph",
        "version": {version},
        "nodes": [{{"id": id, **node}} for id, node in NODES.items()],
        "edges": [{{"from": a.rsplit(".", 1), "to": b.rsplit(".", 1)}} for a, b in EDGES],
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
    print("{url}" + picture["url"])
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
    return PYTHON.format(nodes=_literal(nodes), edges=_literal(edges), version=document.version)


def as_call(document: Graph, url: str) -> str:
    """A script that hands this graph to the studio at `url` (with a slash at its end)."""
    data = to_json(document)
    data.pop("kinds", None)
    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return CALL.format(text=repr(text), url=url)


def _literal(value: object) -> str:
    return pprint.pformat(value, indent=1, width=100, sort_dicts=False)

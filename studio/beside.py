"""Which waiting runs may be made together: the same graph with other seeds and prompts.

That only lets them begin at the same time; which nodes become one call is decided at the node, by its values
(`graph.gather`).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from studio.errors import StudioError

if TYPE_CHECKING:
    from studio.graph.document import Graph
    from studio.graph.registry import Registry
    from studio.jobs.queue import Job

FREE = ("seed", "prompt")
"""Sorts of widgets in which the graphs may differ."""
REMEMBERED = 256


class Alike:
    """`fits(one, other)` of two waiting runs. `read`: a document from its text. With strict `numerics` none
    fits."""

    def __init__(self, read: Callable[[str], Graph], registry: Registry, numerics: str = "fast") -> None:
        self._read, self._registry, self._strict = read, registry, numerics != "fast"
        self._shapes: OrderedDict[str, str] = OrderedDict()

    def __call__(self, one: Job, other: Job) -> bool:
        if self._strict or one.targets != other.targets or not self._shape(one):
            return False
        same = all(one.params.get(name) == other.params.get(name) for name in ("use_cache", "keep"))
        return same and self._shape(one) == self._shape(other)

    def _shape(self, job: Job) -> str:
        """What must agree; empty for a graph without any node that can be made together with others."""
        if job.graph not in self._shapes:
            self._shapes[job.graph] = self._shape_of(job)
            while len(self._shapes) > REMEMBERED:
                self._shapes.popitem(last=False)
        return self._shapes[job.graph]

    def _shape_of(self, job: Job) -> str:
        try:
            document = self._read(job.document)
        except StudioError:
            return ""
        nodes, possible = [], False
        for node in document.nodes:
            spec = self._registry.find(node.kind)
            if spec is None:
                return ""
            possible |= spec.together is not None
            free = {param.name for param in spec.params if param.widget.sort in FREE}
            kept = {name: value for name, value in node.widgets.items() if name not in free}
            nodes.append([node.id, node.kind, node.mode, kept])
        edges = [[*edge.source, *edge.target] for edge in document.edges]
        whole = [sorted(nodes, key=lambda n: str(n[0])), sorted(edges), dict(document.definitions)]
        return json.dumps(whole, sort_keys=True) if possible else ""

"""What a run came to: state, time and reason of each node, results, errors (E34)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.graph.plan import Plan


@dataclass(frozen=True)
class NodeError:
    """Why a node failed. `inputs` tells sizes, never contents; `trace` is for the owner of the machine
    only."""

    type: str
    message: str
    hint: str = ""
    node: str = ""
    title: str = ""
    socket: str = ""
    item: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    trace: str = field(default="", repr=False)

    def to_json(self, *, public: bool = False) -> dict[str, Any]:
        """Plain JSON; without the trace for public visitors."""
        data = {
            "type": self.type,
            "message": self.message,
            "hint": self.hint,
            "node": self.node,
            "title": self.title,
            "socket": self.socket,
            "item": self.item,
            "inputs": dict(self.inputs),
        }
        return data if public else {**data, "trace": self.trace}


@dataclass
class NodeReport:
    """One node after a run. `state`: ran, cached, skipped, failed or cancelled; `extra` is what the studio
    added."""

    state: str
    seconds: float = 0.0
    reason: str = ""
    key: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    kind: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    error: NodeError | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """The node's notes under "warning"."""
        return list(self.notes.get("warning", []))

    def to_json(self, *, public: bool = False) -> dict[str, Any]:
        data: dict[str, Any] = {"state": self.state, "seconds": round(self.seconds, 4), "reason": self.reason}
        if self.error is not None:
            data["error"] = self.error.to_json(public=public)
        return data


@dataclass
class Report:
    """One run. `status`: finished, failed or cancelled; `outputs`: results of the targets by socket name.

    `engine_seconds` is what the engine itself took: wall time less the time inside nodes.
    """

    run: str
    status: str
    nodes: dict[str, NodeReport]
    outputs: dict[str, dict[str, Any]]
    errors: tuple[NodeError, ...]
    warnings: tuple[str, ...]
    seconds: float
    engine_seconds: float
    seed: int
    plan: Plan = field(repr=False)

    @property
    def ran(self) -> tuple[str, ...]:
        """Ids of the nodes that ran, in running order."""
        return tuple(id for id, node in self.nodes.items() if node.state == "ran")

    def states(self) -> dict[str, str]:
        """Node id -> state."""
        return {id: node.state for id, node in self.nodes.items()}

    def to_json(self, *, public: bool = False) -> dict[str, Any]:
        return {
            "run": self.run,
            "status": self.status,
            "seed": self.seed,
            "seconds": round(self.seconds, 4),
            "engine_seconds": round(self.engine_seconds, 4),
            "warnings": list(self.warnings),
            "nodes": {id: node.to_json(public=public) for id, node in self.nodes.items()},
            "errors": [error.to_json(public=public) for error in self.errors],
        }

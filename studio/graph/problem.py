"""What is wrong with a document, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from studio.errors import StudioError
from studio.graph.widgets import shown


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what (given against possible), and one next step.

    `level`: "error", "warning" (shown, not stopping) or "note". An empty `node` means the whole document.
    """

    node: str
    socket: str
    message: str
    hint: str = ""
    value: object = None
    stage: str = ""
    level: str = "error"
    blocking: bool = False
    title: str = field(default="", compare=False)

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "socket": self.socket,
            "message": self.message,
            "hint": self.hint,
            "value": shown(self.value) if self.value is not None else None,
            "stage": self.stage,
            "level": self.level,
            "blocking": self.blocking,
            "title": self.title,
        }

    def error(self) -> StudioError:
        """The same as an exception."""
        return StudioError(self.message, hint=self.hint, node=self.node, socket=self.socket)

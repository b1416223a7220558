"""What the studio knows of a kind of node; made by `@node`, completed by the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from studio.graph.widgets import Widget


class _Blocked:
    """The value "no result here" (E22): whoever would use it is skipped, not failed."""

    _only: _Blocked | None = None

    def __new__(cls) -> _Blocked:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "BLOCKED"

    def __reduce__(self) -> str:
        return "BLOCKED"


BLOCKED: Any = _Blocked()
"""What a node returns when it has no result; typed Any so that every output may be it."""


@dataclass(frozen=True)
class Socket:
    """One input or output for values. `line` = type and its base types; `many` = a list of them."""

    name: str
    type: str
    required: bool = True
    many: bool = False
    optional: bool = False
    default: object = None
    line: tuple[str, ...] = ()
    label: str = ""
    help: str = ""
    classes: tuple[Any, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "many": self.many,
            "required": self.required,
            "label": self.label,
            "help": self.help,
        }


@dataclass(frozen=True)
class Param:
    """One constant: its widget, its default, and whether null is allowed. An edge may feed it too."""

    name: str
    widget: Widget
    type: str
    default: object = None
    required: bool = False
    optional: bool = False
    label: str = ""
    help: str = ""

    def problem(self, value: object) -> tuple[str, str] | None:
        """What is wrong with a value, as (message, hint); None if it is fine."""
        if value is None and self.optional:
            return None
        return self.widget.problem(value)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.widget.sort,
            "type": self.type,
            "default": self.default,
            "required": self.required,
            "optional": self.optional,
            "label": self.label,
            "help": self.help,
            **self.widget.options(),
        }


class Together(Protocol):
    """How calls of a node in several runs become one (`graph.gather`)."""

    def key(self, given: Mapping[str, Any]) -> object | None:
        """Calls of equal keys go together; None = this one must be alone. `given`: the node's arguments."""

    def run(self, given: Sequence[Mapping[str, Any]], done: Callable[[int, object], None]) -> None:
        """Make all of them and say `done(number, result or error)` of each as soon as it is known. Raises
        where the common way does not work; those not done are then called alone."""


@dataclass(frozen=True)
class NodeSpec:
    """Everything the studio knows of a kind of node; made by `@node`, completed by the registry.

    `technique` is the name under which its value stands in a table of what goes together; `review(view)`
    gives refusals before a run (`graph.review`). `together`: calls of several runs can be one.
    `digest` is the code digest (E8); `origin` says who brought it: "built-in", "package ...", "plugins/...".
    """

    kind: str
    function: Callable[..., Any]
    inputs: tuple[Socket, ...]
    params: tuple[Param, ...]
    outputs: tuple[Socket, ...]
    version: int = 1
    title: str = ""
    group: str = "Other"
    help: str = ""
    replaces: str = ""
    output: bool = False
    cache: bool = True
    always_run: bool = False
    fingerprint: Callable[..., Any] | None = None
    random: bool = False
    share: bool = False
    resources: str = ""
    cost: Callable[..., float] | None = None
    cheaper: tuple[str, ...] = ()
    timeout: float | None = None
    technique: str = ""
    review: Callable[..., Any] | None = None
    together: Together | None = None
    context: str = ""
    named: bool = False
    is_async: bool = False
    origin: str = ""
    digest: str = ""

    def socket(self, name: str) -> Socket | Param | None:
        """The input or parameter of that name."""
        everything: tuple[Socket | Param, ...] = (*self.inputs, *self.params)
        return next((s for s in everything if s.name == name), None)

    def output_socket(self, name: str) -> Socket | None:
        """The output of that name."""
        return next((s for s in self.outputs if s.name == name), None)

    def brief(self) -> dict[str, Any]:
        """The copy that a document keeps under `kinds`, so that a placeholder has names and sockets."""
        return {
            "version": self.version,
            "origin": self.origin,
            "title": self.title,
            "inputs": [[s.name, s.type] for s in self.inputs],
            "outputs": [[s.name, s.type] for s in self.outputs],
            "widgets": [[p.name, type(p.widget).__name__.removesuffix("Widget")] for p in self.params],
        }

    def to_json(self) -> dict[str, Any]:
        """What a page draws (ui.md 5.3)."""
        return {
            "kind": self.kind,
            "version": self.version,
            "title": self.title,
            "category": self.group,
            "help": self.help,
            "origin": self.origin,
            "output": self.output,
            "inputs": [s.to_json() for s in self.inputs],
            "outputs": [s.to_json() for s in self.outputs],
            "widgets": [p.to_json() for p in self.params],
        }

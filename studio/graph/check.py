"""Validation in fixed order, all errors at once (E2-E7): ids, kinds, sockets, types, widgets, required,
cycles, limits.

Iterative and linear in nodes + edges. `Problem.blocking` says whether it stands among the ancestors of the
targets and stops the run; a problem elsewhere does not, and an unknown kind only stops what hangs on it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

from studio.errors import StudioError, did_you_mean
from studio.graph.definitions import Specs, passing
from studio.graph.document import Edge, Graph, Limits, Node
from studio.graph.inline import Flat, inline
from studio.graph.problem import Problem
from studio.graph.review import reviews
from studio.graph.spec import NodeSpec, Param, Socket
from studio.graph.topology import ancestors, find_cycle, title_of
from studio.graph.types import ANY, misfit

# (what a setting leads to, its value): raises StudioError where this host does not go there
Asked = Callable[[str, str], None]
STAGES = ("ids", "kinds", "sockets", "types", "widgets", "required", "cycles", "reviews", "limits")


def choose_targets(graph: Graph, specs: Specs, targets: Sequence[str] | None) -> tuple[str, ...]:
    """The targets of a run (E19): those given, else all output nodes. StudioError for none at all."""
    if targets is None:
        # Sorted, so that equal documents run in one order however their nodes are listed (E26).
        found = tuple(
            sorted(n.id for n in graph.nodes if n.mode == "normal" and (s := specs.find(n.kind)) and s.output)
        )
        off = [n for n in graph.nodes if n.mode != "normal" and (s := specs.find(n.kind)) and s.output]
        if not found and off:
            titles = ", ".join(title_of(n, specs.find(n.kind)) for n in off[:4])
            raise StudioError(
                f"Nothing to make: {titles} {'is' if len(off) == 1 else 'are'} switched off.",
                hint="Switch an output on, or choose a node to run to.",
                node=off[0].id,
            )
        if not found:
            raise StudioError(
                "Nothing to make: this workflow has no output node.",
                hint="Add a node such as 'Save picture', or choose a node to run to.",
            )
        return tuple(dict.fromkeys(found))
    if not targets:
        raise StudioError(
            "Nothing to make: the list of targets is empty.",
            hint="Name at least one node, or give none for all outputs.",
        )
    return tuple(dict.fromkeys(graph.node(t).id for t in targets))


def check(
    graph: Graph,
    specs: Specs,
    targets: Sequence[str] | None = None,
    *,
    limits: Limits = Limits(),
    asked: Asked | None = None,
) -> list[Problem]:
    """Every problem of a document, in the order of STAGES. Raises only for targets that do not exist."""
    flat = inline(graph, specs, limits)
    return outside(flat, check_flat(flat, specs, flat.targets(targets, specs), limits=limits, asked=asked))


def check_flat(
    flat: Flat,
    specs: Specs,
    targets: Sequence[str] | None,
    *,
    limits: Limits = Limits(),
    asked: Asked | None = None,
) -> list[Problem]:
    """The same for a document whose sub-graphs are in place; targets and problems name nodes of it."""
    return Checker(flat, specs, limits, asked).run(targets)


def outside(flat: Flat, problems: Sequence[Problem]) -> list[Problem]:
    """The problems where a person finds them: at the outermost node that shows the socket; each once."""
    if not flat.instances:
        return list(problems)
    found: dict[tuple[str, str, str], Problem] = {}
    for problem in problems:
        node, socket = flat.place(problem.node, problem.socket)
        title = flat.title(node) or problem.title
        found.setdefault(
            (node, socket, problem.message), replace(problem, node=node, socket=socket, title=title)
        )
    return list(found.values())


class Checker:
    """One pass over a document whose sub-graphs are in place."""

    def __init__(self, flat: Flat, specs: Specs, limits: Limits, asked: Asked | None = None) -> None:
        self.flat, self.limits, self.asked = flat, limits, asked
        self.graph = graph = flat.graph
        self.specs = specs
        self.problems: list[Problem] = []
        self.spec: dict[str, NodeSpec | None] = {}
        kinds: dict[str, NodeSpec | None] = {}
        for node in graph.nodes:
            if node.kind not in kinds:
                kinds[node.kind] = specs.find(node.kind)
            self.spec.setdefault(node.id, kinds[node.kind])
        self.fed: dict[str, dict[str, Edge]] = {n.id: {} for n in graph.nodes}

    def run(self, targets: Sequence[str] | None) -> list[Problem]:
        self._ids()
        self._kinds()
        self._sockets_and_types()
        self._widgets()
        self._required()
        self._cycles()
        if not any(p.level == "error" for p in self.problems):
            for id, refusal in reviews(self.graph.by_id, self.spec, self.fed):
                self._add("reviews", id, refusal.socket, refusal.message, refusal.hint, level=refusal.level)
        self._limits()
        for fault in self.flat.faults:
            self._add(fault.stage, fault.node, fault.socket, fault.message, fault.hint, fault.value)
        order = {stage: i for i, stage in enumerate(STAGES)}
        self.problems.sort(key=lambda p: order[p.stage])
        try:
            chosen: Sequence[str] = choose_targets(self.graph, self.specs, targets)
        except StudioError as error:
            if targets is not None:
                raise
            return [
                *self.problems,
                Problem("", "", error.message, error.hint, stage="required", blocking=True),
            ]
        needed = ancestors(self.graph, chosen)
        if any(p.stage == "cycles" and p.node not in needed for p in self.problems):
            self._cycles(needed)  # the circle found first lies elsewhere; another may lie in the way
        needed -= {n.id for n in self.graph.nodes if n.mode == "mute"}
        needed |= {fault.node for fault in self.flat.faults if not needed.isdisjoint(self.flat.hit(fault))}
        return [
            replace(
                p, blocking=p.level == "error" and p.stage != "kinds" and (not p.node or p.node in needed)
            )
            for p in self.problems
        ]

    def _add(
        self,
        stage: str,
        node: str,
        socket: str,
        message: str,
        hint: str = "",
        value: object = None,
        level: str = "error",
    ) -> None:
        found = self.graph.by_id.get(node)
        title = title_of(found, self.spec.get(node)) if found else self.flat.title(node)
        self.problems.append(Problem(node, socket, message, hint, value, stage, level, False, title))

    def _ids(self) -> None:
        if len(self.graph.by_id) == len(self.graph.nodes):
            return
        seen: set[str] = set()
        for node in self.graph.nodes:
            if node.id in seen:
                self._add(
                    "ids",
                    "",
                    "",
                    f"Two nodes have the id {node.id!r}.",
                    "Give one of them another id.",
                    node.id,
                )
            seen.add(node.id)

    def _kinds(self) -> None:
        for node in self.graph.nodes:
            spec = self.spec[node.id]
            if (broken := self.flat.broken.get(node.id)) is not None:
                self._add("kinds", node.id, "", broken.message, broken.hint, node.kind)
            elif spec is None:
                origin = str(dict(self.graph.kinds.get(node.kind) or {}).get("origin") or "")
                hint = did_you_mean(node.kind, self.specs.known())
                if origin and origin != "built-in":
                    hint = f"It comes from {origin}, which is not installed here."
                self._add(
                    "kinds",
                    node.id,
                    "",
                    f"Missing node type {node.kind!r}; the node is kept as it is.",
                    hint or "Install the plugin it comes from.",
                    node.kind,
                )
            elif node.kind_version != spec.version:
                self._add(
                    "kinds",
                    node.id,
                    "",
                    f"Saved with version {node.kind_version} of {node.kind!r}; now it is {spec.version}.",
                    "Look whether its settings still mean the same.",
                    node.kind_version,
                    "warning",
                )
        for shown_widget in self.graph.exposed:
            if shown_widget.node not in self.graph.by_id:
                self._add(
                    "kinds",
                    "",
                    shown_widget.widget,
                    f"A shown setting belongs to {shown_widget.node!r}, which is not here.",
                    level="warning",
                )

    def _sockets_and_types(self) -> None:
        for edge in self.graph.edges:
            (source, out_name), (target, in_name) = edge.source, edge.target
            if source not in self.graph.by_id:
                self._loose(target, in_name, "from", source)
                continue
            if target not in self.graph.by_id:
                self._loose(source, out_name, "to", target)
                continue
            fed = self.fed[target]
            if in_name in fed:
                other = fed[in_name].source
                self._add(
                    "sockets",
                    target,
                    in_name,
                    f"Two edges end in {in_name!r}: from {other[0]!r} and from {source!r}.",
                    "Keep one of them, or put them into one list first ('Use together' for attachments).",
                    source,
                )
                continue
            fed[in_name] = edge
            self._fit(edge)

    def _loose(self, node: str, socket: str, way: str, missing: str) -> None:
        hint = did_you_mean(missing, self.graph.by_id)
        message = f"An edge leads {way} {missing!r}, which is not in the workflow."
        self._add("sockets", node if node in self.graph.by_id else "", socket, message, hint, missing)

    def _fit(self, edge: Edge) -> None:
        (source, out_name), (target, in_name) = edge.source, edge.target
        from_spec, to_spec = self.spec[source], self.spec[target]
        out = from_spec.output_socket(out_name) if from_spec else None
        into = to_spec.socket(in_name) if to_spec else None
        if from_spec and out is None:
            self._unknown(source, out_name, "output", [s.name for s in from_spec.outputs])
        if to_spec and into is None:
            self._unknown(
                target,
                in_name,
                "input",
                [*(s.name for s in to_spec.inputs), *(p.name for p in to_spec.params)],
            )
        if out is None or into is None:
            return
        many = into.many if isinstance(into, Socket) else False
        why = misfit(out.line, out.many, into.type, many)
        if why:
            hint = "Lists are not mapped yet." if out.many and not many else f"{in_name!r} takes {into.type}."
            self._add(
                "types",
                target,
                in_name,
                f"{title_of(self.graph.by_id[source], from_spec)}: {why}.",
                hint,
                out.type,
            )
        elif ANY in (out.type, into.type) and out.type != into.type:
            self._add(
                "types",
                target,
                in_name,
                f"{out.type} goes into {into.type}: what comes is seen only when it runs.",
                level="note",
            )

    def _unknown(self, node: str, name: str, what: str, known: Sequence[str]) -> None:
        hint = did_you_mean(name, known) or (
            f"It has {', '.join(map(repr, known))}." if known else f"It has no {what}s."
        )
        self._add("sockets", node, name, f"There is no {what} {name!r}.", hint, name)

    def _widgets(self) -> None:
        for node in self.graph.nodes:
            spec = self.spec[node.id]
            if spec is None:
                continue
            known: Mapping[str, Param] = {p.name: p for p in spec.params}
            for name, value in node.widgets.items():
                param = known.get(name)
                if param is None:
                    if any(s.name == name for s in spec.inputs):
                        self._add(
                            "widgets",
                            node.id,
                            name,
                            f"{name!r} is an input: it takes an edge, not a constant.",
                            "",
                            value,
                        )
                    else:
                        self._add(
                            "widgets",
                            node.id,
                            name,
                            f"There is no setting {name!r}.",
                            did_you_mean(name, known) or f"It has {', '.join(map(repr, known)) or 'none'}.",
                            value,
                        )
                elif (problem := param.problem(value)) is not None:
                    self._add("widgets", node.id, name, f"{param.label}: {problem[0]}", problem[1], value)
                elif self.asked is not None and param.widget.leads and isinstance(value, str):
                    try:
                        self.asked(param.widget.leads, value)
                    except StudioError as refused:
                        self._add("widgets", node.id, name, refused.message, refused.hint, value)

    def _required(self) -> None:
        lost = {end for fault in self.flat.faults for end in fault.lost}  # told where they come from
        for node in self.graph.nodes:
            spec = self.spec[node.id]
            if spec is None or node.mode == "mute":
                continue
            fed = {*self.fed[node.id], *(name for id, name in lost if id == node.id)}
            if node.mode == "bypass":
                self._bypass(node, spec)
                continue
            for socket in spec.inputs:
                if socket.required and socket.name not in fed:
                    self._add(
                        "required",
                        node.id,
                        socket.name,
                        f"The input {socket.name!r} is not connected.",
                        f"Connect a node that gives {socket.type}.",
                    )
            for param in spec.params:
                if param.required and param.name not in fed and param.name not in node.widgets:
                    self._add(
                        "required",
                        node.id,
                        param.name,
                        f"The setting {param.name!r} has no value.",
                        "Fill it in.",
                    )

    def _bypass(self, node: Node, spec: NodeSpec) -> None:
        used = {e.source[1] for e in self.graph.edges if e.source[0] == node.id}
        for out in spec.outputs:
            name = passing(spec, out, self.fed[node.id])
            if out.name not in used and (used or len(spec.outputs) > 1):
                continue  # nobody asks for it
            if not name:
                self._add(
                    "required",
                    node.id,
                    out.name,
                    f"It cannot be bypassed: no input of type {out.type} could pass through.",
                    "Switch it on, or mute it.",
                )
            elif name not in self.fed[node.id]:
                self._add(
                    "required",
                    node.id,
                    name,
                    f"Bypassed, but nothing is connected to {name!r}.",
                    f"Connect a node that gives {out.type}.",
                )

    def _cycles(self, within: Container[str] | None = None) -> None:
        cycle = find_cycle(
            {
                id: [e.source[0] for e in fed.values()]
                for id, fed in self.fed.items()
                if within is None or id in within
            }
        )
        if cycle:
            path = " → ".join([*cycle[:12], "…"] if len(cycle) > 13 else cycle)
            self._add(
                "cycles",
                cycle[0],
                "",
                f"The workflow runs in a circle: {path}.",
                "Remove one of these edges.",
                cycle,
            )

    def _limits(self) -> None:
        for what in ("nodes", "edges"):
            given, most = len(getattr(self.graph, what)), getattr(self.limits, what)
            if given > most:
                told = f"The workflow has {given:,} {what}; at most {most:,} are allowed."
                self._add("limits", "", "", told, "Split it into smaller workflows.", given)

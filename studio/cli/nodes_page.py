"""docs/nodes.md: every node with its sockets, widgets, ranges and defaults, made from the specs.

Written by `python -m studio nodes --markdown > docs/nodes.md`; a test compares the page with the code.
"""

from __future__ import annotations

import json

from studio.graph.registry import Registry
from studio.graph.spec import NodeSpec, Param, Socket, split_help
from studio.graph.widgets import MAX_SEED

HEAD = """# Nodes

Made by `python -m studio nodes --markdown`; do not edit. A name in `code` is what workflows and commands use.
An edge may feed a widget too.
"""


def markdown(registry: Registry) -> str:
    """The page as Markdown: groups and nodes in alphabetical order, the same text for equal specs."""
    groups: dict[str, list[NodeSpec]] = {}
    for spec in registry.specs.values():
        groups.setdefault(spec.group, []).append(spec)
    parts = [HEAD]
    for group in sorted(groups):
        parts.append(f"\n## {group}\n")
        parts += [_node(spec) for spec in sorted(groups[group], key=lambda spec: (spec.title, spec.kind))]
    return "".join(parts)


def _node(spec: NodeSpec) -> str:
    own = [*(socket.name for socket in spec.inputs), *(param.name for param in spec.params)]
    rows = [*(_socket(socket) for socket in spec.inputs), *(_param(param) for param in spec.params)]
    text = [f"\n### {spec.title} (`{spec.kind}`)\n"]
    if spec.origin not in ("", "built-in"):
        text.append(f"\nFrom {spec.origin}.\n")
    text.append(f"\n{split_help(spec.help, own)[0]}\n")
    if rows:
        text.append("\n| takes | what | default | meaning |\n|---|---|---|---|\n")
        text += [f"| {' | '.join(row)} |\n" for row in rows]
    gives = ", ".join(f"`{out.name}` ({_type(out)})" for out in spec.outputs)
    text.append(f"\nGives {gives or 'nothing'}.{_traits(spec)}\n")
    return "".join(text)


def _socket(socket: Socket) -> tuple[str, str, str, str]:
    return f"`{socket.name}`", _type(socket), "required" if socket.required else "none", _cell(socket.help)


def _param(param: Param) -> tuple[str, str, str, str]:
    default = "required" if param.required else f"`{_cell(json.dumps(param.default, ensure_ascii=False))}`"
    return f"`{param.name}`", _cell(_what(param)), default, _cell(param.help)


def _what(param: Param) -> str:
    """A widget in words: what may be entered."""
    widget, options = param.widget, param.widget.options()
    if widget.sort == "seed":
        return f"seed, 0 to {MAX_SEED}"
    if "choices" in options:
        return " or ".join(f"`{name}`" for name in options["choices"])
    if "whole" in options:
        low, high, step = options["min"], options["max"], options["step"]
        words = ["whole number" if options["whole"] else "number"]
        if low is not None and high is not None:
            words.append(" to ".join(str(int(end)) if end == int(end) else str(end) for end in (low, high)))
        elif low is not None or high is not None:
            words.append(f"at least {low}" if low is not None else f"at most {high}")
        if options["whole"] and step and step != 1:
            words.append(f"in steps of {step}")
        own = f"; {low} = {options['lowest']}" if "lowest" in options else ""
        return ", ".join(words) + own
    if widget.sort == "regions":
        return f"list of at most {options['most']} regions"
    names = {"bool": "on or off", "model": "model", "colour": "colour", "picture": "stored picture"}
    return names.get(widget.sort) or f"{widget.sort}, up to {options['max']} characters"


def _type(socket: Socket) -> str:
    return f"list of {socket.type}" if socket.many else socket.type


def _traits(spec: NodeSpec) -> str:
    traits = [
        text
        for has, text in (
            (spec.output, "runs by default"),
            (spec.random, "draws random numbers from the run's seed"),
            (spec.always_run or not spec.cache, "is never cached"),
        )
        if has
    ]
    return f" It {' and '.join(traits)}." if traits else ""


def _cell(text: str) -> str:
    """Text that cannot break a table."""
    return text.replace("|", "\\|").replace("\n", " ")

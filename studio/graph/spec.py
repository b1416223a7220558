"""`@node`: a function's signature is its schema, its docstring its help (architecture 6.1, 6.2).

The decorator only attaches `fn.spec`; the function stays callable, and no registry fills at import.
"""

from __future__ import annotations

import inspect
import re
import types as python_types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, overload

from studio.errors import StudioError, did_you_mean
from studio.graph.context import Context
from studio.graph.node_spec import BLOCKED, NodeSpec, Param, Socket, Together
from studio.graph.types import output_name, type_line, type_name
from studio.graph.widgets import Number, TextWidget, Toggle, Widget

Function = TypeVar("Function", bound=Callable[..., Any])
_MISSING: Any = object()
_OPTIONS = (
    "version",
    "replaces",
    "title",
    "group",
    "output",
    "cache",
    "always_run",
    "fingerprint",
    "random",
    "share",
    "resources",
    "cost",
    "cheaper",
    "timeout",
    "technique",
    "review",
    "together",
)


@overload
def node(function: Function, /) -> Function: ...


@overload
def node(
    *,
    id: str = "",
    version: int = 1,
    replaces: str = "",
    title: str = "",
    group: str = "Other",
    output: bool = False,
    cache: bool = True,
    always_run: bool = False,
    fingerprint: Callable[..., Any] | None = None,
    random: bool = False,
    share: bool = False,
    resources: str = "",
    cost: Callable[..., float] | None = None,
    cheaper: tuple[str, ...] = (),
    timeout: float | None = None,
    technique: str = "",
    review: Callable[..., Any] | None = None,
    together: Together | None = None,
) -> Callable[[Function], Function]: ...


def node(function: Any = None, /, *, id: str = "", **options: Any) -> Any:
    """Turn a typed function into a node. Raises StudioError when the signature cannot be read as a schema."""

    def attach(fn: Any) -> Any:
        fn.spec = read_spec(fn, kind=id or fn.__name__, options=options)
        return fn

    return attach(function) if function is not None else attach


def read_spec(fn: Callable[..., Any], *, kind: str, options: Mapping[str, Any]) -> NodeSpec:
    """The spec of a function from its signature, type hints and docstring."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.\-]{0,99}", kind):
        raise StudioError(
            f"{kind!r} is not a node id.", hint="Use letters, digits and _ and start with a letter."
        )
    try:
        hints = typing.get_type_hints(fn, include_extras=True)
    except NameError as error:
        raise StudioError(
            f"Node '{kind}': a type in the signature is not known: {error}.",
            hint="Import it from studio.api.",
            node=kind,
        ) from error
    helps = split_help(inspect.getdoc(fn) or "", inspect.signature(fn).parameters)[1]
    inputs: list[Socket] = []
    params: list[Param] = []
    context = ""
    for name, parameter in inspect.signature(fn).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise StudioError(
                f"Node '{kind}': parameter '{name}' must have a plain name.",
                hint="A socket needs a name: no *args, **kwargs or positional-only.",
                node=kind,
            )
        if name not in hints:
            raise StudioError(
                f"Node '{kind}': parameter '{name}' has no type.",
                hint="Write for example `image: Image` or `amount: float = 0.5`.",
                node=kind,
                socket=name,
            )
        if hints[name] is Context:
            context = name
            continue
        read = _parameter(kind, name, hints[name], parameter.default, helps.get(name, ""))
        (inputs if isinstance(read, Socket) else params).append(read)  # type: ignore[arg-type]
    outputs, named = _outputs(kind, hints.get("return", _MISSING), bool(options.get("output")))
    unknown = next((name for name in options if name not in _OPTIONS), None)
    if unknown is not None:
        later = "Lazy inputs are not there yet." if unknown in ("lazy", "needs") else ""
        raise StudioError(
            f"Node '{kind}': @node has no option '{unknown}'.",
            hint=later or did_you_mean(unknown, _OPTIONS) or f"It has {', '.join(_OPTIONS)}.",
            node=kind,
        )
    title = options.get("title") or kind.replace("_", " ").capitalize()
    return NodeSpec(
        kind=kind,
        function=fn,
        inputs=tuple(inputs),
        params=tuple(params),
        outputs=outputs,
        named=named,
        help=inspect.getdoc(fn) or "",
        context=context,
        is_async=inspect.iscoroutinefunction(fn),
        **{**options, "title": title},
    )


def split_help(text: str, names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """A docstring as (what it says of the node, what it says of each name). The help of a name begins with a
    line `name: text` and goes on to the next of them or to an empty line; its lines become one."""
    known = set(names)
    prose: list[str] = []
    found: dict[str, list[str]] = {}
    now = prose
    for line in text.splitlines():
        start = re.match(r"\s*`?([a-z_][a-z0-9_]*)`?: (.+)", line)
        if start is not None and start[1] in known:
            now = found[start[1]] = [start[2].strip()]
        elif now is prose or line.strip():
            now.append(line if now is prose else line.strip())
        else:
            now = prose
    return "\n".join(prose).strip(), {name: " ".join(lines) for name, lines in found.items()}


def _unwrap_optional(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, python_types.UnionType):
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(rest) == 1 and len(typing.get_args(hint)) == 2:
            return rest[0], True
    return hint, False


def _widget_of(kind: str, name: str, hint: Any) -> Widget | None:
    """The widget that a hint stands for; None if it is a value type."""
    extras: tuple[Any, ...] = ()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *rest = typing.get_args(hint)
        extras = tuple(rest)
    found = next((e for e in extras if isinstance(e, Widget)), None)
    if found is None:
        found = next((e() for e in extras if isinstance(e, type) and issubclass(e, Widget)), None)
    if found is None and isinstance(hint, type) and issubclass(hint, Widget):
        return hint()
    if found is not None:
        if isinstance(found, Number) and hint is int:
            found = replace(found, whole=True)
        return found
    if hint is bool:
        return Toggle()
    if hint in (int, float):
        return Number(whole=hint is int)
    return TextWidget() if hint is str else None


def _parameter(kind: str, name: str, hint: Any, default: object, help: str) -> Socket | Param:
    label = name.replace("_", " ").capitalize()
    required = default is inspect.Parameter.empty
    inner, optional = _unwrap_optional(hint)
    widget = _widget_of(kind, name, inner)
    if widget is not None:
        param = Param(
            name,
            widget,
            widget.value_type if isinstance(widget, Number) else widget.type,
            None if required else default,
            required,
            optional,
            label,
            help,
        )
        if not required and (problem := param.problem(default)) is not None:
            raise StudioError(
                f"Node '{kind}': the default of '{name}' breaks its own rule: {problem[0]}",
                hint=problem[1],
                node=kind,
                socket=name,
            )
        return param
    many = typing.get_origin(inner) in (list, tuple)
    if many:
        inner = typing.get_args(inner)[0]
    if typing.get_origin(inner) is typing.Annotated:
        inner = typing.get_args(inner)[0]
    if inner is Any:
        inner = object
    if not isinstance(inner, type):
        raise StudioError(
            f"Node '{kind}': '{name}: {hint}' is neither a value type nor a widget.",
            hint="Use a class from studio.api, list[T], T | None, or Annotated[float, Slider(0, 1)].",
            node=kind,
            socket=name,
        )
    return Socket(
        name,
        type_name(inner),
        required,
        many,
        optional or (not required and default is None),
        None if required else default,
        type_line(inner),
        label,
        help,
        (inner,),
    )


def _outputs(kind: str, hint: Any, is_output: bool) -> tuple[tuple[Socket, ...], bool]:
    if hint is _MISSING:
        raise StudioError(f"Node '{kind}' does not say what it returns.", hint="Add `-> Image`.", node=kind)
    if hint is type(None):
        if not is_output:
            raise StudioError(
                f"Node '{kind}' returns nothing.", hint="Return a value, or mark it output=True.", node=kind
            )
        return (), False
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        fields = typing.get_type_hints(hint)
        return tuple(_output(kind, name, fields[name]) for name in hint._fields), True
    return (_output(kind, "", hint),), False


def _output(kind: str, name: str, hint: Any) -> Socket:
    inner, optional = _unwrap_optional(hint)
    if typing.get_origin(inner) is typing.Annotated:
        inner = typing.get_args(inner)[0]
    many = typing.get_origin(inner) in (list, tuple)
    if many:
        inner = typing.get_args(inner)[0]
    if isinstance(inner, type) and issubclass(inner, Widget):
        inner = int if isinstance(inner(), Number) else str
    if inner is Any:
        inner = object
    if not isinstance(inner, type):
        raise StudioError(
            f"Node '{kind}': the result type {hint} cannot be a socket.",
            hint="Return a class, list[T] or a NamedTuple.",
            node=kind,
        )
    name = name or output_name(inner, many)
    return Socket(
        name,
        type_name(inner),
        True,
        many,
        optional,
        None,
        type_line(inner) or (type_name(inner),),
        name.replace("_", " ").capitalize(),
        "",
        (inner,),
    )


__all__ = ["BLOCKED", "NodeSpec", "Param", "Socket", "node", "read_spec"]

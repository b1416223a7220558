"""Looking into a plugin file without running it (6.5): nodes, imports, needs; and the code digest of a module
(E8)."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FORBIDDEN = ("gradio",)
# from MODULE import (NAMES) or NAMES, or import NAMES; NAMES may go on in the next line after a backslash
_IMPORT = re.compile(
    r"(?:(?<=\s)|(?<=[;:])|^)(?:from\s+([\w.]+)\s+import\s*(?:\(([^)]*)\)|((?:\\\n|[^\n;])+))"
    r"|import\s+((?:\\\n|[^\n;])+))"
)
_SCRIPT = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


@dataclass(frozen=True)
class Peek:
    """What a file would do: its nodes, imports, stated needs, those that are missing, and what is forbidden.

    `forbidden`: (line, module). `error`: (line, message) if it is not Python.
    """

    nodes: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    forbidden: tuple[tuple[int, str], ...] = ()
    error: tuple[int, str] | None = None


def peek(source: bytes, name: str = "plugin") -> Peek:
    """What stands in a plugin's source; nothing of it is run."""
    try:
        tree = ast.parse(source, filename=name)
        text = source.decode("utf-8")
    except (SyntaxError, ValueError) as error:
        return Peek(
            error=(
                getattr(error, "lineno", None) or 0,
                f"{type(error).__name__}: {getattr(error, 'msg', error)}",
            )
        )
    except RecursionError:
        return Peek(error=(0, "it nests too deeply to be read"))
    imports = list(_imports(tree))
    forbidden = tuple((line, module) for line, module in imports if _is_forbidden(module))
    nodes = tuple(
        _id_of(decorator) or item.name
        for item in ast.walk(tree)
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))
        for decorator in item.decorator_list
        if _is_node(decorator)
    )
    try:
        needs = _needs(text)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Peek(nodes=nodes, error=(0, f"its script block (PEP 723) cannot be read: {error}"))
    return Peek(
        nodes,
        tuple(dict.fromkeys(m for _, m in imports)),
        needs,
        tuple(n for n in needs if not _installed(n)),
        forbidden,
    )


def _imports(tree: ast.AST) -> Iterable[tuple[int, str]]:
    for item in ast.walk(tree):
        if isinstance(item, ast.Import):
            yield from ((item.lineno, alias.name) for alias in item.names)
        elif isinstance(item, ast.ImportFrom):
            if item.level:
                continue  # inside the plugin's own package
            if item.module == "studio":
                yield from ((item.lineno, f"studio.{alias.name}") for alias in item.names)
            elif item.module:
                yield item.lineno, item.module


def _is_forbidden(module: str) -> bool:
    top = module.partition(".")[0]
    return top in FORBIDDEN or (top == "studio" and module != "studio.api")


def _is_node(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (isinstance(called, ast.Name) and called.id == "node") or (
        isinstance(called, ast.Attribute) and called.attr == "node"
    )


def _id_of(decorator: ast.expr) -> str:
    """The id that a @node line gives; empty where the function's name is the id."""
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        if keyword.arg == "id" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""


def _needs(text: str) -> tuple[str, ...]:
    """The dependencies in the PEP 723 block."""
    block = _SCRIPT.search(text)
    if block is None:
        return ()
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in block["content"].splitlines())
    found = tomllib.loads("\n".join(lines)).get("dependencies", [])
    return tuple(str(item) for item in found)


def _installed(need: str) -> bool:
    """Whether a requirement such as "opencv-python>=4" is met here."""
    name = re.split(r"[\s<>=!~;\[(@]", need.strip(), maxsplit=1)[0]
    try:
        version = importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return True
    try:
        wanted = Requirement(need)
    except InvalidRequirement:
        return True
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    return wanted.specifier.contains(version, prereleases=True)


def code_digest(file: Path, package: str = "studio") -> str:
    """SHA-256 over a module's source and the source of every module of ours that it imports, directly or not.

    So a change in `sampling/` reaches the keys of the nodes that use it. What third-party libraries do is not
    in it; their versions stand in the record.
    """
    first = file.resolve()
    seen: dict[Path, str] = {}
    stack = [first]
    while stack:
        path = stack.pop()
        if path in seen:
            continue
        try:
            at = path.stat()
            seen[path], ours = _read(path, package, at.st_mtime_ns, at.st_size)
        except OSError:
            seen[path] = "unreadable"
            continue
        stack.extend(ours)
    whole = hashlib.sha256(seen.pop(first).encode())
    for digest in sorted(seen.values()):
        whole.update(digest.encode())
    return whole.hexdigest()


@lru_cache(maxsize=2000)
def _read(path: Path, package: str, mtime_ns: int, size: int) -> tuple[str, tuple[Path, ...]]:
    """(SHA-256 of a source file, files of `package` that it imports); mtime and size only make the memo
    notice changes. The engine is left out: it decides when nodes run, not what they give."""
    source = path.read_bytes()
    root = Path(__file__).resolve().parent.parent
    found: dict[Path, None] = {}
    for module in imported(source.decode("utf-8", "replace"), package):
        inside = module.split(".")[1:]
        if inside and inside[0] != "graph":
            base = root.joinpath(*inside)
            found |= {p: None for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()}
    return hashlib.sha256(source).hexdigest(), tuple(found)


def imported(text: str, package: str) -> set[str]:
    """Modules of `package` that a source may import: what follows `from` and `import`, each name of a
    `from` as a module of its own. Read by pattern, not parsed, which takes a second for all of ours; an
    import that stands in a string is found too."""
    found: set[str] = set()
    for module, braced, line, plain in _IMPORT.findall(text):
        names = re.sub(r"#[^\n]*", "", braced or line or plain).replace("\\\n", " ")
        each = [name.split()[0] for name in names.split(",") if name.strip()]
        found |= {module, *(f"{module}.{name}" for name in each)} if module else set(each)
    return {name for name in found if name.split(".")[0] == package}


def line_of(error: BaseException, file: Path) -> int:
    """The last line of that file in an exception's trace; 0 if it is not in it."""
    if isinstance(error, SyntaxError) and error.lineno:
        return error.lineno
    line, at = 0, error.__traceback__
    while at is not None:
        if Path(at.tb_frame.f_code.co_filename) == file:
            line = at.tb_lineno
        at = at.tb_next
    return line


def forget(prefix: str) -> None:
    """Remove a plugin's modules, so that the next import is fresh."""
    for name in [n for n in sys.modules if n == prefix or n.startswith(f"{prefix}.")]:
        del sys.modules[name]

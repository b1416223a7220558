"""Importing one module of nodes in isolation: own name, a time limit, and the process put back as it was
(6.5.5)."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from studio.graph.spec import NodeSpec
from studio.graph.worker import restored


def specs_of(module: object) -> list[NodeSpec]:
    """Specs of the functions that a module defines; what it merely imports belongs to others."""
    name = getattr(module, "__name__", "")
    package = hasattr(module, "__path__")
    found: list[NodeSpec] = []
    for value in vars(module).values():
        spec = getattr(value, "spec", None)
        if not isinstance(spec, NodeSpec) or spec.function is not value or any(s is spec for s in found):
            continue
        if value.__module__ == name or (package and value.__module__.startswith(f"{name}.")):
            found.append(spec)
    return found


def with_code(spec: NodeSpec, origin: str, digest: str) -> NodeSpec:
    return replace(spec, origin=origin, digest=hashlib.sha256(digest.encode()).hexdigest())


def function_digest(function: Callable[..., Any]) -> str:
    """For functions without a file of their own: bytecode and constants."""
    code = function.__code__
    return hashlib.sha256(
        code.co_code + repr(code.co_consts).encode() + repr(code.co_names).encode()
    ).hexdigest()


def import_file(name: str, path: Path) -> ModuleType:
    """Import a file under its own module name."""
    if "weft_plugins" not in sys.modules:
        sys.modules["weft_plugins"] = ModuleType("weft_plugins")
    folders = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Compiled here and without bytecode files: those are chosen by mtime and size, and would miss a quick
    # second save.
    wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    finally:
        sys.dont_write_bytecode = wrote
    return module


def import_within(load: Callable[[], Any], seconds: float) -> Any:
    """What `load` returns, or the exception that came; TimeoutError if it takes longer. Never raises."""
    answer: list[Any] = []

    def go() -> None:
        try:
            with restored(lambda text: None):
                answer.append(load())
        except BaseException as error:  # noqa: BLE001 - sys.exit in a plugin ends the plugin
            answer.append(error)

    thread = threading.Thread(target=go, name="weft-import", daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else TimeoutError(f"Importing it took longer than {seconds:g} s.")

"""The shape of the code: who may import whom, how long a file may be, what loads without torch or gradio.

`MAY_IMPORT` is the table of docs/architecture.md ("Directions"). Imports under TYPE_CHECKING name types only
and are left out.
"""
from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 400
LONGER_WITH_REASON: dict[str, str] = {}

BASE = {"errors", "values", "behaviour", "traces", "settings", "policy", "pixels"}
LOWER = {"models", "controls", "blocks", "weights", "sampling", "upscaling", "scenes", "layout", "graph",
         "db", "history", "jobs", "api"}
MAY_IMPORT: dict[str, set[str]] = {
    **{name: set(BASE) for name in BASE},
    "bootstrap": set(),
    "graph": set(), "db": set(), "models": set(), "scenes": set(), "layout": set(),
    "history": {"db"},
    "controls": {"models.family", "models.alone"}, "blocks": {"models.family", "models.alone"},
    "weights": {"models.family"},
    "sampling": {"models", "controls", "blocks", "weights"},
    "upscaling": {"models", "sampling"},
    "api": {"graph.spec", "graph.review", "graph.widgets", "graph.context", "controls.control",
            "blocks.control"},
    "nodes": {"api", "models", "controls", "blocks", "weights", "sampling", "upscaling", "scenes",
              "layout"},
    "jobs": {"graph", "db"},
    "reports": {"graph"},
    "about": {"graph"},
    "outputs": {"about", "graph", "history", "reports"},
    "replay": {"graph", "jobs", "history"},
    "studio": LOWER | {"replay", "outputs", "reports", "beside"},
    "wordmaps": {"graph", "controls"},
    "watching": {"graph", "models"},
    "varying": {"graph", "watching"},
    "upscalers": {"upscaling"},
    "early": {"graph"},
    "found_lists": {"graph", "history", "sampling"},
    "beside": {"graph", "jobs"},
    "sheet": set(),
    "sweeps": {"graph"},
    "ui": {"graph", "models.presets", "models.prompt_weights", "early", "found_lists", "layout", "reports",
           "upscalers", "wordmaps", "watching", "varying", "sweeps", "sheet"},
    "training": {"models", "sampling", "upscaling", "scenes"},
    "evaluate": {"models", "controls", "blocks", "sampling", "upscaling", "scenes", "layout"},
    "cli": {"studio", "graph", "evaluate", "scenes", "layout", "sweeps", "sheet"},
    "__main__": {"cli"},
    "__init__": set(),
}
NO_BASE = {"bootstrap", "__init__"}
WITHOUT_TORCH = ["errors", "values", "behaviour", "traces", "settings", "policy", "pixels", "api", "graph",
                 "db", "history", "jobs", "scenes", "layout", "ui", "bootstrap", "cli", "__main__"]
WITHOUT_GRADIO = ["api", "bootstrap", "cli", "db", "evaluate", "graph", "history", "jobs", "layout", "models",
                  "nodes", "outputs", "replay", "reports", "sampling", "scenes", "studio", "training",
                  "upscaling", "__main__"]

FILES = sorted(path for folder in ("studio", "plugins") for path in (ROOT / folder).rglob("*.py"))


def part_of(path: Path) -> str:
    """The part a file belongs to: its folder below studio/, or its own name."""
    inside = path.relative_to(ROOT / "studio")
    return inside.parts[0].removesuffix(".py")


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Every module that the file imports at run time, wherever the statement stands, as a dotted name."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    found: list[str] = []
    for node in run_time_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found += [f"{module}.{alias.name}" for alias in node.names]
    return tuple(found)


def run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a syntax tree without the bodies of `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield other
                yield from run_time_nodes(other)
            continue
        yield node
        yield from run_time_nodes(node)


def allowed(part: str, name: str) -> bool:
    """Whether `part` may import the dotted name (`studio....`, a module or something in it)."""
    inside = name.removeprefix("studio.")
    if name == "studio" or inside == "__version__" or inside.split(".")[0] == part:
        return True
    may = MAY_IMPORT[part] | (set() if part in NO_BASE else BASE)
    return any(inside == known or inside.startswith(known + ".") for known in may)


@pytest.mark.parametrize("path", [path for path in FILES if path.is_relative_to(ROOT / "studio")],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path: Path) -> None:
    part = part_of(path)
    assert part in MAY_IMPORT, f"{path.relative_to(ROOT)} is in no part that the table knows"
    ours = [name for name in imports_of(path) if name == "studio" or name.startswith("studio.")]
    wrong = [name for name in ours if not allowed(part, name)]
    assert not wrong, f"{part} may not import {', '.join(wrong)}"


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*.py")), ids=lambda path: path.name)
def test_plugins_see_the_author_interface_only(path: Path) -> None:
    ours = [name for name in imports_of(path) if name.split(".")[0] == "studio"]
    assert all(name.startswith("studio.api.") or name == "studio.api" for name in ours), ours
    assert not [name for name in imports_of(path) if name.split(".")[0] == "gradio"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_can_be_read_in_one_go(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines < LONGEST or str(path.relative_to(ROOT)) in LONGER_WITH_REASON, f"{lines} lines"


@pytest.mark.parametrize("path", sorted((ROOT / "studio").rglob("__init__.py")),
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_package_files_hold_no_code(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        version = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
        assert text or version, ast.unparse(node)


def test_bootstrap_needs_the_standard_library_alone() -> None:
    roots = {name.split(".")[0] for name in imports_of(ROOT / "studio" / "bootstrap.py")}
    assert roots <= set(sys.stdlib_module_names)


def test_nobody_imports_training() -> None:
    users = [path for path in FILES if part_of_any(path) != "training"
             and any(name.startswith("studio.training") for name in imports_of(path))]
    assert users == []


def part_of_any(path: Path) -> str:
    return part_of(path) if path.is_relative_to(ROOT / "studio") else "plugins"


def modules_of(part: str) -> list[str]:
    """The dotted names of all modules of a part; a part that is not there is an error."""
    single = ROOT / "studio" / f"{part}.py"
    if single.is_file():
        return [f"studio.{part}"]
    paths = sorted((ROOT / "studio" / part).rglob("*.py"))
    assert paths, f"there is no part {part}"
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def loaded_by(parts: list[str], heavy: tuple[str, ...]) -> str:
    """Which of the heavy libraries a fresh interpreter holds after it imported every module of the parts."""
    names = [name for part in parts for name in modules_of(part)]
    code = (f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
            f"print(*[name for name in {heavy!r} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_part_loads_without_torch(part: str) -> None:
    assert loaded_by([part], ("torch", "diffusers", "transformers")) == ""


def test_nodes_are_known_without_diffusers() -> None:
    """It takes seconds to load: commands that run nothing, and the start of the page, do without."""
    assert loaded_by(["nodes"], ("diffusers", "transformers")) == ""


def test_everything_but_the_page_loads_without_gradio() -> None:
    assert loaded_by(WITHOUT_GRADIO, ("gradio",)) == ""


def test_the_walk_sees_relative_and_hidden_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "studio" / "graph" / "odd.py"
    path.parent.mkdir(parents=True)
    path.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from studio.ui import build\n"
                    "def f():\n    from ..history import store\n    from . import spec\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    ours = [name for name in imports_of(path) if name.startswith("studio")]
    assert ours == ["studio.history.store", "studio.graph.spec"]
    assert [allowed("graph", name) for name in ours] == [False, True]

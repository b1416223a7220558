"""Finding nodes: isolation, clashes, hot reload, and what a file says without being run (6.5)."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest

from studio.errors import StudioError
from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.graph.peek import code_digest, imported, peek
from studio.graph.registry import Registry
from studio.settings import ROOT

GOOD = '''
from studio.api import node

@node(output=True)
def {name}(value: int = {value}) -> int:
    """A number."""
    return value
'''


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_good_files_and_packages_load_beside_a_broken_one(tmp_path: Path) -> None:
    write(tmp_path, "one.py", GOOD.format(name="one", value=1))
    write(tmp_path, "pack/__init__.py", "from .inside import two")
    write(tmp_path, "pack/inside.py", GOOD.format(name="two", value=2))
    write(tmp_path, "bad.py", "import os\nfrom studio.api import node\n\n1 / 0\n")
    write(tmp_path, "_hidden.py", "1 / 0")
    write(tmp_path, "notes.txt", "hello")
    registry = Registry(plugins=tmp_path)
    assert set(registry.specs) == {"one", "two"}
    assert registry.specs["one"].origin == "plugins/one.py"
    broken = registry.broken
    assert [(b.file, b.line) for b in broken] == [("bad.py", 4)]
    assert broken[0].message == "ZeroDivisionError: division by zero"
    assert {p.name: p.nodes for p in registry.plugins}["one"] == ("one",)


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("def f(:\n", 1, "SyntaxError", "Correct the line"),
        ("import os\nfrom studio.models import flux\n", 2, "imports 'studio.models'", "studio.api"),
        ("from studio import graph\n", 1, "imports 'studio.graph'", "studio.api"),
        ("def f():\n    import gradio\n", 2, "imports 'gradio'", "studio.api"),
        (
            "import surely_not_installed_here\n",
            1,
            "surely_not_installed_here",
            "pip install surely_not_installed_here",
        ),
        (
            "# /// script\n# dependencies = ['surely-not-here>=2']\n# ///\n",
            0,
            "needs surely-not-here>=2",
            "pip install",
        ),
        ("# /// script\n# dependencies = [\n# ///\n", 0, "PEP 723", "Correct"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit", ""),
        ("x = 1\n", 0, "no node in it", "@node"),
        (
            "from studio.api import node\n@node\ndef f(a) -> int:\n    return 1\n",
            2,
            "'a' has no type",
            "amount: float",
        ),
        (
            "from studio.api import node\n@node\ndef f(a: int):\n    return 1\n",
            2,
            "what it returns",
            "-> Image",
        ),
        (
            "from studio.api import node\n@node\ndef f(*a: int) -> int:\n    return 1\n",
            2,
            "plain name",
            "socket needs a name",
        ),
        (
            "from studio.api import node, Slider\nfrom typing import Annotated\n@node\n"
            "def f(a: Annotated[float, Slider(0, 1)] = 2.0) -> int:\n    return 1\n",
            3,
            "default of 'a'",
            "0 to 1",
        ),
        ("\0", 0, "null bytes", ""),
    ],
)
def test_broken_file_is_listed_with_line_message_and_next_step(
    tmp_path: Path, text: str, line: int, message: str, hint: str
) -> None:
    write(tmp_path, "bad.py", text)
    write(tmp_path, "good.py", GOOD.format(name="good", value=1))
    registry = Registry(plugins=tmp_path)
    assert set(registry.specs) == {"good"}
    broken = registry.broken[0]
    assert broken.file == "bad.py"
    assert message in broken.message
    assert hint in broken.hint
    assert broken.line == line


def test_import_that_hangs_is_given_up(tmp_path: Path) -> None:
    write(tmp_path, "slow.py", "import time\ntime.sleep(3)\n")
    registry = Registry(plugins=tmp_path, import_seconds=0.2)
    assert "longer than 0.2 s" in registry.broken[0].message


def test_plugin_that_changes_the_process_while_loading_leaves_no_trace(tmp_path: Path) -> None:
    write(
        tmp_path / "p",
        "rude.py",
        f"import os\nos.chdir({str(tmp_path)!r})\nos.environ['WEFT_RUDE'] = '1'\n"
        + GOOD.format(name="r", value=1),
    )
    folder = Path.cwd()
    registry = Registry(plugins=tmp_path / "p")
    assert "r" in registry.specs
    assert Path.cwd() == folder
    assert "WEFT_RUDE" not in os.environ


def test_two_plugins_with_one_id_are_both_refused_and_both_named(tmp_path: Path) -> None:
    write(tmp_path, "a.py", GOOD.format(name="same", value=1))
    write(tmp_path, "b.py", GOOD.format(name="same", value=2) + GOOD.format(name="other", value=3))
    registry = Registry(plugins=tmp_path)
    assert set(registry.specs) == {"other"}
    assert sorted(b.file for b in registry.broken) == ["a.py", "b.py"]
    assert all("a.py and b.py" in b.message for b in registry.broken)
    (tmp_path / "a.py").unlink()
    registry.refresh()
    assert set(registry.specs) == {"same", "other"}


def test_a_plugin_that_came_with_weft_keeps_its_id_and_the_new_one_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "ours.py", GOOD.format(name="same", value=1))
    write(tmp_path, "another.py", "import math\n" + GOOD.format(name="same", value=2))
    write(tmp_path, "third.py", GOOD.format(name="same", value=3) + GOOD.format(name="other", value=3))
    registry = Registry(plugins=tmp_path, shipped=["ours.py"])
    assert {kind: spec.origin for kind, spec in registry.specs.items()} == {
        "same": "plugins/ours.py",
        "other": "plugins/third.py",
    }
    assert [b.file for b in registry.broken] == ["another.py", "third.py"]
    assert {p.file: p.nodes for p in registry.plugins} == {"ours.py": ("same",), "third.py": ("other",)}
    for item in registry.broken:
        assert "ours.py came with Weft and keeps it" in item.message and "id=" in item.hint
        assert "def same" in "".join((tmp_path / item.file).read_text().splitlines()[item.line - 1 :][:2])


def test_plugin_cannot_take_a_built_in_nodes_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "lib", "weft_builtin_test.py", GOOD.format(name="core", value=1))
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    write(tmp_path / "plugins", "thief.py", GOOD.format(name="core", value=2))
    registry = Registry(["weft_builtin_test"], plugins=tmp_path / "plugins")
    assert registry.get("core").origin == "built-in"
    assert registry.broken[0].file == "thief.py"


def test_changed_file_is_loaded_again_and_its_key_changes(tmp_path: Path) -> None:
    path = write(tmp_path, "one.py", GOOD.format(name="one", value=1))
    registry = Registry(plugins=tmp_path)
    engine = Engine(registry)
    graph = Graph((Node("o", "one"),))
    assert engine.run(graph).outputs["o"]["int"] == 1
    assert not registry.refresh()
    path.write_text(GOOD.format(name="one", value=2))  # the same size within the same second
    assert registry.refresh().changed == ("one",)
    assert engine.plan(graph)["o"].reason == "code, value changed"
    assert engine.run(graph).outputs["o"]["int"] == 2


def test_file_broken_while_saving_keeps_its_old_version(tmp_path: Path) -> None:
    path = write(tmp_path, "one.py", GOOD.format(name="one", value=1))
    registry = Registry(plugins=tmp_path)
    path.write_text("from studio.api import node\n@node\ndef one(")
    assert registry.refresh().broken == ("one.py",)
    assert "stays" in registry.broken[0].hint
    assert Engine(registry).run(Graph((Node("o", "one"),))).outputs["o"]["int"] == 1
    path.write_text(GOOD.format(name="one", value=3))
    registry.refresh()
    assert registry.broken == ()
    assert Engine(registry).run(Graph((Node("o", "one"),))).outputs["o"]["int"] == 3


def test_removed_file_and_changed_signature_leave_the_document_whole(tmp_path: Path) -> None:
    write(tmp_path, "one.py", GOOD.format(name="one", value=1))
    path = write(tmp_path, "two.py", GOOD.format(name="two", value=1))
    registry = Registry(plugins=tmp_path)
    engine = Engine(registry)
    graph = Graph((Node("a", "one", {"value": 5}), Node("b", "two")), (Edge(("a", "int"), ("b", "value")),))
    assert engine.run(graph).outputs["b"]["int"] == 5
    path.write_text(GOOD.format(name="two", value=1).replace("value", "number"))
    registry.refresh()
    assert engine.check(graph)[0].message == "There is no input 'value'."
    (tmp_path / "one.py").unlink()
    assert registry.refresh().removed == ("one",)
    assert "Missing node type 'one'" in engine.check(graph)[0].message
    assert len(graph.edges) == 1


def test_list_and_digests_limit_what_is_loaded(tmp_path: Path) -> None:
    import hashlib

    one = write(tmp_path, "one.py", GOOD.format(name="one", value=1))
    write(tmp_path, "two.py", GOOD.format(name="two", value=2))
    assert set(Registry(plugins=tmp_path, pinned=["two"]).specs) == {"two"}
    assert set(Registry(plugins=tmp_path, pinned=[]).specs) == set()
    registry = Registry(plugins=tmp_path, allowed=[hashlib.sha256(one.read_bytes()).hexdigest()])
    assert set(registry.specs) == {"one"}
    assert registry.broken[0].message == "This host does not run this plugin."


def test_refused_file_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    write(tmp_path / "p", "bad.py", f"import gradio\nopen({str(mark)!r}, 'w').close()\n")
    write(tmp_path / "p", "other.py", f"open({str(mark)!r}, 'w').close()\n")
    Registry(plugins=tmp_path / "p", allowed=[])
    Registry(plugins=tmp_path / "p", pinned=["bad"])
    assert not mark.exists()


def test_peek_lists_nodes_imports_and_needs() -> None:
    seen = peek(
        b"# /// script\n# dependencies = ['pytest', 'surely-not-here']\n# ///\nimport numpy as np\n"
        b"from studio.api import node\nimport studio.api as api\n"
        b"@node\ndef a(): ...\n@api.node(output=True)\ndef b(): ...\ndef c(): ...\n"
    )
    assert seen.nodes == ("a", "b")
    assert seen.needs == ("pytest", "surely-not-here")
    assert seen.missing == ("surely-not-here",)
    assert seen.forbidden == ()
    assert "numpy" in seen.imports


def test_code_digest_follows_modules_that_are_imported_indirectly(tmp_path: Path) -> None:
    file = write(tmp_path, "plugin.py", "from studio.errors import StudioError\n")
    first = code_digest(file)
    file.write_text("from studio.errors import StudioError  # changed\n")
    assert code_digest(file) != first
    other = write(tmp_path, "other.py", "from studio.pixels import to_array\n")
    without = write(tmp_path, "without.py", "import json\n")
    assert len({code_digest(other), code_digest(without), first}) == 3


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import studio.a", {"studio.a"}),
        ("import os, studio.a as b; import studio.c", {"studio.a", "studio.c"}),
        ("from studio import a, b as c  # x", {"studio", "studio.a", "studio.b"}),
        (
            "if x: from studio.a import (\n  b,  # why, so\n  c,\n)\n",
            {"studio.a", "studio.a.b", "studio.a.c"},
        ),
        ("def f():\n\tfrom studio.a import b, \\\n        c\n", {"studio.a", "studio.a.b", "studio.a.c"}),
        ("from studious import a\nfrom . import b\nimport_studio = 1\n", set()),
    ],
)
def test_imports_are_read_without_parsing(source: str, found: set[str]) -> None:
    assert imported(source, "studio") == found


def test_no_import_of_ours_is_missed() -> None:
    """Against the parsed source of every file; what stands in strings may come on top."""
    for file in (ROOT / "studio").rglob("*.py"):
        source = file.read_text("utf-8")
        parsed: set[str] = set()
        for item in ast.walk(ast.parse(source)):
            if isinstance(item, ast.Import):
                parsed |= {alias.name for alias in item.names}
            elif isinstance(item, ast.ImportFrom) and item.module:
                parsed |= {item.module, *(f"{item.module}.{alias.name}" for alias in item.names)}
        ours = {name for name in parsed if name.split(".")[0] == "studio"}
        assert ours <= imported(source, "studio"), file


def test_unknown_kind_suggests_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "one.py", GOOD.format(name="film_grain", value=1))
    with pytest.raises(StudioError, match="Did you mean 'film_grain'"):
        Registry(plugins=tmp_path).get("film_grian")


def test_plugin_modules_have_names_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, "json.py", GOOD.format(name="mine", value=1))
    Registry(plugins=tmp_path)
    import json

    assert json.dumps(1) == "1"
    assert sys.modules["json"].__file__ != str(tmp_path / "json.py")

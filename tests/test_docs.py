"""The pages say what is: every node, widget, setting and limit; the code in them runs; no link is dead."""
from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.graph.spec import split_help
from studio.policy import Policy
from studio.settings import ROOT, SHIPPED_PLUGINS, Settings

if TYPE_CHECKING:
    from studio.studio import Studio

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
START = ROOT / "docs" / "start.md"
WORKFLOWS = sorted((ROOT / "assets" / "workflows").glob("*.json"))


class Recorder(Mapping[str, str]):
    """An environment that is empty and remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", read(path), re.DOTALL)


def test_every_flag_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Settings.from_args(["--help"])
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert len(flags) >= 8
    page = read(START)
    assert [flag for flag in sorted(flags) if f"`{flag}" not in page] == []


def test_every_variable_is_documented() -> None:
    environ = Recorder()
    Settings.from_environ(environ, public=False)
    names = environ.asked | {"SPACE_HOST"}
    assert "STUDIO_HOME" in names
    assert [name for name in sorted(names) if name not in read(START)] == []


def test_the_limits_of_the_page_are_those_of_the_policy() -> None:
    page = read(START)
    for policy in (Policy.local(), Policy.public()):
        shown = f"{policy.max_nodes:,}, {policy.max_edges:,}".replace(",000", " 000")
        assert shown in page
        assert f"{policy.max_batch}, {policy.max_steps}" in page
        assert f"{policy.max_prompt:,}".replace(",", " ") in page
        assert f"{policy.max_waiting}, {policy.max_queue}" in page
        assert f"{policy.max_upload_bytes // 10**6} MB, {policy.max_decoded_pixels / 10**6:g} M" in page


def test_the_page_of_nodes_is_not_stale(studio: Studio) -> None:
    from studio.cli.nodes_page import markdown

    made = markdown(studio.registry)
    assert read(ROOT / "docs" / "nodes.md") == made, "run: python -m studio nodes --markdown > docs/nodes.md"


def test_no_help_is_torn(studio: Studio) -> None:
    """Every word of a node's docstring stands either in its prose or whole in the help of one setting."""
    for kind, spec in studio.registry.specs.items():
        own = [*spec.inputs, *spec.params]
        prose, helps = split_help(spec.help, [line.name for line in own])
        assert helps == {line.name: line.help for line in own if line.help}, kind
        said = Counter(f"{prose} {' '.join(f'{name}: {text}' for name, text in helps.items())}".split())
        assert said == Counter(spec.help.replace("`", "").split()) or "`" in spec.help, kind
        assert not re.search(r"^[ \t]+\S", prose, re.MULTILINE), f"{kind}: a torn line stands in the prose"


def test_every_node_socket_and_widget_is_documented(studio: Studio) -> None:
    page = read(ROOT / "docs" / "nodes.md")
    sections = dict(re.findall(r"\n### [^\n]*\(`([\w.-]+)`\)\n(.*?)(?=\n##|\Z)", page, re.DOTALL))
    assert set(sections) == set(studio.registry.specs)
    for kind, spec in studio.registry.specs.items():
        for line in (*spec.inputs, *spec.params, *spec.outputs):
            assert f"`{line.name}`" in sections[kind], f"{kind}.{line.name}"


def test_there_is_a_workflow_to_start_from() -> None:
    assert "text-to-image" in [path.stem for path in WORKFLOWS]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_workflow_loads_and_has_no_errors(path: Path, studio: Studio) -> None:
    document = studio.read_document(read(path))
    assert [problem for problem in studio.check(document) if problem.level == "error"] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", read(page))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "write-a-node.md"],
                         ids=lambda page: page.name)
def test_the_node_of_the_page_loads_and_runs(page: Path, tmp_path: Path) -> None:
    import numpy as np

    from studio.api import to_image
    from studio.graph.registry import Registry

    blocks = python_blocks(page)
    assert len(blocks) == 1
    (tmp_path / "example.py").write_text(blocks[0], encoding="utf-8")
    registry = Registry(plugins=tmp_path)
    assert registry.broken == ()
    (spec,) = registry.specs.values()
    assert spec.help
    image = to_image(np.full((24, 16, 3), 0.5))
    result = spec.function(image)
    assert (result.width, result.height) == (16, 24)
    assert result != image


def test_the_node_of_a_page_takes_no_id_and_no_file_that_ships(studio: Studio) -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "write-a-node.md"):
        (name,) = re.findall(r"^def (\w+)\(", python_blocks(page)[0], re.MULTILINE)
        assert f"Save this as `plugins/{name}.py`" in read(page)
        assert name not in studio.registry.specs and f"{name}.py" not in SHIPPED_PLUGINS


def test_the_node_of_the_readme_has_ten_lines() -> None:
    (block,) = python_blocks(ROOT / "README.md")
    assert len([line for line in block.splitlines() if line.strip()]) <= 10


def commands_of(page: Path) -> list[list[str]]:
    """The words of each `python -m studio ...` on a page."""
    found = re.findall(r"python -m studio ([^`\n]*)", read(page))
    return [re.findall(r'"[^"]*"|\S+', line) for line in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_the_pages_exists(page: Path) -> None:
    from studio.__main__ import build_parser

    for words in commands_of(page):
        parser: argparse.ArgumentParser = build_parser()
        for word in words:
            choices = next((action.choices for action in parser._actions
                            if isinstance(action, argparse._SubParsersAction)), None)
            if choices is None or not re.fullmatch(r"[a-z]+", word):
                break
            assert word in choices, f"{page.name}: python -m studio {' '.join(words)}"
            parser = choices[word]
        known = {option for action in parser._actions for option in action.option_strings}
        flags = [word for word in words if word.startswith("--")]
        assert [flag for flag in flags if flag not in known] == [], f"{page.name}: {' '.join(words)}"

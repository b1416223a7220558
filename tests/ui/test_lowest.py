"""A number whose lowest value stands for something of its own has a word; documents keep the number."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from studio.cli.nodes_page import markdown
from studio.graph.document import load
from studio.graph.registry import Registry
from studio.settings import ROOT
from studio.ui.forms import panel
from studio.ui.picture_detail import _settings

MODULES = [f"studio.nodes.{p.stem}" for p in sorted((ROOT / "studio/nodes").glob("*.py")) if p.stem[0] != "_"]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(MODULES)


def test_every_number_below_what_it_can_mean_has_a_word(registry):
    """-1 pixels, or a guidance of -1, are no numbers of their own."""
    for kind, spec in registry.specs.items():
        for param in spec.params:
            options = param.widget.options()
            if param.default == -1 and options.get("min") == -1:
                assert options.get("lowest"), f"{kind}.{param.name}"
                assert "-1" not in param.help, "a page shows no -1"


def test_create_and_history_are_told_the_word_and_the_number_stays(registry):
    shown = [{"node": "g", "widget": "guidance", "label": "Number", "order": 1}]
    nodes = [{"id": "g", "kind": "cfg", "widgets": {"guidance": -1}, "pos": [0, 0]}]
    data = {"format": "weft/graph", "version": 1, "nodes": nodes, "edges": [], "exposed": shown}
    (field,) = panel(load(data), registry)
    assert (field["lowest"], field["min"], field["default"]) == ("as the model", -1, -1)
    record = {
        "nodes": {"g": {"kind": "cfg"}, "t": {"kind": "tiles"}},
        "params": {"g": {"cfg_scale": 3.0, "guidance": -1.0}, "t": {"tile": 256, "overlap": 64}},
    }
    (_, first), (_, second) = _settings(SimpleNamespace(registry=registry), record, {})
    assert first == [["Cfg scale", "3.0"], ["Guidance", "as the model", True]]
    assert second == [["Tile", "256"], ["Overlap", "64"]]


def test_the_list_of_nodes_tells_number_and_word(registry):
    told = markdown(registry)
    assert "| `overlap` | whole number, -1 to 2048; -1 = automatic | `-1` |" in told

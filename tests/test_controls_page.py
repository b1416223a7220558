"""docs/controls.md: the plugin on the page loads and does what it says, the adapter on it is the real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from studio.models.family import ADAPTERS
from studio.models.tiny import tiny_transformer
from studio.settings import ROOT
from tests.controls.attaching import FAMILIES, call_of, controlled, run

PAGE = (ROOT / "docs" / "controls.md").read_text(encoding="utf-8")
PLUGIN, ADAPTER = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_adapter_of_the_page_is_the_real_one() -> None:
    source = (ROOT / "studio" / "models" / "sd3_attention.py").read_text(encoding="utf-8")
    assert source.endswith(ADAPTER) and ADAPTER.startswith("class SD3Attention")


def test_the_page_speaks_of_every_family() -> None:
    rows = re.findall(r"^\| ([A-Z][^|]*) \|", PAGE, re.MULTILINE)
    assert len(rows) == len(ADAPTERS) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_control_of_the_page_acts_on_the_prompt_of_the_picture(family: str, tmp_path: Path) -> None:
    from studio.graph.registry import Registry

    (tmp_path / "quieter.py").write_text(PLUGIN, encoding="utf-8")
    registry = Registry(plugins=tmp_path)
    assert registry.broken == ()
    (spec,) = registry.specs.values()
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    assert torch.equal(controlled(network, call, spec.function(amount=1.0, start=0.0)), plain)
    assert torch.equal(controlled(network, call, spec.function(amount=0.5, start=0.5)), plain)
    quieter = controlled(network, call, spec.function(amount=0.5, start=0.0))
    assert not torch.allclose(quieter[2], plain[2], atol=1e-4)
    assert torch.allclose(quieter[:2], plain[:2], atol=1e-5)

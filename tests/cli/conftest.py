"""The command line called in this process, on the fresh home of each test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from transformers.utils import logging as transformers_logging

from studio.__main__ import main
from studio.settings import ROOT

# Its handler keeps the stderr that it sees first: that of a test would be closed when the next one logs.
transformers_logging.get_logger()


@dataclass(frozen=True)
class Said:
    """What a command answered: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object that `--json` printed."""
        return json.loads(self.out)


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call `python -m studio WORDS`; a traceback would fail the test, since nothing is caught here."""

    def call(*words: object) -> Said:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Said(code, out, err)

    return call


@pytest.fixture
def tiny(tiny_sd3_folder: Path) -> tuple[object, ...]:
    """The flags of a picture that takes a fraction of a second."""
    return "--model", tiny_sd3_folder, "--size", "64x64", "--steps", 2


@pytest.fixture
def workflow() -> dict[str, Any]:
    """The text-to-image workflow as plain data."""
    found: dict[str, Any] = json.loads((ROOT / "assets/workflows/text-to-image.json").read_text("utf-8"))
    return found


@pytest.fixture
def tiny_workflow(workflow: dict[str, Any], tiny_sd3_folder: Path, tmp_path: Path) -> Path:
    """That workflow with the miniature, 64 pixels and 2 steps, in a file."""
    small = {"model": str(tiny_sd3_folder), "width": 64, "height": 64, "steps": 2}
    for node in workflow["nodes"]:
        node["widgets"].update({name: small[name] for name in node["widgets"] if name in small})
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(workflow), "utf-8")
    return path

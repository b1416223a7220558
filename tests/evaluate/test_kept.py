"""Kept results: they are taken up again, and never by other code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.evaluate import kept
from studio.evaluate.kept import CODE, SOURCES, Kept, code


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The sources that results depend on, to change them."""
    for name in CODE:
        place = SOURCES / name
        skip = shutil.ignore_patterns("__pycache__")
        if place.is_dir():
            shutil.copytree(place, tmp_path / name, ignore=skip)
        else:
            shutil.copy(place, tmp_path / name)
    return tmp_path


def test_a_result_is_taken_up_by_the_same_code_and_by_no_other(
    copied: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("eval")
    monkeypatch.setattr(kept, "SOURCES", copied)
    Kept(folder, "control", "seed 0").add({"row": "edit.colour"})
    assert Kept(folder, "control", "seed 0").rows() == [{"row": "edit.colour"}]
    assert Kept(folder, "control", "seed 1").rows() == []
    changed = copied / "controls" / "concepts.py"
    changed.write_text(changed.read_text(encoding="utf-8") + "\n# another\n", encoding="utf-8")
    assert Kept(folder, "control", "seed 0").rows() == []
    assert len(list(folder.glob("control-*.jsonl"))) == 1


def test_a_new_or_renamed_file_is_other_code(copied: Path) -> None:
    before = code(copied)
    assert before == code(SOURCES)
    (copied / "scenes" / "world.py").rename(copied / "scenes" / "word.py")
    renamed = code(copied)
    (copied / "sampling" / "new.py").write_text("", encoding="utf-8")
    assert len({before, renamed, code(copied)}) == 3

"""The zip that leaves the house."""
from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import StudioError
from studio.history.embed import read_embedded
from studio.history.export import slug
from studio.history.store import History

from .conftest import Add, graph_of


def test_zip_holds_pictures_workflows_and_facts(history: History, add: Add, tmp_path: Path) -> None:
    one, two = add("A red star / at night", seed=1), add("../../etc/passwd", seed=2)
    target = tmp_path / "out" / "pictures.zip"
    assert history.export("local", [one.id, two.id, one.id], target) == 2
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["001-a-red-star-at-night.png", "001-a-red-star-at-night.json",
                                      "002-etc-passwd.png", "002-etc-passwd.json", "history.json"]
        assert archive.read("001-a-red-star-at-night.json").decode() == graph_of("A red star / at night")
        assert read_embedded(archive.read("002-etc-passwd.png")).graph == graph_of("../../etc/passwd")
        facts = json.loads(archive.read("history.json"))
    assert [picture["seed"] for picture in facts["pictures"]] == [1, 2]
    assert "owner" not in facts["pictures"][0]


def test_stripped_zip_tells_nothing_but_pixels(history: History, add: Add) -> None:
    made = add("secret wish")
    buffer = io.BytesIO()
    history.export("local", [made.id], buffer, strip=True)
    with zipfile.ZipFile(buffer) as archive:
        assert archive.namelist() == [f"001-{made.id[:8]}.png"]
        assert b"weft" not in archive.read(archive.namelist()[0])
    assert b"secret" not in buffer.getvalue()


def test_missing_picture_still_gives_its_workflow(history: History, add: Add) -> None:
    made = add("a red star")
    history.picture("local", made.id).unlink()
    buffer = io.BytesIO()
    assert history.export("local", [made.id], buffer) == 1
    with zipfile.ZipFile(buffer) as archive:
        assert archive.namelist() == ["001-a-red-star.json", "history.json"]
        assert "missing" in archive.read("history.json").decode()


def test_nothing_and_foreign_pictures_are_refused_without_a_file(history: History, add: Add,
                                                                 tmp_path: Path) -> None:
    made = add(owner="ben")
    for chosen in ([], [made.id]):
        with pytest.raises(StudioError):
            history.export("local", chosen, tmp_path / "x.zip")
    assert list(tmp_path.glob("*.zip")) == []


@given(st.text())
def test_names_in_the_zip_are_harmless(text: str) -> None:
    name = slug(text, "fallback")
    assert 1 <= len(name) <= 64
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not name.startswith("-")

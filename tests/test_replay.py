"""Replay: equal, within tolerance or different, and the ingredients that changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from studio.history.generation import NewGeneration
from studio.replay import TOLERANCE, changed
from studio.reports import Report
from studio.studio import Studio
from studio.values import Image


@pytest.fixture
def report(studio: Studio, tiny_sd3_folder: Path) -> Report:
    """A finished picture of the miniature."""
    document = studio.text_to_image("a red star", seed=4, steps=2, size=(64, 64), model=str(tiny_sd3_folder))
    made = studio.run(document)
    assert made.status == "finished", made.error
    return made


def stored_with(studio: Studio, report: Report, delta: int) -> str:
    """The same generation again, its picture `delta` levels brighter or darker."""
    old = studio.history.show("local", report.outputs[0].generation)
    from studio.pixels import read_picture

    pixels = read_picture(studio.history.picture("local", old.id).read_bytes()).pixels.astype(np.int16)
    moved = np.where(pixels > 127, pixels - delta, pixels + delta).astype(np.uint8)
    added = studio.history.add(
        NewGeneration(
            owner="local",
            pixels=Image(moved).pixels,
            graph=studio.history.document("local", old.id),
            record=old.record,
            node=old.node,
        )
    )
    return added.id


def test_the_same_machine_makes_the_same_picture_bit_for_bit(studio: Studio, report: Report) -> None:
    found = studio.replay(report.outputs[0].generation)
    assert (found.verdict, found.max_difference, found.changes) == ("equal", 0, ())
    assert found.pixels_before == found.pixels_now


def test_a_small_difference_is_within_tolerance_and_a_large_one_is_not(
    studio: Studio, report: Report
) -> None:
    near = studio.replay(stored_with(studio, report, TOLERANCE))
    assert (near.verdict, near.max_difference) == ("within tolerance", TOLERANCE)
    assert near.psnr is not None and near.psnr > 40
    far = studio.replay(stored_with(studio, report, 40))
    assert (far.verdict, far.max_difference) == ("different", 40)
    assert "40 of 255" in far.words()


def test_a_replay_works_when_the_stored_file_is_gone(studio: Studio, report: Report) -> None:
    generation = report.outputs[0].generation
    studio.history.picture("local", generation).unlink()
    assert studio.replay(generation).verdict == "equal"


def test_changed_ingredients_are_named() -> None:
    before = {
        "nodes": {"a": {"kind": "k", "version": 1, "code": "x"}},
        "versions": {"torch": "2.8"},
        "plugins": [{"name": "p", "version": "1", "digest": "d"}],
        "device": "cpu",
        "dtype": "float32",
        "model": {"digest": "m"},
        "schema": 1,
    }
    now = json.loads(json.dumps(before))
    assert changed(before, now) == []
    now["nodes"]["a"]["code"] = "y"
    now["versions"]["torch"] = "2.13"
    now["plugins"][0] |= {"version": "2", "digest": "e"}
    now |= {"device": "cuda", "dtype": "bfloat16", "model": {"digest": "n"}, "schema": 2}
    assert [change.what for change in changed(before, now)] == [
        "node 'a': code",
        "plugin 'p': version",
        "plugin 'p': digest",
        "library torch",
        "device",
        "dtype",
        "model weights",
        "document schema",
    ]


def test_a_model_replaced_under_its_name_is_noticed(
    studio: Studio, report: Report, tiny_sd3_folder: Path
) -> None:
    old = studio.history.show("local", report.outputs[0].generation)
    record = old.record
    record["model"] = {**dict(record["model"]), "digest": "0" * 64}  # type: ignore[call-overload]
    assert [c.what for c in changed(record, old.record)] == ["model weights"]

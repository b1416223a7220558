"""The localiser: exact scores, honest counts, and nothing painted twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.errors import StudioError
from studio.evaluate import localiser
from studio.evaluate.localiser import key_of, localise, scores
from studio.models.embedded import DEFAULT, list_embedded

embedded = pytest.mark.skipif(DEFAULT not in [m.ref for m in list_embedded()], reason="no embedded model")


def test_the_score_is_the_mean_of_flipped_times_likeness() -> None:
    # four cases, three blocks: (flipped, dB of the rest)
    cases = [
        [[0, 50.0], [1, 30.0], [1, 10.0]],
        [[0, 50.0], [1, 20.0], [1, 12.0]],
        [[0, 60.0], [1, 30.0], [0, 40.0]],
        [[0, 60.0], [0, 60.0], [1, 10.0]],
    ]
    found = scores(cases, 1)
    assert [w["sites"] for w in found["windows"]] == [[0], [1], [2]]
    assert [w["score"] for w in found["windows"]] == [0.0, 20.0, 8.0]
    assert [w["flips"] for w in found["windows"]] == [0.0, 0.75, 0.75]
    assert found["windows"][0]["psnr"] == 55.0 and found["best"] == [1]
    low, high = found["windows"][1]["interval"]
    assert low < 0.75 < high
    assert found["agreement"] == 0.5


def test_where_nothing_flips_nothing_is_best_and_windows_name_their_blocks() -> None:
    found = scores([[[0, 50.0], [0, 30.0]]], 2)
    assert found["best"] == [] and [w["sites"] for w in found["windows"]] == [[0, 1], [1, 2]]
    assert scores([], 1) == {"windows": [], "best": [], "agreement": None}


def test_results_that_were_measured_otherwise_have_another_key() -> None:
    given = {"what": "colour", "window": 1, "start": 0.0}
    assert key_of(given) == "colour"
    assert key_of({**given, "window": 2, "start": 0.3}) == "colour, window 2, from 0.3"


def test_what_cannot_be_looked_for_is_refused_with_the_nearest() -> None:
    with pytest.raises(StudioError, match="Did you mean 'colour'"):
        localise("color")


@pytest.mark.model
@embedded
def test_a_stopped_search_goes_on_and_a_window_must_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"folder": tmp_path, "steps": 1, "size": (64, 64), "cfg_scale": 1.0, "objects": 1}
    with pytest.raises(StudioError, match="window of 99"):
        localise("colour", 1, window=99, **settings)
    first = localise("colour", 2, **settings)
    assert first["n"] + first["unusable"] == 2
    (written,) = tmp_path.glob("localise-*.jsonl")
    assert [json.loads(line)["case"] for line in written.read_text().splitlines()] == [0, 1]

    def refuse(*_: object) -> None:
        raise AssertionError("a scene was painted again")

    with monkeypatch.context() as patch:
        patch.setattr(localiser, "judge", refuse)
        assert localise("colour", 2, **settings) == first


@pytest.mark.model
@embedded
def test_every_window_is_judged_where_the_plain_picture_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # whether the model can paint is not the matter here: every picture counts as right
    monkeypatch.setattr(localiser, "source_is_right", lambda case, seen: True)
    settings = {"folder": tmp_path, "steps": 1, "size": (64, 64), "cfg_scale": 1.0, "objects": 1}
    found = localise("kind", 1, window=2, **settings)
    assert found["n"] == 1 and len(found["windows"]) >= 2
    assert all(len(w["sites"]) == 2 and 0 <= w["psnr"] <= 60 for w in found["windows"])

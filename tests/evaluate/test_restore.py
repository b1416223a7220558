"""`eval restore` and `eval start-noise`: rows that can be read, on few steps; that the model helps, once."""

from __future__ import annotations

import math

import pytest

from studio.errors import StudioError
from studio.evaluate.restore import PROBLEMS, case_of, evaluate, search_noise
from studio.models.embedded import DEFAULT
from studio.models.family import parts_of
from studio.models.loading import ModelStore

pytestmark = pytest.mark.model


def test_the_model_brings_a_small_picture_back_better_than_lanczos() -> None:
    (row,) = evaluate(1, only="small.flowchef", steps=6, repeats=2)
    assert (row["problem"], row["method"], row["n"], row["known_kept"]) == ("small", "flowchef", 1, None)
    assert (
        row["psnr_db"] > row["without_psnr_db"] and row["better"] == 1 and row["ssim"] > row["without_ssim"]
    )
    assert (
        row["data"] < row["data_first"]
        and row["cpu_seconds"] > 0
        and row["gflop"] > 10
        and list(row)[-1] == "limit_seconds"
    )


def test_known_pixels_are_kept_and_both_methods_have_a_row() -> None:
    rows = evaluate(1, only="hole", steps=2, repeats=1, red_steps=3)
    assert [row["method"] for row in rows] == ["flowchef", "red_diff"]
    assert all(row["known_kept"] is True and math.isfinite(row["psnr_db"]) for row in rows)
    assert rows[0]["data"] == 0


def test_a_noise_is_found_and_told_with_held_out_pictures() -> None:
    found = search_noise(1, candidates=2, steps=1, repeats=1)
    assert found["seed"] in found["seeds"] == [1, 2] and found["n"] == 1
    assert found["distances"][found["seed"] - 1] == min(found["distances"])
    assert len(found["held_out"]) == 2 and "shrink 4" in found["key"] and found["kind"] == "start_noise"


def test_cases_are_pure_functions_of_their_number() -> None:
    parts = parts_of(ModelStore().load(DEFAULT))
    for problem in PROBLEMS:
        one, again, other = (case_of(parts, problem, number, (64, 64)) for number in (5, 5, 6))
        assert one.truth == again.truth != other.truth and one.known.image == again.known.image
        assert one.known.difference(one.truth) < 1e-5


@pytest.mark.parametrize("only", ["smal", "small.euler"])
def test_unknown_names_are_refused(only: str) -> None:
    with pytest.raises(StudioError, match="no problem or method"):
        evaluate(1, only=only)
    with pytest.raises(StudioError, match="no problem"):
        search_noise(1, problem=only)

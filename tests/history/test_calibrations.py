"""Measurements of models: kept by the digest of the weights, read back, damaged rows passed over."""

from __future__ import annotations

import pytest

from studio.db.open import Db
from studio.errors import StudioError
from studio.history.calibrations import Calibrations
from studio.history.store import History

ONE, OTHER = "a" * 64, "b" * 64


def test_a_result_is_read_back_for_its_own_weights_alone(db: Db, history: History) -> None:
    kept = history.calibrations
    kept.put(ONE, "map_blocks", "scenes", {"chosen": [3, 2], "n": 7})
    kept.put(ONE, "localiser", "colour", {"best": [5]})
    assert Calibrations(db).get(ONE, "map_blocks", "scenes") == {"chosen": [3, 2], "n": 7}
    assert kept.get(OTHER, "map_blocks", "scenes") is None
    assert kept.get(ONE, "map_blocks", "other") is None
    assert kept.all(ONE, "localiser") == {"colour": {"best": [5]}}


def test_a_new_result_takes_the_place_of_the_old_one(history: History) -> None:
    history.calibrations.put(ONE, "map_blocks", "scenes", {"chosen": [1]})
    history.calibrations.put(ONE, "map_blocks", "scenes", {"chosen": [2]})
    assert history.calibrations.all(ONE, "map_blocks") == {"scenes": {"chosen": [2]}}


@pytest.mark.parametrize("text", ["{", "[1]", "null"])
def test_a_damaged_row_counts_as_not_measured(db: Db, history: History, text: str) -> None:
    db.execute("INSERT INTO calibrations VALUES (?, 'map_blocks', 'scenes', ?)", (ONE, text))
    assert history.calibrations.get(ONE, "map_blocks", "scenes") is None
    assert history.calibrations.all(ONE, "map_blocks") == {}


def test_what_is_no_digest_and_what_is_no_number_is_refused(history: History) -> None:
    with pytest.raises(StudioError, match="not the digest"):
        history.calibrations.put("latest", "map_blocks", "scenes", {})
    with pytest.raises(ValueError, match="JSON"):
        history.calibrations.put(ONE, "map_blocks", "scenes", {"score": float("nan")})

"""How much seeds differ: the table, its arithmetic, and that a second evaluation draws nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

import studio.evaluate.diversity as diversity
from studio.errors import StudioError
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.tiny import save_tiny
from tests.models.test_lora import factors, written


@pytest.fixture(scope="module")
def turbo(tmp_path_factory):
    """The folder of a few-step LoRA over a miniature, with cards as the embedded ones have."""
    folder = tmp_path_factory.mktemp("models")
    base = save_tiny("sd3", folder / "base")
    settings = {"steps": 5, "cfg_scale": 2.0, "shift": 3.0, "size": [32, 32], "max_sequence_length": 12}
    (base / "card.json").write_text(json.dumps(settings))
    own = folder / "turbo"
    stored = factors(parts_of(ModelStore(device="cpu").load(str(base))))
    written(own / "pytorch_lora_weights.safetensors", stored)
    preset = {"steps": 4, "most": 8, "cfg": False, "spacing": "flow"}
    card = {"title": "Turbo", "kind": "lora", "base": str(base), "preset": preset}
    (own / "card.json").write_text(json.dumps(card))
    return own


def test_a_row_for_each_way_with_its_calls(turbo, tmp_path):
    told = []
    rows = diversity.evaluate(
        2, ref=str(turbo), seeds=3, folder=tmp_path, progress=lambda done, of: told.append((done, of))
    )
    assert [row["way"] for row in rows] == list(diversity.WAYS)
    base, turbo_row, relay, long = rows
    assert (base["forwards"], turbo_row["forwards"], relay["forwards"]) == (5, 4, 4)
    # the base's own list down to the second level of the short one, then three steps
    assert long["forwards"] >= 4 and all(row["n"] == 2 and row["distance"] > 0 for row in rows)
    assert told[-1] == (8, 8) and all(0 <= row["share"] <= 1 for row in rows)


def test_a_second_evaluation_draws_nothing_and_other_settings_are_not_mixed(turbo, tmp_path, monkeypatch):
    first = diversity.evaluate(1, ref=str(turbo), seeds=2, folder=tmp_path, only="relay")
    drawn = []
    real = diversity.draw
    monkeypatch.setattr(diversity, "draw", lambda *given: drawn.append(given) or real(*given))
    assert diversity.evaluate(1, ref=str(turbo), seeds=2, folder=tmp_path, only="relay") == first
    assert not drawn
    diversity.evaluate(1, ref=str(turbo), seeds=2, folder=tmp_path, only="relay", steps=8)
    assert len(drawn) == 2


def test_distance_is_the_mean_over_pairs():
    one, other, third = (np.full((4, 4), value) for value in (0.0, 0.5, 1.0))
    assert diversity.apart([one, other, third]) == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert diversity.apart([one, one]) == 0 and diversity.apart([one]) == 0


def test_a_model_that_was_made_from_no_other_is_refused(tmp_path):
    with pytest.raises(StudioError, match="no few-step model"):
        diversity.evaluate(1, ref="tiny:sd3", folder=tmp_path)
    with pytest.raises(StudioError, match="no way"):
        diversity.evaluate(1, ref="tiny:sd3", base="tiny:sd3", only="nothing", folder=tmp_path)

"""The evaluation of prompts: real drawings, an honest count, and nothing drawn twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.evaluate import prompts
from studio.models.embedded import DEFAULT, list_embedded

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(DEFAULT not in [m.ref for m in list_embedded()], reason="no embedded model here"),
]


def test_every_group_is_counted_and_a_second_evaluation_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prompts.evaluate(5, folder=tmp_path, steps=2)
    assert [first[group]["n"] for group in prompts.GROUPS] == [2, 1, 1, 1]
    assert all(0 <= first[group]["all_right"] <= first[group]["n"] for group in prompts.GROUPS)
    (written,) = tmp_path.glob("prompts-*.jsonl")
    rows = [json.loads(line) for line in written.read_text().splitlines()]
    assert len({row["prompt"] for row in rows}) == 5

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a prompt was drawn again")

    with monkeypatch.context() as patch:
        patch.setattr(prompts, "draw", refuse)
        assert prompts.evaluate(5, folder=tmp_path, steps=2) == first
    written.write_text(written.read_text()[:-20])  # as a crash leaves it: the last row is cut
    assert prompts.evaluate(5, folder=tmp_path, steps=2) == first


def test_results_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    prompts.evaluate(1, folder=tmp_path, steps=1)
    prompts.evaluate(1, folder=tmp_path, steps=2)
    assert len(list(tmp_path.glob("prompts-*.jsonl"))) == 2


def test_a_summary_counts_what_is_right_and_gives_an_interval_that_holds_the_share() -> None:
    rows = [{"all_right": right, "properties": {"colour": [right, 1]}} for right in (True, True, False, True)]
    got = prompts.summary(rows)
    assert (got["n"], got["all_right"], got["share"]) == (4, 3, 0.75)
    low, high = got["interval"]
    assert 0 < low < 0.75 < high < 1
    assert got["properties"] == {"colour": 0.75}

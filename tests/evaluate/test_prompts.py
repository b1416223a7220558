"""The evaluation of prompts: real drawings, an honest count, and nothing drawn twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.errors import StudioError
from studio.evaluate import prompts
from studio.models.embedded import DEFAULT, list_embedded
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.scenes.caption import held_out_prompts
from studio.scenes.detect import detect
from studio.scenes.score import score

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


def test_the_sampler_is_the_cards_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    own = prompts.draw

    def draw(*given: object, **settings: object) -> object:
        asked.append(str(settings["sampler"]))
        return own(*given, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(prompts, "draw", draw)
    prompts.evaluate(1, folder=tmp_path, steps=1)
    prompts.evaluate(1, folder=tmp_path, steps=1, sampler="heun")
    turbo = prompts.evaluate(1, ref="embedded:scenes-sd3-turbo", folder=tmp_path)
    assert asked == ["dpmpp_2m_sde", "heun", "euler"] and turbo["settings"]["steps"] == 4
    with pytest.raises(StudioError, match="No sampler called 'hein'") as caught:
        prompts.evaluate(1, folder=tmp_path, steps=1, sampler="hein")
    assert "heun" in str(caught.value.hint)


# A ring that should be dotted, a circle and a cup of which only the relation is said, a dotted heart. New
# weights may want others.
@pytest.mark.parametrize("case", [4, 9, 1])
def test_new_noise_draws_right_what_euler_draws_wrong(case: int) -> None:
    model = ModelStore().load(DEFAULT)
    settings = prompts.settings_of(model)
    prompt, wanted, _ = held_out_prompts(case + 1)[case]
    right = {
        name: score(
            detect(prompts.draw(parts_of(model), prompt, seed=case, **settings | {"sampler": name})), wanted
        )
        for name in ("euler", settings["sampler"])
    }
    assert not right["euler"].all_right and right["dpmpp_2m_sde"].all_right


def test_a_summary_counts_what_is_right_and_gives_an_interval_that_holds_the_share() -> None:
    rows = [{"all_right": right, "properties": {"colour": [right, 1]}} for right in (True, True, False, True)]
    got = prompts.summary(rows)
    assert (got["n"], got["all_right"], got["share"]) == (4, 3, 0.75)
    low, high = got["interval"]
    assert 0 < low < 0.75 < high < 1
    assert got["properties"] == {"colour": 0.75}

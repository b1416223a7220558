"""`eval blocks` and `eval localise` on the command line."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli


def test_what_does_not_belong_to_a_measure_is_refused(cli: Cli) -> None:
    said = cli("eval", "blocks", "--only", "colour")
    assert said.code == 2 and "--only belongs to" in said.err


def test_an_unknown_sort_of_content_is_refused_with_the_nearest(cli: Cli) -> None:
    said = cli("eval", "localise", "--only", "color", "--json")
    assert said.code == 1 and "Did you mean 'colour'" in said.json["error"]["hint"]


@pytest.mark.model
@pytest.mark.slow
def test_a_measured_ranking_is_kept_for_the_model(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.db.open import open_home
    from studio.evaluate import block_selection
    from studio.history.store import History
    from studio.settings import Settings

    # whether the model can paint is not the matter here: the first object that is seen counts as named
    monkeypatch.setattr(block_selection, "find", lambda seen, thing: next(iter(seen.objects), None))
    said = cli("eval", "blocks", "--cases", 1, "--json")
    assert said.code == 0
    made = said.json
    with open_home(Settings.from_environ().home) as db:
        kept = History(db).calibrations.get(made["model"]["digest"], "map_blocks", "scenes")
    assert kept == (made if made["n"] else None)
    assert bool(made["blocks"]) == bool(made["n"])

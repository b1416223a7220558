"""`eval schedule` on the command line."""

from __future__ import annotations

from studio.db.open import open_home
from studio.history.store import History
from studio.sampling.search.stored import read
from studio.settings import Settings
from tests.cli.conftest import Cli


def test_what_does_not_belong_to_a_search_is_refused(cli: Cli) -> None:
    assert cli("eval", "schedule", "--only", "colour").code == 2
    assert cli("eval", "schedule", "--steps", "0").code == 2
    said = cli("eval", "schedule", "--model", "tiny:sd3", "--steps", 41, "--cases", 1, "--json")
    assert said.code == 1 and "fine run of 40 steps" in said.json["error"]["message"]


def test_what_was_found_is_kept_for_the_model(cli: Cli) -> None:
    said = cli("eval", "schedule", "--model", "tiny:sd3", "--steps", 2, "--cases", 1, "--json")
    assert said.code == 0, said.err
    made = said.json
    assert made["cost"] <= made["even_cost"] and len(made["sigmas"]) == 3
    with open_home(Settings.from_environ().home) as db:
        kept = History(db).calibrations.get(made["model"]["digest"], made["kind"], made["key"])
    assert kept == made
    sigmas = read(kept)
    assert sigmas is not None and list(sigmas.values) == made["sigmas"]


def test_prompts_are_judged_in_as_many_steps_as_asked(cli: Cli) -> None:
    given = ("eval", "prompts", "--model", "tiny:sd3", "--cases", 1, "--json")
    assert cli(*given, "--steps", 3).json["settings"]["steps"] == 3
    assert cli(*given).json["settings"]["steps"] != 3

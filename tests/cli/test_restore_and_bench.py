"""`eval restore`, `eval start-noise`, `bench all`, `bench shapes`, `bench upscale` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.cli import bench
from studio.db.open import open_home
from studio.history.store import History
from studio.sampling.search.start_noise import read
from studio.settings import Settings
from tests.cli.conftest import Cli


def test_the_found_noise_is_kept_for_the_model_and_found_again(cli: Cli) -> None:
    call = (
        "eval",
        "start-noise",
        "--model",
        "tiny:sd3",
        "--cases",
        1,
        "--candidates",
        2,
        "--steps",
        1,
        "--json",
    )
    said = cli(*call)
    assert said.code == 0, said.err
    made = said.json
    with open_home(Settings.from_environ().home) as db:
        kept = History(db).calibrations.get(made["model"]["digest"], made["kind"], made["key"])
    assert kept == made and read(kept) == made["seed"]
    again = cli(*call).json
    assert again["seed"] == made["seed"] and again["distances"] == made["distances"]


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        (("eval", "restore", "--only", "smal"), 1, "Did you mean 'small'"),
        (("eval", "restore", "--cases", "0"), 2, "whole number"),
        (("eval", "start-noise", "--only", "flowchef"), 1, "no problem"),
        (("bench", "shapes", "--device", "cpu"), 1, "--device cuda"),
        (("bench", "shapes", "--only", "sd4"), 1, "no shape"),
        (("bench", "all", "--only", "cach"), 1, "Did you mean 'cache'"),
        (("bench", "upscale", "--only", "x"), 2, "--only belongs"),
    ],
)
def test_what_cannot_be_is_refused(cli: Cli, call: tuple[str, ...], code: int, said: str) -> None:
    done = cli(*call)
    assert done.code == code and said in done.err


@pytest.mark.model
def test_one_part_of_all_writes_page_data_and_chart(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "bench", "all", "--only", "upscale,shapes", "--cases", 1, "--out", str(tmp_path), "--device", "cpu"
    )
    assert done.code == 0, done.err
    page = (tmp_path / "benchmarks.md").read_text()
    assert "Not measured: True shapes" in page and "pictures/bench-upscale.png" in page
    assert (tmp_path / "pictures" / "bench-upscale.png").is_file()


def test_what_a_library_says_while_it_is_measured_does_not_get_into_the_json(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(args: object, tell: object) -> list[dict[str, int]]:
        print("[Cache-DiT] enabled")
        return [{"together": 1}]

    monkeypatch.setitem(bench.BENCHES, "batch", (noisy, bench.BENCHES["batch"][1]))
    done = cli("bench", "batch", "--json")
    assert done.json == [{"together": 1}] and "[Cache-DiT]" in done.err

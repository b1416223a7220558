"""`bench cache` on the embedded model, where a picture means something. Nothing here is about time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from studio.errors import StudioError
from studio.evaluate.cache_bench import CALIBRATION, Runs, bench_cache
from studio.evaluate.cache_steps import Recorder, searched
from studio.evaluate.pictures import psnr
from studio.models.embedded import DEFAULT
from studio.nodes.step_cache import step_cache


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Runs(DEFAULT, 20)


def test_the_nodes_own_settings_halve_the_work_and_keep_the_picture(runs: Runs) -> None:
    prompt = "a red star on the left and a blue house on the right, at night"
    truth, cached = runs.make(prompt, 1)[0], runs.make(prompt, 1, [step_cache()])[0]
    (told,) = cached.report["followers"]  # type: ignore[misc]
    assert told["work"] <= 0.6 and 0 < told["error_estimate"] < 1
    assert psnr(runs.picture(truth), runs.picture(cached)) >= 30


def test_rows_of_the_table() -> None:
    rows = bench_cache(cases=1, steps=(8,), only="taylor 2, order 1")
    (row,) = rows
    wanted = ("model", "mode", "steps", "speedup", "psnr_db", "judge_before", "judge_after")
    assert set(wanted) <= set(row) and (row["model"], row["steps"]) == (DEFAULT, 8)
    assert all(isinstance(row[name], float) and math.isfinite(row[name]) for name in wanted[3:])  # type: ignore[arg-type]
    assert row["work"] < 1 and not row["bit_equal"]  # type: ignore[operator]
    (off,) = bench_cache(cases=1, steps=(5,), only="off")
    assert off["bit_equal"] and off["psnr_db"] == 99 and off["work"] == 1


def test_diffusers_first_block_cache_crashes_on_sd3_and_is_a_row() -> None:
    (row,) = bench_cache(cases=1, steps=(6,), only="diffusers first block")
    assert "TypeError" in str(row["error"]) and "speedup" not in row


def test_the_recorder_keeps_every_steps_residual_and_changes_nothing(runs: Runs) -> None:
    recorder = Recorder()
    seen, plain = (runs.make(CALIBRATION, 5, more)[0] for more in ([recorder.attachment], []))
    assert torch.equal(seen.latent.tensor, plain.latent.tensor)  # type: ignore[arg-type]
    assert len(recorder.features) == 20
    found = searched(recorder.features, 9, warm=4)
    assert len(found) == 9 and found[:4] == (0, 1, 2, 3) and max(found) < 20


@pytest.mark.parametrize(
    ("more", "match"), [({"cases": 0}, "0 cases"), ({"cases": 101}, "101 cases"), ({"only": "x"}, "no mode")]
)
def test_bad_input(more: dict[str, Any], match: str) -> None:
    with pytest.raises(StudioError, match=match):
        bench_cache(**({"cases": 1, "steps": (5,)} | more))

"""The figures of `bench plain` are measured on real runs."""
from __future__ import annotations

import sys

import pytest

from studio.errors import StudioError
from studio.evaluate.plain_bench import bench_plain, peak_memory
from studio.models.tiny import TEXT_LENGTH, tiny_flux_pipeline


def test_both_sides_make_the_same_picture_and_every_figure_is_there(tiny_sd3_folder):
    found = bench_plain(str(tiny_sd3_folder), pairs=2, steps=2, size=(64, 64), memory=False)
    assert found["largest_difference"] <= 1
    assert 0.05 < found["wall_ratio"] < 20 and found["seconds_per_picture"] > 0
    assert found["memory_ratio"] is None and len(found["wall_ratios"]) == 2


@pytest.mark.parametrize("dynamic", [False, True])
def test_flux_is_measured_beside_its_own_pipeline(tmp_path, dynamic):
    tiny_flux_pipeline(dynamic=dynamic).save_pretrained(tmp_path, safe_serialization=True)
    (tmp_path / "card.json").write_text(f'{{"max_sequence_length": {TEXT_LENGTH}}}')
    found = bench_plain(str(tmp_path), pairs=1, steps=2, size=(64, 96), memory=False)
    assert found["largest_difference"] <= 1 and found["guidance"] == 3.0 and "cfg_scale" not in found


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak memory")
def test_peak_memory_is_that_of_the_fresh_process(tiny_sd3_folder):
    ballast = bytearray(b"x" * 900_000_000)
    peak = peak_memory("ours", tiny_sd3_folder, 1, (64, 64))
    assert 100e6 < peak < 900e6
    assert len(ballast) == 900_000_000


def test_no_pairs_are_refused(tiny_sd3_folder):
    with pytest.raises(StudioError, match="cannot be measured"):
        bench_plain(str(tiny_sd3_folder), pairs=0)

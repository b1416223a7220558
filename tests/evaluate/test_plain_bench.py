"""The figures of `bench plain` are measured on real runs."""
from __future__ import annotations

import sys

import pytest

from studio.errors import StudioError
from studio.evaluate.plain_bench import bench_plain, peak_memory


def test_both_sides_make_the_same_picture_and_every_figure_is_there(tiny_sd3_folder):
    found = bench_plain(str(tiny_sd3_folder), pairs=2, steps=2, size=(64, 64), memory=False)
    assert found["largest_difference"] <= 1
    assert 0.05 < found["wall_ratio"] < 20 and found["seconds_per_picture"] > 0
    assert found["memory_ratio"] is None and len(found["wall_ratios"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak memory")
def test_peak_memory_is_that_of_the_fresh_process(tiny_sd3_folder):
    ballast = bytearray(b"x" * 900_000_000)
    peak = peak_memory("ours", tiny_sd3_folder, 1, (64, 64))
    assert 100e6 < peak < 900e6
    assert len(ballast) == 900_000_000


def test_no_pairs_are_refused(tiny_sd3_folder):
    with pytest.raises(StudioError, match="cannot be measured"):
        bench_plain(str(tiny_sd3_folder), pairs=0)

"""`bench all`: data, page and charts are written part by part; what fails is told and the rest goes on."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from studio.errors import StudioError
from studio.evaluate import plain_bench
from studio.evaluate.bench_all import DATA, PAGE, PARTS, Wanted, bench_all, draw_charts, table
from studio.evaluate.charts import Bar, Point, _free, _within, bars, curve
from studio.evaluate.upscale_bench import bench_upscale

ROW: dict[str, Any] = {
    "model": "embedded:x",
    "steps": 28,
    "speedup": 1.5,
    "psnr_db": 40.0,
    "limit_seconds": 0.1,
}


def few(**found: Any) -> dict[str, Any]:
    """Parts that give these rows, or raise."""

    def run(name: str) -> Any:
        def give(wanted: Wanted, tell: Any) -> Any:
            if isinstance(found[name], StudioError):
                raise found[name]
            return found[name]

        return give

    return {name: (f"Title of {name}", run(name)) for name in found}


def test_a_part_that_fails_is_told_and_the_others_are_there(tmp_path: Path) -> None:
    cache = [
        {**ROW, "mode": "first"},
        {**ROW, "mode": "diffusers other", "speedup": 2.0},
        {"mode": "z", "error": "E"},
    ]
    parts = few(shapes=StudioError("There is no GPU."), cache=cache)
    told: list[str] = []
    data = bench_all(tmp_path, Wanted(cases=2), progress=told.append, parts=parts)
    assert data == json.loads((tmp_path / DATA).read_text()) and "rows" in data["cache"]
    page = (tmp_path / PAGE).read_text()
    assert (
        "Not measured: There is no GPU." in page
        and "| 1.5 | first | – | 0.1 |" in page
        and "| – | z | E | – |" in page
    )
    assert "model embedded:x" in page and "2 cases" in page
    (chart,) = (tmp_path / "pictures").iterdir()
    assert f"pictures/{chart.name}" in page and chart.stat().st_size < 40_000
    assert any("no GPU" in line for line in told)


def test_parts_that_are_not_made_anew_stay_and_a_gpus_figures_are_not_lost(tmp_path: Path) -> None:
    bench_all(tmp_path, parts=few(engine=[{"a": 1}], judge=[{"b": 2}, {"b": 3}]))
    data = bench_all(
        tmp_path, only=["engine"], parts=few(engine=StudioError("No."), judge=[{"b": 9}, {"b": 9}])
    )
    assert data["engine"]["rows"] == [{"a": 1}] and "No." in data["engine"]["tried"]
    assert data["judge"]["rows"] == [{"b": 2}, {"b": 3}]


def test_bad_calls_and_damaged_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="no part 'cach'") as caught:
        bench_all(tmp_path, only=["cach"])
    assert "cache" in caught.value.hint
    for text in ("{", "[]"):
        (tmp_path / DATA).write_text(text)
        with pytest.raises(StudioError, match=DATA):
            bench_all(tmp_path, only=["engine"], parts=few(engine=[{}]))
        assert (tmp_path / DATA).read_text() == text


def test_the_limit_is_the_last_column_and_what_is_equal_stands_once() -> None:
    made = table([{"limit_seconds": 0.1, "x": 1, "same": "s"}, {"limit_seconds": 0.2, "x": 2, "same": "s"}])
    assert made.startswith("All rows: same s.") and "| x | limit_seconds |" in made
    assert "| 2 | 0.2 |" in made and "| a.b | 1 |" in table([{"a": {"b": 1}}])


def test_the_limit_stays_last_beside_rows_that_failed() -> None:
    failed = {"model": "b", "error": "No pipeline."}
    for rows in (
        [{"model": "a", "limit_seconds": 0.1, "x": 1}, failed],
        [failed, {"x": 1, "limit_seconds": 0.1}],
    ):
        head = next(line for line in table(rows).splitlines() if line.startswith("| "))
        assert head.endswith("| limit_seconds |") and " error " in head and " model " in head


def test_both_embedded_models_are_measured_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(ref: str, *, pairs: int, steps: int) -> dict[str, Any]:
        if ref.endswith("flux"):
            raise StudioError("No pipeline.")
        return {"model": ref, "pairs": pairs}

    monkeypatch.setattr(plain_bench, "bench_plain", measured)
    _, plain = PARTS["plain"]
    assert plain(Wanted(pairs=2), print) == [
        {"model": "embedded:scenes-sd3", "pairs": 2},
        {"model": "embedded:scenes-flux", "error": "No pipeline."},
    ]
    assert [row["model"] for row in plain(Wanted("tiny:sd3"), print)] == ["tiny:sd3"]
    with pytest.raises(StudioError):
        plain(Wanted("tiny:flux"), print)


def test_a_part_tells_only_what_counted(tmp_path: Path) -> None:
    bench_all(
        tmp_path, Wanted(cases=1, pairs=3), parts=few(control=[{"a": 1}], judge=[{"a": 1}], engine=[{"a": 1}])
    )
    control, judge, engine = (tmp_path / PAGE).read_text().split("\n## ")[1:]
    assert "; 3 pairs." in control and "case" not in control
    assert "; 1 case." in judge and "pair" not in judge
    assert "case" not in engine and "pair" not in engine


def test_every_part_of_the_list_is_there() -> None:
    assert {
        "plain",
        "control",
        "tau",
        "cache",
        "prefix",
        "batch",
        "upscale",
        "restore",
        "shapes",
        "engine",
        "history",
        "judge",
    } <= set(PARTS)


@pytest.mark.model
def test_the_upscalers_rows_on_one_scene() -> None:
    rows = bench_upscale(1, size=64)
    assert [(row["input"], row["scale"], row["passes"]) for row in rows] == [
        ("drawn", 2, 1), ("shrunk", 2, 1), ("drawn", 4, 2), ("shrunk", 4, 2)
    ]  # fmt: skip
    assert all(row["gflop"] > 0 and list(row)[-1] == "limit_seconds" for row in rows)
    assert all(20 < row["psnr_db"] < 60 and 0.5 < row["lanczos_ssim"] < 1 for row in rows)
    with pytest.raises(StudioError, match="0 cases"):
        bench_upscale(0)


def test_the_sweep_of_tau_is_drawn_as_a_curve(tmp_path: Path) -> None:
    common = {"model": "embedded:m", "n": 8, "preserved": 1.0, "ssim_outside": 0.9}
    rows = [
        {**common, "what": what, "tau": tau, "success": 1 - tau, "psnr_outside": 20 + 30 * tau}
        for what in ("colour", "kind")
        for tau in (0.0, 0.2, 0.8)
    ]
    nothing = {**common, "what": "kind", "tau": 0.9, "n": 0, "success": None, "psnr_outside": None}
    assert draw_charts({"tau": {"rows": [*rows, nothing]}}, tmp_path)["tau"] == [
        "bench-tau-success.png",
        "bench-tau-psnr.png",
    ]
    for name in ("success", "psnr"):
        with Pillow.open(tmp_path / f"bench-tau-{name}.png") as picture:
            colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 16) or ()}
        assert {(0, 114, 178), (213, 94, 0)} <= colours


def test_charts_have_their_points_and_refuse_nothing_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "c.png"
    curve(path, "t", "x", "y", {"a": [Point(1, 1, "one"), Point(1, 1, "same")], "b": [Point(2, 0.5, "two")]})
    with Pillow.open(path) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 16) or ()}
    assert {(0, 114, 178), (213, 94, 0)} <= colours
    bars(path, "t", "s", [Bar("a", 0.0), Bar("b", 3.0, 1.0)])
    for draw in (lambda: curve(path, "t", "x", "y", {"a": []}), lambda: bars(path, "t", "s", [])):
        with pytest.raises(ValueError, match="no "):
            draw()


def test_two_sides_have_two_colours_and_points_far_above_do_not_stretch_the_axis(tmp_path: Path) -> None:
    path = tmp_path / "c.png"
    bars(path, "t", "dB", [Bar("a", 37.6, side="Weft"), Bar("", 35.8, side="Lanczos")], decibels=True)
    with Pillow.open(path) as picture:
        drawn = picture.convert("RGB")
    count = {colour: n for n, colour in drawn.getcolors(1 << 16) or ()}
    wide = [count[colour] for colour in ((0, 114, 178), (0, 158, 115))]
    assert 0.6 < wide[1] / wide[0] < 0.85, "the difference of 1.8 dB is seen"
    points = [Point(1 + k / 10, 20 + k, f"{k}") for k in range(6)]
    found, cut = _within({"a": [*points, Point(1, 99, "off")]})
    assert found["a"][:6] == points and 25 < found["a"][6].y < 27 and cut == {found["a"][6]: 99}
    assert _within({"a": points}) == ({"a": points}, {})
    taken = [(100.0, 100.0), (104.0, 100.0), (100.0, 104.0)]
    labels = [_free(at, taken) for at in taken[:3]]
    assert all(math.dist(a, b) >= 12 for a, b in itertools.combinations(labels, 2))

"""sweep: a picture for each combination and a sheet, nothing twice, wrong axes named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.pixels import read_picture


@pytest.fixture
def flow(workflow, tiny_sd3_folder, tmp_path: Path) -> Path:
    small = {"model": str(tiny_sd3_folder), "width": 64, "height": 64, "steps": 2}
    for node in workflow["nodes"]:
        node["widgets"].update({name: value for name, value in small.items() if name in node["widgets"]})
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(workflow), "utf-8")
    return path


def test_a_sweep_writes_its_pictures_and_a_sheet_and_makes_nothing_twice(cli, flow, tmp_path):
    axes = ("--axis", "canvas.seed=*2", "--axis", "prompt:red->blue,green")
    said = cli("sweep", flow, *axes, "--out", tmp_path / "out", "--json")
    assert said.code == 0 and said.json["status"] == "finished"
    assert said.json["forecast"] == {"cells": 4, "there": 0, "to_make": 4, "seconds": None}
    assert {tuple(cell["at"]) for cell in said.json["cells"]} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert {cell["state"] for cell in said.json["cells"]} == {"done"}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"0-0.png", "0-1.png", "1-0.png", "1-1.png", "sheet.png"}
    assert read_picture((tmp_path / "out" / "sheet.png").read_bytes()).width > 128
    more = ("--axis", "canvas.seed=*3", *axes[2:])
    told = cli("sweep", flow, *more, "--plan", "--json").json
    assert (told["status"], told["there"], told["to_make"]) == ("planned", 4, 2) and told["seconds"] > 0
    again = cli("sweep", flow, *more, "--json").json
    assert [cell["state"] for cell in again["cells"]].count("cached") == 4
    made = {tuple(cell["at"]): cell["generations"] for cell in said.json["cells"]}
    assert all(
        {tuple(c["at"]): c["generations"] for c in again["cells"]}[at] == ids for at, ids in made.items()
    )


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ("schedule.steps=2,x", "schedule.steps: Steps: 'x' is not a whole number"),
        ("schedule.stepps=2", "no input 'stepps'"),
        ("schedule.steps=", "there are no values"),
        ("prompt:rad->blue", "“rad” is not in"),
        ("steps", "is no axis"),
        ("canvas.seed=*1001", "more than 1,000 values"),
    ],
)
def test_a_wrong_axis_is_a_bad_call_and_runs_nothing(cli, flow, axis, words):
    said = cli("sweep", flow, "--axis", axis)
    assert said.code == 2 and words in said.err
    assert cli("history", "list", "--json").json["generations"] == []


def test_a_cell_that_fails_is_told_and_the_others_are_made(cli, flow, tiny_sd3_folder):
    said = cli("sweep", flow, "--axis", f"model.model={tiny_sd3_folder},embedded:nobody", "--json")
    states = [cell["state"] for cell in said.json["cells"]]
    assert said.code == 1 and said.json["status"] == "failed" and states == ["done", "error"]
    assert said.json["cells"][1]["error"]["message"]

"""`generate` and `run`: pictures, states, files, the record, the history."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from studio.history.embed import read_embedded
from studio.settings import ROOT

STATES = {"ran", "cached", "skipped", "failed", "cancelled"}


def states(said: Any) -> set[str]:
    return {node["state"] for node in said.json["nodes"].values()}


def test_a_prompt_becomes_a_picture_in_the_file_and_in_the_history(
    cli: Callable[..., Any], tiny: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "star.png"
    said = cli("generate", "a red star", "--out", out, "--seed", 7, "--negative", "blue", *tiny, "--json")
    assert said.code == 0
    assert said.json["status"] == "finished"
    assert said.json["error"] is None
    assert states(said) == {"ran"}
    assert [o["file"] for o in said.json["outputs"]] == [str(out)]
    with Image.open(out) as picture:
        assert picture.size == (64, 64)
    shown = cli("history", "show", said.json["generations"][0], "--json").json
    assert (shown["prompt"], shown["negative"], shown["seed"]) == ("a red star", "blue", 7)
    assert (shown["width"], shown["height"]) == (64, 64)


def test_the_record_is_complete(cli: Callable[..., Any], tiny: tuple[object, ...], tmp_path: Path) -> None:
    said = cli("generate", "a red star", "--out", tmp_path / "a.png", "--seed", 5, *tiny, "--json")
    record = cli("history", "show", said.json["generations"][0], "--json").json["record"]
    assert record["seed"] == 5
    assert len(record["model"]["digest"]) == 64
    assert record["model"]["family"] == "sd3"
    assert {"python", "torch", "diffusers", "transformers", "numpy", "pillow"} <= set(record["versions"])
    assert (record["device"], record["dtype"]) == ("cpu", "float32")
    assert record["plugins"] == []
    assert set(record["nodes"]) == set(said.json["nodes"])
    assert all(len(node["code"]) == 64 and node["key"] for node in record["nodes"].values())
    assert {"sample", "decode", "prompt"} <= set(record["timings"])
    assert record["params"]["schedule"]["steps"] == 2


def test_the_picture_carries_its_workflow_and_runs_again_from_it(
    cli: Callable[..., Any], tiny: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "star.png"
    first = cli("generate", "a red star", "--out", out, "--seed", 7, *tiny, "--json")
    assert "a red star" in read_embedded(out).graph
    again = cli("run", out, "--json")
    # the model's path is private, so it is not in the picture; everything else is
    if again.code == 0:
        assert again.json["generations"] == first.json["generations"]
    else:
        assert "model" in again.json["error"]["message"].casefold()


def test_an_unchanged_run_in_a_second_process_runs_no_node_and_writes_the_file_again(
    cli: Callable[..., Any], tiny: tuple[object, ...], tmp_path: Path, home: Path
) -> None:
    out = tmp_path / "star.png"
    words = ["generate", "a red star", "--out", out, "--seed", 1, *tiny, "--json"]
    first = cli(*words)
    before = out.read_bytes()
    out.unlink()
    environ = os.environ | {"STUDIO_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "studio", *map(str, words)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    second = json.loads(done.stdout)
    assert {node["state"] for node in second["nodes"].values()} == {"cached"}
    assert second["generations"] == first.json["generations"]
    assert out.read_bytes() == before
    assert "\r" not in done.stderr  # no progress bar where there is no terminal


def test_a_cached_picture_whose_stored_file_is_gone_is_written_again(
    cli: Callable[..., Any], tiny: tuple[object, ...], tmp_path: Path, home: Path
) -> None:
    out = tmp_path / "star.png"
    words = ["generate", "a red star", "--out", out, *tiny, "--json"]
    first = cli(*words)
    for stored in (home / "images").rglob("*.png"):
        stored.unlink()
    out.unlink()
    second = cli(*words)
    assert second.code == 0
    assert states(second) == {"cached"}
    assert second.json["generations"] == first.json["generations"]
    assert len(list((home / "images").rglob("*.png"))) == 1
    assert out.is_file()


def test_a_new_name_runs_only_the_save_node(
    cli: Callable[..., Any], tiny_workflow: Path, tmp_path: Path
) -> None:
    cli("run", tiny_workflow, "--json")
    said = cli("run", tiny_workflow, "--set", "save.name=other name", "--out", tmp_path / "out", "--json")
    assert {name for name, node in said.json["nodes"].items() if node["state"] == "ran"} == {"save"}
    assert (tmp_path / "out" / "other name.png").is_file()


def test_a_new_prompt_says_why_nodes_ran(cli: Callable[..., Any], tiny_workflow: Path) -> None:
    cli("run", tiny_workflow, "--json")
    said = cli("run", tiny_workflow, "--set", "prompt.text=a blue house", "--json").json["nodes"]
    assert "text changed" in said["prompt"]["reason"] or "prompt changed" in said["prompt"]["reason"]
    assert said["avoid"]["state"] == "cached"
    assert said["sample"]["state"] == "ran"


def test_without_the_cache_everything_runs_and_gives_the_same_pixels(
    cli: Callable[..., Any], tiny_workflow: Path, tmp_path: Path
) -> None:
    first = cli("run", tiny_workflow, "--json")
    again = cli("run", tiny_workflow, "--no-cache", "--json")
    assert states(again) == {"ran"}
    ids = [*first.json["generations"], *again.json["generations"]]
    shown = [cli("history", "show", generation, "--json").json["pixels"] for generation in ids]
    assert shown[0] == shown[1]


def test_an_unknown_word_is_a_warning_with_what_the_model_knows_also_when_cached(
    cli: Callable[..., Any], tiny: tuple[object, ...], tmp_path: Path
) -> None:
    for _ in range(2):
        said = cli("generate", "a red dragon", "--out", tmp_path / "d.png", *tiny, "--json")
        assert said.code == 0
        assert any("dragon" in text and "star" in text for text in said.json["warnings"])
        assert "dragon" in said.err


def test_other_formats_are_written_by_their_ending(
    cli: Callable[..., Any], tiny: tuple[object, ...], tmp_path: Path
) -> None:
    for name, kind in (("a.jpg", "JPEG"), ("a.webp", "WEBP")):
        assert cli("generate", "star", "--out", tmp_path / name, *tiny).code == 0
        with Image.open(tmp_path / name) as picture:
            assert picture.format == kind


@pytest.mark.parametrize("prompt", ["", "🦄🔥 ✨", "<script>alert(1)</script>", "a\0b", "\ud800"])
def test_strange_prompts_give_a_picture(
    cli: Callable[..., Any], tiny: tuple[object, ...], tmp_path: Path, prompt: str
) -> None:
    said = cli("generate", prompt, "--out", tmp_path / "x.png", *tiny)
    assert said.code in (0, 2)
    if said.code == 0:
        assert (tmp_path / "x.png").is_file()
        assert cli("history", "list").code == 0


def test_ctrl_c_cancels_the_run(cli: Callable[..., Any], tiny_sd3_folder: Path, tmp_path: Path) -> None:
    before, interrupted = set(threading.enumerate()), []

    def interrupt() -> None:  # once a node runs, in a worker of its own
        while not any(t.name.endswith("-worker") for t in set(threading.enumerate()) - before):
            time.sleep(0.02)
        time.sleep(1.0)
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    stop = threading.Thread(target=interrupt, daemon=True)
    stop.start()
    said = cli(
        "generate",
        "star",
        "--out",
        tmp_path / "x.png",
        "--model",
        tiny_sd3_folder,
        "--size",
        "512x512",
        "--steps",
        200,
        "--json",
    )
    stop.join()
    assert said.code == 1
    assert said.json["status"] == "cancelled"
    assert "cancelled" in states(said)
    assert said.json["generations"] == []
    assert not (tmp_path / "x.png").exists()
    assert time.monotonic() - interrupted[0] < 30
    assert cli("history", "list", "--json").json["generations"] == []


def test_what_the_check_warns_of_is_told_after_the_run(
    cli: Callable[..., Any], tiny: tuple[object, ...], tmp_path: Path
) -> None:
    said = cli("generate", "a red star", "--out", tmp_path / "a.png", "--negative", "blue", "--cfg", 1, *tiny)
    assert said.code == 0
    assert "Note: Without a second pass nothing reads what is to be avoided" in said.err
    plain = cli("generate", "a red star", "--out", tmp_path / "b.png", *tiny, "--json")
    assert plain.json["warnings"] == []

"""Bad input through the real command line: a clear message, exit code 1 or 2, no traceback, nothing lost."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from studio.db.disk import Disk

Cli = Callable[..., Any]
OK = {"format": "weft/graph", "version": 1, "nodes": [], "edges": []}
GRAIN = {"kind": "film_grain", "widgets": {}}


@pytest.mark.parametrize(
    ("flag", "value", "named"),
    [
        ("--size", "NaNxNaN", "NaNxNaN"),
        ("--size", "-64x64", "-64"),
        ("--size", "0x0", "64 to 2048"),
        ("--size", "1000000x64", "1000000"),
        ("--size", "100x100", "16"),
        ("--size", "64", "WxH"),
        ("--steps", "0", "1 to 200"),
        ("--steps", "1000000000", "1000000000"),
        ("--steps", "2.5", "2.5"),
        ("--steps", "nan", "nan"),
        ("--seed", "-1", "9007199254740991"),
        ("--seed", "9007199254740992", "9007199254740992"),
        ("--cfg", "nan", "nan"),
        ("--cfg", "inf", "inf"),
        ("--cfg", "-1", "0 to 30"),
        ("--sampler", "eular", "'euler'"),
    ],
)
def test_impossible_numbers_are_refused_and_named(
    cli: Cli, tmp_path: Path, flag: str, value: str, named: str
) -> None:
    said = cli("generate", "star", "--out", tmp_path / "x.png", flag, value)
    assert said.code == 2
    assert named in said.err
    assert not (tmp_path / "x.png").exists()


def test_a_prompt_of_ten_thousand_words_is_refused_with_both_lengths(cli: Cli, tmp_path: Path) -> None:
    said = cli("generate", "star " * 10_000, "--out", tmp_path / "x.png", "--json")
    assert said.code == 2
    assert said.json["error"]["node"] == "prompt"
    assert "50000" in said.json["error"]["message"]
    assert "10000" in said.json["error"]["hint"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"format": "weft/graph", "version": 1, "nodes": [{"id": "a", "ki', "truncated"),
        ('{"format": "weft/graph", "format": "weft/graph", "version": 1}', "twice"),
        ("[" * 10_000 + "]" * 10_000, "deeper"),
        ('{"x": ' * 10_000 + "1" + "}" * 10_000, "deeper"),
        ("", "empty"),
        ("[]", "JSON object"),
        ('{"format": "weft/graph", "version": 99}', "99"),
        (json.dumps(OK)[:-1] + ', "x": NaN}', "NaN"),
        (json.dumps(OK), "no output"),
        (json.dumps(OK | {"edges": 5}), "edges"),
        (json.dumps(OK | {"nodes": [{"id": 3}]}), "id"),
    ],
)
def test_a_broken_workflow_file_is_refused_in_words(cli: Cli, tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, "utf-8")
    for command in ("run", "plan"):
        said = cli(command, path)
        assert said.code in (1, 2)
        assert named in said.err


@pytest.mark.parametrize("data", [b"\xff\xfe\x00\x01" * 9, b"\x89PNG\r\n\x1a\n" + b"junk" * 9, b"\x00"])
def test_a_file_that_is_no_workflow_is_refused(cli: Cli, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    said = cli("run", path, "--json")
    assert said.code == 2
    assert said.json["error"]["message"]


def test_a_workflow_that_is_not_there_is_named(cli: Cli) -> None:
    said = cli("run", "/no/such/file.json")
    assert said.code == 2
    assert "/no/such/file.json" in said.err


def test_an_unknown_node_fails_with_a_suggestion_and_other_outputs_are_still_made(
    cli: Cli, tiny_workflow: Path, tmp_path: Path
) -> None:
    document = json.loads(tiny_workflow.read_text("utf-8"))
    document["nodes"] += [{"id": "odd", "kind": "film_grian"}, {"id": "save2", "kind": "save_image"}]
    document["edges"] += [
        {"from": ["decode", "image"], "to": ["odd", "image"]},
        {"from": ["odd", "image"], "to": ["save2", "image"]},
    ]
    tiny_workflow.write_text(json.dumps(document), "utf-8")
    said = cli("run", tiny_workflow, "--out", tmp_path / "out", "--json")
    assert said.code == 1
    assert said.json["status"] == "failed"
    assert said.json["error"]["node"] == "odd"
    assert "film_grain" in said.json["error"]["hint"]
    found = {name: node["state"] for name, node in said.json["nodes"].items()}
    assert (found["odd"], found["save2"], found["save"]) == ("failed", "skipped", "ran")
    assert (tmp_path / "out" / "weft.png").is_file()


def test_a_cycle_is_spelt_out(cli: Cli, tmp_path: Path) -> None:
    edges = [{"from": [a, "image"], "to": [b, "image"]} for a, b in ("ab", "ba", "bs")]
    nodes = [{"id": "a", **GRAIN}, {"id": "b", **GRAIN}, {"id": "s", "kind": "save_image"}]
    path = tmp_path / "cycle.json"
    path.write_text(json.dumps(OK | {"nodes": nodes, "edges": edges}), "utf-8")
    said = cli("run", path)
    assert said.code == 2
    assert "a" in said.err and "b" in said.err and "→" in said.err


@pytest.mark.parametrize(
    ("node", "widget", "value"),
    [
        ("schedule", "steps", "twenty"),
        ("schedule", "steps", True),
        ("schedule", "steps", 3.7),
        ("prompt", "text", 5),
        ("canvas", "width", None),
        ("sampler", "sampler", "nope"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_place(
    cli: Cli, workflow: dict[str, Any], tmp_path: Path, node: str, widget: str, value: object
) -> None:
    next(n for n in workflow["nodes"] if n["id"] == node)["widgets"][widget] = value
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(workflow), "utf-8")
    said = cli("run", path, "--json")
    assert said.code == 2
    assert (said.json["error"]["node"], said.json["error"]["socket"]) == (node, widget)
    assert said.json["problems"]


def test_two_edges_into_one_input_and_wrong_types_on_edges_are_refused(
    cli: Cli, workflow: dict[str, Any], tmp_path: Path
) -> None:
    workflow["edges"].append({"from": ["decode", "image"], "to": ["sample", "latent"]})
    path = tmp_path / "edges.json"
    path.write_text(json.dumps(workflow), "utf-8")
    said = cli("run", path, "--json")
    assert said.code == 2
    assert said.json["error"]["node"] == "sample"


@pytest.mark.parametrize(
    "change", ["sample", "nobody.steps=3", "schedule.stepz=3", "prompt.model=x", "=", "a.b"]
)
def test_a_change_that_cannot_be_made_is_a_bad_call(cli: Cli, tiny_workflow: Path, change: str) -> None:
    said = cli("run", tiny_workflow, "--set", change)
    assert said.code == 2
    assert said.err.startswith("Error:")


def test_an_unknown_target_is_a_bad_call(cli: Cli, tiny_workflow: Path) -> None:
    said = cli("run", tiny_workflow, "--target", "sve")
    assert said.code == 2
    assert "save" in said.err


def broken_model(kind: str, good: Path, folder: Path) -> str:
    """A reference to a model folder that cannot be used."""
    if kind == "missing":
        return str(folder / "nothing")
    if kind == "empty folder":
        folder.mkdir()
        return str(folder)
    shutil.copytree(good, folder)
    weights = next((folder / "transformer").glob("*.safetensors"))
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    if kind == "incomplete":
        shutil.rmtree(folder / "vae")
    elif kind == "pickle":
        weights.rename(weights.with_name("diffusion_pytorch_model.bin"))
    elif kind == "another class":
        (folder / "model_index.json").write_text(
            json.dumps(index | {"_class_name": "KolorsPipeline"}), "utf-8"
        )
    elif kind == "cut off":
        weights.write_bytes(weights.read_bytes()[:-1000])
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("missing", "does not exist"),
        ("empty folder", "model_index.json"),
        ("incomplete", "vae"),
        ("pickle", "safetensors"),
        ("another class", "KolorsPipeline"),
        ("cut off", "cut off"),
    ],
)
def test_a_model_that_cannot_be_used_fails_its_node_with_a_reason(
    cli: Cli, tiny_sd3_folder: Path, tmp_path: Path, kind: str, named: str
) -> None:
    ref = broken_model(kind, tiny_sd3_folder, tmp_path / "model")
    said = cli("generate", "star", "--out", tmp_path / "x.png", "--model", ref, "--json")
    assert said.code == 1
    assert said.json["error"]["node"] == "model"
    assert named in said.json["error"]["message"]
    assert said.json["error"]["hint"]
    assert said.json["nodes"]["model"]["state"] == "failed"
    assert said.json["nodes"]["save"]["state"] == "skipped"


@pytest.mark.parametrize("ref", ["", " "])
def test_a_model_that_is_not_named_is_told_once(cli: Cli, tmp_path: Path, ref: str) -> None:
    said = cli("generate", "star", "--out", tmp_path / "x.png", "--model", ref)
    assert said.code == 1 and said.err.count("No model is named") == 1
    assert "model_index.json" not in said.err and "fingerprint" not in said.err


def test_a_full_disk_fails_the_save_and_leaves_nothing_half(
    cli: Cli, tiny: tuple[object, ...], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cli("generate", "star", "--out", tmp_path / "a.png", *tiny, "--json").json["generations"]

    def full(self: Disk, handle: IO[bytes], data: bytes) -> None:
        if len(data) > 100:  # the probe of the home still goes through
            raise OSError(errno.ENOSPC, "No space left on device")
        handle.write(data)

    monkeypatch.setattr(Disk, "write", full)
    said = cli("generate", "a blue house", "--out", tmp_path / "b.png", *tiny, "--json")
    assert said.code == 1
    assert "disk is full" in said.json["error"]["message"]
    assert said.json["nodes"]["save"]["state"] == "failed"
    assert not (tmp_path / "b.png").exists()
    monkeypatch.undo()
    assert [g["id"] for g in cli("history", "list", "--json", "--home", home).json["generations"]] == kept


def test_a_home_that_cannot_be_written_still_gives_the_picture_without_history(
    cli: Cli, tiny: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Disk, *given: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Disk, "probe", refuse)
    said = cli("generate", "star", "--out", tmp_path / "a.png", *tiny, "--json")
    assert said.code == 0
    assert (tmp_path / "a.png").is_file()
    assert said.json["generations"] == []
    assert any("history" in text for text in said.json["warnings"])


def test_an_output_folder_that_is_not_there_is_told_before_anything_runs(cli: Cli, tmp_path: Path) -> None:
    said = cli("generate", "star", "--out", tmp_path / "no" / "x.png")
    assert said.code == 2
    assert str(tmp_path / "no") in said.err
    assert cli("generate", "star", "--out", tmp_path).code == 2
    assert cli("generate", "star", "--out", tmp_path / "x.txt").code == 2


def test_a_corrupt_database_is_put_aside_and_its_pictures_found_again(
    cli: Cli, tiny: tuple[object, ...], tmp_path: Path, home: Path
) -> None:
    cli("generate", "star", "--out", tmp_path / "a.png", *tiny)
    for name in ("studio.db-wal", "studio.db-shm"):
        (home / name).unlink(missing_ok=True)
    (home / "studio.db").write_bytes(b"this is no database " * 500)
    said = cli("generate", "star", "--out", tmp_path / "b.png", *tiny, "--json")
    assert said.code == 0
    assert list(home.glob("studio.db.corrupt-*"))
    assert len(list((home / "images").rglob("*.png"))) >= 1


def test_a_newer_database_is_refused_and_untouched(cli: Cli, home: Path) -> None:
    assert cli("history", "list").code == 0
    with sqlite3.connect(home / "studio.db") as db:
        table = db.execute("SELECT name FROM sqlite_master WHERE name LIKE '%migrations%'").fetchone()[0]
        db.execute(
            f"INSERT INTO {table} (migration_set, name, applied_at) VALUES ('studio', 'm999_later', 'x')"
        )
    db.close()
    said = cli("history", "list", "--json")
    assert said.code == 1
    assert "newer" in said.json["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("frobnicate",),
        ("generate",),
        ("generate", "star"),
        ("run",),
        ("history",),
        ("history", "show", "zzzz"),
        ("history", "replay", "abcd1234"),
        ("nodes", "film_grian"),
        ("score", "/no/such.png"),
        ("eval", "nothing"),
        ("--device", "tpu", "nodes"),
        ("plugin", "test", "/no/such.py"),
        ("plugin", "new", "Bad Name"),
        ("eval", "prompts", "--cases", "0"),
        ("generate", "star", "--out", "x.png", "--nope"),
    ],
)
def test_a_wrong_call_ends_with_two_and_one_json_object(cli: Cli, words: tuple[str, ...]) -> None:
    said = cli(*words)
    assert said.code == 2
    assert said.err.startswith("Error:")
    if words:
        said = cli(*words, "--json")
        assert said.code == 2
        assert said.json["error"]["message"]


def test_a_folder_is_no_workflow(cli: Cli, tmp_path: Path) -> None:
    for command in ("plan", "run"):
        said = cli(command, tmp_path)
        assert said.code == 2
        assert f"'{tmp_path}' is a folder" in said.err


@pytest.mark.parametrize("value", ["/no/such/picture.png", "3", "folder"])
def test_a_picture_that_is_not_there_is_named(cli: Cli, tmp_path: Path, value: str) -> None:
    given = str(tmp_path) if value == "folder" else value
    path = tmp_path / "photo.json"
    nodes = [{"id": "photo", "kind": "load_image"}, {"id": "save", "kind": "save_image"}]
    edges = [{"from": ["photo", "image"], "to": ["save", "image"]}]
    path.write_text(json.dumps(OK | {"nodes": nodes, "edges": edges}), "utf-8")
    said = cli("plan", path, "--set", f"photo.picture={given}")
    assert said.code == 2
    assert given in said.err and "PNG, JPEG or WEBP" in said.err


@pytest.mark.parametrize("command", [("list",), ("search", "star")])
@pytest.mark.parametrize("value", ["bogus", "nan~x", "12"])
def test_a_place_in_the_history_that_is_none_is_a_bad_call(
    cli: Cli, command: tuple[str, ...], value: str
) -> None:
    said = cli("history", *command, "--before", value)
    assert said.code == 2
    assert f"'{value}'" in said.err


def test_a_plan_says_what_it_never_looked_at(cli: Cli, tiny_workflow: Path) -> None:
    document = json.loads(tiny_workflow.read_text("utf-8"))
    next(node for node in document["nodes"] if node["id"] == "sample")["kind"] = "smaple"
    tiny_workflow.write_text(json.dumps(document), "utf-8")
    said = cli("plan", tiny_workflow, "--json")
    assert said.code == 2
    found = {node["id"]: (node["action"], node["reason"]) for node in said.json["nodes"]}
    assert found["sample"][0] == "failed"
    assert found["canvas"] == found["prompt"] == ("skipped", "not looked at")
    assert not any(action == "cached" for action, _ in found.values())

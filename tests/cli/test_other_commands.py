"""history, plan, nodes, models, plugin and --help."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from studio.cli.laws import laws
from studio.graph.registry import Registry

Cli = Callable[..., Any]


@pytest.fixture
def made(cli: Cli, tiny: tuple[object, ...], tmp_path: Path) -> list[str]:
    """Two pictures in the history, newest first."""
    ids = [
        cli("generate", prompt, "--out", tmp_path / "x.png", "--seed", 3, *tiny, "--json").json[
            "generations"
        ][0]
        for prompt in ("a red star", "a blue house")
    ]
    return ids[::-1]


def test_history_lists_newest_first_page_by_page(cli: Cli, made: list[str]) -> None:
    first = cli("history", "list", "--limit", 1, "--json").json
    assert [g["id"] for g in first["generations"]] == made[:1]
    second = cli("history", "list", "--limit", 1, "--before", first["next"], "--json").json
    assert [g["id"] for g in second["generations"]] == made[1:]
    assert second["next"] is None


def test_history_finds_words_and_takes_them_literally(cli: Cli, made: list[str]) -> None:
    assert [g["id"] for g in cli("history", "search", "house", "--json").json["generations"]] == made[:1]
    assert cli("history", "search", 'NEAR("x" OR *', "--json").code == 0


def test_history_show_gives_the_workflow_that_runs_from_the_cache(
    cli: Cli, made: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "flow.json"
    path.write_text(cli("history", "show", made[0], "--graph").out, "utf-8")
    said = cli("run", path, "--json")
    assert {node["state"] for node in said.json["nodes"].values()} == {"cached"}
    assert said.json["generations"] == made[:1]


def test_a_picture_in_the_folder_is_not_written_over(cli: Cli, tiny_workflow: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    written = [
        Path(
            cli("run", tiny_workflow, "--set", f"canvas.seed={seed}", "--out", folder, "--json").json[
                "outputs"
            ][0]["file"]
        )
        for seed in (1, 2, 1, 2)
    ]
    assert [path.name for path in written] == ["weft.png", "weft-2.png", "weft.png", "weft-2.png"]
    assert sorted(path.name for path in folder.iterdir()) == ["weft-2.png", "weft.png"]
    assert written[0].read_bytes() != written[1].read_bytes()


def test_a_replay_is_bit_equal_and_adds_nothing_to_the_history(cli: Cli, made: list[str]) -> None:
    said = cli("history", "replay", made[1][:8], "--json")
    assert said.code == 0
    assert said.json["verdict"] == "equal"
    assert said.json["changes"] == []
    assert len(cli("history", "list", "--json").json["generations"]) == 2
    assert "Equal" in cli("history", "replay", made[1]).out


def test_export_star_and_delete(cli: Cli, made: list[str], tmp_path: Path) -> None:
    assert cli("history", "export", *made, "--out", tmp_path / "all.zip", "--json").json["pictures"] == 2
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 2
    assert cli("history", "star", made[0], "--json").json["starred"] is True
    assert cli("history", "star", made[0], "--off", "--json").json["starred"] is False
    assert cli("history", "delete", made[0], "zzzz").code == 2
    assert len(cli("history", "list", "--json").json["generations"]) == 2
    assert cli("history", "delete", made[0], "--json").json["deleted"] == made[:1]
    assert [g["id"] for g in cli("history", "list", "--json").json["generations"]] == made[1:]


def test_show_names_the_file_and_export_names_the_folder_it_cannot_write(
    cli: Cli, made: list[str], tmp_path: Path
) -> None:
    shown = cli("history", "show", made[0]).out
    path = next(line for line in shown.splitlines() if line.startswith("  file: ")).removeprefix("  file: ")
    assert Path(path).is_file()
    assert "record.nodes" not in shown
    said = cli("history", "export", made[0], "--out", tmp_path)
    assert said.code == 2
    assert f"'{tmp_path}' is a folder" in said.err


def test_score_names_the_words_that_the_judge_does_not_know(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    PIL.Image.new("RGB", (64, 64), "grey").save(path)
    said = cli("score", path, "--prompt", "a red hosue and a dragon")
    assert said.code == 0
    assert "'hosue'" in said.err and "'house'" in said.err and "'dragon'" in said.err


def test_a_deleted_picture_is_stored_anew_from_the_cache(
    cli: Cli, made: list[str], tiny: tuple[object, ...], tmp_path: Path
) -> None:
    cli("history", "delete", made[1])
    said = cli("generate", "a red star", "--out", tmp_path / "y.png", "--seed", 3, *tiny, "--json")
    assert {node["state"] for node in said.json["nodes"].values()} == {"cached"}
    assert said.json["generations"] not in (made[:1], made[1:])
    assert (tmp_path / "y.png").is_file()


def test_plan_says_what_will_run_and_why_and_runs_nothing(cli: Cli, tiny_workflow: Path) -> None:
    before = cli("plan", tiny_workflow, "--json")
    assert before.code == 0
    assert set(before.json["will_run"]) == {node["id"] for node in before.json["nodes"]}
    assert cli("history", "list", "--json").json["generations"] == []
    cli("run", tiny_workflow)
    assert cli("plan", tiny_workflow, "--json").json["will_run"] == []
    after = cli("plan", tiny_workflow, "--set", "save.name=other", "--json").json
    assert after["will_run"] == ["save"]
    assert "0 of 10 nodes will run" in cli("plan", tiny_workflow).out


def test_plan_of_a_broken_workflow_lists_its_problems(cli: Cli, tiny_workflow: Path) -> None:
    said = cli("plan", tiny_workflow, "--set", "schedule.steps=0", "--json")
    assert said.code == 2
    assert [p["node"] for p in said.json["problems"]] == ["schedule"]


def test_nodes_are_listed_explained_and_given_as_json_and_markdown(cli: Cli) -> None:
    assert "save_image" in cli("nodes").out
    assert "noise" in cli("nodes", "sample").out
    found = cli("nodes", "--json").json["nodes"]
    assert {"load_model", "encode_prompt", "sample", "decode", "save_image", "film_grain"} <= set(found)
    assert "film_grain" in cli("nodes", "--markdown").out


@pytest.mark.model
def test_models_name_the_embedded_one(cli: Cli) -> None:
    found = cli("models", "--json").json["models"]
    assert "embedded:scenes-sd3" in [model["ref"] for model in found]


def test_a_new_plugin_works_as_it_stands_and_is_not_overwritten(cli: Cli, tmp_path: Path) -> None:
    assert cli("plugin", "new", "soft_focus", "--folder", tmp_path).code == 0
    said = cli("plugin", "test", tmp_path / "soft_focus.py", "--json")
    assert said.json == {"status": "finished", "nodes": ["soft_focus"], "faults": [], "not_run": []}
    assert cli("plugin", "new", "soft_focus", "--folder", tmp_path).code == 2


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("import gradio\n", "gradio"),
        ("def (", "SyntaxError"),
        ("x = 1\n", "no node"),
        (
            "import numpy as np\nfrom studio.api import Image, node, to_image\n@node(group='Finish')\n"
            "def wild(image: Image) -> Image:\n    'Wild.'\n    return to_image(np.random.rand(4, 4, 3))\n",
            "different",
        ),
        (
            "from studio.api import Image, node\n@node(group='Finish')\n"
            "def loud(image: Image) -> Image:\n    'Loud.'\n    raise RuntimeError('boom')\n",
            "line 5: it raises RuntimeError: boom",
        ),
        (
            "from studio.api import Image, node\n@node(group='Finish')\n"
            "def lost(image: Image) -> Image:\n    'Lost.'\n    image.pixels\n",
            "returned None; it declares Image",
        ),
        (
            "from studio.api import Image, Mask, node\n@node(group='Finish')\n"
            "def wrong(image: Image, mask: Mask) -> Image:\n    'Wrong.'\n    return mask\n",
            "it declares Image",
        ),
        (
            "from studio.api import Image, node\n@node(group='Finish')\n"
            "def film_grain(image: Image) -> Image:\n    'Mine.'\n    return image\n",
            "plugins/film_grain.py has a node of this id",
        ),
    ],
)
def test_plugin_test_names_the_fault(cli: Cli, tmp_path: Path, body: str, named: str) -> None:
    path = tmp_path / "odd.py"
    path.write_text(body, "utf-8")
    said = cli("plugin", "test", path)
    assert said.code == 1
    assert named in said.out


def test_plugin_test_runs_nodes_on_values_of_other_types_too(cli: Cli, tmp_path: Path, home: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        "from studio.api import Latent, Sigmas, node\n@node(group='Sampling')\n"
        "def louder(latent: Latent, sigmas: Sigmas) -> Latent:\n    'Louder.'\n    return latent\n"
        "@node(group='Sampling')\ndef fewer(sigmas: Sigmas) -> Latent:\n    'Fewer.'\n    return sigmas\n",
        "utf-8",
    )
    said = cli("plugin", "test", path, "--json").json
    assert said["nodes"] == ["louder", "fewer"] and said["not_run"] == []
    (fault,) = said["faults"]
    assert fault.startswith("fewer: ") and "it declares Latent" in fault
    assert list(home.iterdir()) == []


def test_plugin_explain_names_ids_and_runs_nothing(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nimport os\n"
        "@node(id='mine')\ndef a(): ...\n@node\ndef b(): ...\n",
        "utf-8",
    )
    said = cli("plugin", "explain", path, "--json")
    assert said.json["imports"] == ["os"] and said.json["nodes"] == ["mine", "b"]
    assert not (tmp_path / "ran").exists()


def test_shipped_plugins_are_listed_and_obey_the_laws(cli: Cli) -> None:
    listed = cli("plugin", "list", "--json").json
    assert {"film_grain", "duotone"} <= {plugin["name"] for plugin in listed["plugins"]}
    assert listed["broken"] == []
    from studio.settings import ROOT

    for spec in Registry(plugins=ROOT / "plugins").specs.values():
        assert laws(spec) == ([], "")


def test_a_picture_goes_into_a_workflow_by_its_path(cli: Cli, made: list[str], tmp_path: Path) -> None:
    flow = {
        "format": "weft/graph",
        "version": 1,
        "edges": [
            {"from": ["load", "image"], "to": ["grain", "image"]},
            {"from": ["grain", "image"], "to": ["save", "image"]},
        ],
        "nodes": [
            {"id": "load", "kind": "load_image"},
            {"id": "grain", "kind": "film_grain"},
            {"id": "save", "kind": "save_image", "widgets": {"name": "grainy"}},
        ],
    }
    path = tmp_path / "grain.json"
    path.write_text(json.dumps(flow), "utf-8")
    said = cli(
        "run", path, "--set", f"load.picture={tmp_path / 'x.png'}", "--out", tmp_path / "out", "--json"
    )
    assert said.code == 0, said.err
    assert (tmp_path / "out" / "grainy.png").is_file()
    record = cli("history", "show", said.json["generations"][0], "--json").json["record"]
    assert [plugin["name"] for plugin in record["plugins"]] == ["film_grain"]
    assert all(plugin["version"] and len(plugin["digest"]) == 64 for plugin in record["plugins"])
    assert cli("run", path).code == 2  # no picture chosen


def test_a_plan_that_needs_an_unknown_node_is_not_a_success(cli: Cli, tmp_path: Path) -> None:
    document = {
        "format": "weft/graph",
        "version": 1,
        "nodes": [{"id": "x", "kind": "no_such_kind"}, {"id": "s", "kind": "save_image"}],
        "edges": [{"from": ["x", "image"], "to": ["s", "image"]}],
    }
    path = tmp_path / "strange.json"
    path.write_text(json.dumps(document))
    got = cli("plan", path, "--json")
    assert got.code == 2
    assert got.json["status"] == "failed"


def test_a_damaged_database_is_told_and_its_pictures_come_back(
    cli: Cli, tiny: tuple[object, ...], home: Path, tmp_path: Path
) -> None:
    """Whatever command opens the home first: the pictures carry what the database knew."""
    assert cli("generate", "a red star", "--out", tmp_path / "x.png", "--seed", 3, *tiny).code == 0
    told = ("id", "prompt", "seed", "file", "pixels")
    (before,) = cli("history", "list", "--json").json["generations"]
    with (home / "studio.db").open("r+b") as database:
        database.write(b"\0" * 3000)
    for rest in home.glob("studio.db-*"):
        rest.unlink()
    listed = cli("history", "list")
    assert listed.code == 0 and "Note: " in listed.err and "damaged" in listed.err
    assert "a red star" in listed.out and len(listed.out.splitlines()) == 1
    (after,) = cli("history", "list", "--json").json["generations"]
    assert {name: after[name] for name in told} == {name: before[name] for name in told}
    assert "Note: " not in cli("history", "list").err


def test_a_place_that_cannot_be_written_is_named_as_it_was_given(cli: Cli, tiny: tuple[object, ...]) -> None:
    said = cli("generate", "a red star", *tiny, "--out", "/proc/x.png")
    assert said.code == 1 and "'/proc/x.png'" in said.err and ".weft-" not in said.err

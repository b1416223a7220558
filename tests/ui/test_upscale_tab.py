"""upscale_tab.py: engines, sources, what a choice makes, and its graph; nothing of a browser is trusted."""

from __future__ import annotations

import base64
import io
import json
from types import SimpleNamespace

import pytest
from PIL import Image as Pillow

from studio.graph.check import check
from studio.graph.document import loads
from studio.graph.registry import Registry
from studio.settings import ROOT
from studio.ui.owners import Owners
from studio.ui.upscale_tab import UpscaleTab
from studio.upscalers import passes_of

EMBEDDED = "embedded:scenes-upscale-x2"
MODULES = [f"studio.nodes.{p.stem}" for p in sorted((ROOT / "studio/nodes").glob("*.py")) if p.stem[0] != "_"]


def event(**data):
    return SimpleNamespace(_data=data)


@pytest.fixture
def tab(fake) -> UpscaleTab:
    real = fake.workflow

    def workflow(name: str = "text-to-image"):
        file = ROOT / "assets" / "workflows" / "upscale.json"
        return loads(file.read_text("utf-8")) if name == "upscale" else real(name)

    fake.workflow = workflow
    return UpscaleTab(fake, Owners(fake.settings.home, public=fake.policy.is_public))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(MODULES)


def picture(width: int = 40, height: int = 30) -> str:
    file = io.BytesIO()
    Pillow.new("RGB", (width, height), (200, 30, 30)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def choice(**more):
    return {
        "engine": EMBEDDED,
        "factor": 2,
        "redraw": 0,
        "tile": 0,
        "n": 3,
        "width": 40,
        "height": 30,
        **more,
    }


def ready(tab: UpscaleTab, **more):
    source = json.loads(tab.bring("", event(name="me.png", data=picture())))["source"]
    told = json.loads(
        tab.make("", event(**choice(picture=source["value"], prompt="a red star", seed=5, **more)))
    )
    return told["ready"]["document"]


def test_the_engine_that_ships_comes_first_and_wrong_files_say_what_they_are(tab, fake):
    folder = fake.settings.models_folder / "upscalers"
    folder.mkdir(parents=True)
    (folder / "old.pth").write_bytes(b"PK\x03\x04 pickled")
    (folder / "broken.safetensors").write_bytes(b"\x05\x00")
    (folder / "notes.txt").write_text("no upscaler")
    told = json.loads(tab.look(""))
    engines = {e["ref"]: e for e in told["engines"]}
    assert told["engines"][0]["ref"] == EMBEDDED and told["engines"][0]["factors"] == [2, 4]
    assert engines["lanczos"]["factors"] == [2, 3, 4] and told["folder"] == str(folder)
    assert "pickle" in engines[str(folder / "old.pth")]["problem"]
    assert engines[str(folder / "broken.safetensors")]["problem"]
    assert len(engines) == 4


@pytest.mark.parametrize(
    ("scales", "factor", "passes"),
    [
        ((2,), 2, (2,)),
        ((2,), 4, (2, 2)),
        ((2,), 3, ()),
        ((4,), 2, (2,)),
        ((4,), 3, (3,)),
        ((1,), 2, ()),
        ((), 2, ()),
    ],
)
def test_a_factor_is_made_in_one_pass_or_two(scales, factor, passes):
    assert passes_of(scales, factor) == passes


def test_size_and_tiles_are_told_before_the_start(tab):
    plan = json.loads(tab.plan("", event(**choice(width=256, height=128, tile=64))))["plan"]
    assert (plan["n"], plan["width"], plan["height"]) == (3, 512, 256)
    assert plan["tiles"] > 4 and plan["seconds"] is None and "fault" not in plan
    twice = json.loads(tab.plan("", event(**choice(width=256, height=256, factor=4))))["plan"]
    assert twice["width"] == 1024 and twice["tiles"] > 1


@pytest.mark.parametrize(
    "wrong",
    [{"engine": "nowhere"}, {"engine": 7}, {"factor": 3}, {"factor": 99}, {"factor": True}, {"tile": -1},
     {"tile": 5}, {"redraw": float("nan")}, {"redraw": "x"}, {"width": 0}, {"width": 10**9},
     {"width": 16384, "height": 16384}],
    ids=repr,
)  # fmt: skip
def test_what_is_not_possible_is_said_in_words(tab, wrong):
    assert json.loads(tab.plan("", event(**choice(**wrong))))["plan"]["fault"]


def test_without_new_detail_the_graph_needs_no_model(tab, registry):
    document = ready(tab)
    assert {n["kind"] for n in document["nodes"]} == {
        "load_image", "load_upscaler", "upscale_picture", "save_image"
    }  # fmt: skip
    assert check(loads(json.dumps(document)), registry) == []


@pytest.mark.parametrize("redraw", [0, 0.25])
@pytest.mark.parametrize("factor", [2, 4])
def test_every_choice_is_a_graph_that_checks_clean(tab, registry, factor, redraw):
    document = ready(tab, factor=factor, redraw=redraw, tile=64)
    assert check(loads(json.dumps(document)), registry) == []
    nodes = {n["id"]: n for n in document["nodes"]}
    assert ("again" in nodes) == (factor == 4) and nodes["larger"]["widgets"]["tile"] == 64
    if redraw:
        assert nodes["detail"]["widgets"]["strength"] == 0.25 and nodes["encode"]["widgets"]["seed"] == 5
        assert nodes["prompt"]["widgets"]["text"] == "a red star"


@pytest.mark.parametrize("data", ["", "!!", base64.b64encode(b"no picture").decode(), 7, None], ids=repr)
def test_what_is_no_picture_is_refused_in_words(tab, data):
    assert json.loads(tab.bring("", event(name="x", data=data)))["says"]


@pytest.mark.parametrize("data", [{}, {"generation": 7}, {"generation": "no-such"}], ids=repr)
def test_an_unknown_picture_is_refused_in_words(tab, data):
    assert json.loads(tab.source("", event(**data)))["says"]

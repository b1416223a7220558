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
from studio.pixels import read_picture
from studio.settings import ROOT
from studio.ui.enlarged import enlarged
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


def test_a_picture_of_ones_own_is_taken_as_large_as_it_is(tab, fake):
    told = json.loads(tab.bring("", event(name="wide.png", data=picture(4000, 3))))["source"]
    assert (told["width"], told["height"]) == (4000, 3)
    stored = read_picture(fake.history.upload(told["value"]["file"]).read_bytes())
    assert (stored.width, stored.height) == (4000, 3)
    shown = read_picture(base64.b64decode(told["url"].split(",")[1]))
    assert shown.width == 2048, "the page is sent no more than it shows"


@pytest.mark.parametrize(
    ("width", "factor", "redraw", "fault"),
    [(3000, 2, 0, False), (3000, 4, 0, True), (3000, 2, 0.1, True), (2000, 2, 0.1, False)],
)
def test_what_would_be_too_large_is_said_before_the_start(tab, width, factor, redraw, fault):
    """40 million pixels by an upscaler, 16.7 million where a model paints."""
    asked = choice(width=width, height=2000, factor=factor, redraw=redraw)
    assert bool(json.loads(tab.plan("", event(**asked)))["plan"].get("fault")) is fault


@pytest.mark.parametrize(("width", "redraw", "fault"), [(7, 0.1, True), (7, 0, False), (8, 0.1, False)])
def test_a_picture_too_small_to_be_painted_anew_is_said_before_the_start(tab, width, redraw, fault):
    """By its own size, and with the least scale at which it could be."""
    told = json.loads(tab.plan("", event(**choice(width=width, height=30, redraw=redraw))))["plan"]
    assert told.get("fault", "") == (
        "The picture has 7x30 pixels. Its detail is painted anew from 16x16 on, and for that it would have "
        "to be made 3 times as large. Choose 3 times." if fault else ""
    )  # fmt: skip


def test_a_picture_that_no_factor_helps_is_said_so(tab):
    told = json.loads(tab.plan("", event(**choice(width=1, height=1, redraw=0.1))))["plan"]
    assert "1x1 pixels" in told["fault"] and "16 times" in told["fault"]
    assert told["fault"].endswith("It can only be made larger without new detail.")


def test_the_ready_workflow_paints_and_keeps_with_a_guidance_of_its_own_each():
    """docs/measured.md, Larger pictures: no guidance keeps a picture, and 3 paints one."""
    ready = loads((ROOT / "assets" / "workflows" / "upscale.json").read_text("utf-8"))
    leads = {e.target[0]: ready.node(e.source[0]) for e in ready.edges if e.target[1] == "guidance"}
    scales = {name: node.widgets["cfg_scale"] for name, node in leads.items()}
    assert scales == {"paint": 3.0, "repaint": 1.0} and ready.node("detail").widgets["shift"] == 1


def kept(id="a", prompt="", parents=(), nodes=None, params=None):
    record = {"nodes": {name: {"kind": kind} for name, kind in (nodes or {}).items()}, "params": params or {}}
    return SimpleNamespace(
        id=id, prompt=prompt, parents=parents, record=record, record_json=json.dumps(record)
    )


def test_an_enlarged_picture_is_called_by_the_words_behind_it():
    loaded = {"picture": {"file": "f" * 64, "name": "picture.png"}}
    nodes = {"yours": "load_image", "larger": "upscale_picture", "again": "upscale_picture"}
    scales = {"larger": {"scale": 2}, "again": {"scale": 1.5}, "yours": loaded}
    first = kept("first", prompt="a red star")
    second = kept("second", "", (("first", "upscale"),), nodes, scales)
    third = kept("third", "", (("second", "upscale"),), nodes, scales)
    known = {item.id: item for item in (first, second, third)}
    assert enlarged(first, known.get) is None
    assert enlarged(second, known.get) == enlarged(third, known.get) == {"of": "a red star", "times": 3}
    del known["first"]  # deleted since
    assert enlarged(third, known.get) == {"of": "", "times": 3}
    mine = {"yours": {"picture": {"file": "f" * 64, "name": "me.jpg"}}, "larger": {"scale": 2.0}}
    assert enlarged(kept(nodes=nodes, params=mine), known.get) == {"of": "me.jpg", "times": 2}
    assert enlarged(kept(nodes=nodes, params={"larger": {"scale": "x"}}), known.get) is None


def test_the_engine_that_ships_comes_first_and_wrong_files_say_what_they_are(tab, fake):
    folder = fake.settings.models_folder / "upscalers"
    folder.mkdir(parents=True)
    (folder / "old.pth").write_bytes(b"PK\x03\x04 pickled")
    (folder / "broken.safetensors").write_bytes(b"\x05\x00")
    (folder / "notes.txt").write_text("no upscaler")
    told = json.loads(tab.look(""))
    engines = {e["ref"]: e for e in told["engines"]}
    assert told["engines"][0]["ref"] == EMBEDDED and told["engines"][0]["factors"] == [2, 3, 4]
    assert engines["lanczos"]["factors"] == [2, 3, 4] and told["folder"] == str(folder)
    assert "pickle" in engines[str(folder / "old.pth")]["problem"]
    assert engines[str(folder / "broken.safetensors")]["problem"]
    assert len(engines) == 4


@pytest.mark.parametrize(
    ("scales", "factor", "passes"),
    [
        ((2,), 2, (2,)),
        ((2,), 4, (2, 2)),
        ((2,), 3, (2, 1.5)),
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
    [{"engine": "nowhere"}, {"engine": 7}, {"factor": 5}, {"factor": 99}, {"factor": True}, {"tile": -1},
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
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_every_choice_is_a_graph_that_checks_clean(tab, registry, factor, redraw):
    document = ready(tab, factor=factor, redraw=redraw, tile=64)
    assert check(loads(json.dumps(document)), registry) == []
    nodes = {n["id"]: n for n in document["nodes"]}
    scales = [nodes[name]["widgets"]["scale"] for name in ("larger", "again") if name in nodes]
    assert scales == {2: [2], 3: [2, 1.5], 4: [2, 2]}[factor] and nodes["larger"]["widgets"]["tile"] == 64
    if redraw:
        assert nodes["detail"]["widgets"]["strength"] == 0.25 and nodes["encode"]["widgets"]["seed"] == 5
        assert nodes["prompt"]["widgets"]["text"] == "a red star"
        # what keeps a picture of the embedded model: docs/measured.md, Larger pictures
        assert (nodes["detail"]["widgets"]["shift"], nodes["coarse"]["widgets"]["block"]) == (1, 2)
        leads = next(e["from"][0] for e in document["edges"] if e["to"] == ["repaint", "guidance"])
        assert nodes[leads]["widgets"]["cfg_scale"] == 1 and "guidance" not in nodes


@pytest.mark.parametrize("data", ["", "!!", base64.b64encode(b"no picture").decode(), 7, None], ids=repr)
def test_what_is_no_picture_is_refused_in_words(tab, data):
    assert json.loads(tab.bring("", event(name="x", data=data)))["says"]


@pytest.mark.parametrize("data", [{}, {"generation": 7}, {"generation": "no-such"}], ids=repr)
def test_an_unknown_picture_is_refused_in_words(tab, data):
    assert json.loads(tab.source("", event(**data)))["says"]

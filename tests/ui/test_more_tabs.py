"""models_tab.py, help_tab.py, manifest.py, window.py and the icons: what stands beside the pictures."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from studio.policy import Policy
from studio.settings import ROOT, Settings
from studio.ui import window
from studio.ui.graph_view import graph_routes
from studio.ui.help_tab import HelpTab
from studio.ui.manifest import MANIFEST, manifest_routes
from studio.ui.models_tab import ModelsTab, scores
from studio.ui.owners import Owners

ICONS = ROOT / "assets" / "icons"


def owners_of(studio):
    return Owners(studio.settings.home, public=studio.policy.is_public)


# models


def look(studio, token=""):
    return json.loads(ModelsTab(studio, owners_of(studio)).look(token))


def test_models_tell_their_card_size_and_place(fake):
    found = look(fake)
    scenes, broken = found["models"]
    assert (scenes["ref"], scenes["bytes"]) == ("embedded:scenes-sd3", 1234)
    assert scenes["family"] == "Stable Diffusion 3"
    assert ["Size", "256 × 256"] in scenes["settings"]
    assert "model_index.json" in broken["problem"]
    assert [model["ref"] for model in found["facts"]] == ["embedded:scenes-sd3"]
    assert found["folder"]["path"] == str(fake.settings.models_folder)
    upscalers = {one["ref"]: (one["scales"], one["problem"]) for one in found["upscalers"]}
    assert upscalers["embedded:scenes-upscale-x2"] == ([2], "") and upscalers["lanczos"][0][0] == 2
    assert (found["device"], found["dtype"], found["memory"]["free"]) == ("CPU", "float32", 500)


def test_a_public_host_names_no_folder_and_no_memory(make_fake):
    studio = make_fake(Policy.public())
    token = owners_of(studio).issue()
    shown = look(studio, token)
    assert shown["folder"] is None and shown["memory"] == {} and not shown["hub"]
    assert shown["models"][1]["problem"] == "It cannot be loaded."
    assert "says" in look(studio, "nonsense")


def test_scores_of_a_card_are_taken_and_junk_is_left_out():
    real = json.loads((ROOT / "assets/models/scenes-sd3/card.json").read_text("utf-8"))["scores"]
    found = scores(real)
    assert [row["label"] for row in found] == ["One thing", "Two things", "Three things", "Four things"]
    for row in found:
        low, high = row["interval"]
        assert 0 <= low <= row["share"] <= high <= 1 and row["n"] > 0
    assert scores(None) == [] and scores({"one": 7, "two": {"share": "x"}}) == []
    assert scores({"one": {"share": 0.5, "interval": "ab"}})[0]["interval"] is None


# help


def kept(studio, token="", **data):
    tab = HelpTab(studio, owners_of(studio))
    return json.loads(tab.forget(token, SimpleNamespace(_data=data)) if data else tab.look(token))


def paint(studio, text, owner="local"):
    run = studio.submit(studio.workflow().set("p", "text", text).set("s", "steps", 1), owner=owner)
    *_, last = studio.snapshots(run, owner, interval=0)
    return last["outputs"][0]["generation"]


def test_privacy_tells_what_is_kept_and_where(fake):
    paint(fake, "a red star")
    told = kept(fake)["kept"]
    assert told["pictures"] == 1 and told["bytes"] > 0 and told["home"] == str(fake.settings.home)
    assert {name for name, _ in told["places"]} >= {"images", "studio.db"}


def test_everything_is_deleted_only_when_it_is_meant(fake):
    paint(fake, "a red star")
    assert "says" in kept(fake, sure="yes") and fake.history.count("local") == 1
    told = kept(fake, sure=True)
    assert told["gone"] == 1 and told["kept"]["pictures"] == 0
    assert not list((fake.settings.home / "images").rglob("*.png"))


def test_on_a_public_host_a_visitor_deletes_only_what_is_theirs(make_fake):
    studio = make_fake(Policy.public(), pace=0.001)
    owners = owners_of(studio)
    mine, other = owners.issue(), owners.issue()
    paint(studio, "mine", owners.owner(mine))
    assert kept(studio, other, sure=True)["gone"] == 0
    told = kept(studio, mine)["kept"]
    assert told["pictures"] == 1 and told["home"] is None and told["places"] == [] and told["hours"] == 24
    assert str(studio.settings.home) not in json.dumps(told)
    assert "says" in kept(studio, "nonsense", sure=True)


# plugins


def test_a_plugin_that_does_not_load_is_named_where_people_are(settings, tmp_path, monkeypatch, capsys):
    """By file and line: under Help, in the list of nodes of the Graph tab, and in the terminal."""
    from studio.studio import Studio
    from studio.ui import build

    good = "from studio.api import Image, node\n@node(group='Finish')\ndef mine(image: Image) -> Image:\n"
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "good.py").write_text(good + "    'Mine.'\n    return image\n")
    (folder / "bad.py").write_text(good + "    'Mine.'\n    return image(\n")
    studio = Studio(replace(settings, plugins_folder=folder), Policy.local())
    served = SimpleNamespace(url="http://x/", close=int, demo=SimpleNamespace(block_thread=int))
    monkeypatch.setattr(build, "serve", lambda studio: served)
    try:
        build.launch(studio)
        assert re.search(r"Not loaded: plugins/bad\.py:5: SyntaxError: .+\n", capsys.readouterr().out)
        told = json.loads(HelpTab(studio, owners_of(studio)).look(""))["plugins"]
        assert told["loaded"] == [{"file": "good.py", "nodes": ["Mine"]}] and told["folder"] == str(folder)
        assert [(one["file"], one["line"]) for one in told["broken"]] == [("bad.py", 5)]
        with TestClient(Starlette(routes=graph_routes(studio))) as page:
            known = page.get("/weft/registry.json").json()
            assert known["broken"] == told["broken"] and "mine" in known["nodes"]
            (folder / "bad.py").write_text(good.replace("mine", "other") + "    'Mine.'\n    return image\n")
            known = page.get("/weft/registry.json").json()
            assert known["broken"] == [] and {"mine", "other"} <= set(known["nodes"])
    finally:
        studio.close()


def test_a_public_host_names_no_plugin_and_no_folder(make_fake):
    studio = make_fake(Policy.public(), pace=0.001)
    owners = owners_of(studio)
    assert json.loads(HelpTab(studio, owners).look(owners.issue()))["plugins"] is None


# the installed app


def load_draw():
    spec = importlib.util.spec_from_file_location("weft_icons", ICONS / "draw.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_manifest_can_be_installed_and_names_files_that_are_there():
    client = TestClient(Starlette(routes=manifest_routes(ICONS)))
    answer = client.get("/manifest.json")
    assert answer.headers["content-type"].startswith("application/manifest+json")
    told = answer.json()
    assert told == MANIFEST and told["display"] == "standalone" and told["start_url"] == told["scope"] == "./"
    assert {"192x192", "512x512"} <= {icon["sizes"] for icon in told["icons"]}
    assert {icon["purpose"] for icon in told["icons"]} == {"any", "maskable"}
    for icon in told["icons"]:
        with Image.open(ROOT / "assets" / icon["src"].removeprefix("weft/")) as picture:
            assert f"{picture.width}x{picture.height}" == icon["sizes"]
    for address in ("/pwa_icon", "/pwa_icon/192", "/pwa_icon/512"):
        assert client.get(address).headers["content-type"] == "image/png"


@pytest.mark.parametrize("name", ["icon-192.png", "icon-512.png", "icon-maskable-512.png"])
def test_the_icons_are_those_of_the_script(name):
    draw = load_draw()
    side, maskable = draw.ICONS[name]
    again = np.asarray(draw.draw(side, maskable=maskable), np.int16)
    with Image.open(ICONS / name) as picture:
        kept = np.asarray(picture.convert("RGBA"), np.int16)
    assert np.abs(again - kept).max() <= 2
    corner = kept[0, 0]
    assert corner[3] == (255 if maskable else 0), "only an icon that the system cuts reaches its corners"


def test_there_is_no_service_worker():
    """A worker's cache would keep pictures and old scripts beyond the studio's control."""
    for path in (ROOT / "assets" / "ui").rglob("*.js"):
        assert "serviceWorker" not in path.read_text("utf-8"), path


# --window


def test_a_window_of_its_own_is_opened_where_a_browser_can(monkeypatch):
    started, tabs = [], []
    monkeypatch.setattr(window, "browsers", lambda: iter(["/no/chrome", "/usr/bin/chromium"]))

    def start(command):
        if command[0] == "/no/chrome":
            raise OSError("gone")
        started.append(command)

    assert window.open_page("http://127.0.0.1:1/", window=True, start=start, tab=tabs.append) == "window"
    assert started == [["/usr/bin/chromium", "--app=http://127.0.0.1:1/"]] and not tabs


@pytest.mark.parametrize("wanted", [True, False])
def test_without_such_a_browser_or_wish_it_is_a_tab(monkeypatch, wanted):
    tabs = []
    monkeypatch.setattr(window, "browsers", lambda: iter([] if wanted else ["/usr/bin/chromium"]))
    assert window.open_page("http://x/", window=wanted, start=pytest.fail, tab=tabs.append) == "tab"
    assert tabs == ["http://x/"]


def test_browsers_are_looked_for_where_each_system_keeps_them(monkeypatch, tmp_path):
    monkeypatch.setattr(window.shutil, "which", lambda name: None)
    program = tmp_path / "Google" / "Chrome" / "Application" / "chrome.exe"
    program.parent.mkdir(parents=True)
    program.touch()
    monkeypatch.setenv("PROGRAMFILES", str(tmp_path))
    monkeypatch.setattr(window, "WINDOWS", ("Google/Chrome/Application/chrome.exe", "Microsoft/edge.exe"))
    assert list(window.browsers("win32")) == [str(program)]
    assert list(window.browsers("linux")) == []


def test_the_flag_is_read():
    assert Settings.from_args(["--window"], {}).window
    assert not Settings.from_args([], {}).window


# shortcuts and languages


def test_the_sheet_says_what_the_graph_listens_to():
    keys = (ROOT / "assets/graph/src/keys.js").read_text("utf-8")
    graph = {
        (" or ".join(re.findall(r'"([^"]+)"', listed)).replace("+", " + "), what)
        for listed, what in re.findall(r'keys: \[([^\]]+)\], what: "([^"]+)"', keys)
    }
    chrome = (ROOT / "assets/ui/chrome.js").read_text("utf-8")
    block = chrome[chrome.index("const graph = [") : chrome.index("const regions = [")]
    sheet = set(re.findall(r'\["([^"]+)", "([^"]+)"\]', block))
    assert len(graph) >= 15 and sheet == graph


def test_all_that_the_browser_keeps_is_told():
    sources = [*(ROOT / "assets/ui").glob("*.js"), *(ROOT / "assets/graph/src").glob("*.js*")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    page = (ROOT / "assets/ui/help_tab.js").read_text("utf-8")
    told = page.partition("const HERE = [")[2].partition("  ];")[0]
    names = " ".join(re.findall(r'^    \["([\w -]+)"', told, re.MULTILINE)).split()
    stored = {*re.findall(r"""remember\.[sg]et\(["']([\w-]+)""", code), "visitor"}
    assert len(stored) > 10 and sorted(names) == sorted(stored)


def test_every_language_has_a_table_of_texts_that_are_in_use():
    """A text that no source holds any more is dead; a missing one is found by the browser test."""
    known = re.search(r"const languages = \{([^}]+)\}", (ROOT / "assets/ui/language.js").read_text("utf-8"))
    assert known is not None
    names = set(re.findall(r"(\w+):", known[1])) - {"en"}
    folder = ROOT / "assets/ui/lang"
    tables = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    assert set(tables) == names
    folders = (
        "assets/ui/*.js", "assets/workflows/*.json", "assets/graph/src/*", "studio/ui/*.py",
        "studio/nodes/*.py", "studio/graph/*.py", "studio/layout/*.py", "studio/*.py", "plugins/*.py",
    )  # fmt: skip
    sources = "\n".join(path.read_text("utf-8") for glob in folders for path in ROOT.glob(glob)).lower()
    sources = re.sub(r"\s+", " ", sources.replace("_", " "))
    # put together when shown, or gradio's own
    made = ("More tabs", "Regions canvas. ", "Make 1 picture", "Nothing varies yet. ")
    for table in tables.values():
        assert set(table) == {"texts", "patterns", "graph"}
        for pattern, by in (*table["patterns"], *table["graph"]):
            groups = re.compile(pattern).groups
            assert {int(n) for n in re.findall(r"[${](\d)", by)} <= set(range(1, groups + 1)), pattern
        parts = {text: re.split(r"(?<=\w)[:;] ", text.lower().replace("_", " ")) for text in table["texts"]}
        known = [text for text in parts if text.startswith(made) or all(p in sources for p in parts[text])]
        dead = sorted(set(parts) - set(known))
        assert not dead


def test_embedded_models_are_told_in_plain_words():
    from studio.ui.model_words import WORDS, words_of

    for path in (ROOT / "assets" / "models").glob("*/card.json"):
        card = json.loads(path.read_text("utf-8"))
        if card.get("scale"):
            continue  # an upscaler has its own tab
        ref = f"embedded:{card['name']}"
        told = words_of(ref, card)
        assert {"paints", "weak", "learnt"} == set(told) and all(told.values()), ref
        text = " ".join(sentence for part in told.values() for sentence in part)
        assert not [word for word in ("studio/", "latent", "seeded", "procedural") if word in text]
        if "532480" in card["training"]["data"]:
            assert "532,480" in text, "the number is the card's own"
    assert words_of("hub:a/b", {"training": {"data": 5}}) == {}
    assert words_of(next(iter(WORDS)), {})["learnt"][0].endswith("itself.")

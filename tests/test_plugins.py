"""Every file in `plugins/` loads and does what its help says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.graph.registry import Registry
from studio.models.codec import TensorCodec
from studio.pixels import encode, to_array
from studio.settings import ROOT, SHIPPED_PLUGINS
from studio.values import Image

PLUGINS = Registry(plugins=ROOT / "plugins")
GREY = Image(np.full((32, 48, 3), 128, np.uint8))
RAMP = Image(np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 3, axis=2).repeat(8, axis=0))


def run(kind: str, image: Image, **widgets: object) -> Image:
    result = PLUGINS.get(kind).function(image, **widgets)
    assert isinstance(result, Image)
    return result


def test_every_file_in_the_folder_is_loaded_and_none_is_broken() -> None:
    assert PLUGINS.broken == ()
    files = {p.name for p in (ROOT / "plugins").glob("*.py") if not p.name.startswith("_")}
    assert {p.file for p in PLUGINS.plugins} == files


def test_the_plugins_that_ship_are_those_that_keep_their_ids() -> None:
    files = {p.name for p in (ROOT / "plugins").glob("*.py")}
    assert set(SHIPPED_PLUGINS) <= files
    assert {p.file for p in PLUGINS.plugins} >= set(SHIPPED_PLUGINS)


@pytest.mark.parametrize("plugin", PLUGINS.plugins, ids=lambda p: p.name)
def test_plugin_runs_in_a_graph_beside_the_built_in_nodes(plugin: object, home: Path) -> None:
    registry = Registry(["studio.nodes.image", "studio.nodes.upscale"], plugins=ROOT / "plugins")
    for kind in plugin.nodes:  # type: ignore[attr-defined]
        enlarges = [socket.type for socket in registry.get(kind).outputs] == ["Upscaler"]
        last = "larger" if enlarges else "it"
        first = Node("in", "load_image", {"picture": {"file": "0" * 64}})
        nodes = [first, Node("it", kind), Node("out", "save_image")]
        edges = [Edge(("in", "image"), (last, "image")), Edge((last, "image"), ("out", "image"))]
        if enlarges:
            nodes.append(Node("larger", "upscale_picture", {"scale": 2.0}))
            edges.append(Edge(("it", "upscaler"), ("larger", "upscaler")))
        graph = Graph(tuple(nodes), tuple(edges))
        engine = Engine(
            registry, codecs=[TensorCodec()], open_file=lambda sha: encode(RAMP, "PNG"), check_inputs=True
        )  # type: ignore[list-item]
        report = engine.run(graph)
        assert report.errors == ()
        assert report.outputs["out"]["image"].width == RAMP.width * (2 if enlarges else 1)
        assert engine.run(graph).ran == ()


@pytest.mark.parametrize(("kind", "neutral"), [("film_grain", {"amount": 0.0}), ("duotone", {"mix": 0.0})])
def test_neutral_setting_gives_the_picture_itself(kind: str, neutral: dict[str, float]) -> None:
    assert run(kind, RAMP, **neutral) == RAMP


def test_grain_is_monochrome_as_strong_as_asked_and_the_same_for_one_seed() -> None:
    picture = run("film_grain", GREY, amount=0.1, seed=4)
    change = to_array(picture) - to_array(GREY)
    assert np.ptp(change, axis=2).max() == 0
    assert abs(change.std() - 0.1) < 0.01
    assert abs(change.mean()) < 0.01
    assert run("film_grain", GREY, amount=0.1, seed=4) == picture
    assert run("film_grain", GREY, amount=0.1, seed=5) != picture


def test_grain_and_duotone_keep_transparency() -> None:
    clear = Image(np.dstack([GREY.pixels, np.full((32, 48), 77, np.uint8)]))
    for kind in ("film_grain", "duotone"):
        assert (run(kind, clear).pixels[..., 3] == 77).all()


def test_duotone_prints_black_in_the_shadow_ink_and_white_in_the_light_ink() -> None:
    pixels = run("duotone", RAMP, shadows="#102030", lights="#f0e0d0").pixels
    assert tuple(pixels[0, 0]) == (0x10, 0x20, 0x30)
    assert tuple(pixels[0, -1]) == (0xF0, 0xE0, 0xD0)
    assert (np.diff(pixels[0].astype(int), axis=0) >= 0).all()  # no tone is turned around


def test_duotone_contrast_drives_tones_apart() -> None:
    soft = to_array(run("duotone", RAMP, shadows="#000000", lights="#ffffff", contrast=0.0))[0, :, 0]
    hard = to_array(run("duotone", RAMP, shadows="#000000", lights="#ffffff", contrast=1.0))[0, :, 0]
    assert hard[8] < soft[8]
    assert hard[-8] > soft[-8]

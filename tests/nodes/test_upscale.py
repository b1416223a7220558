"""The nodes that make pictures larger, through the engine: neutral settings, checks, and the workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from studio.errors import Refused
from studio.graph.context import Context
from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.models.loading import ModelStore
from studio.nodes.upscale import load_upscaler, resize_picture, upscale_picture
from studio.policy import Policy
from studio.upscaling.engines import filter_upscaler
from studio.upscaling.networks import SRVGGNetCompact
from studio.values import Image
from tests.nodes.ready import noise_picture, ready_workflow


@pytest.fixture(scope="module")
def engine(caching_engine: Engine) -> Engine:
    return caching_engine


def picture(height: int = 40, width: int = 60, channels: int = 3) -> Image:
    return noise_picture(height, width, channels)


def network_file(tmp_path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    path = tmp_path / "small.safetensors"
    save_file({k: v.contiguous() for k, v in SRVGGNetCompact(3, 8, 2, 2).state_dict().items()}, path)
    return path


def ready(**more: Any) -> Graph:
    """The workflow on the miniature: 64 pixels become 128, in tiles of 64."""
    settings = {
        "model.model": "tiny:sd3", "canvas.width": 64, "canvas.height": 64, "schedule.steps": 2,
        "detail.steps": 5, "detail.strength": 0.4, "tiles.tile": 64, "encode.tile": 64, "decode.tile": 64,
        "upscaler.upscaler": "lanczos", "prompt.text": "a red star",
    }  # fmt: skip
    return ready_workflow("upscale", {**settings, **more})


@pytest.mark.parametrize("how", ["lanczos", "area", "nearest"])
def test_factor_one_is_the_picture_itself(ctx: Context, how: str) -> None:
    for image in (picture(), picture(1, 1), picture(channels=4)):
        assert resize_picture(image, 1.0, how, ctx=ctx) is image


@pytest.mark.parametrize(
    ("factor", "size"), [(2, (120, 80)), (0.5, (30, 20)), (0.01, (1, 1)), (1.26, (76, 50))]
)
def test_resizing_is_pillows(ctx: Context, factor: float, size: tuple[int, int]) -> None:
    image = picture()
    found = resize_picture(image, factor, "lanczos", ctx=ctx)
    expected = Pillow.fromarray(image.pixels).resize(size, Pillow.Resampling.LANCZOS)
    assert np.array_equal(found.pixels, np.asarray(expected))


def test_sizes_beyond_the_hosts_limit_are_refused_before_any_work(ctx: Context) -> None:
    large = Image(np.zeros((1, 20_000, 3), np.uint8))
    assert resize_picture(large, 2, ctx=ctx).width == 40_000
    huge = Image(np.broadcast_to(np.zeros(3, np.uint8), (20_000, 20_000, 3)))
    for call in (
        lambda: resize_picture(huge, 2, ctx=ctx),
        lambda: upscale_picture(huge, filter_upscaler("lanczos"), scale=2.0, ctx=ctx),
    ):
        with pytest.raises(Refused, match="pixels"):
            call()


@pytest.mark.parametrize("scale", [0, 100, 0.5, -1])
def test_scales_out_of_range_are_found_by_the_check(engine: Engine, scale: float) -> None:
    problems = engine.check(ready(**{"larger.scale": scale}))
    assert [(p.node, p.socket) for p in problems] == [("larger", "scale")]
    assert "1 to 16" in problems[0].hint


@pytest.mark.parametrize(
    ("settings", "node", "socket"),
    [
        ({"tiles.overlap": 40}, "tiles", "overlap"),
        ({"encode.overlap": 33}, "encode", "overlap"),
        ({"decode.overlap": 64}, "decode", "overlap"),
        ({"larger.tile": 64, "larger.overlap": 60}, "larger", "overlap"),
        ({"tiles.tile": 16}, "tiles", "tile"),
        ({"coarse.block": 0}, "coarse", "block"),
    ],
)
def test_tiles_that_cannot_be_are_found_by_the_check(
    engine: Engine, settings: dict[str, int], node: str, socket: str
) -> None:
    assert (node, socket) in [(p.node, p.socket) for p in engine.check(ready(**settings))]


@pytest.mark.parametrize("tile", [8, 15])
def test_tiles_too_small_for_the_upscaler_are_found_by_the_check(engine: Engine, tile: int) -> None:
    own = {"upscaler.upscaler": "embedded:scenes-upscale-x2"}
    (problem,) = engine.check(ready(**own, **{"larger.tile": tile}))
    assert (problem.node, problem.socket) == ("larger", "tile") and "At least 16" in problem.hint
    assert engine.check(ready(**own, **{"larger.tile": 16})) == []


def test_what_is_no_upscaler_is_found_by_the_check(engine: Engine, tmp_path: Path) -> None:
    torch.save({"params": {}}, tmp_path / "old.pth")
    torch.save({"params": {}}, tmp_path / "disguised.safetensors")
    save_file({"w": torch.zeros(3)}, tmp_path / "strange.safetensors")
    good = network_file(tmp_path)
    for ref, words in (
        ("lancos", "no upscaler 'lancos'"),
        ("embedded:scenes-upscale", "no embedded upscaler"),
        (str(tmp_path / "old.pth"), "is a pickle"),
        (str(tmp_path / "disguised.safetensors"), "is a pickle"),
        (str(tmp_path / "strange.safetensors"), "does not know"),
        (str(tmp_path / "none.safetensors"), "There is no file"),
    ):
        (problem,) = engine.check(ready(**{"upscaler.upscaler": ref}))
        assert (problem.node, problem.socket, problem.level) == ("upscaler", "upscaler", "error"), ref
        assert words in problem.message and problem.hint
    assert engine.check(ready(**{"upscaler.upscaler": str(good)})) == []


@pytest.mark.parametrize(("tile", "level"), [(512, ""), (1024, "warning")])
def test_tiles_beyond_the_model_are_said_before_the_run(engine: Engine, tile: int, level: str) -> None:
    made = ready(**{"model.model": "embedded:scenes-sd3", "tiles.tile": tile})
    found = [(p.level, p.node, p.socket) for p in engine.check(made)]
    assert found == ([(level, "tiles", "tile")] if level else [])


def test_scale_one_is_the_picture_itself(engine: Engine) -> None:
    made = engine.run(ready(**{"larger.scale": 1.0}), targets=["picture", "larger"]).outputs
    assert made["picture"]["image"] == made["larger"]["image"]


def test_strength_zero_is_the_upscaled_picture_bit_by_bit(engine: Engine) -> None:
    report = engine.run(ready(**{"detail.strength": 0.0}), targets=["larger", "save"])
    assert report.status == "finished", report.errors
    assert report.outputs["larger"]["image"] == report.outputs["save"]["image"]


def test_the_workflow_paints_by_tiles_and_keeps_the_coarse_picture(engine: Engine) -> None:
    report = engine.run(ready(), targets=["larger", "repaint", "save"])
    assert report.status == "finished", report.errors
    image = report.outputs["save"]["image"]
    assert (image.width, image.height) == (128, 128)
    assert image != report.outputs["larger"]["image"]
    told = report.nodes["repaint"].notes["network"]
    # 128 pixels in tiles of 64 that share 16: three a side, two steps
    assert told["forwards"] == 3 * 3 * 2


def test_a_file_of_ones_own_is_read_and_noticed_when_it_changes(engine: Engine, tmp_path: Path) -> None:
    path = network_file(tmp_path)
    graph = ready(**{"upscaler.upscaler": str(path), "larger.tile": 32})
    first = engine.run(graph, targets=["larger"])
    told = first.nodes["larger"].notes["upscale"]
    assert told["tiles"] == 9 and told["scale"] == 2 and "SRVGGNetCompact x2" in told["upscaler"]
    again = engine.run(graph, targets=["larger"])
    assert again.nodes["larger"].state == "cached"
    network_file(tmp_path, seed=1)
    other = engine.run(graph, targets=["larger"])
    assert other.outputs["larger"]["image"] != first.outputs["larger"]["image"]


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("lancos", "no upscaler"),
        ("embedded:nothing", "no embedded upscaler"),
        ("/nowhere/x.safetensors", "no file"),
    ],
)
def test_upscalers_that_are_not_there(engine: Engine, ref: str, said: str) -> None:
    report = engine.run(ready(**{"upscaler.upscaler": ref}), targets=["larger"])
    assert report.status == "failed" and said in report.errors[0].message


def test_a_host_for_strangers_opens_no_files(tmp_path: Path) -> None:
    public = Context(models=ModelStore(device="cpu"), policy=Policy.public(), path="n")
    with pytest.raises(Refused):
        load_upscaler(str(network_file(tmp_path)), ctx=public)
    assert load_upscaler("lanczos", ctx=public).scales[0] == 2


def with_attachment(graph: Graph, *nodes: Node, edges: tuple[tuple[str, str], ...]) -> Graph:
    from dataclasses import replace

    made = [Edge(tuple(a.split(".")), tuple(b.split("."))) for a, b in edges]  # type: ignore[arg-type]
    return replace(graph, nodes=(*graph.nodes, *nodes), edges=(*graph.edges, *made))


def test_a_control_of_the_whole_picture_is_refused_by_the_check(engine: Engine) -> None:
    graph = with_attachment(
        ready(),
        Node("watch", "watch_words", {"words": "star"}),
        edges=(("model.model", "watch.model"), ("prompt.conditioning", "watch.positive"),
               ("watch.attachment", "repaint.attachments")),
    )  # fmt: skip
    problems = [p for p in engine.check(graph) if p.node == "repaint"]
    assert [p.socket for p in problems] == ["attachments"]
    assert "cannot be cut into tiles" in problems[0].message and "Disconnect" in problems[0].hint


def test_word_weights_pass_the_check_and_change_the_picture(engine: Engine) -> None:
    graph = with_attachment(
        ready(),
        Node("weight", "word_weight", {"words": "red", "weight": 3.0}),
        edges=(("model.model", "weight.model"), ("prompt.conditioning", "weight.positive"),
               ("weight.attachment", "repaint.attachments")),
    )  # fmt: skip
    assert [p for p in engine.check(graph) if p.level == "error"] == []
    plain = engine.run(ready()).outputs["save"]["image"]
    weighted = engine.run(graph)
    assert weighted.status == "finished", weighted.errors
    assert weighted.outputs["save"]["image"] != plain


def test_alpha_comes_through(ctx: Context) -> None:
    image = picture(channels=4)
    found = upscale_picture(image, load_upscaler("nearest", ctx=ctx), scale=2.0, ctx=ctx)
    assert np.array_equal(found.pixels[::2, ::2, :3], image.pixels[..., :3]) and found.has_alpha


def test_a_scale_above_the_upscaler_is_made_in_passes_and_told(
    engine: Engine, ctx: Context, tmp_path: Path
) -> None:
    own = load_upscaler(str(network_file(tmp_path)), ctx=ctx)
    made = upscale_picture(picture(), own, scale=4.0, ctx=ctx)
    assert (made.width, made.height) == (240, 160)
    graph = ready(**{"upscaler.upscaler": str(network_file(tmp_path)), "larger.scale": 4.0})
    told = engine.run(graph, targets=["larger"]).nodes["larger"].notes["upscale"]
    assert (told["scale"], told["passes"]) == (4, 2)

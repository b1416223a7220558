"""The nodes that bring a picture back: the ready workflow, neutral settings, what the check finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.graph.context import Context
from studio.graph.document import Graph
from studio.graph.engine import Engine
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.nodes.known import degrade_picture, known_picture, put_back_known
from studio.policy import Policy
from studio.sampling.data_term import downhill
from studio.values import Image, Mask
from tests.nodes.ready import noise_picture, ready_workflow


@pytest.fixture(scope="module")
def engine(caching_engine: Engine) -> Engine:
    return caching_engine


def picture(height: int = 64, width: int = 64, channels: int = 3) -> Image:
    return noise_picture(height, width, channels)


def ready(**more: Any) -> Graph:
    settings = {
        "model.model": "tiny:sd3",
        "canvas.width": 64,
        "canvas.height": 64,
        "schedule.steps": 4,
        "prompt.text": "a red star",
    }
    return ready_workflow("restore-picture", {**settings, **more})


def test_the_workflow_brings_a_picture_closer_than_the_unsteered_run(
    engine: Engine, store: ModelStore
) -> None:
    made = {}
    for force in (0.0, 1.0):
        targets = ["worse", "restore", "found", "save", "before", "size"]
        report = engine.run(ready(**{"steer.force": force}), targets=targets)
        assert report.status == "finished", report.errors
        made[force] = report.outputs
    known = made[1.0]["worse"]["known"]
    assert (known.image.width, known.width) == (32, 64) and made[1.0]["size"] == {"width": 64, "height": 64}
    parts = parts_of(store.load("tiny:sd3"))
    # before pixels are cut: the miniature's decoder makes values far outside of 0..1
    apart = [
        float(downhill(parts, known, known.wanted(), made[force]["restore"]["latent"].tensor)[1].mean())
        for force in (0.0, 1.0)
    ]
    assert apart[1] < apart[0] / 2
    assert made[1.0]["before"]["image"] == known.guess()


def test_force_zero_is_the_run_without_the_wrap(engine: Engine) -> None:
    from dataclasses import replace

    steered = ready(**{"steer.force": 0.0})
    plain = replace(steered, edges=tuple(e for e in steered.edges if e.target != ("restore", "wraps")))
    a, b = (engine.run(graph, targets=["found"]).outputs["found"]["image"] for graph in (steered, plain))
    assert a == b


@pytest.mark.parametrize("model", ["tiny:sd3", "tiny:flux"])
def test_red_diff_runs_on_every_family_and_says_its_data_term(engine: Engine, model: str) -> None:
    from dataclasses import replace

    from studio.graph.document import Edge, Node

    graph = ready(**{"model.model": model})
    edges = (
        ("model.model", "model"),
        ("prompt.conditioning", "positive"),
        ("avoid.conditioning", "negative"),
        ("worse.known", "known"),
        ("schedule.sigmas", "sigmas"),
        ("little.guidance", "guidance"),
    )
    made = [Edge(tuple(a.split(".")), ("red", b)) for a, b in edges]  # type: ignore[arg-type]
    graph = replace(
        graph, nodes=(*graph.nodes, Node("red", "restore_known", {})), edges=(*graph.edges, *made)
    )
    report = engine.run(graph, targets=["red"])
    assert report.status == "finished", report.errors
    latent = report.outputs["red"]["latent"]
    assert latent.tensor is not None and (latent.width, latent.height) == (64, 64)
    assert bool(torch.isfinite(latent.tensor).all()) and "network" in report.nodes["red"].notes


@pytest.mark.parametrize(
    ("settings", "node", "socket"),
    [
        ({"worse.shrink": 0}, "worse", "shrink"),
        ({"worse.shrink": 100}, "worse", "shrink"),
        ({"worse.radius": -1.0}, "worse", "radius"),
        ({"worse.blur": "gausian"}, "worse", "blur"),
        ({"steer.force": 2.0}, "steer", "force"),
        ({"sampler.sampler": "heun"}, "restore", "sampler"),
    ],
)
def test_what_cannot_be_is_found_by_the_check(
    engine: Engine, settings: dict[str, Any], node: str, socket: str
) -> None:
    assert (node, socket) in [(p.node, p.socket) for p in engine.check(ready(**settings))]


def test_nothing_made_worse_is_the_picture_itself(ctx: Context) -> None:
    image = picture()
    worse = degrade_picture(image, blur="none")
    assert worse.image is image and worse.known.neutral
    assert put_back_known(picture(64, 64), worse.known) == image
    assert put_back_known(image, worse.known, on=False) is image


def test_masks_are_white_where_something_is_missing(ctx: Context) -> None:
    missing = np.zeros((64, 64), np.float32)
    missing[:32] = 1
    known = known_picture(picture(), Mask(missing), ctx=ctx)
    back = put_back_known(Image(np.zeros((64, 64, 3), np.uint8)), known)
    assert not back.pixels[:32].any() and np.array_equal(back.pixels[32:], picture().pixels[32:])
    with pytest.raises(StudioError, match="mask has 64x64"):
        known_picture(picture(32, 32), Mask(missing), ctx=ctx)
    assert known_picture(picture(32, 32), Mask(missing), shrink=2, ctx=ctx).width == 64


def test_sizes_beyond_the_hosts_limit_are_refused(ctx: Context) -> None:
    with pytest.raises(StudioError, match="pixels"):
        known_picture(picture(1, 20_000), shrink=16, ctx=Context(
            models=ModelStore(device="cpu"), policy=Policy.public(), path="n"))  # fmt: skip

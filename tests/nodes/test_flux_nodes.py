"""The nodes for FLUX-like models, through their functions and the real miniatures."""

from __future__ import annotations

import pytest

from studio.errors import StudioError
from studio.graph.context import Context
from studio.models.device import generator
from studio.models.loading import ModelStore
from studio.nodes.flux import schedule_by_size
from studio.nodes.guidance import embedded_guidance
from studio.policy import Policy
from studio.sampling.schedules import flux_by_size
from studio.values import Latent


@pytest.fixture(scope="module")
def ctx():
    store = ModelStore(device="cpu")
    yield Context(models=store, policy=Policy.local(), seed=0, path="n", generator=generator)
    store.close()


@pytest.mark.parametrize("ref", ["tiny:sd3", "tiny:flux"])
def test_the_size_of_the_canvas_decides_the_schedule(ctx, ref):
    model = ctx.models.load(ref)
    made = schedule_by_size(model, Latent(256, 128), 8, ctx=ctx)
    assert made == flux_by_size(8, 16 * 8)
    assert schedule_by_size(model, Latent(256, 128), 8, strength=0.5, ctx=ctx).values == made.values[4:]


def test_an_impossible_canvas_is_refused(ctx):
    with pytest.raises(StudioError, match="width of 100") as caught:
        schedule_by_size(ctx.models.load("tiny:flux"), Latent(100, 64), 8, ctx=ctx)
    assert "nearest is 96" in caught.value.hint


def test_the_number_and_the_two_pass_scale_are_apart():
    assert dict(embedded_guidance(2.0).params) == {"guidance": 2.0, "cfg_scale": 1.0}

"""The example of an upscaler plugin: it obeys the contract, by tiles and whole, and beats its filter."""

from __future__ import annotations

import numpy as np
import pytest

from studio.graph.registry import Registry
from studio.scenes.draw import draw
from studio.scenes.world import sample_scene
from studio.settings import ROOT
from studio.upscaling.engines import filtered
from studio.upscaling.run import enlarge
from studio.values import Image, Upscaler

PLUGIN = Registry(plugins=ROOT / "plugins").get("back_projection").function


@pytest.fixture
def made() -> Upscaler:
    return PLUGIN()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def scene() -> Image:
    return Image(draw(sample_scene(np.random.default_rng(7)), 256))


def shrunk(image: Image, scale: int) -> Image:
    return filtered(image, image.width // scale, image.height // scale, "area")


def error(one: Image, other: Image) -> float:
    return float(np.square(one.pixels.astype(float) - other.pixels).mean())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrunk_again_it_is_the_picture_and_more_steps_come_nearer(
    made: Upscaler, scene: Image, scale: int
) -> None:
    small = filtered(scene, 60, 48, "area")
    apart = [error(shrunk(enlarge(made, small, scale, steps=steps).image, scale), small) for steps in (1, 10)]
    plain = filtered(small, small.width * scale, small.height * scale, "lanczos")
    assert apart[1] < apart[0] < error(shrunk(plain, scale), small) and apart[1] < 1


def test_it_is_nearer_to_the_truth_than_its_filter(made: Upscaler, scene: Image) -> None:
    small = shrunk(scene, 2)
    assert error(enlarge(made, small, 2, steps=5).image, scene) < error(
        filtered(small, 256, 256, "lanczos"), scene
    )


def test_a_guide_lends_its_detail(made: Upscaler, scene: Image) -> None:
    small = shrunk(scene, 4)
    with_guide, without = (enlarge(made, small, 4, guide=guide).image for guide in (scene, None))
    assert error(with_guide, scene) < error(without, scene) / 10


def test_tiles_are_the_whole_to_a_level_and_show_no_seam(made: Upscaler, scene: Image) -> None:
    whole, tiled = enlarge(made, scene, 2), enlarge(made, scene, 2, tile=96, overlap=32)
    assert tiled.tiles == 16 and tiled.seam < 1.5
    apart = np.abs(whole.image.pixels.astype(int) - tiled.image.pixels)
    assert apart.mean() < 0.1 and np.quantile(apart, 0.999) <= 2


def test_steps_are_told_and_can_be_stopped(made: Upscaler, scene: Image) -> None:
    told = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enlarge(made, shrunk(scene, 4), 2, steps=50, on_step=stop)
    # the tile, then the steps in it
    assert told == [(0, 1), (0, 50), (1, 50), (2, 50), (3, 50)]


def test_alpha_and_small_pictures(made: Upscaler) -> None:
    for shape in ((1, 1, 3), (1, 7, 4), (5, 3, 3)):
        image = Image(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
        found = enlarge(made, image, 4).image
        assert found.pixels.shape == (shape[0] * 4, shape[1] * 4, shape[2])
    assert PLUGIN() == made and made.needs == ()

"""The upscaler's recipe: pairs of drawn scenes, right measures, resuming, and a file that can be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.scenes.draw import draw
from studio.scenes.world import held_out, sample_scene
from studio.settings import ROOT
from studio.training import upscaler as recipe
from studio.upscaling.files import read_network

SIZE = 64


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    from studio.models.tiny import save_tiny

    return recipe.load_vae(save_tiny("sd3", tmp_path_factory.mktemp("tiny") / "sd3") / "vae", "cpu")


@pytest.fixture
def pairs(vae: torch.nn.Module) -> recipe.Pairs:
    made = recipe.Pairs(vae, 0, SIZE)
    for _ in range(3):
        made.add()
    return made


def test_scene_k_is_the_same_whenever_it_is_drawn(vae: torch.nn.Module, pairs: recipe.Pairs) -> None:
    again = recipe.Pairs(vae, 2, SIZE)
    again.add()
    for name, value in again.held[0].items():
        assert np.array_equal(value, pairs.held[2][name])
    assert not np.array_equal(pairs.held[0]["answer"], pairs.held[1]["answer"])


def test_a_pair_is_one_scene_at_two_sizes_and_never_held_out(vae: torch.nn.Module) -> None:
    for index in range(20):
        scene = sample_scene(np.random.default_rng([71, index]))
        assert not any(held_out(o.kind, o.colour, o.place) for o in scene.objects)
    pair = recipe.pair_of(scene, vae, 0.1, 0, SIZE)
    assert np.array_equal(pair["answer"], draw(scene, 2 * SIZE))
    assert np.array_equal(pair["drawn"], draw(scene, SIZE))
    blocks = pair["answer"].reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    assert np.abs(pair["shrunk"] - blocks).max() <= 1  # rounded along rows, then along columns
    assert pair["decoded"].shape == (SIZE, SIZE, 3) and pair["decoded"].dtype == np.uint8


def test_crops_of_input_and_answer_show_the_same_place(pairs: recipe.Pairs) -> None:
    inputs, answers = pairs.batch(24, np.random.default_rng(0))
    assert inputs.shape == (24, 3, 48, 48) and answers.shape == (24, 3, 96, 96)
    assert float(inputs.min()) >= 0 and float(inputs.max()) <= 1
    small = torch.nn.functional.avg_pool2d(answers, 2)
    error = (small - inputs).abs().mean((1, 2, 3))
    # half of the crops went through an untrained autoencoder; of the others every one lies in place
    assert int((error < 0.03).sum()) >= 8
    again = pairs.batch(24, np.random.default_rng(0))
    assert torch.equal(again[0], inputs) and torch.equal(again[1], answers)


def test_measures_are_known_values() -> None:
    one = np.full((32, 32, 3), 100, np.uint8)
    assert recipe.psnr(one, one + 10) == pytest.approx(10 * np.log10(255**2 / 100))
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert recipe.ssim(noise, noise) == pytest.approx(1)
    # of constants only the means count: (2ab + c1) / (a^2 + b^2 + c1)
    c1 = (0.01 * 255) ** 2
    assert recipe.ssim(one, one + 10) == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1))
    assert recipe.ssim(noise, noise[::-1]) < 0.2


def test_training_goes_on_where_it_stopped_and_gets_better(
    vae: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "FIRST", 3)
    monkeypatch.setattr(recipe, "SIZE", SIZE)
    small = recipe.Pairs.__init__
    monkeypatch.setattr(recipe.Pairs, "__init__", lambda self, vae, drawn: small(self, vae, drawn, SIZE))
    out = tmp_path / "run.pt"
    training = recipe.Training(out, 2e-3, "cpu")
    inputs, answers = pairs_of(vae).batch(4, np.random.default_rng(1))

    def error() -> float:
        with torch.no_grad():
            return float((training.network(inputs) - answers).square().mean())

    before = error()
    recipe.train(training, vae, minutes=60, batch=4, steps=6)
    assert training.state["step"] == 6 and out.exists() and error() < before
    again = recipe.Training(out, 2e-3, "cpu")
    assert again.state == training.state and again.state["drawn"] == 3
    for one, other in zip(again.average.parameters(), training.average.parameters(), strict=True):
        assert torch.equal(one, other)
    recipe.train(again, vae, minutes=60, batch=4, steps=1)
    assert again.state["step"] == 7
    card = recipe.export(again, vae, tmp_path / "model", count=1)
    read = read_network(tmp_path / "model" / "model.safetensors")
    assert (read.scale, (tmp_path / "model" / "model.safetensors").stat().st_size < 4e6) == (2, True)
    assert json.loads((tmp_path / "model" / "card.json").read_text())["scores"] == card["scores"]
    assert card["scores"]["drawn"]["lanczos_psnr_db"] > 20


def pairs_of(vae: torch.nn.Module) -> recipe.Pairs:
    made = recipe.Pairs(vae, 0)
    made.add()
    return made


FOLDER = ROOT / "assets" / "models" / "scenes-upscale-x2"


@pytest.mark.model
@pytest.mark.skipif(not FOLDER.is_dir(), reason="the model is not there")
def test_the_model_that_ships_beats_lanczos_on_scenes_that_nobody_drew_before() -> None:
    network = read_network(FOLDER / "model.safetensors")
    found = recipe.measure(network, recipe.load_vae(ROOT / recipe.VAE, "cpu"), 3)
    for kind in recipe.KINDS:
        assert found[kind]["gain_db"] > 0.5, found
        assert found[kind]["network_ssim"] >= found[kind]["lanczos_ssim"], found
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 4e6

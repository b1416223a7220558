"""Presets: found by card, LoRA, name and shape; what they lock has a reason; every one has a source."""

from __future__ import annotations

import json
import re

import pytest

from studio.models.embedded import list_embedded
from studio.models.presets import LORAS, NAMED, Preset, lora_preset, preset_of
from studio.models.size_shift import lines
from studio.sampling import samplers, schedules
from studio.settings import ROOT


@pytest.mark.parametrize("preset", [*NAMED.values(), *LORAS.values()], ids=lambda preset: preset.name)
def test_every_preset_can_be_run_and_has_a_source(preset):
    assert preset.source.startswith("https://")
    assert 1 <= preset.steps <= preset.most and 0 < preset.strength <= 1
    samplers.sampler(preset.sampler)
    assert schedules.schedule(preset.spacing, preset.steps, preset.shift or 1.0).steps == preset.steps
    assert preset.cfg or preset.cfg_scale == 1


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("hub:stabilityai/stable-diffusion-3.5-large-turbo", "Stable Diffusion 3.5 large turbo"),
        ("hub:stabilityai/stable-diffusion-3.5-large", "Stable Diffusion 3.5 large"),
        ("/models/sd3.5_medium", "Stable Diffusion 3.5 medium"),
        ("hub:stabilityai/stable-diffusion-3-medium-diffusers", "Stable Diffusion 3 medium"),
        ("hub:black-forest-labs/FLUX.1-schnell", "FLUX.1 schnell"),
        ("hub:black-forest-labs/FLUX.1-dev", "FLUX.1 dev"),
        ("hub:black-forest-labs/FLUX.2-klein-4B", "FLUX.2 klein"),
        ("hub:black-forest-labs/FLUX.2-klein-base-4B", "FLUX.2 klein base"),
        ("hub:black-forest-labs/FLUX.2-dev", "FLUX.2 dev"),
        ("hub:Qwen/Qwen-Image", "Qwen-Image"),
        ("hub:Tongyi-MAI/Z-Image-Turbo", "Z-Image Turbo"),
    ],
)
def test_a_model_is_known_by_its_name(ref, name):
    assert preset_of({}, (ref,)).name == name


@pytest.mark.parametrize(
    ("file", "steps", "strength"),
    [
        ("Hyper-FLUX.1-dev-8steps-lora.safetensors", 8, 0.125),
        ("Hyper-FLUX.1-dev-16steps-lora.safetensors", 16, 0.125),
        ("Hyper-SD3-4steps-CFG-lora.safetensors", 4, 0.125),
        ("FLUX.1-Turbo-Alpha.safetensors", 8, 1.0),
        ("Qwen-Image-Lightning-4steps-V1.0.safetensors", 4, 1.0),
    ],
)
def test_a_few_step_lora_is_known_by_its_file(file, steps, strength):
    found = lora_preset(file)
    assert (found.steps, found.strength) == (steps, strength)
    # over the preset of the model that it is laid on
    assert preset_of({"loras": [file], "steps": 50, "cfg_scale": 4.0}) == found
    assert preset_of({"loras": ["a-style.safetensors"], "steps": 50, "cfg_scale": 4.0}).steps == 50
    assert lora_preset("a-style.safetensors") is None


@pytest.mark.parametrize(("width", "height"), [(256, 256), (1024, 1024), (768, 1344), (2048, 2048)])
def test_the_size_of_the_picture_decides_the_shift_of_flux(width, height):
    settings = preset_of({}, ("FLUX.1-dev",)).settings(width, height)
    ours = schedules.schedule(str(settings["spacing"]), 8, settings["shift"])
    published = schedules.flux_by_size(8, width // 16 * (height // 16))
    assert ours.values == pytest.approx(published.values, abs=1e-4)


@pytest.mark.parametrize("steps", [4, 50, 200])
@pytest.mark.parametrize("tokens", [256, 4096, 4300, 9216])
def test_the_shift_of_flux_2_is_that_of_its_pipeline(tokens, steps):
    from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

    found = next(line for line in lines("flux2", steps) if tokens <= line.tokens)
    mu = found.start + found.slope * tokens
    assert mu == pytest.approx(compute_empirical_mu(tokens, steps), abs=1e-9)


def test_every_preset_fills_a_shift_that_the_node_takes():
    for preset in (*NAMED.values(), *LORAS.values()):
        for sides in ((0, 0), (64, 64), (2048, 2048)):
            assert 0.1 <= preset.settings(*sides)["shift"] <= 30
        assert bool(preset.to_json()["lines"]) is (preset.shift is None)
    # Qwen-Image has a line of its own
    qwen, flux = (preset_of({}, (name,)).settings(1024, 1024) for name in ("qwen-image", "flux.1-dev"))
    assert qwen["shift"] < flux["shift"]


def config(folder, **entries):
    (folder / "transformer").mkdir(parents=True)
    (folder / "transformer" / "config.json").write_text(json.dumps(entries))
    return folder


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ({"_class_name": "SD3Transformer2DModel", "num_layers": 38}, "Stable Diffusion 3.5 large"),
        (
            {"_class_name": "SD3Transformer2DModel", "num_layers": 24, "dual_attention_layers": [0, 1]},
            "Stable Diffusion 3.5 medium",
        ),
        ({"_class_name": "SD3Transformer2DModel", "num_layers": 24}, "Stable Diffusion 3 medium"),
        (
            {"_class_name": "FluxTransformer2DModel", "num_layers": 19, "guidance_embeds": True},
            "FLUX.1 dev",
        ),
        ({"_class_name": "FluxTransformer2DModel", "num_layers": 19}, "FLUX.1 schnell"),
    ],
)
def test_a_folder_without_a_name_is_known_by_its_shape(tmp_path, shape, name):
    assert preset_of({}, ("/somewhere",), config(tmp_path / "model", **shape)).name == name


def test_nothing_is_made_up_for_an_unknown_model(tmp_path):
    assert preset_of({}, ("/somewhere",), tmp_path) is None
    strange = config(tmp_path / "model", _class_name="SD3Transformer2DModel", num_layers=2)
    assert preset_of({}, ("/somewhere",), strange) is None
    assert preset_of({"preset": {"steps": "many"}}) is None
    assert preset_of({"preset": {"steps": 0}}) is None


def test_a_card_comes_before_everything_else():
    card = {"title": "Mine", "preset": {"steps": 6, "most": 6, "cfg": False, "shift": None, "sampler": 3}}
    found = preset_of(card, ("hub:black-forest-labs/FLUX.1-dev",))
    assert (found.name, found.steps, found.shift, found.sampler) == ("Mine", 6, None, "euler")
    assert preset_of({"preset": found.to_json()}) == found


def test_what_a_few_step_model_locks_and_why():
    few = Preset("Quick", "card", 4, 8, False)
    assert few.few and set(few.locks()) == {"cfg_scale", "avoid", "steps", "step_cache"}
    assert few.settings()["cfg_scale"] == 1 and "guidance" not in few.settings()
    whole = Preset("Slow", "card", 28, cfg_scale=4.5)
    assert not whole.few and whole.locks() == {}
    assert "up to 8 steps; 50 take longer" in few.too_many(50)


def test_what_does_not_suit_is_told_by_choice():
    few, whole = Preset("Quick", "card", 4, 8, False, spacing="flow"), Preset("Slow", "card", 28)
    assert set(whole.unsuited()) == {"sampler"} and set(whole.unsuited()["sampler"]) == {"lcm", "tcd", "scm"}
    found = few.unsuited()
    assert {"heun", "dpmpp_2m", "unipc"} <= set(found["sampler"]) and "lcm" not in found["sampler"]
    assert "karras" in found["spacing"] and "flow" not in found["spacing"]
    assert "shift of 3; 20" in few.far_shift(20) and not few.far_shift(3.0) and not whole.far_shift(20)
    assert all(name in samplers.SAMPLERS for preset in (few, whole) for name in preset.unsuited()["sampler"])
    assert set(found["spacing"]) <= set(schedules.SCHEDULES)
    # between few-step models and others: some 16 steps
    assert set(LORAS["hyper-sd3-16steps-cfg-lora"].unsuited()) == set()


def test_what_does_not_suit_is_told_by_reason_and_no_help_recommends_it():
    """The same choices as `unsuited`, each once, below sentences that name none of them."""
    few, whole = Preset("Quick", "card", 4, 8, False, spacing="flow"), Preset("Slow", "card", 28)
    for preset in (few, whole):
        for widget, choices in preset.unsuited().items():
            told = [name for _, names in preset.reasons()[widget] for name in names]
            assert sorted(told) == sorted(choices)
            for why, names in preset.reasons()[widget]:
                assert why.endswith(":") and preset.name in why
                assert not set(names) & set(re.findall(r"\w+", why))
            assert not set(choices) & set(re.findall(r"\w+", preset.advice()[widget])), widget
    assert "flow fits Quick" in few.advice()["spacing"] and "euler" in few.advice()["sampler"]
    assert "finer" not in few.advice()["steps"] and "steps" not in whole.advice()


def test_the_embedded_models_say_how_they_are_sampled():
    for model in list_embedded():
        preset = model.card["preset"]
        assert preset["name"] in model.title, "people read the title, not a folder's name"
        assert preset["settings"]["steps"], model.name
        file = ROOT / preset["source"].partition(": ")[2]
        assert preset["source"].startswith(("measured: ", "trained so: ")) and file.is_file(), model.name

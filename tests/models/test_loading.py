"""Loading: what can be loaded is, what cannot is named, and the number of models in memory is bounded."""

from __future__ import annotations

import copy
import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.errors import BadModel, Refused
from studio.models.device import guard, place
from studio.models.family import families, parts_of
from studio.models.folders import check_folder
from studio.models.loading import ModelStore, load_folder, ref_files
from studio.models.tiny import TRANSFORMERS, save_tiny, tiny_transformer
from studio.policy import Policy


@pytest.fixture
def store():
    made = ModelStore(device="cpu")
    yield made
    made.close()


@pytest.fixture
def folder(tiny_sd3_folder, tmp_path):
    return shutil.copytree(tiny_sd3_folder, tmp_path / "model")


def change(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_a_folder_and_a_miniature_load_as_the_same_model(store, folder):
    assert store.load(str(folder)) == store.load("tiny:sd3")
    assert store.loaded == (store.digest("tiny:sd3"),)


def test_every_component_is_fp32_on_a_cpu_even_from_fp16_files(store, folder):
    for path in folder.rglob("*.safetensors"):
        save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    parts = parts_of(store.load(str(folder)))
    for name in ("transformer", "vae", "text_encoder", "text_encoder_2"):
        assert {p.dtype for p in parts.components[name].parameters()} == {torch.float32}
        assert not any(p.requires_grad for p in parts.components[name].parameters())
        assert not parts.components[name].training


def test_loading_leaves_the_global_rng_as_it_was(store):
    before = torch.get_rng_state()
    store.load("tiny:sd3")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_handle_is_light_never_copied_and_never_pickled(store):
    model = store.load("tiny:sd3")
    assert copy.deepcopy(model) is model and copy.copy(model) is model
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(model)


def test_at_most_so_many_models_are_kept_and_handles_load_theirs_again(folder, tmp_path):
    store = ModelStore(device="cpu", keep=1)
    first = store.load(str(folder))
    held = parts_of(first)
    second = store.load(str(save_tiny("sd3", tmp_path / "other", seed=5)))
    assert first != second and store.loaded == (second.digest,)
    again = parts_of(first)
    assert again is not held and store.loaded == (first.digest,)
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.transformer.parameters(), held.transformer.parameters(), strict=True)
    )
    store.release()
    assert store.loaded == ()


def test_changed_weights_change_the_digest_and_an_old_handle_says_so(store, folder):
    model = store.load(str(folder))
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values())).add_(1)
    save_file(tensors, path, {"format": "pt"})
    assert store.digest(str(folder)) != model.digest
    store.release()
    with pytest.raises(BadModel, match="have changed"):
        parts_of(model)


def test_unchanged_files_are_hashed_once(folder):
    asked = []

    def hashed(path):
        asked.append(path)
        return "0" * 64

    store = ModelStore(device="cpu", file_digest=hashed)
    store.digest(str(folder))
    count = len(asked)
    store.digest(str(folder))
    assert count == len(asked) > 4


def test_the_files_behind_a_reference_are_those_a_picture_depends_on(folder):
    names = [name for name, _ in ref_files(str(folder))]
    assert "transformer/diffusion_pytorch_model.safetensors" in names and "tokenizer/tokenizer.json" in names
    assert "card.json" in names and ref_files("tiny:sd3") == []


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("", "No model is named"),
        ("  ", "No model is named"),
        ("embedded:scenes-sd4", "no embedded model"),
        ("/nowhere/at/all", "does not exist"),
        ("tiny:flax", "no miniature"),
        ("hub:owner/none", "is not on this computer"),
    ],
)
def test_a_model_that_is_not_there_is_named(store, ref, words):
    with pytest.raises(BadModel, match=words):
        store.load(ref)


def test_a_single_file_is_not_a_model_folder(store, folder):
    with pytest.raises(BadModel, match="is a single file"):
        store.load(str(folder / "model_index.json"))


def test_a_public_host_loads_no_path_and_no_hub_id(folder):
    store = ModelStore(device="cpu", policy=Policy.public())
    for ref in (str(folder), "hub:owner/name"):
        with pytest.raises(Refused):
            store.load(ref)


def test_another_pipeline_class_is_refused_by_name(store, folder):
    change(folder / "model_index.json", _class_name="WhateverElse")
    with pytest.raises(BadModel, match="is a WhateverElse") as caught:
        store.load(str(folder))
    assert "StableDiffusion3Pipeline" in caught.value.hint


def test_a_component_of_another_class_is_refused_by_name(store, folder):
    change(folder / "model_index.json", vae=["evil_library", "Anything"])
    with pytest.raises(BadModel, match=r"'vae'.*'Anything' of 'evil_library'"):
        store.load(str(folder))


@pytest.mark.parametrize(
    "gone",
    [
        "model_index.json",
        "transformer",
        "vae/diffusion_pytorch_model.safetensors",
        "tokenizer_2",
        "text_encoder/config.json",
    ],
)
def test_an_incomplete_folder_says_what_is_missing(store, folder, gone):
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(BadModel, match=gone.split("/")[0]):
        store.load(str(folder))


def test_a_missing_tensor_is_not_filled_with_noise(store, folder):
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["proj_out.weight"]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(BadModel, match=r"proj_out\.weight"):
        store.load(str(folder))


def test_components_of_two_models_are_told_apart_by_numbers(store, folder):
    change(folder / "transformer" / "config.json", in_channels=16)
    with pytest.raises(BadModel, match="transformer"):
        store.load(str(folder))


def test_a_card_with_a_senseless_text_length_is_refused(folder):
    change(folder / "card.json", max_sequence_length=-3)
    checked = check_folder(folder)
    parts = load_folder(checked, place("cpu"))
    with pytest.raises(BadModel, match="max_sequence_length is -3"):
        parts.family.encode_text(parts, "a star")


def test_the_families_are_found_by_their_pipeline_class():
    assert families()["StableDiffusion3Pipeline"].name == "sd3"


@pytest.mark.parametrize("family", sorted(TRANSFORMERS))
def test_a_miniature_is_the_real_class_and_the_same_for_one_seed(family):
    first, again, other = tiny_transformer(family), tiny_transformer(family), tiny_transformer(family, seed=1)
    assert type(first).__module__.startswith("diffusers.models.transformers")
    assert sum(p.numel() for p in first.parameters()) < 1_000_000
    states = [model.state_dict() for model in (first, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_the_guard_restores_rng_and_grad_mode_after_an_exception():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), guard():
        assert torch.is_inference_mode_enabled()
        torch.randn(3)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before) and not torch.is_inference_mode_enabled()


def test_folders_of_other_files_are_no_broken_models(tmp_path):
    for name in ("loras", "upscalers", "half a model"):
        (tmp_path / "models" / name).mkdir(parents=True)
    found = ModelStore(device="cpu", models_folder=tmp_path / "models").list()
    own = [info for info in found if info.path.parent == tmp_path / "models"]
    assert [info.title for info in own] == ["half a model"] and own[0].problem


@pytest.mark.model
def test_the_embedded_models_are_listed_and_load(store):
    most = {"embedded:scenes-sd3": 22, "embedded:scenes-flux": 18}
    found = {info.ref: info for info in store.list() if info.ref in most}
    assert set(found) == set(most)
    for ref, info in found.items():
        assert 0 < info.bytes < most[ref] * 2**20
        assert parts_of(store.load(ref)).family.size_step(parts_of(store.load(ref))) == 16

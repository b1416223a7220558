"""LoRA: the model underneath stays as it is, what is laid over it acts, and what does not fit is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.controls.attach import attach
from studio.errors import BadModel, Refused, StudioError
from studio.models.embedded import list_embedded
from studio.models.family import adapter_for, parts_of
from studio.models.loading import ModelStore, ref_files
from studio.models.lora import Added
from studio.models.lora_files import read_lora
from studio.models.outline import outline_of
from studio.models.tiny import save_tiny
from studio.policy import Policy
from studio.training.low_rank import add_low_rank, save_low_rank

FAMILIES = ("sd3", "flux")
RANK = 3


@pytest.fixture
def store():
    made = ModelStore(device="cpu")
    yield made
    made.close()


def factors(parts, *, seed=0, rank=RANK, gain=0.1):
    """Random factors of every linear layer in the blocks, as a trainer would save them."""
    generator = torch.Generator().manual_seed(seed)
    stored = {}
    for name, layer in parts.transformer.named_modules():
        if isinstance(layer, torch.nn.Linear) and "transformer_blocks" in name:
            down = torch.randn(rank, layer.in_features, generator=generator) / layer.in_features**0.5
            up = gain * torch.randn(layer.out_features, rank, generator=generator)
            stored[f"transformer.{name}.lora_A.weight"], stored[f"transformer.{name}.lora_B.weight"] = (
                down,
                up,
            )
    return stored


def written(path, stored, metadata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, path, metadata)
    return path


@pytest.fixture
def lora(store, tmp_path):
    return written(tmp_path / "style.safetensors", factors(parts_of(store.load("tiny:sd3"))))


def weights(network):
    total = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def velocity(parts, seed=0):
    """One call of the network on fixed inputs."""
    from studio.models.text import encode_prompt
    from studio.sampling.denoiser import make_predict
    from studio.values import Row, Step

    family = parts.family
    noise = torch.randn(family.latent_shape(parts, 1, 32, 32), generator=torch.Generator().manual_seed(seed))
    conditioning = encode_prompt(parts, "a red star", "The model")[0]
    with torch.inference_mode():
        return make_predict(parts)(noise, Step(0, 4, 0.8, 0.5), [Row(conditioning, "cond")])[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_acts_as_if_it_were_merged_and_the_base_keeps_every_byte(store, tmp_path, family):
    base = store.load(f"tiny:{family}")
    parts = parts_of(base)
    path = written(tmp_path / "style.safetensors", factors(parts))
    before, plain = weights(parts.transformer), velocity(parts)
    changed = parts_of(store.lora(base, str(path), 0.7))
    found = velocity(changed)
    assert not torch.equal(found, plain)
    assert weights(parts.transformer) == before and torch.equal(velocity(parts), plain)
    merged = parts_of(ModelStore(device="cpu").load(f"tiny:{family}"))
    layers = dict(merged.transformer.named_modules())
    with torch.no_grad():
        for name, one in read_lora(path, parts)["transformer"].items():
            layers[name].weight += 0.7 * one.scale * one.up @ one.down
    # sums in another order, in fp32
    assert (velocity(merged) - found).abs().max() <= 1e-5


def test_no_weight_lies_in_memory_twice(store, lora):
    base = store.load("tiny:sd3")
    first, second = parts_of(base), parts_of(store.lora(base, str(lora), 1.0))
    shared = {p.data_ptr() for p in first.transformer.parameters()}
    assert {p.data_ptr() for p in second.transformer.parameters()} == shared
    assert second.vae is first.vae and len(store.loaded) == 1


def test_strength_0_is_the_model_itself(store, lora):
    base = store.load("tiny:sd3")
    assert store.lora(base, str(lora), 0.0) is base


def test_strengths_and_files_make_different_models_and_equal_ones_the_same(store, lora, tmp_path):
    base = store.load("tiny:sd3")
    one, other = store.lora(base, str(lora), 1.0), store.lora(base, str(lora), 0.5)
    assert one != base and one != other and one == store.lora(base, str(lora), 1.0)
    assert parts_of(one) is parts_of(store.lora(base, str(lora), 1.0))
    twin = shutil.copy(lora, tmp_path / "other.safetensors")
    assert store.lora(base, str(twin), 1.0) == one


def test_several_loras_add_up_in_their_order(store, lora, tmp_path):
    base = store.load("tiny:sd3")
    parts = parts_of(base)
    more = written(tmp_path / "more.safetensors", factors(parts, seed=9))
    both = parts_of(store.lora(store.lora(base, str(lora), 1.0), str(more), 0.5))
    added = [layer for layer in both.transformer.modules() if isinstance(layer, Added)]
    assert added and all(len(layer.additions) == 2 for layer in added)
    alone = velocity(parts_of(store.lora(base, str(lora), 1.0)))
    assert not torch.equal(velocity(both), alone)
    gone = parts_of(store.lora(store.lora(base, str(lora), 1.0), str(more), 0.0))
    assert torch.equal(velocity(gone), alone)


def test_controls_on_one_network_are_not_on_the_other(store, lora):
    from studio.values import Step

    base = store.load("tiny:sd3")
    parts, changed = parts_of(base), parts_of(store.lora(base, str(lora), 1.0))
    plain = velocity(parts)
    steps = (Step(0, 1, 1.0, 0.0),)
    on = attach(changed.transformer, (), adapter_for(changed.transformer), steps=steps, roles=("cond",))
    with pytest.raises(RuntimeError, match="in the middle"), on:
        assert torch.equal(velocity(parts), plain)
        raise RuntimeError("in the middle")
    hooks = [m for m in changed.transformer.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not hooks and torch.equal(velocity(parts), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_trainer_saves_is_what_diffusers_and_the_studio_read(store, tmp_path, family):
    base = store.load(f"tiny:{family}")
    other = parts_of(ModelStore(device="cpu").load(f"tiny:{family}"))
    layers = add_low_rank(other.transformer, RANK)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in layers.values():
            layer.up.weight.copy_(0.1 * torch.randn(layer.up.weight.shape, generator=generator))
    path = tmp_path / "trained.safetensors"
    save_low_rank(layers, path, {"base": "scenes"})
    with torch.no_grad():  # the file is fp16
        for layer in layers.values():
            for part in (layer.up, layer.down):
                part.weight.copy_(part.weight.half())
    assert torch.allclose(velocity(parts_of(store.lora(base, str(path), 1.0))), velocity(other), atol=1e-6)


SPELLINGS = {
    "peft": lambda name: "base_model.model." + name.removeprefix("transformer."),
    "adapter": lambda name: name.replace("lora_A.", "lora_A.default.").replace("lora_B.", "lora_B.default."),
    "plain": lambda name: name.removeprefix("transformer."),
    "older": lambda name: name.replace("lora_A", "lora.down").replace("lora_B", "lora.up"),
    "comfy": lambda name: "diffusion_model." + name.removeprefix("transformer."),
    "kohya": lambda name: (
        "lora_transformer_"
        + name.removeprefix("transformer.").rsplit(".", 2)[0].replace(".", "_")
        + (".lora_down.weight" if "lora_A" in name else ".lora_up.weight")
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_the_keys_reads_the_same(store, tmp_path, spelling):
    base = store.load("tiny:sd3")
    stored = factors(parts_of(base))
    plain = written(tmp_path / "plain.safetensors", stored)
    renamed = written(
        tmp_path / "renamed.safetensors", {SPELLINGS[spelling](name): t for name, t in stored.items()}
    )
    assert torch.equal(
        velocity(parts_of(store.lora(base, str(plain), 1.0))),
        velocity(parts_of(store.lora(base, str(renamed), 1.0))),
    )


def test_flux_in_its_authors_layout_goes_through_the_library(store, tmp_path):
    base = store.load("tiny:flux")
    parts = parts_of(base)
    width = parts.transformer.transformer_blocks[0].attn.to_q.in_features
    generator = torch.Generator().manual_seed(3)
    down, up = (
        torch.randn(RANK, width, generator=generator),
        torch.randn(3 * width, RANK, generator=generator),
    )
    kohya = "lora_unet_double_blocks_0_img_attn_qkv"
    stored = {
        f"{kohya}.lora_down.weight": down,
        f"{kohya}.lora_up.weight": up,
        f"{kohya}.alpha": torch.tensor(6.0),
    }
    found = read_lora(written(tmp_path / "kohya.safetensors", stored), parts)["transformer"]
    assert sorted(found) == [f"transformer_blocks.0.attn.to_{x}" for x in "kqv"]
    value = found["transformer_blocks.0.attn.to_v"]
    torch.testing.assert_close(value.scale * value.up @ value.down, 6.0 / RANK * up[2 * width :] @ down)


def test_alpha_scales_whether_it_stands_in_a_tensor_or_in_the_metadata(store, tmp_path):
    parts = parts_of(store.load("tiny:sd3"))
    stored = factors(parts)
    layer = next(iter(stored)).removesuffix(".lora_A.weight")
    alphas = {f"{layer}.alpha": torch.tensor(2.0 * RANK)}
    name = layer.removeprefix("transformer.")
    first = read_lora(written(tmp_path / "a.safetensors", stored | alphas), parts)["transformer"]
    assert first[name].scale == 2.0 and sum(one.scale == 1.0 for one in first.values()) == len(first) - 1
    said = {"transformer.lora_alpha": 6, "transformer.alpha_pattern": {name: 3}, "transformer.r": RANK}
    note = {"lora_adapter_metadata": json.dumps(said)}
    second = read_lora(written(tmp_path / "b.safetensors", stored, note), parts)["transformer"]
    assert second[name].scale == 1.0 and {one.scale for one in second.values()} == {1.0, 2.0}


def test_a_bias_is_scaled_and_added_with_the_rest(store, tmp_path):
    base = store.load("tiny:sd3")
    parts = parts_of(base)
    name = "transformer_blocks.0.attn.to_q"
    layer = dict(parts.transformer.named_modules())[name]
    down, up = torch.ones(1, layer.in_features), torch.zeros(layer.out_features, 1)
    bias = torch.arange(layer.out_features, dtype=torch.float32)
    key = f"transformer.{name}"
    stored = {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up, f"{key}.lora_B.bias": bias}
    changed = parts_of(store.lora(base, str(written(tmp_path / "bias.safetensors", stored)), 0.5))
    x = torch.randn(2, 3, layer.in_features, generator=torch.Generator().manual_seed(0))
    found = dict(changed.transformer.named_modules())[name](x)
    torch.testing.assert_close(found, layer(x) + 0.5 * bias)


def test_a_lora_of_a_text_encoder_changes_what_is_read(store, tmp_path):
    from studio.models.text import encode_prompt

    base = store.load("tiny:sd3")
    parts = parts_of(base)
    name = next(
        name
        for name, layer in parts.components["text_encoder"].named_modules()
        if isinstance(layer, torch.nn.Linear) and "q_proj" in name
    )
    layer = dict(parts.components["text_encoder"].named_modules())[name]
    stored = {
        f"text_encoder.{name}.lora_A.weight": torch.ones(1, layer.in_features),
        f"text_encoder.{name}.lora_B.weight": torch.ones(layer.out_features, 1),
    }
    changed = parts_of(store.lora(base, str(written(tmp_path / "text.safetensors", stored)), 1.0))
    before, after = (encode_prompt(p, "a red star", "")[0].embeds for p in (parts, changed))
    assert not torch.equal(before, after) and changed.transformer is parts.transformer


def without_up(stored):
    return {name: t for name, t in stored.items() if "to_q.lora_B" not in name}


def too_wide(stored):
    return {name: torch.cat([t, t], 1) if "to_q.lora_A" in name else t for name, t in stored.items()}


def halves(stored):
    return {name: torch.cat([t, t], 1) if "to_q.lora_B" in name else t for name, t in stored.items()}


def strange_layer(stored):
    return stored | {
        "transformer.transformer_blocks.77.attn.to_q.lora_A.weight": torch.zeros(1, 4),
        "transformer.transformer_blocks.77.attn.to_q.lora_B.weight": torch.zeros(4, 1),
    }


WRONG = {
    "half of a layer": (without_up, "lacks lora_B"),
    "another size": (too_wide, "takes .* channels"),
    "halves that do not fit": (halves, "do not fit each other"),
    "a further layer": (strange_layer, "does not have"),
    "another network": (
        lambda s: {
            "blocks.0.q.lora_A.weight": torch.zeros(1, 4),
            "blocks.0.q.lora_B.weight": torch.zeros(4, 1),
        },
        "for another network",
    ),
    "DoRA": (lambda s: s | {"transformer.x.dora_scale": torch.ones(4)}, "is DoRA"),
    "LoKr": (lambda s: {"transformer.x.lokr_w1": torch.ones(4, 4)}, "is LoKr"),
    "whole weights": (lambda s: s | {"transformer.x.diff": torch.ones(4)}, "difference of whole weights"),
    "a model": (lambda s: {"transformer_blocks.0.attn.to_q.weight": torch.ones(4, 4)}, "is no LoRA"),
    "nothing": (lambda s: {}, "damaged or cut off"),
    "NaN": (lambda s: {name: t * float("nan") for name, t in s.items()}, "not finite"),
    "something else": (lambda s: s | {"transformer.x.strange": torch.ones(4)}, "belongs to no plain LoRA"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(store, tmp_path, what):
    change, words = WRONG[what]
    base = store.load("tiny:sd3")
    path = written(tmp_path / "lora.safetensors", change(factors(parts_of(base))))
    with pytest.raises(BadModel, match=words):
        parts_of(store.lora(base, str(path), 1.0))


def test_pickles_and_damaged_files_are_not_opened(store, tmp_path, lora):
    base = store.load("tiny:sd3")
    pickled = tmp_path / "lora.safetensors"
    pickled.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BadModel, match="is a pickle"):
        store.lora(base, str(pickled), 1.0)
    torch.save({"a": torch.zeros(1)}, tmp_path / "lora.pt")
    with pytest.raises(BadModel, match="is a pickle"):
        store.lora(base, str(tmp_path / "lora.pt"), 1.0)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(lora.read_bytes()[:-10])
    with pytest.raises(BadModel, match="damaged or cut off"):
        store.lora(base, str(cut), 1.0)
    for strange in ("", "/nowhere/lora.safetensors", "embedded:nothing"):
        with pytest.raises(BadModel):
            store.lora(base, strange, 1.0)
    with pytest.raises(StudioError, match="strength"):
        store.lora(base, str(lora), 5.0)


def test_a_public_host_opens_no_file_by_path(lora):
    store = ModelStore(device="cpu", policy=Policy.public())
    base = ModelStore(device="cpu").load("tiny:sd3")
    with pytest.raises(Refused, match="no files by path"):
        store.lora(base, str(lora), 1.0)
    assert all(info.ref.startswith("embedded:") for info in store.loras())


def test_a_file_that_is_replaced_is_noticed(store, lora):
    base = store.load("tiny:sd3")
    model = store.lora(base, str(lora), 1.0)
    written(lora, {name: 2 * t for name, t in load_file(lora).items()})
    with pytest.raises(BadModel, match="has changed"):
        parts_of(model)


@pytest.fixture
def turbo(tmp_path):
    """A folder of embedded models: a miniature, and a LoRA over it with a card of its own."""
    folder = tmp_path / "models"
    base = save_tiny("sd3", folder / "scenes-sd3")
    (base / "card.json").write_text(json.dumps({"title": "Scenes", "steps": 20, "max_sequence_length": 12}))
    parts = parts_of(ModelStore(device="cpu").load(str(base)))
    own = folder / "scenes-sd3-turbo"
    written(own / "pytorch_lora_weights.safetensors", factors(parts))
    card = {
        "title": "Scenes turbo",
        "kind": "lora",
        "base": "embedded:scenes-sd3",
        "preset": {"steps": 4, "most": 8, "cfg": False, "spacing": "flow"},
    }
    (own / "card.json").write_text(json.dumps(card))
    return folder


def test_a_lora_with_a_card_is_a_model_by_itself(turbo):
    store = ModelStore(device="cpu", embedded=turbo)
    refs = [info.ref for info in store.list()]
    assert refs == ["embedded:scenes-sd3", "embedded:scenes-sd3-turbo"]
    base, model = (store.load(ref) for ref in refs)
    assert model.title == "Scenes turbo" and model.family == "sd3" and model.digest != base.digest
    assert store.digest(refs[1]) == model.digest and store.family(refs[1]) == "sd3"
    assert parts_of(model).transformer is not parts_of(base).transformer and len(store.loaded) == 1
    assert model == store.lora(base, refs[1], 1.0)
    told = list_embedded(turbo)[1].card
    assert told["max_sequence_length"] == 12 and told["preset"]["locks"].keys() >= {"cfg_scale", "avoid"}
    assert [info.title for info in store.loras()] == ["Scenes turbo"]
    store.release(refs[1])
    assert store.loaded == ()


def test_a_folder_with_a_lora_over_another_model_works_by_its_path(turbo, tmp_path):
    own = shutil.copytree(turbo / "scenes-sd3-turbo", tmp_path / "own" / "mine")
    card = json.loads((own / "card.json").read_text()) | {"base": str(turbo / "scenes-sd3")}
    (own / "card.json").write_text(json.dumps(card))
    store = ModelStore(device="cpu", embedded=turbo, models_folder=own.parent)
    assert store.load(str(own)).title == "Scenes turbo"
    assert [info.title for info in store.list() if not info.problem][-1] == "Scenes turbo"
    names = [name for name, _ in ref_files(str(own))]
    assert "pytorch_lora_weights.safetensors" in names and "base/vae/config.json" in names
    outline = outline_of(str(own))
    assert outline.title == "Scenes turbo" and outline.preset.few and outline.blocks
    (own / "card.json").write_text(json.dumps(card | {"base": str(own)}))
    with pytest.raises(BadModel, match="over another LoRA"):
        store.load(str(own))
    (own / "card.json").write_text(json.dumps(card | {"file": "../lora.safetensors"}))
    with pytest.raises(BadModel, match="a file elsewhere"):
        store.load(str(own))

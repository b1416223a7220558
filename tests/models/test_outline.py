"""What is told of a model without loading it equals what the loaded model says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel

from studio.models.family import adapter_for, parts_of
from studio.models.loading import ModelStore
from studio.models.outline import outline_of, skeleton
from studio.models.sd3_attention import ATTENTION
from studio.models.text import encode_prompt
from studio.models.tiny import save_tiny

PROMPTS = (
    "",
    "a red star",
    "a red star " * 20,
    "a red star and a blue house on the left of the green tree , at night",
    "éé ☃ zebra " * 9,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("sd3", tmp_path_factory.mktemp("t5") / "it", t5=True)


@pytest.mark.parametrize("ref", ["tiny:sd3", "tiny:flux", "embedded:scenes-sd3", "folder"])
def test_an_outline_is_the_loaded_model_without_its_tensors(ref: str, folder: Path) -> None:
    ref = str(folder) if ref == "folder" else ref
    told, model = outline_of(ref), ModelStore(device="cpu").load(ref)
    parts = parts_of(model)
    assert told is not None and told.controlled
    assert (told.family, told.title) == (parts.family.name, parts.card["title"])
    assert told.sites == adapter_for(parts.transformer).sites(parts.transformer)
    assert told.blocks == sum(site.joint for site in told.sites) > 0
    assert told.guided == bool(getattr(parts.transformer.config, "guidance_embeds", False))
    assert told.lengths == parts.family.text_lengths(parts)
    for prompt in PROMPTS:
        _, warnings, _ = encode_prompt(parts, prompt, "it")
        long = [warning for warning in warnings if "too long" in warning]
        end = told.unread(prompt)
        assert bool(long) == (end < len(prompt)), prompt
        if long:
            assert f"only {told.limit} tokens" in long[0] and repr(prompt[end:].strip())[1:40] in long[0]


def test_a_second_attention_of_the_picture_alone_is_counted_like_the_network_does() -> None:
    config = {
        "sample_size": 8,
        "num_layers": 3,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 32,
        "pos_embed_max_size": 32,
        "dual_attention_layers": (0, 1),
    }
    with torch.device("meta"):
        network = SD3Transformer2DModel(**config)
    assert ATTENTION.sites(skeleton(config)) == ATTENTION.sites(network)


@pytest.mark.parametrize("ref", ["", "tiny:none", "embedded:none", "/no/such/folder", "a\0b", None, 3])
def test_what_is_not_here_has_no_outline(ref: object) -> None:
    assert outline_of(ref) is None


def test_a_table_in_another_form_is_left_to_the_run(folder: Path, tmp_path: Path) -> None:
    made = save_tiny("sd3", tmp_path / "it")
    for name in ("tokenizer", "tokenizer_2"):
        (made / name / "tokenizer.json").unlink()
    told = outline_of(str(made))
    assert told is not None and told.blocks == 2
    assert told.unread("a red star " * 50) == len("a red star " * 50)

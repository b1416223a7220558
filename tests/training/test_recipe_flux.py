"""The FLUX-shaped student is the stock network, and its guided targets are what the docstring says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from studio.models.device import place
from studio.models.flux import image_ids, pack
from studio.models.folders import check_folder
from studio.models.loading import load_folder
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_latent
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flux
from studio.training.export import facts_of
from studio.training.judge import load_autoencoder
from studio.training.latent_space import load_space, make_autoencoder
from studio.training.recipe import (
    Student,
    make_tokenizer,
    patches,
    save_pipeline,
    unpatches,
    write_card,
)
from studio.training.recipe_flux import AXES, HEAD, PLAIN, WIDTH, FluxStudent, read_flux, save_flux
from studio.training.scenes_flux import STRONGEST, Teacher
from studio.training.stages import Stage, read_stages, state_loss
from studio.values import Latent

PROMPTS = ["a red star", "a green boat, at night"]


@pytest.fixture(scope="module")
def student() -> FluxStudent:
    torch.manual_seed(5)
    student = FluxStudent().eval().requires_grad_(False)
    for parameter in student.transformer.parameters():
        if not parameter.any():
            parameter.normal_(std=0.05)  # adaLN-zero would make every output zero
    return student


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return torch.tensor(make_tokenizer()(PROMPTS, padding="max_length").input_ids)


def stock(student: FluxStudent, context, pooled, latent, sigma, guidance):
    side = latent.shape[-1] // 2
    return student.transformer(
        hidden_states=pack(latent),
        timestep=sigma,
        guidance=guidance,
        encoder_hidden_states=context,
        pooled_projections=pooled,
        txt_ids=torch.zeros(context.shape[1], 3),
        img_ids=image_ids(side, side),
    ).sample


def test_velocity_equals_the_stock_forward_at_native_size(student: FluxStudent, ids: torch.Tensor) -> None:
    latent, sigma, number = torch.randn(2, 16, 32, 32), torch.tensor([0.3, 0.9]), torch.tensor([1.0, 4.0])
    context, pooled = student.encode(ids)
    ours, _ = student.observed(context, pooled, latent, sigma, None, number)
    theirs = stock(student, context, pooled, latent, sigma, number)
    assert theirs.std() > 0.1
    # the recipe orders a patch by row, column, channel; FLUX by channel, row, column
    assert torch.equal(pack(unpatches(ours, 32)), theirs)


def test_the_number_is_plain_unless_named(student: FluxStudent, ids: torch.Tensor) -> None:
    latent, sigma = torch.randn(2, 16, 8, 8), torch.tensor([0.3, 0.9])
    context, pooled = student.encode(ids)
    plain = student.velocity(context, pooled, latent, sigma)
    named, _ = student.observed(context, pooled, latent, sigma, None, torch.full((2,), PLAIN))
    other, _ = student.observed(context, pooled, latent, sigma, None, torch.full((2,), 3.0))
    assert torch.equal(plain, named) and (plain - other).abs().max() > 1e-4


def test_a_fresh_number_input_has_no_effect() -> None:
    fresh = FluxStudent().transformer.time_text_embed
    pooled = torch.randn(1, 64)
    one, other = (fresh(torch.tensor([500.0]), torch.tensor([g]), pooled) for g in (1000.0, 4000.0))
    assert torch.equal(one, other)


def test_all_tokens_kept_is_no_choice_and_a_choice_keeps_places(
    student: FluxStudent, ids: torch.Tensor
) -> None:
    latent, sigma = torch.randn(2, 16, 8, 8), torch.tensor([0.3, 0.9])
    context, pooled = student.encode(ids)
    whole = student.velocity(context, pooled, latent, sigma)
    every = torch.arange(16).expand(2, -1)
    assert torch.equal(student.observed(context, pooled, latent, sigma, every)[0], whole)
    # the order of the tokens is nothing to the network, their ids are: a shuffled call gives shuffled outputs
    turned = every.flip(1)
    shuffled = student.observed(context, pooled, latent, sigma, turned)[0]
    assert (shuffled - whole.flip(1)).abs().max() < 1e-4


def test_positions_of_small_pictures_are_the_centres_of_the_native_tokens(student: FluxStudent) -> None:
    cos, sin = student.position(4)
    assert cos.shape == (16, HEAD) and sum(AXES) == HEAD
    ids = torch.tensor([[0.0, 1.5 + 4 * row, 1.5 + 4 * column] for row in range(4) for column in range(4)])
    expected = student.transformer.pos_embed(ids)
    assert torch.equal(cos, expected[0]) and torch.equal(sin, expected[1])
    native = student.transformer.pos_embed(image_ids(16, 16))
    assert torch.equal(student.position(16)[0], native[0])


@pytest.mark.parametrize("own", [True, False])
def test_a_teacher_aims_at_its_guided_velocity(student: FluxStudent, ids: torch.Tensor, own: bool) -> None:
    ids = ids.repeat(16, 1)
    noisy, sigma = torch.randn(32, 16, 8, 8), torch.rand(32)
    truth = patches(torch.randn(32, 16, 8, 8))
    generator = torch.Generator().manual_seed(3)
    lesson = Teacher(None if own else student)(student, ids, noisy, sigma, truth, generator)
    number = lesson.guidance
    assert bool((number >= PLAIN).all() and (number <= STRONGEST).all())
    anchored = number == PLAIN
    assert 2 <= int(anchored.sum()) <= 16
    empty = torch.zeros_like(ids)
    empty[:, 0], empty[:, 1] = 1, 3
    cond, states = student.observed(*student.encode(ids), noisy, sigma)
    uncond = student.velocity(*student.encode(empty), noisy, sigma)
    guided = uncond + number[:, None, None] * (cond - uncond)
    assert (lesson.target - guided)[~anchored].abs().max() < 1e-4
    # a network that teaches itself keeps to the truth at the number 1, another one is all the truth there is
    assert torch.allclose(lesson.target[anchored], (truth if own else cond)[anchored], atol=1e-4)
    if own:
        assert lesson.states == []
    else:
        assert len(lesson.states) == len(states)
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(lesson.states, states, strict=True))
        assert float(state_loss(states, lesson.states, torch.ones(32, 16))) < 1e-6
        moved = [state + state.std() for state in states]
        assert 0.8 < float(state_loss(moved, lesson.states, torch.ones(32, 16))) < 1.2


def test_stages_are_read_from_the_command_line() -> None:
    assert read_stages("64:40,256g:10.5") == (Stage("64", 40.0), Stage("256g", 10.5))
    assert (Stage("256g", 1).size, Stage("256g", 1).guided, Stage("64", 1).guided) == (256, True, False)
    with pytest.raises(SystemExit, match="no stage of 100 pixels"):
        read_stages("100:3")


def test_an_export_is_a_stock_pipeline_that_the_studio_loads(student: FluxStudent, tmp_path) -> None:
    from diffusers import FluxPipeline

    space = {"projection": np.random.default_rng(0).normal(size=(16, 192)), "bias": np.zeros(16)}
    save_flux(tmp_path, student, make_autoencoder(space), make_tokenizer())
    write_card(tmp_path, {"name": "scenes-flux", **facts_of("scenes-flux", {"256g": 3.0})})
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size < 18_000_000 and not list(tmp_path.rglob("*.bin"))
    stock = FluxPipeline.from_pretrained(
        tmp_path, dtype=torch.float32, low_cpu_mem_usage=False, local_files_only=True
    )
    stock.set_progress_bar_config(disable=True)
    packed = stock(
        PROMPTS[0],
        height=64,
        width=64,
        num_inference_steps=2,
        guidance_scale=3.0,
        max_sequence_length=40,
        generator=torch.Generator("cpu").manual_seed(4),
        output_type="latent",
    ).images
    parts = load_folder(check_folder(tmp_path), place("cpu"))
    assert parts.family.name == "flux"
    words = [PROMPTS[0][token.start : token.stop] for token in parts.family.tokens(parts, PROMPTS[0])]
    assert words == ["a", "red", "star"]
    text, warnings, _ = encode_prompt(parts, PROMPTS[0], "it")
    ours = sample_latent(
        parts, text, text, Latent(64, 64, seed=4), flux(2, 3.0), sampler("euler"), cfg(1.0)
    ).tensor
    # the card's number, 3, is what a rule without a number takes
    assert not warnings and (pack(ours) - packed).abs().max() < 1e-5
    again = FluxStudent()
    read_flux(again, tmp_path)
    stored = student.state_dict()
    for name, value in again.state_dict().items():
        if not name.startswith("probe"):
            assert torch.allclose(value, stored[name], atol=1e-3, rtol=1e-3), name


@torch.no_grad()
def test_a_start_from_scenes_sd3_takes_what_both_networks_have(tmp_path) -> None:
    torch.manual_seed(1)
    other = Student()
    space = {"projection": np.random.default_rng(0).normal(size=(16, 192)), "bias": np.zeros(16)}
    save_pipeline(tmp_path, other, make_autoencoder(space), make_tokenizer())
    student = FluxStudent()
    read_flux(student, tmp_path)
    ids = torch.tensor(make_tokenizer()(PROMPTS, padding="max_length").input_ids)
    assert torch.allclose(
        student.clip(ids).pooler_output, other.text[1].text_model(ids).pooler_output, atol=2e-2
    )
    latent = torch.randn(1, 16, 8, 8)
    theirs = other.transformer.pos_embed.proj(latent).flatten(2).transpose(1, 2)
    assert torch.allclose(student.transformer.x_embedder(pack(latent)), theirs, atol=2e-2)
    mine, given = student.t5.shared.weight, other.text[0].get_input_embeddings().weight
    assert abs(float(mine.std()) - 1) < 0.1
    near = torch.nn.functional.cosine_similarity(mine, given - given.mean(0))
    assert float(near[given.norm(dim=1) > 0].min()) > 0.99


@torch.no_grad()
def test_double_blocks_start_as_the_blocks_they_come_from(tmp_path) -> None:
    torch.manual_seed(2)
    other = Student().eval()
    for parameter in other.transformer.parameters():
        if not parameter.any():
            parameter.normal_(std=0.05)
    space = {"projection": np.random.default_rng(0).normal(size=(16, 192)), "bias": np.zeros(16)}
    save_pipeline(tmp_path, other, make_autoencoder(space), make_tokenizer())
    student = FluxStudent().eval()
    read_flux(student, tmp_path)
    hidden, context, vector = torch.randn(1, 16, WIDTH), torch.randn(1, 7, WIDTH), torch.randn(1, WIDTH)
    still = torch.ones(23, HEAD), torch.zeros(23, HEAD)  # no rotation: nothing else tells them apart
    mine = student.transformer.transformer_blocks[1](hidden, context, vector, still)
    theirs = other.transformer.transformer_blocks[1](
        hidden_states=hidden, encoder_hidden_states=context, temb=vector
    )
    for a, b in zip(mine, theirs, strict=True):
        assert torch.allclose(a, b, atol=0.02 * float(b.std()) + 5e-3)
    shown = student.transformer.proj_out(hidden)[..., student.patch_order]
    assert torch.allclose(shown, other.transformer.proj_out(hidden), atol=1e-2)


def test_a_card_names_the_number_only_after_a_guided_stage() -> None:
    plain, guided = (facts_of("scenes-flux", stages) for stages in ({"256": 9.0}, {"256": 9.0, "256g": 2.0}))
    assert (plain["guidance"], plain["cfg_scale"]) == (1.0, 3.0)
    assert (guided["guidance"], guided["cfg_scale"]) == (3.0, 1.0)
    assert facts_of("scenes-sd3", {})["cfg_scale"] == 3.0


def test_an_autoencoder_is_taken_out_of_a_checkpoint_or_out_of_an_exported_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    space = {"projection": rng.normal(size=(16, 192)).astype(np.float32), "bias": np.zeros(16, np.float32)}
    np.savez(tmp_path / "latent_space.npz", allow_pickle=False, **space)
    made = make_autoencoder(load_space(tmp_path / "latent_space.npz"))
    torch.save({"average": made.state_dict()}, tmp_path / "autoencoder.pt")
    made.half().save_pretrained(tmp_path / "vae")
    one, other = (load_autoencoder(tmp_path, tmp_path / name) for name in ("autoencoder.pt", "vae"))
    for name, value in one.state_dict().items():
        assert other.state_dict()[name].dtype == torch.float32
        assert torch.allclose(value, other.state_dict()[name], rtol=1e-3, atol=1e-4), name

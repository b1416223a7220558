"""The FLUX-shaped student is the stock network, and its guided targets are what the docstring says."""

from __future__ import annotations

import pytest
import torch

from studio.models.flux import image_ids, pack
from studio.training.recipe import make_tokenizer, patches, unpatches
from studio.training.recipe_flux import AXES, HEAD, PLAIN, FluxStudent
from studio.training.scenes_flux import STRONGEST, Teacher
from studio.training.stages import Stage, read_stages

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


def test_a_teacher_aims_at_its_guided_velocity_and_anchors_the_rest(
    student: FluxStudent, ids: torch.Tensor
) -> None:
    ids = ids.repeat(16, 1)
    noisy, sigma = torch.randn(32, 16, 8, 8), torch.rand(32)
    truth = patches(torch.randn(32, 16, 8, 8))
    generator = torch.Generator().manual_seed(3)
    for teacher in (Teacher(None), Teacher(student)):
        target, number = teacher(student, ids, noisy, sigma, truth, generator)
        assert bool((number >= PLAIN).all() and (number <= STRONGEST).all())
        anchored = number == PLAIN
        assert 2 <= int(anchored.sum()) <= 16 and torch.equal(target[anchored], truth[anchored])
        empty = torch.zeros_like(ids)
        empty[:, 0], empty[:, 1] = 1, 3
        cond = student.velocity(*student.encode(ids), noisy, sigma)
        uncond = student.velocity(*student.encode(empty), noisy, sigma)
        guided = uncond + number[:, None, None] * (cond - uncond)
        assert (target - guided)[~anchored].abs().max() < 1e-4


def test_stages_are_read_from_the_command_line() -> None:
    assert read_stages("64:40,256g:10.5") == (Stage("64", 40.0), Stage("256g", 10.5))
    assert (Stage("256g", 1).size, Stage("256g", 1).guided, Stage("64", 1).guided) == (256, True, False)
    with pytest.raises(SystemExit, match="no stage of 100 pixels"):
        read_stages("100:3")

"""The recipe's network is the stock one: its shortcut through the blocks gives what diffusers gives."""

import numpy as np
import pytest
import torch

from studio.scenes.caption import caption, tokenize
from studio.scenes.world import sample_scene
from studio.training.recipe import (
    NATIVE,
    PATCH_PIXELS,
    TEXT_TOKENS,
    Student,
    make_tokenizer,
    patches,
    shifted,
    unpatches,
)


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(5)
    student = Student().eval().requires_grad_(False)
    for parameter in student.transformer.parameters():
        if not parameter.any():
            parameter.normal_(std=0.05)  # adaLN-zero would make every output zero
    return student


def test_velocity_equals_the_stock_forward_at_native_size(student: Student) -> None:
    ids = torch.tensor(
        make_tokenizer()(["a red star", "a green boat, at night"], padding="max_length").input_ids
    )
    latent, sigma = torch.randn(2, 16, 32, 32), torch.tensor([0.3, 0.9])
    context, pooled = student.encode(ids)
    ours = unpatches(student.velocity(context, pooled, latent, sigma), 32)
    stock = student.transformer(
        hidden_states=latent, timestep=sigma * 1000, encoder_hidden_states=context, pooled_projections=pooled
    ).sample
    assert stock.std() > 0.1
    assert torch.equal(ours, stock)


def test_positions_of_small_pictures_are_the_centres_of_the_native_tokens(student: Student) -> None:
    native, small = student.position(NATIVE // PATCH_PIXELS)[0], student.position(4)[0]
    # The centre of the small token (0, 0) lies between native tokens (1, 1) and (2, 2).
    distance = (native - small[0]).norm(dim=-1).reshape(16, 16)
    nearest = {divmod(int(i), 16) for i in distance.flatten().argsort()[:4]}
    assert nearest == {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_patches_come_apart_and_together_again() -> None:
    latent = torch.randn(2, 16, 8, 8)
    assert torch.equal(unpatches(patches(latent), 8), latent)


def test_every_caption_is_made_of_known_words_and_fits() -> None:
    tokenizer, rng = make_tokenizer(), np.random.default_rng(0)
    for _ in range(300):
        text = caption(sample_scene(rng), rng)
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids, text
        assert len(ids) == len(tokenize(text)) + 2 <= TEXT_TOKENS, text


def test_shift_keeps_the_ends_and_raises_the_middle() -> None:
    got = shifted(torch.tensor([0.0, 0.5, 1.0]), 3.0)
    assert torch.allclose(got, torch.tensor([0.0, 0.75, 1.0]))

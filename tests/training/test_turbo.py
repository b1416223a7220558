"""Low-rank additions and reflow: nothing is added at the start, files come back as they were, the loss is of
straight lines."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from studio.training.low_rank import add_low_rank, load_low_rank, save_low_rank
from studio.training.recipe import Student, make_tokenizer, sample, unpatches
from studio.training.turbo import line_levels, make_pairs, own_points, prompts_of, train


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(5)
    student = Student().eval().requires_grad_(False)
    for parameter in student.transformer.parameters():
        if not parameter.any():
            parameter.normal_(std=0.05)
    return student


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return torch.tensor(make_tokenizer()(["a red star", "a green boat"], padding="max_length").input_ids)


def test_additions_start_at_nothing_and_come_back_from_their_file(
    student: Student, ids: torch.Tensor, tmp_path: Path
) -> None:
    changed = deepcopy(student)
    layers = add_low_rank(changed.transformer, 4)
    latent, sigma = torch.randn(2, 16, 8, 8), torch.tensor([0.4, 1.0])
    text = student.encode(ids)
    assert torch.equal(changed.velocity(*text, latent, sigma), student.velocity(*text, latent, sigma))
    for layer in layers.values():
        torch.nn.init.normal_(layer.up.weight, std=0.05)
    moved = changed.velocity(*text, latent, sigma)
    assert (moved - student.velocity(*text, latent, sigma)).abs().max() > 1e-3
    path = tmp_path / "turbo" / "pytorch_lora_weights.safetensors"
    save_low_rank(layers, path, {"rank": "4"})
    again = deepcopy(student)
    load_low_rank(add_low_rank(again.transformer, 4), path)
    assert torch.allclose(again.velocity(*text, latent, sigma), moved, atol=2e-2)


def test_pairs_are_the_teachers_pictures_of_their_noise(student: Student, ids: torch.Tensor) -> None:
    noise, latent = make_pairs(student, ids, batch=2, seed=3, seconds=1e6)
    drawn = torch.randn(2, 16, 32, 32, generator=torch.Generator().manual_seed(3))
    assert noise.dtype == torch.float16 and torch.equal(noise, drawn.half())
    again = sample(student, ids, 32, steps=24, cfg_scale=3.0, noise=drawn)
    assert float((latent.float() - again).norm() / again.norm()) < 0.05  # bf16 where that is faster


def test_kept_pairs_are_taken_again_for_their_own_noise_and_prompt_alone(
    student: Student, ids: torch.Tensor, tmp_path: Path
) -> None:
    def pairs(ids: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        return make_pairs(student, ids, batch=2, seed=seed, seconds=1e6, steps=1, keep=tmp_path / "pairs")

    noise, latent = pairs(ids, 3)
    (file,) = (tmp_path / "pairs").iterdir()
    save_file({"latent": torch.full_like(latent, 7)}, file)
    again = pairs(ids, 3)
    assert torch.equal(again[0], noise) and (again[1] == 7).all()
    for other in (pairs(ids.flip(0), 3), pairs(ids, 4)):
        assert not (other[1] == 7).any()
    assert len(list((tmp_path / "pairs").iterdir())) == 3


def test_training_lowers_the_error_of_straight_lines_and_changes_the_additions_alone(
    student: Student, ids: torch.Tensor
) -> None:
    learner = deepcopy(student)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    layers = add_low_rank(learner.transformer, 4)
    noise, latent = torch.randn(2, 16, 32, 32).half(), torch.randn(2, 16, 32, 32).half()

    def error() -> float:
        text, sigma = learner.encode(ids), torch.full((2,), 0.5)
        middle = (noise.float() + latent.float()) / 2
        from studio.training.recipe import patches

        with torch.no_grad():
            velocity = learner.velocity(*text, middle, sigma)
        return float((velocity - patches(noise.float() - latent.float())).square().mean())

    start = error()
    steps = train(
        learner, layers, ids, noise, latent, weight=torch.ones(64), minutes=0.1, batch=4, rate=3e-3
    )  # fmt: skip
    assert steps > 1 and error() < start
    for name, value in learner.state_dict().items():
        base = name.replace(".base.", ".")
        if base in before:
            assert torch.equal(value, before[base]), name


def walked(student: Student, text: tuple, noise: torch.Tensor, levels: tuple[float, ...]) -> torch.Tensor:
    for now, following in pairwise(levels):
        with torch.no_grad():
            v = student.velocity(*text, noise, torch.full((2,), now))
        noise = noise + (following - now) * unpatches(v, 32)
    return noise


def test_the_students_own_points_lie_where_its_euler_steps_lead(student: Student, ids: torch.Tensor) -> None:
    noise = torch.randn(2, 16, 32, 32)
    text = student.encode(ids)
    student.position(16)
    seen = set()
    for seed in range(24):
        found, sigma = own_points(student, *text, noise, torch.Generator().manual_seed(seed))
        level = round(float(sigma[0]), 4)
        assert sigma.shape == (2,) and bool((sigma == sigma[0]).all())
        assert torch.equal(found, noise) == (level == 1)
        seen.add(level)
        if level == 0.75:  # the second of two steps, or the third of four
            ways = [walked(student, text, noise, way) for way in ((1.0, 0.75), (1.0, 0.9, 0.75))]
            assert min(float((found - way).abs().max()) for way in ways) < 1e-4
    assert seen == {1.0, 0.9, 0.75, 0.5}


def test_points_on_the_line_are_practised_where_few_steps_begin() -> None:
    sigma = line_levels(4000, torch.Generator().manual_seed(1), "cpu")
    assert float(sigma.min()) > 0 and float(sigma.max()) <= 1
    shares = {level: float((sigma == level).float().mean()) for level in (1.0, 0.75, 0.9, 0.5)}
    assert sum(shares.values()) == pytest.approx(0.6, abs=0.03)
    assert shares[1.0] > shares[0.75] > shares[0.9] and shares[0.5] == pytest.approx(shares[0.9], abs=0.02)


def test_more_pairs_begin_with_the_same_prompts(tmp_path: Path) -> None:
    class Held:
        def __init__(self) -> None:
            self.held = {"captions": torch.arange(60).reshape(5, 4, 3)}

        def __len__(self) -> int:
            return 5

    few, more = (prompts_of(Held(), count, seed=2) for count in (8, 40))  # type: ignore[arg-type]
    assert torch.equal(more[:8], few) and len({tuple(row.tolist()) for row in more}) > 10

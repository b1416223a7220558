"""RED-Diff: neutral is the picture, the measurement is kept, its gradient is the published one."""

from __future__ import annotations

import pytest
import torch

from studio.errors import StudioError
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.coarse import block_means
from studio.sampling.red_diff import Measured, red_diff
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent


@pytest.fixture
def run(tiny_parts, tiny_picture):
    prompts = tuple(encode_prompt(tiny_parts, text, "it")[0] for text in ("a red star", ""))

    def solved(measured, steps=6, picture=tiny_picture, sigmas=None, scale=1.0, **more):
        return red_diff(
            tiny_parts, *prompts, picture, sigmas or flow(steps, 3.0), cfg(scale), measured, **more
        )

    return solved


def known(picture):
    """The left half, on the latent's own grid."""
    weights = torch.zeros(1, 1, *picture.tensor.shape[-2:])
    weights[..., : weights.shape[-1] // 2] = 1
    return weights


@pytest.mark.parametrize("more", [{"weight": 0.0}, {"rate": 0.0}, {"sigmas": from_strength(flow(4), 0.0)}])
def test_neutral_is_the_picture_itself_without_a_call(run, tiny_picture, more):
    made = run(Measured(known(tiny_picture)), **more)
    assert made.latent is tiny_picture and not made.calls


def test_known_points_stay_and_the_rest_is_new(run, tiny_picture):
    made = run(Measured(known(tiny_picture)))
    half = tiny_picture.tensor.shape[-1] // 2
    assert torch.equal(made.latent.tensor[..., :half], tiny_picture.tensor[..., :half])
    assert (made.latent.tensor[..., half:] - tiny_picture.tensor[..., half:]).abs().mean() > 0.05
    assert made.calls["forwards"] == 6


@pytest.mark.parametrize("block", [2, 4])
def test_means_over_blocks_stay_and_the_detail_is_new(run, tiny_picture, block):
    made = run(Measured(block=block)).latent.tensor
    apart = block_means(made, block) - block_means(tiny_picture.tensor, block)
    assert apart.abs().max() < 1e-4
    assert (made - tiny_picture.tensor).abs().mean() > 0.05


def test_the_data_term_falls_where_the_start_does_not_fit(run, tiny_parts, tiny_picture, monkeypatch):
    """The model pulls away first; with little weight the measurement wins it back."""
    weak = run(Measured(known(tiny_picture)), steps=40, weight=0.02, rate=0.05).report["red_diff"]["data"]
    strong = run(Measured(known(tiny_picture)), steps=40, weight=5.0, rate=0.05).report["red_diff"]["data"]
    assert weak[0] == 0 and len(weak) == 41
    assert weak[-1] < max(weak) and sum(weak[-10:]) < sum(strong[-10:]) / 4


def test_a_step_is_adams_on_the_published_gradient(tiny_parts, tiny_picture, run, monkeypatch):
    """One step of torch's own Adam on 1/2 |A mu - y|^2 + w sigma / (1 - sigma) (eps_hat - eps) . mu."""
    from studio.sampling import red_diff as module

    sigma, weight = 0.6, 0.4
    shape = tiny_picture.tensor.shape
    velocity = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(module, "make_predict", lambda parts, calls=None: lambda x, step, rows: tuple(
        velocity for _ in rows))  # fmt: skip
    made = run(Measured(known(tiny_picture)), sigmas=type(flow(1))((sigma, 0.0)), weight=weight, rate=0.1)
    noise = module.step_noise(tiny_picture.tensor, tiny_picture.seed)("red_diff", 0)
    mu = tiny_picture.tensor.clone().requires_grad_(True)
    noised = ((1 - sigma) * mu + sigma * noise).detach()
    found_noise = noised + (1 - sigma) * velocity  # of x and v = noise - data
    loss = (sigma / (1 - sigma) * weight * (found_noise - noise) * mu).sum()
    adam = torch.optim.Adam([mu], lr=0.1)
    loss.backward()
    adam.step()
    half = shape[-1] // 2
    assert torch.allclose(made.latent.tensor[..., half:], mu.detach()[..., half:], atol=1e-5)


def test_the_same_seed_gives_the_same(run, tiny_picture):
    one, other = (run(Measured(known(tiny_picture))).latent.tensor for _ in range(2))
    assert torch.equal(one, other)
    elsewhere = Latent(64, 64, 1, 77, tiny_picture.tensor, tiny_picture.family)
    assert not torch.equal(one, run(Measured(known(tiny_picture)), picture=elsewhere).latent.tensor)


@pytest.mark.parametrize("block", [1, 3])
def test_back_is_the_transpose(block):
    measured = Measured(torch.rand(1, 1, 7, 5, generator=torch.Generator().manual_seed(0)), block)
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(2, 4, 7, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    assert torch.allclose((measured(x) * y).sum(), (x * measured.back(y)).sum())


def test_numbers_that_cannot_be_are_refused(run, tiny_picture):
    for more in ({"weight": -1.0}, {"weight": float("nan")}, {"rate": 11.0}):
        with pytest.raises(StudioError, match="not possible"):
            run(Measured(), **more)
    with pytest.raises(StudioError, match="empty"):
        run(Measured(), picture=Latent(64, 64))

"""FlowChef: the closed form is the published descent, neutral is nothing, full force gives the picture."""

from __future__ import annotations

import pytest
import torch

from studio.controls.inject_qk import InjectQK
from studio.errors import StudioError
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.flowchef import flowchef
from studio.sampling.guidance.inside import inside
from studio.sampling.loop import sample_latent, sample_run
from studio.sampling.samplers import advance, sampler
from studio.sampling.schedules import flow
from studio.values import Conditioning, Latent, Row, Step

STEPS = 5
SHAPE = (1, 4, 8, 8)


def latent_of(tensor):
    return Latent(64, 64, tensor=tensor, family="sd3")


@pytest.fixture
def run(tiny_parts, tiny_picture):
    positive, negative = (encode_prompt(tiny_parts, text, "it")[0] for text in ("a red star", ""))

    def sampled(*wraps, name="euler", batch=1, on_step=None, scale=2.0, **more):
        return sample_latent(
            tiny_parts, positive, negative, Latent(64, 64, batch, 2), flow(STEPS, 3.0), sampler(name),
            cfg(scale), wraps=wraps, on_step=on_step, **more,
        ).tensor  # fmt: skip

    return sampled


def random(count, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(SHAPE, dtype=dtype, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_closed_form_is_gradient_descent_through_the_latent_alone(repeats):
    """mean(1000 m (D - y)^2) descended by autograd with v held, then Euler's step with the same v."""
    x, y, v = random(3)
    weight = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    step, rate = Step(0, 28, 0.8, 0.7), 0.08
    kappa = 2000 * rate / x.numel()
    moved = x.clone()
    for _ in range(repeats):
        moved.requires_grad_(True)
        loss = (1000 * weight * (moved - step.sigma * v - y) ** 2).mean()
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = (moved - rate * gradient).detach()
    published = moved + (step.sigma_next - step.sigma) * v
    wrap = flowchef(latent_of(y), kappa, end=1.0, hold=0, repeats=repeats, inside=1 - weight)
    denoised = wrap.wrap(lambda latent, step: latent - step.sigma * v)(x, step)
    assert (advance(x, denoised, step) - published).abs().max() < 1e-12


def test_no_gradient_is_recorded(run, tiny_picture):
    graphs = []
    run(flowchef(tiny_picture, 0.8), on_step=lambda result: graphs.append(result.latent.requires_grad))
    assert graphs == [False] * STEPS


def test_neutral_is_the_plain_run_bit_by_bit(run, tiny_picture):
    plain = run()
    for wrap in (
        flowchef(tiny_picture, 0.0),
        flowchef(tiny_picture, 0.7, end=0.0),
        flowchef(tiny_picture, 0.7, hold=0, inside=torch.ones(1, 1, 8, 8)),
    ):

        def denoise(latent, step):
            return latent

        assert wrap.wrap(denoise) is denoise
        assert torch.equal(run(wrap), plain)
        assert torch.equal(run(wrap, name="heun"), run(name="heun"))


def test_full_force_everywhere_at_every_step_gives_the_picture(run, tiny_picture):
    made = run(flowchef(tiny_picture, 1.0, end=1.0))
    assert (made - tiny_picture.tensor).abs().max() < 1e-6


def test_more_force_comes_nearer(run, tiny_picture):
    far = [
        float((run(flowchef(tiny_picture, kappa, end=1.0)) - tiny_picture.tensor).abs().mean())
        for kappa in (0.0, 0.2, 0.6)
    ]
    assert far[0] > far[1] > far[2]


def test_repeats_are_one_bigger_step(run, tiny_picture):
    twice, once = (
        run(flowchef(tiny_picture, kappa, end=0.6, repeats=repeats))
        for kappa, repeats in ((0.3, 2), (1 - 0.7**2, 1))
    )
    assert (twice - once).abs().max() < 1e-5


def test_only_outside_is_pulled_once_the_hold_is_over(tiny_picture):
    inside = torch.zeros(1, 1, 8, 8)
    inside[..., 4:] = 1
    (x,) = random(1)
    zero = torch.zeros(SHAPE, dtype=torch.float64)
    steered = flowchef(latent_of(zero), 1.0, end=1.0, hold=1, inside=inside).wrap(lambda latent, step: latent)
    first = advance(x, steered(x, Step(0, 4, 1.0, 0.75)), Step(0, 4, 1.0, 0.75))
    later = steered(x, Step(1, 4, 0.75, 0.5))
    assert first.abs().max() < 1e-12
    assert torch.equal(later[..., 4:], x[..., 4:]) and not torch.equal(later[..., :4], x[..., :4])


def test_after_its_end_the_estimates_are_left_alone(tiny_picture):
    (x,) = random(1)
    steered = flowchef(tiny_picture, 0.7, end=0.5).wrap(lambda latent, step: latent)
    assert steered(x, Step(2, 4, 0.5, 0.25)) is x and steered(x, Step(1, 4, 0.75, 0.5)) is not x


def test_one_picture_steers_a_whole_batch(run, tiny_picture):
    made = run(flowchef(tiny_picture, 1.0, end=1.0), batch=2)
    assert made.shape[0] == 2 and (made - tiny_picture.tensor).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["heun", "midpoint", "midpoint_reuse"])
def test_another_sampler_than_euler_is_refused_before_the_first_step(
    run, tiny_parts, tiny_picture, recorded, name
):
    with recorded(tiny_parts.transformer) as calls, pytest.raises(StudioError, match="'euler' alone"):
        run(flowchef(tiny_picture, 0.5), name=name)
    assert not calls


def test_wraps_of_different_pictures_masks_or_strengths_are_different_values(tiny_picture):
    other = latent_of(tiny_picture.tensor + 1)
    inside = torch.zeros(1, 1, 8, 8)
    wraps = [
        flowchef(tiny_picture, 0.5), flowchef(other, 0.5), flowchef(tiny_picture, 0.6),
        flowchef(tiny_picture, 0.5, inside=inside), flowchef(tiny_picture, 0.5, inside=inside + 1),
    ]  # fmt: skip
    assert len(set(wraps)) == 5 and flowchef(tiny_picture, 0.5) == wraps[0]


def test_a_picture_of_another_size_is_refused_before_the_network_runs(run, tiny_parts, recorded):
    wrap = flowchef(latent_of(torch.zeros(1, 4, 4, 4)), 0.5)
    with recorded(tiny_parts.transformer) as calls, pytest.raises(StudioError, match=r"\(1, 4, 4, 4\)"):
        run(wrap)
    assert not calls


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kappa": 1.5}, "kappa of 1.5"),
        ({"kappa": float("nan")}, "kappa of nan"),
        ({"end": 2.0}, "end of 2"),
        ({"hold": -1}, "hold of -1"),
        ({"repeats": 0}, "repeats of 0"),
    ],
)
def test_impossible_settings_are_refused(tiny_picture, given, words):
    with pytest.raises(StudioError, match=words):
        flowchef(tiny_picture, **given)


def test_an_empty_or_noisy_latent_is_refused():
    for latent in (Latent(64, 64), Latent(64, 64, tensor=torch.zeros(SHAPE), family="sd3", sigma=0.5)):
        with pytest.raises(StudioError, match="no picture to steer towards"):
            flowchef(latent)


def half():
    """The left half of the latent is inside."""
    weight = torch.zeros(1, 1, 8, 8)
    weight[..., :4] = 1
    return weight


def test_guidance_inside_counts_by_the_weight_and_costs_no_call(run, tiny_parts, tiny_picture, recorded):
    everywhere, nowhere = torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    plain = run()
    # a mask over everything, or the setting off, is the run as it was, bit for bit
    on = {"guide_inside": True}
    for settings in ({"inside": everywhere, **on}, {"inside": half()}, on):
        assert torch.equal(run(flowchef(tiny_picture, 0.0, **settings)), plain)
    none = run(flowchef(tiny_picture, 0.0, inside=nowhere, guide_inside=True))
    assert (none - run(scale=1.0)).abs().max() < 1e-5 and (none - plain).abs().max() > 1e-3
    with recorded(tiny_parts.transformer) as calls:
        some = run(flowchef(tiny_picture, 0.0, inside=half(), guide_inside=True))
    assert len(calls) == STEPS
    assert (some - plain).abs().max() > 1e-3 and (some - none).abs().max() > 1e-3


def test_one_estimate_is_guided_inside_and_the_prompts_own_outside():
    c, u, x = random(3)
    prompt, step = Conditioning("a", "sd3", torch.zeros(1, 1, 1)), Step(1, 4, 0.75, 0.5)
    rows = (Row(prompt, "uncond"), Row(prompt, "cond"))

    def predict(latent, step, asked):
        return tuple(c if row.role == "cond" else u for row in asked)

    rule = cfg(3.0)
    guided, alone = (each.guide(predict, rows)(x, step) for each in (rule, cfg(1.0)))
    made = inside(rule, half(), 1).guide(predict, rows)(x, step)
    assert torch.equal(made[..., :4], guided[..., :4]) and torch.equal(made[..., 4:], alone[..., 4:])
    quarter = inside(rule, half() * 0.25, 1).guide(predict, rows)(x, step)
    assert (quarter[..., :4] - (alone + 0.25 * (guided - alone))[..., :4]).abs().max() < 1e-12
    assert inside(rule, None, 1) is rule


def test_other_trajectories_keep_their_guidance(tiny_parts, tiny_picture):
    positive, negative, old = (encode_prompt(tiny_parts, t, "it")[0] for t in ("a red star", "", "a boat"))

    def source(*wraps):
        made = sample_run(
            tiny_parts, positive, negative, Latent(64, 64, 1, 2), flow(STEPS, 3.0), sampler("euler"),
            cfg(2.0), wraps=wraps, attachments=[InjectQK(old, 0.4)],
        )  # fmt: skip
        return made.latents["source"].tensor, made.latent.tensor

    plain = source()
    made = source(flowchef(tiny_picture, 0.0, inside=half(), guide_inside=True))
    assert torch.equal(made[0], plain[0]) and (made[1] - plain[1]).abs().max() > 1e-3


def test_the_setting_tells_wraps_apart(tiny_picture):
    wraps = {flowchef(tiny_picture, 0.5, inside=half(), guide_inside=on) for on in (False, True)}
    assert len(wraps) == 2

"""Guidance over both predictions: formulas by hand, parity with diffusers' guiders, neutral is the plain run,
and no row is computed in vain."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.guiders import (
    AdaptiveProjectedGuidance,
    ClassifierFreeGuidance,
    ClassifierFreeZeroStarGuidance,
)

from studio.errors import StudioError
from studio.sampling.guidance.adaptive import adaptive, cosine
from studio.sampling.guidance.apg import apg
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.cfg_zero import cfg_zero
from studio.sampling.guidance.cfgpp import cfgpp, scale_at
from studio.sampling.guidance.embedded import embedded_guidance
from studio.sampling.guidance.rcfg import rcfg
from studio.sampling.guidance.w2sd import w2sd
from studio.sampling.samplers import advance
from studio.values import Latent, Step
from tests.sampling.guidance_help import ROWS, STEPS, Network, made, normal, velocity_of


def tensor(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)


def near(given, wanted, within=1e-6):
    return float((given.double() - wanted.double()).abs().max()) <= within


# formulas by hand, on tensors of two numbers


def test_cfg_by_hand():
    v, asked = velocity_of(cfg(3.0), tensor(1, 2), tensor(0, 1))
    assert near(v, tensor(3, 4)) and asked == [["uncond", "cond"]]


def test_rescale_by_hand():
    # guided: (4, -2) + 2 (0, 0) ... c = (1, -1), u = (0, 0), w = 3: (3, -3); its spread is thrice that of c
    v, _ = velocity_of(cfg(3.0, rescale=1.0), tensor(1, -1), tensor(0, 0))
    assert near(v, tensor(1, -1))
    half, _ = velocity_of(cfg(3.0, rescale=0.5), tensor(1, -1), tensor(0, 0))
    assert near(half, tensor(2, -2))


def test_cfg_zero_by_hand():
    # a = <c, u> / |u|^2 = 4 / 4 = 1 for c = (2, 3), u = (2, 0); a u = (2, 0); w = 2
    v, _ = velocity_of(cfg_zero(2.0, 0), tensor(2, 3), tensor(2, 0))
    assert near(v, tensor(2, 6))


def test_apg_that_keeps_everything_has_the_bits_of_cfg():
    c, u = normal(2)
    for scale in (1.7, 4.0, 9.3):
        plain, own = velocity_of(cfg(scale), c, u)[0], velocity_of(apg(scale, 1.0, 0.0, 0.0), c, u)[0]
        assert torch.equal(plain, own)
    assert not torch.equal(velocity_of(apg(4.0, 1.0, 0.5, 0.0), c, u)[0], velocity_of(cfg(4.0), c, u)[0])


def test_apg_by_hand():
    # c = (1, 0), u = (0, -1): difference (1, 1), of which (1, 0) lies along c
    c, u = tensor(1, 0), tensor(0, -1)
    assert near(velocity_of(apg(3.0, 0.0, 0.0, 0.0), c, u)[0], tensor(1, 2))
    assert near(velocity_of(apg(3.0, 0.5, 0.0, 0.0), c, u)[0], tensor(2, 2))
    short = 1 / math.sqrt(2)
    assert near(velocity_of(apg(3.0, 1.0, 1.0, 0.0), c, u)[0], tensor(1 + 2 * short, 2 * short))


def test_apg_carries_the_difference_along_step_by_step():
    rule, c, u = apg(2.0, 1.0, 0.0, -0.5), tensor(1, 0), tensor(0, -1)
    denoise = rule.guide(Network(c, u), ROWS)
    latent, found = torch.zeros_like(c), []
    for index, sigma in enumerate((1.0, 0.75, 0.5)):
        step = Step(index, 4, sigma, sigma - 0.25)
        for _ in range(2):  # a sampler that comes to a step twice gets the same
            found.append((latent - denoise(latent, step)) / sigma)
    # 1, then 1 - 0.5 * 1, then 1 - 0.5 * 0.5 of the difference (1, 1)
    for index, share in enumerate((1, 1, 0.5, 0.5, 0.75, 0.75)):
        assert near(found[index], tensor(1 + share, share))


def test_cfgpp_is_the_published_step():
    """x0 from u + l (c - u), renoised with the unconditional noise."""
    c, u, x = (t.double() for t in normal(3))
    for strength in (0.25, 1.0):
        for step in (Step(0, 4, 1.0, 0.8), Step(1, 4, 0.8, 0.3), Step(3, 4, 0.3, 0.0)):
            clean = x - step.sigma * (u + strength * (c - u))
            noise = x + (1 - step.sigma) * u
            published = (1 - step.sigma_next) * clean + step.sigma_next * noise
            denoised = cfgpp(strength).guide(Network(c, u), ROWS)(x, step)
            assert near(advance(x, denoised, step), published, 1e-12)


def test_cfgpp_scales_of_28_even_steps():
    steps = [Step(i, 28, 1 - i / 28, 1 - (i + 1) / 28) for i in (0, 7, 14, 21, 27)]
    assert [round(scale_at(1.0, step), 6) for step in steps] == [1.0, 6.0, 7.5, 5.5, 1.0]


def test_cfgpp_without_strength_asks_the_negative_prompt_alone():
    c, u = normal(2)
    v, asked = velocity_of(cfgpp(0.0), c, u)
    assert near(v, u) and asked == [["uncond"]]


def test_residual_guidance_from_a_picture_by_hand():
    # s = 0.5, x = (1, 1), r = (0, 1), c = (1, 0): D_c = (0.5, 1), D = r + 2 (D_c - r) = (1, 1)
    reference = Latent(8, 8, tensor=tensor(0, 1), family="sd3")
    step, x = Step(0, 2, 0.5, 0.0), tensor(1, 1)
    network = Network(tensor(1, 0), tensor(9, 9))
    denoised = rcfg(2.0, "picture", reference).guide(network, ROWS)(x, step)
    assert near(denoised, tensor(1, 1)) and network.asked == [["cond"]]
    # delta 0.5: r becomes x - 0.5 (x - r) = (0.5, 1)
    halved = rcfg(2.0, "picture", reference, 0.5).guide(network, ROWS)(x, step)
    assert near(halved, tensor(0.5, 1))


def test_the_virtual_noise_of_the_true_picture_is_the_true_noise():
    x0, noise, c = (t.double() for t in normal(3))
    x = 0.4 * x0 + 0.6 * noise
    virtual = (x - 0.4 * x0) / 0.6
    assert near(virtual, noise, 1e-12)
    # and guidance on the virtual noise is guidance on clean estimates
    step = Step(0, 2, 0.6, 0.0)
    reference = Latent(8, 8, tensor=x0.float(), family="sd3")
    ours = rcfg(1.7, "picture", reference).guide(Network(c, c), ROWS)(x, step)
    own = x + 0.4 * c  # the noise that the velocity c stands for: x = (1 - s) x0 + s e, v = e - x0
    guided = virtual + 1.7 * (own - virtual)
    assert near(ours, (x - 0.6 * guided) / 0.4, 1e-5)


def test_residual_guidance_from_the_first_step_asks_the_negative_once():
    c, u, x = normal(3)
    network = Network(c, u)
    denoise = rcfg(1.5).guide(network, ROWS)
    first = denoise(x, Step(0, 3, 1.0, 0.6))
    still = x.double() - u.double()
    assert near(first, still + 1.5 * ((x.double() - c.double()) - still))
    later = denoise(x, Step(1, 3, 0.6, 0.2))
    assert near(later, still + 1.5 * ((x.double() - 0.6 * c.double()) - still))
    assert network.asked == [["uncond", "cond"], ["cond"]]


# adaptive


def test_adaptive_decides_for_each_picture_and_stops_the_call_when_all_are_done():
    u = torch.cat([tensor(1, 0), tensor(1, 0)])
    same, other = tensor(2, 0), tensor(0, 1)
    network = Network(torch.cat([same, other]), u)
    denoise = adaptive(cfg(3.0), 0.99).guide(network, ROWS)
    latent = torch.zeros_like(u)
    denoise(latent, Step(0, 4, 1.0, 0.75))
    second = denoise(latent, Step(1, 4, 0.75, 0.5))
    # the first picture follows the prompt alone, the second is guided: u + 3 (c - u) = (-2, 3)
    assert near(second, -0.75 * torch.cat([same, tensor(-2, 3)]))
    network.c = torch.cat([same, same])
    third = denoise(latent, Step(2, 4, 0.5, 0.25))  # decides for the steps after it
    assert near(third, -0.5 * torch.cat([same, tensor(4, 0)]))
    fourth = denoise(latent, Step(3, 4, 0.25, 0.0))
    assert near(fourth, -0.25 * network.c)
    assert network.asked == [["uncond", "cond"]] * 3 + [["cond"]]


def test_adaptive_never_takes_a_decision_back_but_a_run_that_goes_back_decides_anew():
    u = torch.cat([tensor(1, 0), tensor(1, 0)])
    same, other = tensor(2, 0), tensor(0, 1)
    network = Network(torch.cat([same, other]), u)
    denoise = adaptive(cfg(3.0), 0.99).guide(network, ROWS)
    latent = torch.zeros_like(u)
    denoise(latent, Step(0, 4, 1.0, 0.75))
    network.c = torch.cat([other, other])  # the first picture's predictions part again
    denoise(latent, Step(1, 4, 0.75, 0.5))
    third = denoise(latent, Step(2, 4, 0.5, 0.25))
    assert near(third, -0.5 * torch.cat([other, tensor(-2, 3)]))
    assert near(denoise(latent, Step(0, 4, 1.0, 0.75)), -torch.cat([tensor(-2, 3)] * 2))


def test_the_cosine_is_of_whole_pictures_and_never_above_one():
    c, u = normal(2)
    by_hand = (c * u).flatten(1).sum(1) / (c.flatten(1).norm(dim=1) * u.flatten(1).norm(dim=1))
    assert near(cosine(c, u), by_hand)
    assert bool((cosine(c, c) <= 1).all())


def test_adaptive_calls_are_the_steps_and_the_guided_ones(tiny_parts):
    _, calls = made(tiny_parts, adaptive(cfg(3.0), -1.0))
    assert calls["by_role"] == {"uncond": 1, "cond": STEPS}
    first, _ = made(tiny_parts, cfg(3.0, end=1 / STEPS))
    assert torch.equal(made(tiny_parts, adaptive(cfg(3.0), -1.0))[0], first)


def test_a_picture_of_a_batch_decides_as_alone(tiny_parts):
    positive = adaptive(cfg(3.0), 0.9)
    together, _ = made(tiny_parts, positive, batch=3)
    for k in range(3):
        alone, _ = made(tiny_parts, positive, seed=2 + k)
        assert (together[k] - alone[0]).abs().max() < 5e-6


def test_adaptive_stays_with_other_rules_around_it(tiny_parts):
    plain, calls = made(tiny_parts, adaptive(apg(3.0), -1.0))
    assert calls["by_role"] == {"uncond": 1, "cond": STEPS}
    assert torch.isfinite(plain).all()


# reflection


def test_no_reflected_step_is_the_strong_rule_bit_by_bit(tiny_parts):
    plain, calls = made(tiny_parts, cfg(3.0))
    for rule in (w2sd(cfg(3.0), start=0.4, end=0.4), w2sd(cfg(3.0), end=0.0)):
        found, own = made(tiny_parts, rule)
        assert torch.equal(found, plain) and own == calls
        assert torch.equal(made(tiny_parts, rule, name="heun")[0], made(tiny_parts, cfg(3.0), name="heun")[0])


def test_a_reflected_step_is_two_more_estimates(tiny_parts):
    _, calls = made(tiny_parts, w2sd(cfg(3.0), end=0.4))
    assert calls == {"forwards": 5 + 2 * 2, "rows": 10 + 2 * 3, "by_role": {"uncond": 7, "cond": 9}}
    _, last = made(tiny_parts, w2sd(cfg(3.0), end=1.0))
    assert last["forwards"] == 5 + 4 * 2  # the step that ends in the picture is not reflected


def test_reflection_is_forwards_back_and_forwards_again():
    def predict(latent, step, rows):
        return tuple((2.0 if row.role == "cond" else 1.0) * latent * step.sigma for row in rows)

    x, step = normal(1)[0].double(), Step(1, 4, 0.8, 0.6)
    strong, weak = cfg(3.0), cfg(1.0)  # velocities 4 x s and 2 x s
    there = x - 0.2 * 4 * 0.8 * x
    back = there + 0.2 * 2 * 0.6 * there
    again = back - 0.2 * 4 * 0.8 * back
    denoised = w2sd(strong, weak).guide(predict, ROWS)(x, step)
    assert near(advance(x, denoised, step), again, 1e-12)


def test_reflecting_a_rule_against_itself_moves_the_latent_by_the_square_of_the_step():
    def predict(latent, step, rows):
        return tuple(torch.sin(3 * latent) + step.sigma for _ in rows)

    x = normal(1)[0].double()
    moved = []
    for h in (0.1, 0.05, 0.025):
        step = Step(0, 4, 0.8, 0.8 - h)
        plain = advance(x, cfg(1.0).guide(predict, ROWS)(x, step), step)
        twice = advance(x, w2sd(cfg(1.0), cfg(1.0)).guide(predict, ROWS)(x, step), step)
        moved.append(float((twice - plain).abs().mean()))
    assert 3.6 < moved[0] / moved[1] < 4.4 and 3.6 < moved[1] / moved[2] < 4.4


def test_a_rule_that_only_goes_forwards_cannot_be_the_weak_one():
    with pytest.raises(StudioError, match="cannot be the weak rule"):
        w2sd(cfg(3.0), cfgpp(0.5))


# parity with diffusers


def guider(kind, index=3, total=10, **settings):
    made = kind(**settings)
    made.set_state(step=index, num_inference_steps=total, timestep=torch.tensor(0))
    return made


@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_parity_cfg(rescale):
    c, u = normal(2)
    theirs = guider(ClassifierFreeGuidance, guidance_scale=4.0, guidance_rescale=rescale)
    assert near(velocity_of(cfg(4.0, rescale=rescale), c, u)[0], theirs.forward(c, u).pred)


@pytest.mark.parametrize("index", range(10))
def test_parity_interval(index):
    c, u = normal(2)
    theirs = guider(ClassifierFreeGuidance, index, guidance_scale=4.0, start=0.2, stop=0.7)
    step = Step(index, 10, 1 - index / 10, 0.9 - index / 10)
    own, asked = velocity_of(cfg(4.0, 0.2, 0.7), c, u, step)
    assert near(own, theirs.forward(c, u).pred, 2e-6)
    assert asked == ([["uncond", "cond"]] if 2 <= index < 7 else [["cond"]])


@pytest.mark.parametrize("index", [0, 1, 5])
def test_parity_cfg_zero(index):
    c, u = normal(2)
    theirs = guider(ClassifierFreeZeroStarGuidance, index, guidance_scale=4.0, zero_init_steps=1)
    step = Step(index, 10, 1 - index / 10, 0.9 - index / 10)
    assert near(velocity_of(cfg_zero(4.0, 1), c, u, step)[0], theirs.forward(c, u).pred, 2e-6)


@pytest.mark.parametrize(("eta", "longest"), [(1.0, 15.0), (0.0, 15.0), (0.5, 0.0), (0.0, 3.0)])
def test_parity_apg(eta, longest):
    """Their "original formulation" is the paper's; its scale is w - 1."""
    c, u = normal(2)
    theirs = guider(
        AdaptiveProjectedGuidance,
        guidance_scale=3.0,
        adaptive_projected_guidance_rescale=longest,
        eta=eta,
        use_original_formulation=True,
    )
    assert near(velocity_of(apg(4.0, eta, longest, 0.0), c, u)[0], theirs.forward(c, u).pred, 2e-6)


def test_parity_apg_with_momentum():
    theirs = AdaptiveProjectedGuidance(
        guidance_scale=3.0, adaptive_projected_guidance_momentum=-0.5, eta=0.0, use_original_formulation=True
    )
    network = Network(None, None)
    denoise = apg(4.0, 0.0, 15.0, -0.5).guide(network, ROWS)
    for index in range(4):
        c, u = normal(2, seed=index)
        theirs.set_state(step=index, num_inference_steps=4, timestep=torch.tensor(0))
        theirs.prepare_inputs({})
        network.c, network.u = c, u
        step = Step(index, 4, 1 - index / 4, 0.75 - index / 4)
        ours = -denoise(torch.zeros_like(c), step) / step.sigma
        assert near(ours, theirs.forward(c, u).pred, 4e-6)


# neutral, refusals, values


@pytest.mark.parametrize(
    "rule",
    [
        cfg(3.0, 0.5, 0.5), cfg(1.0, rescale=0.7), apg(1.0), cfg_zero(1.0, 0), cfg_zero(4.0, 0, 0.3, 0.3),
        apg(4.0, start=0.5, end=0.5), rcfg(1.0), rcfg(0.5), adaptive(cfg(1.0), 0.5),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("name", ["euler", "heun"])
def test_neutral_is_the_prompt_alone_bit_by_bit_and_no_row_is_computed_in_vain(tiny_parts, rule, name):
    plain, calls = made(tiny_parts, cfg(1.0), name=name)
    found, own = made(tiny_parts, rule, name=name)
    assert torch.equal(found, plain) and own == calls and set(own["by_role"]) == {"cond"}


def test_rules_that_build_on_another_are_it_when_neutral(tiny_parts):
    plain = made(tiny_parts, cfg(3.0))
    for rule in (adaptive(cfg(3.0), 1.0), cfg(3.0, 0.0, 1.0, 0.0), apg(3.0, 1.0, 0.0, 0.0)):
        found, calls = made(tiny_parts, rule)
        assert (found - plain[0]).abs().max() < 1e-5 and calls == plain[1]
    assert torch.equal(made(tiny_parts, adaptive(cfg(3.0), 1.0))[0], plain[0])


def test_two_runs_of_one_rule_are_the_same(tiny_parts):
    for rule in (apg(4.0), adaptive(cfg(3.0), 0.9), rcfg(1.5), w2sd(apg(4.0))):
        assert torch.equal(made(tiny_parts, rule)[0], made(tiny_parts, rule)[0])


@pytest.mark.parametrize("rule", [cfgpp(0.5), w2sd(cfg(3.0)), adaptive(cfgpp(0.5), 0.9)], ids=repr)
def test_rules_for_euler_are_refused_with_others_before_the_network_runs(tiny_parts, recorded, rule):
    with recorded(tiny_parts.transformer) as calls, pytest.raises(StudioError, match="'euler' alone"):
        made(tiny_parts, rule, name="heun")
    assert not calls


def test_steps_without_velocity_cost_nothing_and_never_are_the_whole_run(tiny_parts):
    _, calls = made(tiny_parts, cfg_zero(3.0, 2))
    assert calls["by_role"] == {"uncond": 3, "cond": 3}
    with pytest.raises(StudioError, match="all 2 steps"):
        made(tiny_parts, cfg_zero(3.0, 2), steps=2)


def test_a_picture_of_another_size_is_refused(tiny_parts):
    wrong = Latent(32, 32, tensor=torch.zeros(1, 4, 4, 4), family="sd3")
    with pytest.raises(StudioError, match=r"\(1, 4, 4, 4\)"):
        made(tiny_parts, rcfg(1.5, "picture", wrong))


def test_a_missing_picture_and_an_unknown_mode_are_refused():
    with pytest.raises(StudioError, match="needs one"):
        rcfg(1.5, "picture")
    with pytest.raises(StudioError, match="no mode 'pictur'") as caught:
        rcfg(1.5, "pictur")
    assert "picture" in caught.value.hint


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: cfg(3.0, 0.8, 0.2), "start is 0.8"), (lambda: cfg(3.0, rescale=2.0), "rescale is 2"),
        (lambda: cfgpp(1.5), "strength is 1.5"), (lambda: apg(31.0), "cfg_scale of 31"),
        (lambda: apg(3.0, momentum=math.nan), "momentum is nan"), (lambda: cfg_zero(3.0, 11), "11 steps"),
        (lambda: adaptive(cfg(3.0), 2.0), "threshold is 2"), (lambda: rcfg(1.5, delta=3.0), "delta is 3"),
        (lambda: w2sd(cfg(3.0), end=1.5), "end is 1.5"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(make, words):
    with pytest.raises(StudioError, match=words):
        make()


def test_rules_are_values():
    assert cfg(3.0, 0.0, 1.0, 0.0) == cfg(3.0) != cfg(3.0, end=0.5)
    assert adaptive(cfg(3.0), 0.9) == adaptive(cfg(3.0), 0.9) != adaptive(cfg(4.0), 0.9)
    assert hash(w2sd(cfg(3.0))) == hash(w2sd(cfg(3.0))) and w2sd(cfg(3.0)) != w2sd(cfg(3.0), cfg(2.0))
    pictures = [Latent(8, 8, tensor=torch.full((1, 4, 1, 1), v), family="sd3") for v in (0.0, 1.0)]
    one, other = (rcfg(1.5, "picture", picture) for picture in pictures)
    assert one != other


def test_rules_over_the_embedded_number_keep_it(tiny_parts):
    if not getattr(tiny_parts.transformer.config, "guidance_embeds", False):
        pytest.skip("this family takes no number")
    low, high = (made(tiny_parts, adaptive(embedded_guidance(n, 2.0), -1.0))[0] for n in (1.0, 8.0))
    assert (low - high).abs().max() > 1e-4

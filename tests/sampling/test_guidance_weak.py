"""Guidance away from a changed network: what the change is, parity with diffusers, and a network that is as
before, also after an exception."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.guiders import SkipLayerGuidance
from diffusers.hooks.layer_skip import AttentionScoreSkipFunctionMode
from diffusers.hooks.smoothed_energy_guidance_utils import (
    SmoothedEnergyGuidanceConfig,
    _apply_smoothed_energy_guidance_hook,
)

from studio.blocks.gates import Limits
from studio.blocks.step_cache import attachment as step_cache
from studio.blocks.step_cache import taylor
from studio.controls.left_out import without_blocks
from studio.controls.where import Where
from studio.controls.word_maps import WordMaps
from studio.errors import StudioError
from studio.models.family import adapter_for
from studio.models.text import encode_prompt
from studio.models.tiny import tiny_transformer
from studio.sampling.guidance.adaptive import adaptive
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.cfgpp import cfgpp
from studio.sampling.guidance.embedded import embedded_guidance
from studio.sampling.guidance.perturbed import SeeItself, perturbed_attention
from studio.sampling.guidance.skip_layers import skip_layers
from studio.sampling.guidance.smoothed import BlurQueries, blurred, smoothed_energy
from studio.sampling.guidance.w2sd import w2sd
from studio.sampling.guidance.weak import attention_changed, chosen_blocks
from studio.sampling.loop import sample_latent
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow_diffusers
from studio.values import Guidance, Latent, Step, TokenSpan
from tests.controls.attaching import FAMILIES, call_of, run
from tests.sampling.guidance_help import ROWS, STEPS, made, normal, state_of

EVERY = [skip_layers, perturbed_attention, smoothed_energy]
ALL_STEPS = {"start": 0.0, "end": 1.0}
STEP, ROLES = Step(0, 4, 1.0, 0.75), ("weak:0", "weak:1", "weak:2")


def changed(network, around, call):
    with around(network, STEP, ROLES):
        return run(network, call)


def pag(blocks=(0,), tokens="all"):
    return attention_changed("it", blocks, lambda sites, roles: SeeItself(sites, tokens))


def seg(blocks=(0,), blur=0.0):
    return attention_changed("it", blocks, lambda sites, roles: BlurQueries(sites, blur, roles))


# the rule


def test_the_weak_prediction_is_pushed_away_from():
    c, u, weak, x = normal(4)
    asked = []

    def predict(latent, step, rows):
        asked.append([row.role for row in rows])
        return tuple({"cond": c, "uncond": u, "weak": weak}[row.role] for row in rows)

    step = Step(2, 10, 0.8, 0.7)
    denoised = skip_layers(cfg(3.0), 2.5, (), 0.0, 1.0).guide(predict, ROWS)(x, step)
    wanted = x.double() - 0.8 * ((u + 3 * (c - u)).double() + 2.5 * (c - weak).double())
    assert (denoised - wanted).abs().max() < 1e-5 and asked == [["uncond", "cond"], ["weak"]]
    theirs = SkipLayerGuidance(3.0, 2.5, 0.0, 1.0, skip_layer_guidance_layers=[0])
    theirs.set_state(step=2, num_inference_steps=10, timestep=torch.tensor(0))
    velocity = (x.double() - denoised) / 0.8
    assert (velocity - theirs.forward(c, u, weak).pred).abs().max() < 1e-5


@pytest.mark.parametrize("make", EVERY)
def test_no_strength_and_no_range_are_the_inner_rule_itself(tiny_parts, make):
    inner = cfg(3.0)
    assert make(inner, 0.0) is inner and make(inner, 2.0, start=0.4, end=0.4) is inner
    assert make(None, 0.0) == cfg(1.0)
    # a range that holds none of the run's steps is nothing either
    plain, calls = made(tiny_parts, inner)
    found, own = made(tiny_parts, make(inner, 2.0, start=0.41, end=0.59))
    assert torch.equal(found, plain) and own == calls


@pytest.mark.parametrize("make", EVERY)
def test_one_more_row_a_step_in_the_range_and_the_network_as_before(tiny_parts, make):
    network = tiny_parts.transformer
    before = state_of(network)
    plain, _ = made(tiny_parts, cfg(3.0))
    found, calls = made(tiny_parts, make(cfg(3.0), 2.0, start=0.2, end=0.6))
    weak = 1 if make is skip_layers else 2  # its range is open at the start
    assert calls["by_role"] == {"uncond": STEPS, "cond": STEPS, "weak": weak}
    assert calls["forwards"] == STEPS + weak
    assert (found - plain).abs().max() > 1e-3
    assert state_of(network) == before
    assert torch.equal(made(tiny_parts, cfg(3.0))[0], plain)


@pytest.mark.parametrize("make", EVERY)
def test_the_network_is_as_before_after_an_exception_inside_the_weak_call(tiny_parts, make, monkeypatch):
    network = tiny_parts.transformer
    before = state_of(network)
    calls = []
    family = type(tiny_parts.family)
    own = family.velocity

    def broken(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("out of memory")
        return own(*args, **kwargs)

    monkeypatch.setattr(family, "velocity", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        made(tiny_parts, make(cfg(3.0), 2.0, **ALL_STEPS))
    monkeypatch.undo()
    assert len(calls) == 4 and state_of(network) == before


@pytest.mark.parametrize("make", EVERY)
def test_it_builds_on_other_rules(tiny_parts, make):
    weak = STEPS - (make is skip_layers)
    _, calls = made(tiny_parts, make(adaptive(cfg(3.0), -1.0), 1.0, **ALL_STEPS))
    assert calls["by_role"] == {"uncond": 1, "cond": STEPS, "weak": weak}
    _, calls = made(tiny_parts, make(None, 1.0, **ALL_STEPS))
    assert calls["by_role"] == {"cond": STEPS, "weak": weak}
    if getattr(tiny_parts.transformer.config, "guidance_embeds", False):
        one, other = (made(tiny_parts, make(embedded_guidance(n), 1.0, **ALL_STEPS))[0] for n in (1.0, 8.0))
        assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("make", EVERY)
def test_what_the_inner_rule_and_the_weak_network_ask_of_a_run_is_kept(make):
    assert make(cfgpp(0.5)).only_sampler == "euler" and make(cfg(3.0)).only_sampler == ""
    around = adaptive(make(cfg(3.0)), 0.9), w2sd(make(cfg(3.0))), w2sd(cfg(3.0), make(cfg(2.0)))
    assert all(rule.perturbs for rule in around) and not w2sd(cfg(3.0)).perturbs


def test_a_prediction_from_elsewhere_is_not_the_one_that_is_pushed():
    """A rule may look ahead, from another latent, before it asks at its own."""
    c, weak, x = normal(3)

    def predict(latent, step, rows):
        found = {"cond": c, "weak": weak}
        return tuple(found[row.role] + (latent - x) for row in rows)

    def guide(predict, rows):
        def denoise(latent, step):
            predict(latent + 1, step, rows[1:])
            return latent - step.sigma * predict(latent, step, rows[1:])[0]

        return denoise

    rule = skip_layers(Guidance("ahead", guide), 2.5, (), 0.0, 1.0)
    denoised = rule.guide(predict, ROWS)(x, Step(2, 4, 1.0, 0.75))
    assert (denoised - (x - (c + 2.5 * (c - weak)))).abs().max() < 1e-5


@pytest.mark.parametrize("make", EVERY)
def test_a_batch_gives_the_pictures_of_its_seeds(tiny_parts, make):
    rule = make(cfg(2.0), 1.0, **ALL_STEPS)
    together, _ = made(tiny_parts, rule, batch=2)
    for k in range(2):
        assert (together[k] - made(tiny_parts, rule, seed=2 + k)[0][0]).abs().max() < 1e-5


@pytest.mark.parametrize("make", EVERY)
def test_controls_and_caches_on_the_same_blocks_are_refused_before_the_network_runs(
    tiny_parts, recorded, make
):
    rule = make(cfg(3.0), 1.0, **ALL_STEPS)
    watched = WordMaps((TokenSpan("star", (2,)),), Where())
    for attachment in (watched, step_cache(taylor(2, limits=Limits(warm=1)))):
        refused = pytest.raises(StudioError, match="changes the network")
        with recorded(tiny_parts.transformer) as calls, refused:
            made(tiny_parts, rule, attachments=[attachment])
        assert not calls


# the changed networks


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_changed_and_is_as_before(family):
    network, call = tiny_transformer(family), call_of(family)
    before, plain = state_of(network), run(network, call)
    around = [pag(), pag(tokens="image"), seg(), seg(blur=1.0)]
    outputs = [changed(network, one, call) for one in around]
    sites = chosen_blocks("it", (0,), adapter_for(network).sites(network))
    with without_blocks(network, [site.name.rpartition(".")[0] for site in sites]):
        outputs.append(run(network, call))
    for output in outputs:
        assert torch.isfinite(output).all() and (output - plain).abs().max() > 1e-5
    assert state_of(network) == before and torch.equal(run(network, call), plain)


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_a_network_without_a_block_is_one_that_never_had_it(family):
    network, call = tiny_transformer(family), call_of(family)
    with without_blocks(network, ["transformer_blocks.0"]):
        skipped = run(network, call)
    if family == "sd3":  # its own way to leave blocks out
        with torch.inference_mode():
            assert torch.equal(skipped, network(**call, skip_layers=[0], return_dict=False)[0])
    network.transformer_blocks = torch.nn.ModuleList(list(network.transformer_blocks)[1:])
    assert torch.equal(run(network, call), skipped)


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_tokens_that_see_themselves_get_their_own_values(family):
    """As diffusers' PerturbedAttentionGuidance: attention that hands on its values."""
    network, call = tiny_transformer(family), call_of(family)
    ours = changed(network, pag(), call)
    attention = network.transformer_blocks[0].attn
    own = attention.forward

    def values_alone(*args, **kwargs):
        with AttentionScoreSkipFunctionMode():
            return own(*args, **kwargs)

    attention.forward = values_alone
    assert (run(network, call) - ours).abs().max() < 1e-6


def test_with_tokens_image_the_words_still_reach_the_picture():
    network, call = tiny_transformer("sd3"), call_of("sd3")
    other = {**call, "encoder_hidden_states": call["encoder_hidden_states"].flip(1) + 1}
    both = pag((0,), "image"), pag((0,), "all")
    apart = [(changed(network, one, call) - changed(network, one, other)).abs().max() for one in both]
    assert apart[0] > 1e-3
    image, every = (changed(network, one, call) for one in both)
    assert (image - every).abs().max() > 1e-4


def test_infinite_blur_is_that_of_diffusers():
    """On a network without query norm, whose queries are blurred before and after it alike. In diffusers
    0.42.1 a finite sigma takes the mean and an infinite one a window: the two branches are exchanged."""
    from diffusers import SD3Transformer2DModel

    config = {**tiny_transformer("sd3").config, "qk_norm": None}
    torch.manual_seed(0)
    network = SD3Transformer2DModel.from_config(config).eval()
    call = call_of("sd3", grid=(4, 4))
    ours = changed(network, seg(), call)
    _apply_smoothed_energy_guidance_hook(network, SmoothedEnergyGuidanceConfig([0]), 1.0, name="theirs")
    assert (run(network, call) - ours).abs().max() < 1e-5


def test_blur_by_hand():
    # one row of three tokens, sigma 1: weights 1, exp(-1/2), exp(-2), made to sum to 1
    q = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 1, 3, 1)
    near, far = math.exp(-0.5), math.exp(-2.0)
    wanted = [1 / (1 + near + far), near / (1 + 2 * near), far / (1 + near + far)]
    assert torch.allclose(blurred(q, (1, 3), 1.0).flatten(), torch.tensor(wanted), atol=1e-6)
    assert torch.allclose(blurred(q, (3, 1), 1.0).flatten(), torch.tensor(wanted), atol=1e-6)
    assert torch.allclose(blurred(q, (1, 3), 0.0), torch.full_like(q, 1 / 3))


def test_blur_goes_over_both_axes_and_keeps_what_is_even():
    q = normal(1, (1, 2, 12, 3))[0]
    ours = blurred(q, (3, 4), 0.7)
    square = q.reshape(1, 2, 3, 4, 3)
    by_hand = torch.zeros_like(square)
    for i in range(3):
        for j in range(4):
            weights = torch.tensor(
                [
                    [math.exp(-((a - i) ** 2) / 0.98) * math.exp(-((b - j) ** 2) / 0.98) for b in range(4)]
                    for a in range(3)
                ]
            )
            by_hand[:, :, i, j] = torch.einsum("rhabc,ab->rhc", square, weights / weights.sum())
    assert torch.allclose(ours, by_hand.reshape(q.shape), atol=1e-6)
    assert torch.allclose(blurred(torch.ones_like(q), (3, 4), 2.0), torch.ones_like(q), atol=1e-6)
    assert torch.allclose(blurred(q, (3, 4), 64.0), blurred(q, (3, 4), 0.0).contiguous(), atol=2e-3)


def test_parity_of_skip_layer_guidance_with_the_sd3_pipeline(pair):
    """With the range that both have: of 6 steps from 0 to 0.6 those with the index 1, 2 and 3."""
    steps, blocks = 6, [0] if pair.size == 64 else [2, 3]
    theirs = pair.stock(
        "a red star on the left", negative_prompt="blue house", num_inference_steps=steps, guidance_scale=3.0,
        height=pair.size, width=pair.size, max_sequence_length=pair.length, output_type="latent",
        generator=torch.Generator("cpu").manual_seed(7), skip_guidance_layers=blocks,
        skip_layer_guidance_scale=2.0, skip_layer_guidance_start=0.0, skip_layer_guidance_stop=0.6,
    ).images  # fmt: skip
    positive, negative = (
        encode_prompt(pair.ours, text, "it")[0] for text in ("a red star on the left", "blue house")
    )
    ours = sample_latent(
        pair.ours, positive, negative, Latent(pair.size, pair.size, 1, 7),
        flow_diffusers(steps, pair.stock.scheduler.config.shift), sampler("euler"),
        skip_layers(cfg(3.0), 2.0, blocks, 0.0, 0.6),
    ).tensor  # fmt: skip
    assert (ours - theirs).abs().max() < 1e-4


RANGES = [(0.01, 0.2), (0.0, 1.0), (0.0, 0.5), (0.1, 0.3), (0.29, 0.58), (0.07, 0.14), (0.5, 0.9)]


@pytest.mark.parametrize("pair", ["tiny"], indirect=True)
@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 6, 7, 10, 12, 25, 28, 50, 100])
def test_skip_layer_guidance_acts_in_the_steps_of_the_sd3_pipeline(pair, monkeypatch, total):
    """The pipeline's own loop is asked: a call that leaves blocks out comes after that step's other one."""
    told = []

    def forward(*, hidden_states, skip_layers=None, **_):
        told.append(skip_layers)
        return (hidden_states * 0,)

    monkeypatch.setattr(pair.stock.transformer, "forward", forward)
    for start, stop in RANGES:
        told.clear()
        pair.stock(
            "a red star", num_inference_steps=total, guidance_scale=3.0, height=64, width=64,
            max_sequence_length=pair.length, output_type="latent", skip_guidance_layers=[0],
            skip_layer_guidance_start=start, skip_layer_guidance_stop=stop,
        )  # fmt: skip
        plain = [sum(blocks is None for blocks in told[:i]) - 1 for i in range(len(told))]
        theirs = {index for index, blocks in zip(plain, told, strict=True) if blocks is not None}
        assert sum(blocks is None for blocks in told) == total
        rule, ours = skip_layers(cfg(3.0), 2.0, (), start, stop), set()

        def predict(latent, step, rows, ours=ours):
            if rows[0].role == "weak":
                ours.add(step.index)
            return tuple(latent for _ in rows)

        denoise = rule.guide(predict, ROWS)
        for i in range(total):
            denoise(torch.zeros(1, 2, 2, 2), Step(i, total, 1 - i / total, 1 - (i + 1) / total))
        assert ours == theirs, (start, stop)


# refusals


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize(("blocks", "words"), [((0, 9), "block 9"), ((0, 1, 2, 3), "all")])
def test_blocks_that_are_not_there_and_all_of_them_are_refused(tiny_parts, make, blocks, words):
    count = sum(site.joint for site in adapter_for(tiny_parts.transformer).sites(tiny_parts.transformer))
    blocks = tuple(range(count)) if words == "all" else blocks
    before = state_of(tiny_parts.transformer)
    with pytest.raises(StudioError, match=words) as caught:
        made(tiny_parts, make(cfg(3.0), 1.0, blocks, **ALL_STEPS))
    assert caught.value.socket == "blocks" and state_of(tiny_parts.transformer) == before


def test_blocks_that_suit_lie_where_those_of_sd35_medium_do():
    network = tiny_transformer("sd3")
    (site,) = adapter_for(network).sites(network)[:1]

    def usual(count):
        sites = [type(site)(f"b.{i}.attn", i, "joint_double", i) for i in range(count)]
        return [found.index for found in chosen_blocks("it", (), sites)]

    assert usual(24) == [7, 8, 9] and usual(7) == [2] and usual(2) == [0]


def test_impossible_settings_are_refused():
    for make, words in (
        (lambda: skip_layers(scale=11.0), "scale is 11"),
        (lambda: perturbed_attention(tokens="imag"), "no tokens 'imag'"),
        (lambda: smoothed_energy(blur=-1.0), "blur is -1"),
        (lambda: smoothed_energy(start=0.9, end=0.1), "start is 0.9"),
    ):
        with pytest.raises(StudioError, match=words):
            make()


def test_rules_are_values():
    assert skip_layers(cfg(3.0)) == skip_layers(cfg(3.0)) != skip_layers(cfg(2.0))
    assert perturbed_attention(tokens="all") != perturbed_attention(tokens="image")
    assert smoothed_energy(blur=1.0) != smoothed_energy() and smoothed_energy().perturbs

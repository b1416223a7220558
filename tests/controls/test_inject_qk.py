"""Edit by prompt: the laws of controls.md 7 (a) without the blend."""

from __future__ import annotations

import math

import pytest
import torch

from studio.controls.control import Call, Columns, Extension, Need
from studio.controls.inject_qk import BLOCKS, FEW_STEPS, PROJECTIONS, InjectQK
from studio.errors import StudioError
from studio.models.family import Site, TokenLayout, adapter_for
from studio.models.tiny import tiny_transformer
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent, Step
from tests.controls.attaching import (
    FAMILIES,
    ROLES,
    STEPS,
    Control,
    attached_to,
    call_of,
    controlled,
    draw,
    run,
    state,
    step_of,
)
from tests.controls.edit_runs import CLOSE, MODELS, NEW, OLD, Beside, joint, parts_for, sampled, tensor, text
from tests.controls.site_bench import HEADS, SHOWN, SIZES, WIDE, Bench, layout_of, no_segments, orders

SITE = Site("block.0.attn", 0, "joint_double", 0)
MODES = [*({"projection": name} for name in PROJECTIONS), *({"block": name} for name in BLOCKS)]


def edit(**settings):
    """An edit without prompts: calls at the level of the network name their rows themselves."""
    return InjectQK(None, **{"tau": 1.0, **settings})


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(params=MODELS)
def parts(request):
    return parts_for(request.param)


def test_only_the_target_changes(family):
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    for mode in MODES:
        made = controlled(network, call, edit(**mode))
        if "block" in mode:
            # an owner takes the general path, where fewer rows go through one kernel
            assert torch.allclose(made[:2], plain[:2], atol=2e-6), mode
        else:
            assert torch.equal(made[:2], plain[:2]), mode
        assert (made[2] - plain[2]).abs().max() > 1e-4, mode


def test_equal_prompts_and_latents_give_the_source_bit_by_bit(family):
    network, call = tiny_transformer(family), call_of(family, same=True)
    plain = run(network, call)
    for mode in MODES:
        made = controlled(network, call, edit(**mode))
        if "block" in mode:
            assert torch.allclose(made[2], made[1], atol=2e-6), mode
        else:
            assert torch.equal(made[2], made[1]), mode
            assert torch.equal(made, plain), mode


def test_copying_queries_and_keys_of_the_image_leaves_text_and_values_alone():
    q, k, v = (draw(3, 2, 10, 4, seed=seed) for seed in (1, 2, 3))
    layout = TokenLayout({"image": slice(0, 6), "text": slice(6, 10)}, (2, 3), ROLES, 10)
    before = [x.clone() for x in (q, k, v)]
    new_q, new_k, new_v = edit().edit(Call(SITE, STEPS[0], layout, q, k, v))
    assert torch.equal(new_q[2, :, :6], q[1, :, :6]) and torch.equal(new_k[2, :, :6], k[1, :, :6])
    assert torch.equal(new_q[2, :, 6:], q[2, :, 6:]) and torch.equal(new_k[2, :, 6:], k[2, :, 6:])
    assert torch.equal(new_q[:2], q[:2]) and new_v is v
    assert all(torch.equal(x, y) for x, y in zip((q, k, v), before, strict=True))


def scores_led(bench, block):
    """Scores of the target's queries with all keys, those of one block the source's: head, query, key; in
    the order of SHOWN, channels doubled to be exact."""

    def of(row, tensor):
        return torch.cat([tensor[row, :, bench.layout.spans[name]] for name in SHOWN], 1).double()

    ends = torch.tensor([0, *(SIZES[name] for name in SHOWN)]).cumsum(0).tolist()
    spans = {name: slice(*ends[i : i + 2]) for i, name in enumerate(SHOWN)}
    scores, led = (of(row, bench.q) @ of(row, bench.k).mT / math.sqrt(WIDE) for row in (2, 1))
    asks, keyed = (spans[name] for name in BLOCKS[block])
    scores[:, asks, keyed] = led[:, asks, keyed]
    return scores, of(2, bench.v), spans


@pytest.mark.parametrize("block", BLOCKS)
@orders
def test_a_block_of_the_scores_is_the_sources(block, order):
    bench = Bench(layout_of(no_segments(order)))
    out = bench.run(edit(block=block))
    scores, v, _ = scores_led(bench, block)
    bench.near(out, 2, SHOWN, torch.softmax(scores, -1) @ v)
    for row in (0, 1):
        bench.near(out, row, SHOWN, bench.wanted(row, SHOWN, SHOWN))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("padded", [False, True])
@orders
def test_weights_references_and_padding_join_a_block_of_the_scores(block, padded, order):
    pad = torch.ones(3, sum(SIZES[name] for name in no_segments(order)), dtype=torch.bool)
    layout = layout_of(no_segments(order), pad=pad if padded else None)
    pad[2, layout.span("text").stop - 1] = False
    bench = Bench(layout)
    more = [draw(1, HEADS, 4, WIDE, seed=seed) for seed in (11, 12)]
    extension = Extension("ref", (2,), *more, weight=0.3)
    terms = (Columns((2,), (0, 3), 2.5), Columns((2,), (1,), 0.5, scale=False))
    out = bench.run(
        edit(block=block),
        Control("subject", Need.EXTEND, on_extend=lambda call: (extension,)),
        Control("weight", Need.COLUMNS, on_columns=lambda call: terms),
    )
    scores, v, spans = scores_led(bench, block)
    text, image = spans["text"].start, spans["image"]
    if padded:
        scores[:, :, spans["text"].stop - 1] = -math.inf
    scores[:, image, text + 1] += math.log(0.5)
    factors = torch.ones(scores.shape[1], scores.shape[2] + 4, dtype=torch.float64)
    for token in (0, 3):
        factors[image, text + token] = 2.5
    own = torch.cat([bench.q[2, :, layout.spans[name]] for name in SHOWN], 1).double()
    beside = own @ more[0][0].double().mT / math.sqrt(WIDE) + math.log(0.3)
    joined = torch.softmax(torch.cat([scores, beside], -1), -1) * factors
    every, alone = joined @ torch.cat([v, more[1][0].double()], 1), torch.softmax(scores, -1) @ v
    # an extension joins the pass of every query that looks at the picture: all of them
    bench.near(out, 2, SHOWN, every)
    assert (every - alone).abs().max() > 1e-3


def test_blocks_and_steps_outside_the_choice_are_left_alone(family):
    network, call = tiny_transformer(family), call_of(family)
    count = sum(site.joint for site in adapter_for(network).sites(network))
    plain = run(network, call)
    first, every = (controlled(network, call, edit(sites=sites)) for sites in ((0,), None))
    assert not torch.equal(first[2], every[2])
    listed = controlled(network, call, edit(sites=tuple(range(count))))
    assert torch.equal(listed, every)
    with attached_to(network, edit(tau=0.5)) as attached:
        later = step_of(attached, network, call, STEPS[2])
        assert torch.equal(later, plain)
        assert torch.equal(step_of(attached, network, call, STEPS[1]), every)


def test_few_steps_copy_at_fewer_sites():
    control = edit(few_step_sites=(0,))
    last = Site("block.1.attn", 1, "joint_double", 1)
    few, many = Step(0, FEW_STEPS, 1, 0.75), Step(0, FEW_STEPS + 1, 1, 0.8)
    assert control.needs(SITE, few) and not control.needs(last, few)
    assert control.needs(last, many)
    listed = edit(sites=(1,), few_step_sites=(0,))
    assert listed.needs(last, few) and not listed.needs(SITE, few)
    assert not edit().needs(Site("block.0.attn2", -1, "image_self", 0), few)


def test_the_network_is_as_before_also_after_an_error(family):
    network, call = tiny_transformer(family), call_of(family)
    before = state(network)
    controlled(network, call, edit())
    with (
        pytest.raises(ZeroDivisionError),
        attached_to(network, edit()) as attached,
        attached.call(STEPS[0], ROLES),
    ):
        raise ZeroDivisionError
    assert state(network) == before


def test_a_call_without_the_source_is_refused():
    network = tiny_transformer("sd3")
    with pytest.raises(StudioError, match="source"), attached_to(network, edit(), roles=("uncond", "target")):
        pass


# whole runs


@pytest.mark.parametrize("tau", [0.4, 1.0])
def test_equal_prompts_run_as_one_picture_at_every_step(parts, tau):
    watch = Beside()
    sampled(parts, InjectQK(text(parts, NEW), tau), watch)
    assert len(watch.kept) == 5
    assert all(torch.equal(now["target"], now["source"]) for now in watch.kept)


def test_tau_0_is_the_plain_run(parts):
    edited, plain = sampled(parts, InjectQK(text(parts, OLD), 0.0)), sampled(parts)
    assert set(edited.latents) == {"target"} and torch.equal(tensor(edited), tensor(plain))


def test_the_source_is_as_without_the_edit_and_the_target_moves_towards_it(parts):
    control = InjectQK(text(parts, OLD), 1.0)
    alone, edited = sampled(parts, Beside(control.branches())), sampled(parts, control)
    assert torch.equal(tensor(edited, "source"), tensor(alone, "source"))
    assert not torch.equal(tensor(edited), tensor(alone))


def test_the_source_is_the_picture_of_its_own_prompt(parts):
    edited = sampled(parts, InjectQK(text(parts, OLD), 0.4))
    own = sampled(parts, prompt=OLD)
    assert (tensor(edited, "source") - tensor(own)).abs().max() < CLOSE


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_each_picture_of_a_batch_follows_its_own_source(parts, scale):
    control = InjectQK(text(parts, OLD), 0.4)
    both = sampled(parts, control, batch=2, scale=scale)
    for k in range(2):
        alone = sampled(parts, control, seed=3 + k, scale=scale)
        for role in ("source", "target"):
            assert (tensor(both, role)[k : k + 1] - tensor(alone, role)).abs().max() < CLOSE


def test_it_works_from_a_picture_on_a_wide_canvas_and_with_two_calls_a_step(parts):
    started = Latent(96, 64, 1, 5).with_tensor(draw(1, 4, 8, 12, seed=9), parts.family.name)
    sigmas = from_strength(flow(6, 3.0), 0.6)
    control = InjectQK(text(parts, OLD), 0.5)
    for name in ("euler", "heun"):
        settings = {"latent": started, "sigmas": sigmas, "name": name}
        edited = sampled(parts, control, **settings)
        alone = sampled(parts, Beside(control.branches()), **settings)
        assert torch.equal(tensor(edited, "source"), tensor(alone, "source"))
        assert not torch.equal(tensor(edited), tensor(alone))
        same = sampled(parts, InjectQK(text(parts, NEW), 0.5), **settings)
        assert torch.equal(tensor(same), tensor(same, "source"))


def test_the_report_says_where_it_acted(parts):
    report = sampled(parts, InjectQK(text(parts, OLD), 0.4)).report
    (told,) = report["controls"]
    assert (told["technique"], told["sites"], told["steps"]) == ("edit", joint(parts), 2)


# bad input


@pytest.mark.parametrize("tau", [-0.1, 1.5, math.nan, math.inf, True, "0.2"])
def test_a_tau_that_is_no_share_of_a_run_is_refused(tau):
    with pytest.raises(StudioError, match=r"tau is .* from 0 to 1"):
        InjectQK(None, tau)


def test_unknown_modes_are_refused_with_the_nearest():
    with pytest.raises(StudioError, match="Did you mean 'qiki'"):
        InjectQK(None, projection="qikii")
    with pytest.raises(StudioError, match="I2I, T2I, I2T, T2T"):
        InjectQK(None, block="X2X")


def test_blocks_that_the_model_lacks_are_refused_with_its_range(parts):
    with pytest.raises(StudioError, match=f"no block 57.*from 0 to {joint(parts) - 1}"):
        sampled(parts, InjectQK(text(parts, OLD), sites=(0, 57)))


def test_a_tau_that_selects_no_step_is_refused(parts):
    with pytest.raises(StudioError, match=r"less than one of its 4 steps.*0\.25"):
        sampled(parts, InjectQK(text(parts, OLD), 0.2), steps=4)

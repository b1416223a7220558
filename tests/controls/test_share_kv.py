"""Keep the look: the laws of controls.md 7 (c)."""

from __future__ import annotations

import math

import pytest
import torch

from studio.controls.control import Call, Need
from studio.controls.share_kv import KeepLook
from studio.controls.sites import last_sites
from studio.errors import StudioError
from studio.models.family import Site, TokenLayout
from studio.models.tiny import tiny_transformer
from studio.models.words import find_words
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent, Step, TokenSpan
from tests.controls.attaching import (
    FAMILIES,
    ROLES,
    STEPS,
    attached_to,
    call_of,
    controlled,
    draw,
    run,
    state,
    step_of,
)
from tests.controls.edit_runs import (
    CLOSE,
    MODELS,
    NEW,
    OLD,
    Beside,
    FakeMaps,
    joint,
    parts_for,
    sampled,
    tensor,
    text,
)

SITE = Site("block.0.attn", 0, "joint_double", 0)
WORDS = {"source_words": TokenSpan("star", (1, 2)), "target_words": TokenSpan("heart", (3,))}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(params=MODELS)
def parts(request):
    return parts_for(request.param)


def look(**settings):
    return KeepLook(None, **{"sites": (0, 1), "start": 0.0, "end": 1.0, **settings})


def masked(**settings):
    return look(**{**WORDS, "map_sites": (0,), **settings})


def whole(parts, **settings):
    given = {"sites": tuple(range(joint(parts))), "start": 0.0, "end": 1.0, **settings}
    return KeepLook(text(parts, OLD), **given)


def apart(parts, **settings):
    words = find_words(parts, OLD, "star"), find_words(parts, NEW, "heart")
    return whole(parts, source_words=words[0], target_words=words[1], map_sites=(0,), **settings)


@pytest.mark.parametrize("joint_too", [False, True])
def test_only_the_target_changes_and_equal_rows_stay_equal_bit_by_bit(family, joint_too):
    network, call = tiny_transformer(family), call_of(family)
    plain, made = run(network, call), controlled(network, call, look(joint=joint_too))
    assert torch.equal(made[:2], plain[:2]) and (made[2] - plain[2]).abs().max() > 1e-4
    same = call_of(family, same=True)
    assert torch.equal(controlled(network, same, look(joint=joint_too)), run(network, same))


def test_the_target_asks_the_sources_keys_and_values():
    q, k, v = (draw(3, 2, 10, 4, seed=seed) for seed in (1, 2, 3))
    call = Call(
        SITE, STEPS[0], TokenLayout({"image": slice(0, 6), "text": slice(6, 10)}, (2, 3), ROLES, 10), q, k, v
    )
    new_q, new_k, new_v = look().edit(call)
    assert new_q is q
    for new, old in ((new_k, k), (new_v, v)):
        assert torch.equal(new[2, :, :6], old[1, :, :6]) and torch.equal(new[2, :, 6:], old[2, :, 6:])
        assert torch.equal(new[:2], old[:2])
    joint_k = look(joint=True).edit(call)[1]
    assert torch.equal(joint_k[2], k[1])


def test_foreground_sees_foreground_and_background_sees_background():
    """One site against explicit attention: 6 image tokens, 4 text tokens; token 3 of the text is the word."""
    q, k, v = (draw(3, 2, 10, 4, seed=seed) for seed in (1, 2, 3))
    layout = TokenLayout({"text": slice(0, 4), "image": slice(4, 10)}, (2, 3), ROLES, 10)
    kept = torch.tensor([1.0, 0.9, 0.0, 0.1, 0.0, 0.2]).reshape(1, 6, 1)
    made = torch.tensor([0.0, 0.0, 0.1, 0.8, 1.0, 0.0]).reshape(1, 6, 1)
    maps = FakeMaps(source=kept, target=made)
    with attached_to(tiny_transformer("flux"), masked()) as attached:
        control = attached.plan.controls[0]
    call = Call(SITE, STEPS[0], layout, q, k, v, maps=maps)
    edited = Call(SITE, STEPS[0], layout, *control.edit(call), maps=maps)
    (found,) = control.passes(edited)
    assert found.rows == (2,)
    scores = edited.q[2] @ edited.k[2].mT / 2
    front = torch.tensor([True, True, True, True, True, True, False, False, False, False])
    back = torch.tensor([True] * 4 + [False, False, True, True, True, True])
    shown = torch.stack(
        [torch.ones(10, dtype=torch.bool)] * 3 + [front] + [back] * 2 + [back] + [front] * 2 + [back]
    )
    expected = torch.softmax(scores.masked_fill(~shown, -math.inf), -1) @ edited.v[2]
    outputs = []
    for one in found.passes:
        queries = torch.cat([edited.q[2:, :, layout.span(name)] for name in one.queries], 2)
        keys, values = (
            torch.cat([x[2:, :, layout.span(n)] for n in one.keys], 2) for x in (edited.k, edited.v)
        )
        whole_pass = torch.nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=one.mask
        )
        sizes = [layout.size(name) for name in one.queries]
        outputs.append(dict(zip(one.queries, whole_pass.split(sizes, 2), strict=True)))
    combined = found.combine(None, outputs)
    assert set(combined) == {"text", "image"}
    assert torch.allclose(combined["text"][0], expected[:, :4], atol=1e-6)
    assert torch.allclose(combined["image"][0], expected[:, 4:], atol=1e-6)


def test_a_threshold_of_0_shows_everything(family):
    network, call = tiny_transformer(family), call_of(family)
    made = []
    for control in (masked(sites=(1,), threshold=0.0), look(sites=(1,)), masked(sites=(1,), threshold=0.6)):
        made.append(controlled(network, call, control))
    assert (made[0] - made[1]).abs().max() <= 1e-5
    assert (made[2] - made[1]).abs().max() > 1e-5
    assert (made[2][:2] - made[1][:2]).abs().max() <= 1e-5


def test_until_there_is_a_map_everything_is_shared(family):
    network, call = tiny_transformer(family), call_of(family)
    early, late = masked(sites=(0,), map_sites=(1,)), look(sites=(0,))
    assert (controlled(network, call, early) - controlled(network, call, late)).abs().max() <= 1e-5


def test_the_network_is_as_before(family):
    network, call = tiny_transformer(family), call_of(family)
    before = state(network)
    controlled(network, call, masked(sites=(1,)))
    assert state(network) == before


def test_steps_and_sites_outside_the_choice_are_left_alone():
    control = masked(sites=(1,), start=0.25, end=0.75)
    other = Site("block.1.attn", 1, "joint_double", 1)
    assert [bool(control.needs(other, step)) for step in STEPS] == [False, True, True, False]
    # maps are read from the first step on
    assert [control.needs(SITE, step) for step in STEPS] == [Need.PROBE] * 3 + [Need.NONE]
    assert control.needs(Site("x", -1, "image_self", 0), STEPS[1]) is Need.NONE
    published = KeepLook(None, (0,))
    assert [i for i in range(50) if published.needs(SITE, Step(i, 50, 1.0, 0.9))] == list(range(2, 25))
    assert last_sites([SITE] * 30, 1 / 6) == (25, 26, 27, 28, 29) and last_sites([SITE] * 3, 1 / 6) == (2,)


# whole runs


def test_an_empty_range_is_the_plain_run(parts):
    for control in (whole(parts, start=0.5, end=0.5), whole(parts, sites=())):
        made = sampled(parts, control)
        assert set(made.latents) == {"target"} and torch.equal(tensor(made), tensor(sampled(parts)))


def test_equal_prompts_run_as_one_picture(parts):
    made = sampled(parts, whole(parts), prompt=OLD)
    assert torch.equal(tensor(made), tensor(made, "source"))


@pytest.mark.parametrize("kind", [whole, apart])
def test_the_source_is_as_without_it(parts, kind):
    control = kind(parts)
    made, alone = sampled(parts, control), sampled(parts, Beside(control.branches()))
    if kind is whole:
        assert torch.equal(tensor(made, "source"), tensor(alone, "source"))
    else:
        # beside an owner the other rows go through a smaller kernel call
        assert (tensor(made, "source") - tensor(alone, "source")).abs().max() < CLOSE
    assert (tensor(made) - tensor(alone)).abs().max() > 1e-3


def test_each_picture_of_a_batch_keeps_its_own_look(parts):
    control = apart(parts, threshold=0.5)
    both = sampled(parts, control, batch=2, size=(96, 64))
    for k in range(2):
        alone = sampled(parts, control, seed=3 + k, size=(96, 64))
        assert (tensor(both)[k : k + 1] - tensor(alone)).abs().max() < CLOSE


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_it_works_from_a_picture_and_without_guidance(parts, name):
    started = Latent(64, 64, 1, 5).with_tensor(draw(1, 4, 8, 8, seed=9), parts.family.name)
    settings = {"latent": started, "sigmas": from_strength(flow(6, 3.0), 0.6), "name": name, "scale": 1.0}
    made = sampled(parts, whole(parts), prompt=OLD, **settings)
    assert torch.equal(tensor(made), tensor(made, "source"))
    assert not torch.equal(tensor(sampled(parts, apart(parts), **settings)), tensor(made))


# bad input


@pytest.mark.parametrize(
    "settings",
    [
        {"start": 0.6, "end": 0.5},
        {"start": math.nan},
        {"end": 1.5},
        {"threshold": math.nan},
        {"source_words": WORDS["source_words"]},
        {**WORDS},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(StudioError):
        look(**settings)


def test_blocks_that_the_model_lacks_are_refused(parts):
    for settings in ({"sites": (40,)}, {"map_sites": (40,)}):
        with pytest.raises(StudioError, match=f"no block 40.*from 0 to {joint(parts) - 1}"):
            sampled(parts, whole(parts, **settings))


def test_a_range_without_a_step_is_refused(parts):
    with pytest.raises(StudioError, match="less than one of its 5 steps"):
        sampled(parts, whole(parts, start=0.05, end=0.1))


def test_two_calls_of_one_step_share_their_maps():
    network, call = tiny_transformer("sd3"), call_of("sd3")
    with attached_to(network, masked(sites=(1,))) as attached:
        first = step_of(attached, network, call, STEPS[0])
        again = step_of(attached, network, call, STEPS[0].at(0.7))
        # the same tensors twice: the mean is what it was
        assert (first - again).abs().max() <= 1e-5

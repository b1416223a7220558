"""Text-localised layers: the laws of controls.md 7 (i)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from studio.controls.control import Call, Need
from studio.controls.inject_qk import InjectQK
from studio.controls.sites import words_site
from studio.controls.text_layers import TextLayers, with_pooled
from studio.errors import StudioError
from studio.models.family import Site, TokenLayout, adapter_for
from studio.models.tiny import tiny_transformer
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent
from tests.controls.attaching import FAMILIES, ROLES, STEPS, call_of, controlled, draw, run, state
from tests.controls.edit_runs import CLOSE, MODELS, NEW, OLD, Beside, joint, parts_for, sampled, tensor, text

SITE = Site("block.0.attn", 0, "joint_double", 0)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(params=MODELS)
def parts(request):
    return parts_for(request.param)


def words(parts, sites=None, **settings):
    return TextLayers(text(parts, OLD), tuple(range(joint(parts))) if sites is None else sites, **settings)


def every(network, **settings):
    count = sum(site.joint for site in adapter_for(network).sites(network))
    return TextLayers(None, tuple(range(count)), **settings)


def one_picture_two_prompts(family):
    """A call whose rows have one latent and one pooled vector, but prompts of their own."""
    call, same = call_of(family), call_of(family, same=True)
    prompts = {"encoder_hidden_states", "encoder_hidden_states_mask", "cap_feats"}
    return {name: call[name] if name in prompts else same[name] for name in call}


def test_only_the_keys_and_values_of_the_text_are_taken():
    q, k, v = (draw(3, 2, 10, 4, seed=seed) for seed in (1, 2, 3))
    layout = TokenLayout({"image": slice(0, 6), "text": slice(6, 10)}, (2, 3), ROLES, 10)
    new_q, new_k, new_v = TextLayers(None, (0,)).edit(Call(SITE, STEPS[0], layout, q, k, v))
    assert new_q is q
    for new, old in ((new_k, k), (new_v, v)):
        assert torch.equal(new[2, :, 6:], old[1, :, 6:]) and torch.equal(new[2, :, :6], old[2, :, :6])
        assert torch.equal(new[:2], old[:2])


def test_all_sites_make_the_other_prompts_picture_bit_by_bit(family):
    network, call = tiny_transformer(family), one_picture_two_prompts(family)
    made = controlled(network, call, every(network))
    assert torch.equal(made[2], made[1])
    assert torch.equal(made[:2], run(network, call)[:2])
    assert not torch.equal(made[2], run(network, call)[2])


def test_one_site_changes_the_picture_and_equal_prompts_do_not(family):
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    made = controlled(network, call, TextLayers(None, (0,)))
    assert torch.equal(made[:2], plain[:2]) and (made[2] - plain[2]).abs().max() > 1e-5
    same = call_of(family, same=True)
    assert torch.equal(controlled(network, same, every(network)), run(network, same))


def test_the_network_is_as_before(family):
    network, call = tiny_transformer(family), call_of(family)
    before = state(network)
    controlled(network, call, TextLayers(None, (0,)))
    assert state(network) == before


def test_steps_and_sites_outside_the_choice_are_left_alone():
    control = TextLayers(None, (0,), start=0.5)
    assert [control.needs(SITE, step) for step in STEPS] == [Need.NONE] * 2 + [Need.EDIT] * 2
    assert control.needs(replace(SITE, index=1), STEPS[3]) is Need.NONE
    assert words_site([SITE] * 24) == (10,) and words_site([SITE] * 7) == (3,)


# whole runs


def test_no_sites_and_an_empty_range_are_the_plain_run(parts):
    for control in (words(parts, ()), words(parts, start=0.5, end=0.5)):
        made = sampled(parts, control)
        assert set(made.latents) == {"target"} and torch.equal(tensor(made), tensor(sampled(parts)))


def test_equal_prompts_run_as_one_picture(parts):
    made = sampled(parts, words(parts), prompt=OLD)
    assert torch.equal(tensor(made), tensor(made, "source"))
    alone = sampled(parts, Beside(words(parts).branches()), prompt=OLD)
    assert torch.equal(tensor(made), tensor(alone))


def test_all_sites_with_the_other_pooled_vector_make_the_other_picture(parts):
    own, other = text(parts, NEW), text(parts, OLD)
    made = sampled(parts, words(parts), prompt=with_pooled(own, other))
    assert torch.equal(tensor(made), tensor(made, "source"))
    kept = sampled(parts, words(parts), prompt=own)
    assert (tensor(kept) - tensor(kept, "source")).abs().max() > 1e-3


def test_the_other_prompts_row_is_as_without_it(parts):
    made, alone = sampled(parts, words(parts)), sampled(parts, Beside(words(parts).branches()))
    assert torch.equal(tensor(made, "source"), tensor(alone, "source"))
    assert not torch.equal(tensor(made), tensor(alone))


def test_starting_later_keeps_more_of_the_picture(parts):
    plain = tensor(sampled(parts, Beside(words(parts).branches())))
    moved = [
        (tensor(sampled(parts, words(parts, start=start))) - plain).abs().mean() for start in (0.0, 0.4, 0.8)
    ]
    assert moved[0] > moved[1] > moved[2] > 0


def test_it_goes_with_an_edit_and_each_picture_of_a_batch_has_its_own(parts):
    controls = words(parts), InjectQK(text(parts, OLD), 0.4)
    both = sampled(parts, *controls, batch=2)
    for k in range(2):
        alone = sampled(parts, *controls, seed=3 + k)
        assert (tensor(both)[k : k + 1] - tensor(alone)).abs().max() < CLOSE


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_it_works_from_a_picture_and_without_guidance(parts, name):
    started = Latent(96, 64, 1, 5).with_tensor(draw(1, 4, 8, 12, seed=9), parts.family.name)
    settings = {"latent": started, "sigmas": from_strength(flow(6, 3.0), 0.6), "name": name, "scale": 1.0}
    own = with_pooled(text(parts, NEW), text(parts, OLD))
    made = sampled(parts, words(parts), prompt=own, **settings)
    assert torch.equal(tensor(made), tensor(made, "source"))


# bad input


def test_a_pooled_vector_that_is_not_there_is_refused(parts):
    prompt = text(parts, NEW)
    with pytest.raises(StudioError, match="no pooled vector"):
        with_pooled(prompt, replace(prompt, pooled=None))


@pytest.mark.parametrize("settings", [{"start": 0.6, "end": 0.5}, {"start": math.nan}, {"end": -1.0}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(StudioError):
        TextLayers(None, (0,), **settings)


def test_blocks_that_the_model_lacks_and_a_range_without_a_step_are_refused(parts):
    with pytest.raises(StudioError, match=f"no block 40.*from 0 to {joint(parts) - 1}"):
        sampled(parts, words(parts, (40,)))
    with pytest.raises(StudioError, match="less than one of its 5 steps"):
        sampled(parts, words(parts, start=0.85, end=0.9))

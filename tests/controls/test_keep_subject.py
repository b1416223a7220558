"""Keep the subject: the laws of controls.md 7 (d)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from studio.controls.control import Call, Need
from studio.controls.inject_qk import InjectQK
from studio.controls.keep_subject import KeepSubject, subject_tokens
from studio.controls.sites import vital_sites
from studio.errors import StudioError
from studio.models.family import Site, TokenLayout
from studio.models.tiny import tiny_transformer
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent, Mask
from tests.controls.attaching import FAMILIES, STEPS, call_of, controlled, draw, run, state
from tests.controls.edit_runs import CLOSE, MODELS, OLD, Beside, joint, parts_for, sampled, tensor, text

SITE = Site("block.0.attn", 0, "joint_double", 0)
# a reference stands before the target, as any trajectory does
ROWS = ("uncond:0", "reference:0", "target:0")
CLEAN, NOISE = draw(1, 4, 8, 8, seed=5), draw(1, 4, 8, 8, seed=6)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(params=MODELS)
def parts(request):
    return parts_for(request.param)


def part(*places, shape=(8, 8)):
    values = np.zeros(shape, np.float32)
    for row, column in places:
        values[row, column] = 1
    return Mask(values)


def keep(**settings):
    return KeepSubject(CLEAN, NOISE, None, **{"sites": (0, 1), **settings})


def kept(parts, **settings):
    given = {"picture": CLEAN, "noise": NOISE, "sites": tuple(range(joint(parts))), **settings}
    return KeepSubject(prompt=text(parts, OLD), **given)


def test_only_the_target_changes(family):
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    made = controlled(network, call, keep(), roles=ROWS)
    assert (made[:2] - plain[:2]).abs().max() <= 2e-6 and (made[2] - plain[2]).abs().max() > 1e-4
    # the text's factor alone is an edit, and exact for the others
    scaled = controlled(network, call, keep(mask=part()), roles=ROWS)
    assert torch.equal(scaled[:2], plain[:2]) and (scaled[2] - plain[2]).abs().max() > 1e-5


def test_a_subject_of_no_weight_is_not_seen(family):
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    made = controlled(network, call, keep(strength=1e-12, text_scale=1.0), roles=ROWS)
    assert (made - plain).abs().max() <= 1e-5


def test_the_network_is_as_before(family):
    network, call = tiny_transformer(family), call_of(family)
    before = state(network)
    controlled(network, call, keep(), roles=ROWS)
    assert state(network) == before


def test_the_subjects_keys_and_values_are_appended():
    q, k, v = (draw(3, 2, 28, 4, seed=seed) for seed in (1, 2, 3))
    layout = TokenLayout({"text": slice(0, 4), "image": slice(4, 28)}, (4, 6), ROWS, 28)
    call = Call(SITE, STEPS[0], layout, q, k, v)
    (found,) = keep(mask=part((0, 0), (3, 5), shape=(4, 6)), strength=0.5).extend(call)
    assert found.rows == (2,) and found.weight == 0.5
    assert torch.equal(found.k, k[1:2][:, :, [4, 27]] * 1.1) and torch.equal(found.v, v[1:2][:, :, [4, 27]])
    assert keep().extend(call)[0].k.shape[2] == 24
    new_q, new_k, new_v = keep(text_scale=1.5).edit(call)
    assert new_q is q and new_v is v
    assert torch.equal(new_k[2, :, :4], k[2, :, :4] * 1.5) and torch.equal(new_k[2, :, 4:], k[2, :, 4:])
    assert torch.equal(new_k[:2], k[:2])


@pytest.mark.parametrize("shape", [(8, 12), (5, 7), (16, 24), (3, 2)])
def test_a_mask_of_one_pixel_does_not_vanish(shape):
    for row in range(shape[0]):
        for column in range(shape[1]):
            tokens = subject_tokens(part((row, column), shape=shape), (4, 6)).reshape(4, 6)
            assert tokens.any()
            assert tokens[row * 4 // shape[0], column * 6 // shape[1]]


def test_what_is_wanted_where():
    assert keep().needs(SITE, STEPS[0]) == Need.EDIT | Need.EXTEND
    assert keep(text_scale=1.0).needs(SITE, STEPS[0]) == Need.EXTEND
    assert keep(mask=part()).needs(SITE, STEPS[0]) == Need.EDIT
    late = keep(start=0.5, end=0.75)
    assert [bool(late.needs(SITE, step)) for step in STEPS] == [False, False, True, False]
    assert not keep(sites=(1,)).needs(SITE, STEPS[0])


def test_the_published_sites_of_flux_and_their_like_elsewhere():
    assert vital_sites([SITE] * 57) == (0, 1, 2, 17, 18, 25, 28, 53, 54, 56)
    assert vital_sites([SITE] * 7) == (0, 2, 3, 6) and vital_sites([SITE]) == (0,)


# whole runs


def test_nothing_to_keep_is_the_plain_run(parts):
    plain = tensor(sampled(parts))
    for control in (
        kept(parts, mask=part(), text_scale=1.0),
        kept(parts, strength=0.0),
        kept(parts, sites=()),
        kept(parts, start=0.4, end=0.4),
    ):
        made = sampled(parts, control)
        assert set(made.latents) == {"target"} and torch.equal(tensor(made), plain)


def test_the_reference_stays_on_the_pictures_own_path(parts):
    watch, sigmas = Beside(), flow(5, 3.0)
    made = sampled(parts, kept(parts), watch, sigmas=sigmas)
    for now, sigma in zip(watch.kept, sigmas.values[1:], strict=True):
        level = torch.tensor(sigma, dtype=torch.float32)
        assert torch.equal(now["reference"], level * NOISE + (1 - level) * CLEAN)
    assert torch.equal(tensor(made, "reference"), CLEAN)


def test_a_subject_of_no_weight_is_the_run_without_it(parts):
    control = kept(parts, strength=1e-12, text_scale=1.0)
    made, alone = sampled(parts, control), sampled(parts, Beside(control.branches()))
    assert (tensor(made) - tensor(alone)).abs().max() <= 1e-5
    assert (tensor(sampled(parts, kept(parts))) - tensor(alone)).abs().max() > 1e-3


def test_the_masked_subject_and_its_strength_matter(parts):
    found = [
        tensor(sampled(parts, kept(parts, **settings)))
        for settings in ({}, {"mask": part((0, 0))}, {"mask": part((7, 7))}, {"strength": 0.3})
    ]
    for i, one in enumerate(found):
        assert all((one - other).abs().max() > 1e-4 for other in found[:i])


def test_one_reference_serves_every_picture_of_a_batch(parts):
    both = sampled(parts, kept(parts, mask=part((2, 3))), batch=2)
    for k in range(2):
        alone = sampled(parts, kept(parts, mask=part((2, 3))), seed=3 + k)
        assert (tensor(both)[k : k + 1] - tensor(alone)).abs().max() < CLOSE


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_it_works_from_a_picture_without_guidance_and_on_a_wide_canvas(parts, name):
    clean, noise = draw(1, 4, 8, 12, seed=7), draw(1, 4, 8, 12, seed=8)
    started = Latent(96, 64, 1, 5).with_tensor(draw(1, 4, 8, 12, seed=9), parts.family.name)
    settings = {"latent": started, "sigmas": from_strength(flow(6, 3.0), 0.6), "name": name, "scale": 1.0}
    control = kept(parts, picture=clean, noise=noise, mask=part((7, 11), shape=(8, 12)))
    made = sampled(parts, control, **settings)
    assert torch.equal(tensor(made, "reference"), clean)
    assert not torch.equal(tensor(made), tensor(sampled(parts, **settings)))


def test_it_goes_with_an_edit(parts):
    edit = InjectQK(text(parts, OLD), 0.4)
    made, alone = sampled(parts, edit, kept(parts)), sampled(parts, edit)
    assert set(made.latents) == {"source", "reference", "target"}
    assert (tensor(made, "source") - tensor(alone, "source")).abs().max() < CLOSE
    assert (tensor(made) - tensor(alone)).abs().max() > 1e-3


def test_a_cleaner_reference_of_one_is_the_run_as_it_was(parts):
    control = kept(parts, cleaner=1.0)
    assert control.branches()[0].level is None and not control.only_sampler
    assert [control.level(sigma) for sigma in (1.0, 0.9, 0.3, 0.0)] == [1.0, 0.9, 0.3, 0.0]
    assert torch.equal(tensor(sampled(parts, control)), tensor(sampled(parts, kept(parts))))


def test_the_square_of_the_shift_turns_mu_around():
    for shift in (1.5, 3.0):
        control = keep(cleaner=shift**2)
        turned = flow(7, 1 / shift).values
        for sigma, wanted in zip(flow(7, shift).values, turned, strict=True):
            assert abs(control.level(sigma) - wanted) < 1e-12


def test_a_cleaner_reference_walks_its_own_schedule_and_changes_the_picture(parts):
    watch, sigmas, control = Beside(), flow(5, 3.0), kept(parts, cleaner=9.0)
    made = sampled(parts, control, watch, sigmas=sigmas)
    for now, sigma in zip(watch.kept, sigmas.values[1:], strict=True):
        level = torch.tensor(control.level(sigma), dtype=torch.float32)
        assert sigma == 0 or level < sigma
        assert torch.equal(now["reference"], level * NOISE + (1 - level) * CLEAN)
    plain = sampled(parts, kept(parts), sigmas=sigmas)
    assert torch.equal(tensor(made, "reference"), CLEAN)
    assert (tensor(made) - tensor(plain)).abs().max() > 1e-4


def test_the_network_is_told_each_rows_own_level(parts):
    told = []
    hook = parts.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: told.append(kwargs["timestep"].tolist()), with_kwargs=True
    )
    try:
        sampled(parts, kept(parts, cleaner=9.0), batch=2, sigmas=flow(2, 3.0))
        sampled(parts, kept(parts), batch=2, sigmas=flow(2, 3.0))
    finally:
        hook.remove()
    unit = 1000 if parts.family.name == "sd3" else 1
    # negative and positive rows, each reference then target, two pictures; from sigma 0.75 to 0.25
    assert told[0] == pytest.approx([unit] * 8) and told[2] == pytest.approx([unit] * 8)
    assert told[1] == pytest.approx([0.25 * unit, 0.25 * unit, 0.75 * unit, 0.75 * unit] * 2)
    assert told[3] == pytest.approx([0.75 * unit] * 8)


def test_a_cleaner_reference_needs_euler(parts):
    with pytest.raises(StudioError, match="'euler' alone"):
        sampled(parts, kept(parts, cleaner=2.0), name="heun")


# bad input


@pytest.mark.parametrize(
    "settings",
    [
        {"strength": math.nan},
        {"strength": -1.0},
        {"key_scale": math.inf},
        {"text_scale": math.nan},
        {"cleaner": 0.5},
        {"cleaner": math.inf},
        {"start": 0.9, "end": 0.1},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(StudioError):
        keep(**settings)


def test_a_reference_of_another_size_is_refused(parts):
    with pytest.raises(StudioError, match="reference"):
        kept(parts, picture=CLEAN, noise=NOISE[..., :4])
    with pytest.raises(StudioError, match="same size as the canvas"):
        sampled(parts, kept(parts), size=(96, 64))


def test_blocks_that_the_model_lacks_and_a_range_without_a_step_are_refused(parts):
    with pytest.raises(StudioError, match=f"no block 40.*from 0 to {joint(parts) - 1}"):
        sampled(parts, kept(parts, sites=(40,)))
    with pytest.raises(StudioError, match="less than one of its 5 steps"):
        sampled(parts, kept(parts, end=0.1))

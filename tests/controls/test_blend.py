"""Local blend: where the words lie, and what is put back (controls.md 7 (a), step 2)."""

from __future__ import annotations

import math

import pytest
import torch

from studio.controls.blend import Blend, token_grid, word_area
from studio.controls.control import Need
from studio.controls.inject_qk import InjectQK
from studio.controls.sites import map_sites
from studio.errors import StudioError
from studio.models.family import Site
from studio.models.tiny import tiny_transformer
from studio.models.words import find_words
from studio.sampling.guidance.cfg_zero import cfg_zero
from studio.sampling.loop import sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent, Step, TokenSpan
from tests.controls.attaching import FAMILIES, STEPS, attached_to, call_of, controlled, draw, run, step_of
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

WORD = TokenSpan("star", (2, 3))
OTHER = TokenSpan("heart", (4,))
LAST = Step(3, 4, 0.25, 0.0)


@pytest.fixture(params=MODELS)
def parts(request):
    return parts_for(request.param)


def blend(parts, **settings):
    words = find_words(parts, OLD, "star"), find_words(parts, NEW, "heart")
    given = {"sites": tuple(range(joint(parts))), "eta": 1.0, **settings}
    return Blend(text(parts, OLD), (words[0],), (words[1],), **given)


def bare(**settings):
    given = {"source_words": (WORD,), "target_words": (OTHER,), "sites": (0,), "eta": 1.0, **settings}
    return Blend(None, **given)


def peak(grid, row, column, height=1.0):
    """A map with one token high: batch 1, image token, 1."""
    made = torch.zeros(1, *grid, 1)
    made[0, row, column] = height
    return made.reshape(1, -1, 1)


# the area


def test_the_area_is_the_smoothed_map_above_a_part_of_its_maximum():
    area = word_area(peak((8, 12), 3, 4), (8, 12), 0.3, False)
    distance = torch.tensor([[math.hypot(r - 3, c - 4) for c in range(12)] for r in range(8)])
    # a Gaussian of sigma 1 falls to 0.61 at 1, 0.37 at sqrt(2), 0.14 at 2
    assert torch.equal(area[0, 0], distance <= 1.5)
    assert torch.equal(word_area(peak((8, 12), 3, 4), (8, 12), 0.1, False)[0, 0], distance <= 2.1)


def test_the_area_does_not_depend_on_how_strong_a_map_is():
    weak, strong = (word_area(peak((6, 6), 2, 2, height), (6, 6), 0.3, False) for height in (1e-6, 0.9))
    assert torch.equal(weak, strong)


def test_beyond_the_border_there_is_nothing():
    # with zeros outside, a flat map is lower at its border
    area = word_area(torch.ones(1, 100, 1), (10, 10), 0.9, False)[0, 0]
    assert area[3:7, 3:7].all() and not area[0].any() and not area[:, -1].any()


def test_a_token_covers_its_patch_of_the_latent():
    area = word_area(peak((4, 6), 1, 2), (8, 12), 0.9, False)[0, 0]
    expected = torch.zeros(8, 12, dtype=torch.bool)
    expected[2:4, 4:6] = True
    assert torch.equal(area, expected)


def test_widening_takes_in_the_neighbours():
    narrow, wide = (word_area(peak((9, 9), 4, 4), (9, 9), 0.9, pool)[0, 0] for pool in (False, True))
    assert narrow.sum() == 1 and wide.sum() == 9 and wide[3:6, 3:6].all()


def test_each_word_and_each_picture_has_a_map_of_its_own():
    first, second = peak((6, 8), 1, 1), peak((6, 8), 4, 6, 1e-3)
    two_words = word_area(torch.cat([first, second], -1), (6, 8), 0.9, False)
    assert two_words.shape == (1, 1, 6, 8) and two_words.sum() == 2
    two_pictures = word_area(torch.cat([first, second]), (6, 8), 0.9, False)
    assert two_pictures[0, 0, 1, 1] and two_pictures[1, 0, 4, 6] and two_pictures.sum() == 2


def test_a_threshold_of_1_leaves_nothing_and_below_0_everything():
    maps = draw(2, 48, 1, seed=1).abs()
    assert not word_area(maps, (6, 8), 1.0, False).any()
    assert word_area(maps, (6, 8), -0.1, False).all()
    assert not word_area(torch.zeros(1, 48, 1), (6, 8), 0.3, False).any()


def test_the_grid_follows_the_shape_of_the_latent():
    assert token_grid(24, (8, 12)) == (4, 6) and token_grid(96, (8, 12)) == (8, 12)
    with pytest.raises(StudioError, match="do not cover"):
        token_grid(25, (8, 12))


# the step


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 4, 8, 12)])
def test_outside_the_words_the_target_becomes_the_source(shape):
    source, target = draw(*shape, seed=1), draw(*shape, seed=2)
    grid = shape[2] // 2, shape[3] // 2
    maps = FakeMaps(
        source=torch.cat([peak(grid, 0, 0), peak(grid, 2, 2)]),
        target=torch.cat([peak(grid, 3, 3), peak(grid, 2, 2)]),
    )
    changed = bare(threshold=0.9).step_end({"source": source, "target": target}, LAST, maps)
    assert set(changed) == {"target"}
    inside = changed["target"] == target
    assert torch.equal(changed["target"][~inside], source[~inside])
    # the union of both maps, picture by picture
    assert inside[0, :, :2, :2].all() and inside[0, :, 6:8, 6:8].all() and inside[0].sum() == 8 * shape[1]
    assert inside[1, :, 4:6, 4:6].all() and inside[1].sum() == 4 * shape[1]


def test_steps_after_eta_are_left_alone():
    latents = {"source": draw(1, 4, 8, 8, seed=1), "target": draw(1, 4, 8, 8, seed=2)}
    control = bare(eta=0.5)
    maps = FakeMaps(source=peak((4, 4), 0, 0), target=peak((4, 4), 0, 0))
    site = Site("b", 0, "joint_double", 0)
    assert control.step_end(latents, STEPS[1], maps) and not control.step_end(latents, STEPS[2], maps)
    assert control.needs(site, STEPS[1]) is Need.PROBE and control.needs(site, STEPS[2]) is Need.NONE
    assert control.needs(Site("c", 1, "joint_double", 1), STEPS[1]) is Need.NONE


def test_a_word_that_only_one_prompt_has_is_enough():
    latents = {"source": draw(1, 4, 8, 8, seed=1), "target": draw(1, 4, 8, 8, seed=2)}
    maps = FakeMaps(target=peak((4, 4), 1, 1))
    changed = bare(source_words=(), threshold=0.9).step_end(latents, LAST, maps)["target"]
    assert (changed == latents["target"]).sum() == 16


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_are_those_of_the_own_tokens_before_any_edit(family):
    network, call = tiny_transformer(family), call_of(family)
    found = []
    for controls in ((bare(),), (bare(), InjectQK(None, 1.0))):
        with attached_to(network, *controls) as attached:
            step_of(attached, network, call)
            found.append((attached.maps.mean("blend", "source"), attached.maps.mean("blend/1", "target")))
    for alone, beside in zip(*found, strict=True):
        assert alone.shape[0] == 1 and alone.shape[2] == 1
        # at the first site nothing else has changed yet
        assert torch.equal(alone, beside)
        assert alone.min() > 0 and alone.max() < 1


def test_looking_changes_nothing():
    network, call = tiny_transformer("sd3"), call_of("sd3")
    assert torch.equal(controlled(network, call, bare()), run(network, call))


# whole runs


def test_an_empty_area_gives_the_source_and_a_full_one_the_target(parts):
    edit = InjectQK(text(parts, OLD), 0.4)
    edited = sampled(parts, edit)
    empty = sampled(parts, edit, blend(parts, threshold=1.0))
    assert torch.equal(tensor(empty), tensor(empty, "source"))
    assert torch.equal(tensor(empty, "source"), tensor(edited, "source"))
    full = sampled(parts, edit, blend(parts, threshold=-0.1))
    assert torch.equal(tensor(full), tensor(edited))
    assert torch.equal(tensor(sampled(parts, edit, blend(parts, eta=0.0))), tensor(edited))


@pytest.mark.parametrize("pool", [False, True])
def test_to_the_last_step_the_rest_of_the_picture_is_the_source_bit_by_bit(parts, pool):
    controls = InjectQK(text(parts, OLD), 0.4), blend(parts, threshold=0.99, max_pool=pool)
    made = sampled(parts, *controls, size=(128, 128))
    same = (tensor(made) == tensor(made, "source")).all(1)
    assert same.any() and not same.all()


def test_blending_without_an_edit_brings_its_source_along(parts):
    control = blend(parts, threshold=0.9)
    made, alone = sampled(parts, control), sampled(parts, Beside(control.branches()))
    assert torch.equal(tensor(made, "source"), tensor(alone, "source"))
    assert not torch.equal(tensor(made), tensor(alone))


def test_each_picture_of_a_batch_has_its_own_area(parts):
    controls = InjectQK(text(parts, OLD), 0.4), blend(parts, threshold=0.9, eta=0.6)
    both = sampled(parts, *controls, batch=2, size=(96, 64))
    areas = []
    for k in range(2):
        alone = sampled(parts, *controls, seed=3 + k, size=(96, 64))
        assert (tensor(both)[k : k + 1] - tensor(alone)).abs().max() < CLOSE
        full = sampled(parts, *controls[:1], blend(parts, threshold=0.9), seed=3 + k, size=(96, 64))
        areas.append((tensor(full) != tensor(full, "source")).any(1))
    assert not torch.equal(*areas)


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_it_works_from_a_picture(parts, name):
    started = Latent(64, 64, 1, 5).with_tensor(draw(1, 4, 8, 8, seed=9), parts.family.name)
    settings = {"latent": started, "sigmas": from_strength(flow(6, 3.0), 0.6), "name": name}
    made = sampled(parts, InjectQK(text(parts, OLD), 0.5), blend(parts, threshold=1.0), **settings)
    assert torch.equal(tensor(made), tensor(made, "source"))


@pytest.mark.parametrize("zero", [1, 2])
def test_steps_without_the_network_are_left_alone(parts, zero):
    edit, steps, latent = InjectQK(text(parts, OLD), 0.6), flow(5, 3.0), Latent(64, 64, 1, 3)

    def made(*controls):
        prompts = text(parts, NEW), text(parts, "")
        rule = cfg_zero(3.0, zero_steps=zero)
        return sample_run(parts, *prompts, latent, steps, sampler("euler"), rule, attachments=controls)

    blended = made(edit, blend(parts, threshold=1.0))
    assert torch.equal(tensor(blended), tensor(blended, "source"))
    edited = made(edit)
    assert torch.equal(tensor(edited, "source"), tensor(blended, "source"))
    assert not torch.equal(tensor(edited), tensor(edited, "source"))


# blocks


def sites(double, single=0, extra=0):
    made = [Site(f"d{i}", i, "joint_double", i) for i in range(double)]
    made += [Site(f"s{i}", double + i, "joint_single", i) for i in range(single)]
    return made + [Site(f"x{i}", -1, "image_self", i) for i in range(extra)]


def test_known_networks_have_the_published_blocks_and_others_the_middle_third():
    assert map_sites(sites(19, 38)) == (18, 17, 12, 14, 11)
    assert map_sites(sites(24)) == (7, 8, 5, 4, 9)
    assert map_sites(sites(24, extra=13)) == (4, 5)
    assert map_sites(sites(38)) == (18, 21, 20, 24, 16)
    assert map_sites(sites(9)) == (3, 4, 5) and map_sites(sites(7)) == (2, 3, 4)
    assert map_sites(sites(2)) == (0, 1) and map_sites(sites(1)) == (0,)


# bad input


@pytest.mark.parametrize(
    "settings",
    [
        {"eta": math.nan},
        {"eta": 1.2},
        {"threshold": math.nan},
        {"threshold": 7},
        {"source_words": (), "target_words": ()},
        {"sites": ()},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(StudioError):
        bare(**settings)


def test_blocks_that_the_model_lacks_and_an_eta_without_a_step_are_refused(parts):
    with pytest.raises(StudioError, match=f"no block 9.*from 0 to {joint(parts) - 1}"):
        sampled(parts, blend(parts, sites=(9,)))
    with pytest.raises(StudioError, match=r"eta from 0 to 0\.1"):
        sampled(parts, blend(parts, eta=0.1))

"""Strength and base ratio of regions count at every step, within the borders and after them: towards nothing
they lead to the plain picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from studio.controls.inject_qk import InjectQK
from studio.controls.region_maps import RegionMaps
from studio.controls.region_texts import make_regional
from studio.controls.regional import MODES, Regional, RegionText
from studio.models.words import segment_conditioning
from studio.nodes.see import region_words
from studio.values import Layout, Region
from tests.controls.attaching import GRID, call_of, controlled, run
from tests.controls.edit_runs import MODELS, parts_for, text
from tests.controls.region_help import (
    LEFT,
    NETWORKS,
    RIGHT,
    ROWS,
    family_of,
    image_tokens,
    network_of,
    regional,
    sampled,
    tensor,
)

# a part of the canvas is in no region, and its tokens have borders too
NARROW = replace(RIGHT, box=(0.5, 0.0, 0.75, 1.0))


def made(parts, *regions: Region, edited: Layout | None = None, **settings) -> Regional:
    return make_regional(
        Layout("a red star", regions),
        lambda said: segment_conditioning(parts, said),
        edited=edited,
        **settings,
    )


def away(parts, *regions: Region, **settings) -> float:
    """How far a run with guidance is from the plain one."""
    plain = tensor(sampled(parts, negative="blurred"))
    return float(
        (tensor(sampled(parts, made(parts, *regions, **settings), negative="blurred")) - plain).abs().max()
    )


@pytest.mark.parametrize("borders", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("mode", ["open", "strict"])
@pytest.mark.parametrize("ref", MODELS)
def test_strength_goes_to_the_plain_picture(ref: str, mode: str, borders: float) -> None:
    parts, settings = parts_for(ref), {"mode": mode, "base_ratio": 0.0, "borders": borders}
    found = []
    for strength in (1.0, 0.1, 0.001):
        regions = [replace(region, strength=strength) for region in (LEFT, NARROW)]
        found.append(away(parts, *regions, **settings))
    assert found[1] < found[0] / 3 and found[2] < found[0] / 100


@pytest.mark.parametrize("borders", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("ref", MODELS)
def test_base_ratio_goes_to_the_plain_picture(ref: str, borders: float) -> None:
    parts = parts_for(ref)
    found = [
        away(parts, LEFT, NARROW, mode="strict", base_ratio=ratio, borders=borders)
        for ratio in (0.0, 0.9, 0.999)
    ]
    assert found[1] < found[0] / 3 and found[2] < found[0] / 100


@pytest.mark.parametrize("mode", ["open", "strict"])
@pytest.mark.parametrize("name", NETWORKS)
def test_in_one_call_of_every_network(name: str, mode: str) -> None:
    network, call = network_of(name), call_of(family_of(name), len(ROWS), grid=GRID)
    plain = image_tokens(family_of(name), run(network, call))
    far = []
    for strength in (1.0, 1e-4):
        regions = [replace(region, strength=strength) for region in (LEFT, NARROW)]
        control = regional(1, 2, regions=regions, mode=mode, base_ratio=0.0)
        answer = image_tokens(family_of(name), controlled(network, call, control, roles=ROWS))
        far.append(float((answer - plain).abs().max()))
    assert far[1] < far[0] / 100


def test_one_weak_region_leaves_the_strong_one_apart() -> None:
    network, call = network_of("sd3"), call_of("sd3", len(ROWS), grid=GRID)
    half = GRID[1] // 2

    def answer(seed: int) -> torch.Tensor:
        regions = (LEFT, replace(RIGHT, strength=0.3))
        control = regional(1, seed, regions=regions, mode="strict", base_ratio=0.0)
        return image_tokens("sd3", controlled(network, call, control, roles=ROWS))

    one, other = answer(2), answer(3)
    assert torch.equal(one[:, :, :half], other[:, :, :half])
    assert not torch.equal(one[2:, :, half:], other[2:, :, half:])


@pytest.mark.parametrize("mode", MODES)
def test_weak_regions_are_watched_and_the_run_stays_as_it_is(mode: str) -> None:
    parts = parts_for("tiny:sd3")
    control = made(parts, replace(LEFT, strength=0.4), RIGHT, mode=mode, borders=0.6)
    looked = sampled(parts, control, RegionMaps(control, tuple(region_words(parts, control)), every=True))
    assert torch.equal(tensor(looked), tensor(sampled(parts, control)))
    strong = made(parts, LEFT, RIGHT, mode=mode, borders=0.6)
    other = sampled(parts, strong, RegionMaps(strong, tuple(region_words(parts, strong)), every=True))
    for weak, full in zip(looked.seen.maps, other.seen.maps, strict=True):
        if weak.step == 0:
            assert weak.values[..., 0].mean() < 0.8 * full.values[..., 0].mean()


# an edit's other words


@pytest.mark.parametrize("ref", MODELS)
@pytest.mark.parametrize("mode", ["open", "strict"])
def test_an_emptied_prompt_says_nothing_to_the_edited_picture(ref: str, mode: str) -> None:
    parts = parts_for(ref)
    edit = InjectQK(text(parts, "a red star"), 0.4)
    settings = {"mode": mode, "borders": 0.6}
    told = made(parts, LEFT, RIGHT, **settings)
    emptied = Layout("a red star", (LEFT, replace(RIGHT, prompt="  ")))
    silent = made(parts, LEFT, RIGHT, edited=emptied, **settings)
    runs = [sampled(parts, edit, control) for control in (told, silent)]
    assert torch.equal(runs[0].latents["source"].tensor, runs[1].latents["source"].tensor)
    assert not torch.equal(tensor(runs[0]), tensor(runs[1]))
    # to the edited picture it is a layout without that region
    gone = made(parts, LEFT, **settings)
    alone = tensor(sampled(parts, edit, gone))
    assert (tensor(runs[1]) - alone).abs().max() < (tensor(runs[0]) - alone).abs().max()
    nothing = Layout("a red star", (replace(LEFT, prompt=""), replace(RIGHT, prompt="")))
    all_gone = sampled(parts, edit, made(parts, LEFT, RIGHT, edited=nothing, **settings))
    assert torch.equal(all_gone.latents["source"].tensor, runs[0].latents["source"].tensor)
    assert not torch.equal(tensor(all_gone), tensor(runs[1]))


def test_an_emptied_region_is_kept_and_others_keep_their_words() -> None:
    parts = parts_for("tiny:sd3")
    edited = Layout("a red star", (LEFT, replace(RIGHT, prompt="")))
    first, second = made(parts, LEFT, RIGHT, edited=edited).regions
    assert (first.emptied, first.edited, second.emptied, second.edited) == (False, None, True, None)
    assert not RegionText(LEFT, None).emptied
    # a prompt that was empty before is not emptied, and one that stays away keeps its words
    silent = replace(LEFT, prompt="")
    assert not made(parts, silent, edited=Layout("x", (silent,))).regions[0].emptied
    assert not made(parts, LEFT, edited=Layout("x", ())).regions[0].emptied

"""Borders of strict regions in the rows of the negative prompt: with guidance too, nothing crosses them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from studio.controls.regional import Regional, RegionText
from studio.models.words import segment_conditioning
from studio.values import Region
from tests.controls.attaching import GRID, call_of, controlled, draw
from tests.controls.edit_runs import MODELS, parts_for
from tests.controls.region_help import (
    LEFT,
    NETWORKS,
    RIGHT,
    ROWS,
    Forced,
    family_of,
    image_tokens,
    network_of,
    regional,
    said,
    sampled,
    tensor,
)

HALF = GRID[1] // 2
STRICT = {"mode": "strict", "base_ratio": 0.0}
every_network = pytest.mark.parametrize("name", NETWORKS)


def moved(name: str, control: Regional) -> tuple[torch.Tensor, torch.Tensor]:
    """The answers to two pictures that differ in their right halves: row, grid row, grid column, channel."""
    network, family = network_of(name), family_of(name)
    call = call_of(family, len(ROWS), grid=GRID)
    found = []
    for seed in (None, 9):
        key = "x" if family == "z_image" else "hidden_states"
        latent = torch.stack(call["x"]) if family == "z_image" else call[key].clone()
        if seed is not None and latent.dim() == 3:
            tokens = latent.unflatten(1, GRID)
            tokens[:, :, HALF:] = draw(*tokens[:, :, HALF:].shape, seed=seed)
        elif seed is not None:
            width = latent.shape[-1] // 2
            latent[..., width:] = draw(*latent[..., width:].shape, seed=seed)
        changed = {**call, key: list(latent) if family == "z_image" else latent}
        found.append(image_tokens(family, controlled(network, changed, control, roles=ROWS)))
    return found[0], found[1]


def runs(parts, second: str, **settings) -> torch.Tensor:
    """The latent of a run with guidance whose right half asks for `second`."""
    regions = (LEFT, replace(RIGHT, prompt=second))
    texts = tuple(RegionText(r, segment_conditioning(parts, r.prompt)) for r in regions)
    control = Regional("a red star", texts, **settings)
    return tensor(sampled(parts, control, scale=3.0, negative="blurred", size=(96, 96)))


@every_network
def test_another_picture_beyond_the_border_leaves_every_row_bit_equal(name: str) -> None:
    one, other = moved(name, regional(1, 2, **STRICT))
    assert torch.equal(one[:, :, :HALF], other[:, :, :HALF])
    assert not torch.equal(one[:, :, HALF:], other[:, :, HALF:])
    for looser in (regional(1, 2, mode="strict", base_ratio=0.3), regional(1, 2)):
        one, other = moved(name, looser)
        assert not torch.equal(one[:2, :, :HALF], other[:2, :, :HALF])


@every_network
def test_open_regions_and_one_region_over_everything_leave_the_negative_rows(name: str) -> None:
    network, call = network_of(name), call_of(family_of(name), len(ROWS), grid=GRID)
    whole = replace(LEFT, box=(0.0, 0.0, 1.0, 1.0))
    # an open region of the same tokens: kernels of one length of the sequence
    plain = controlled(network, call, regional(1, regions=(whole,)), roles=ROWS)[:2]
    strict = controlled(network, call, regional(1, regions=(whole,), **STRICT), roles=ROWS)[:2]
    assert torch.equal(plain, strict)


@pytest.mark.parametrize("ref", MODELS)
def test_a_whole_run_with_guidance_keeps_the_other_half_bit_equal(ref: str) -> None:
    parts = parts_for(ref)
    one, other = runs(parts, "a blue ring", **STRICT), runs(parts, "a green boat", **STRICT)
    half = one.shape[-1] // 2
    assert torch.equal(one[..., :half], other[..., :half])
    assert not torch.equal(one[..., half:], other[..., half:])
    one, other = (runs(parts, text, mode="open") for text in ("a blue ring", "a green boat"))
    assert not torch.equal(one[..., :half], other[..., :half])


@every_network
def test_what_a_strict_region_avoids_stays_with_it(name: str) -> None:
    network, call = network_of(name), call_of(family_of(name), len(ROWS), grid=GRID)

    def answer(seed: int) -> torch.Tensor:
        texts = (RegionText(LEFT, said(1)), RegionText(RIGHT, said(2), said(seed)))
        control = Regional("the whole", texts, mode="strict", base_ratio=0.0)
        return image_tokens(family_of(name), controlled(network, call, control, roles=ROWS))

    one, other = answer(7), answer(8)
    assert torch.equal(one[:, :, :HALF], other[:, :, :HALF])
    assert not torch.equal(one[:2, :, HALF:], other[:2, :, HALF:])
    assert torch.equal(one[2:], other[2:])


@every_network
def test_all_of_the_base_leaves_the_negative_rows_as_they_are(name: str) -> None:
    network, call = network_of(name), call_of(family_of(name), len(ROWS), grid=GRID)
    texts = (RegionText(LEFT, said(1)), RegionText(RIGHT, said(2)))
    open_ones = controlled(network, call, Forced("the whole", texts), roles=ROWS)[:2]
    made = controlled(network, call, Forced("the whole", texts, mode="strict", base_ratio=1.0), roles=ROWS)
    assert torch.allclose(made[:2], open_ones, atol=1e-5, rtol=0)


def test_the_rows_of_the_edited_picture_have_its_regions_borders() -> None:
    roles = ("source.uncond:0", "target.uncond:0", "source:0", "target:0")
    network, call = network_of("sd3"), call_of("sd3", len(roles), grid=GRID)
    texts = (RegionText(LEFT, said(1)), RegionText(RIGHT, None, edited=said(4)))
    found = []
    for seed in (None, 9):
        latent = call["hidden_states"].clone()
        if seed is not None:
            latent[..., 6:] = draw(*latent[..., 6:].shape, seed=seed)
        control = Regional("the whole", texts, mode="strict", base_ratio=0.0)
        answer = controlled(network, {**call, "hidden_states": latent}, control, roles=roles)
        found.append(image_tokens("sd3", answer))
    assert torch.equal(found[0][:, :, :HALF], found[1][:, :, :HALF])


def test_a_region_that_only_avoids_has_no_border() -> None:
    lonely = Region("all", "", (0.0, 0.0, 0.5, 1.0))
    control = Regional("the whole", (RegionText(lonely, None, said(3)),), mode="strict", base_ratio=0.0)
    one, other = moved("sd3", control)
    assert not torch.equal(one[:2, :, :HALF], other[:2, :, :HALF])

"""NASA: the formula, that it is not neutral, and its warning."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from studio.controls.nasa import WARNING, Nasa
from studio.controls.negative import Nag
from studio.errors import StudioError
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.words import segment_conditioning
from tests.controls.region_help import LEFT, RIGHT, prompt, regional, said, sampled, tensor


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def parts(request):
    store = ModelStore(device="cpu")
    yield parts_of(store.load(request.param))
    store.close()


def test_equal_answers_are_scaled_by_one_minus_alpha() -> None:
    same = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(Nasa(said(1), alpha=0.25).mixed(same, same), same * 0.75)


def test_avoiding_the_prompt_itself_is_not_neutral(parts) -> None:
    same = prompt(parts, "a red star")
    plain = tensor(sampled(parts))
    assert not torch.allclose(tensor(sampled(parts, Nasa(same, alpha=0.25))), plain, atol=1e-3)


def test_nothing_to_avoid_and_an_alpha_of_nothing_are_dropped_bit_for_bit(parts) -> None:
    plain = tensor(sampled(parts))
    avoid = segment_conditioning(parts, "a blue ring")
    for control in (Nasa(None), Nasa(avoid, alpha=0.0), Nasa(avoid, end=0.0)):
        assert control.is_neutral() and torch.equal(tensor(sampled(parts, control)), plain)
    assert not torch.equal(tensor(sampled(parts, Nasa(avoid))), plain)


def test_over_regions_and_with_guidance(parts) -> None:
    run = sampled(parts, Nasa(said_of(parts)), regions_of(parts), batch=2)
    assert torch.isfinite(tensor(run)).all() and run.report["forwards"] == 4


def test_nag_beside_it_is_refused(parts) -> None:
    with pytest.raises(StudioError, match=r"NAG.*NASA|NASA.*NAG"):
        sampled(parts, Nasa(said_of(parts)), Nag(said_of(parts)))


def test_an_alpha_out_of_range_is_refused_and_the_warning_names_the_better_way() -> None:
    with pytest.raises(StudioError, match="alpha is 2"):
        Nasa(said(1), alpha=2.0)
    assert "NAG" in WARNING and "grey" in WARNING


def said_of(parts):
    return segment_conditioning(parts, "a blue ring")


def regions_of(parts):
    made = regional(1, 2)
    texts = (segment_conditioning(parts, r.prompt) for r in (LEFT, RIGHT))
    regions = tuple(replace(r, prompt=text) for r, text in zip(made.regions, texts, strict=True))
    return replace(made, base="a red star", regions=regions)

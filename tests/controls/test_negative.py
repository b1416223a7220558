"""The laws of NAG (controls.md 7 (h)), on every family."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch

from studio.controls.inject_qk import InjectQK
from studio.controls.negative import Nag
from studio.errors import StudioError
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.words import segment_conditioning
from studio.values import Region
from tests.controls.attaching import GRID, STEPS, call_of, controlled, state
from tests.controls.region_help import (
    LEFT,
    NETWORKS,
    RIGHT,
    ROWS,
    Watch,
    family_of,
    image_tokens,
    network_of,
    prompt,
    regional,
    said,
    sampled,
    tensor,
)

HALF = GRID[1] // 2
every_network = pytest.mark.parametrize("name", NETWORKS)


@dataclass(frozen=True)
class Forced(Nag):
    """NAG that is never left out, and keeps what it mixes: (positive, negative) of each site."""

    seen: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list, compare=False)

    def is_neutral(self) -> bool:
        return False

    def mixed(self, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        self.seen.append((positive.clone(), negative.clone()))
        return super().mixed(positive, negative)


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def parts(request):
    store = ModelStore(device="cpu")
    yield parts_of(store.load(request.param))
    store.close()


def answers(name, *controls, roles=ROWS):
    network = network_of(name)
    call = call_of(family_of(name), len(roles), grid=GRID)
    return image_tokens(family_of(name), controlled(network, call, *controls, roles=roles))


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_formula_token_by_token(norm: str, dtype: torch.dtype) -> None:
    positive = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(1))
    negative = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(2))
    control = Nag(said(1), scale=5.0, tau=1.5, alpha=0.3, norm=norm)
    found = control.mixed(positive.to(dtype), negative.to(dtype))
    assert found.dtype == dtype
    power = 1 if norm == "l1" else 2
    cut = []
    for row in range(2):
        for token in range(5):
            plus, minus = positive[row, :, token].reshape(-1), negative[row, :, token].reshape(-1)
            pushed = 5.0 * plus - 4.0 * minus
            ratio = float(pushed.norm(power) / plus.norm(power))
            pushed = pushed * min(ratio, 1.5) / ratio
            wanted = 0.3 * pushed + 0.7 * plus
            close = 1e-5 if dtype == torch.float32 else 0.05
            assert torch.allclose(found[row, :, token].reshape(-1).float(), wanted, atol=close, rtol=close)
            cut.append(ratio > 1.5)
    assert any(cut)


def test_below_tau_nothing_is_cut() -> None:
    positive, negative = torch.ones(1, 1, 1, 4), torch.full((1, 1, 1, 4), 0.9)
    found = Nag(said(1), scale=5.0, tau=2.5, alpha=1.0).mixed(positive, negative)
    assert torch.allclose(found, torch.full((1, 1, 1, 4), 1.4))
    found = Nag(said(1), scale=30.0, tau=2.5, alpha=1.0).mixed(positive, negative)
    assert torch.allclose(found, torch.full((1, 1, 1, 4), 2.5))


def test_nothing_to_avoid_and_settings_of_nothing_are_dropped_bit_for_bit(parts) -> None:
    plain = tensor(sampled(parts))
    avoid = segment_conditioning(parts, "a blue ring")
    for control in (
        Nag(None),
        Nag(segment_conditioning(parts, "")),
        Nag(avoid, scale=1.0),
        Nag(avoid, alpha=0.0),
        Nag(avoid, end=0.0),
        Nag(None, ((replace(LEFT, strength=0.0), avoid),)),
    ):
        assert control.is_neutral()
        assert torch.equal(tensor(sampled(parts, control)), plain)
    assert not torch.equal(tensor(sampled(parts, Nag(avoid))), plain)


@every_network
def test_on_the_general_path_a_scale_of_one_gives_the_plain_answer(name: str) -> None:
    plain = answers(name)
    for control in (Forced(said(1), scale=1.0), Forced(said(1), alpha=0.0)):
        assert torch.allclose(answers(name, control), plain, atol=1e-5)


@every_network
@pytest.mark.parametrize("mode", ["open", "strict"])
def test_around_regions_a_scale_of_one_gives_exactly_the_regions(name: str, mode: str) -> None:
    # a control of the same length keeps the shapes equal
    neutral = Forced(said(5), scale=1.0)
    regions = regional(1, 2, mode=mode)
    both = answers(name, regions, neutral)
    assert torch.equal(both, answers(name, regions, Forced(said(6), scale=1.0)))
    for positive, _ in neutral.seen:
        assert torch.equal(Nag.mixed(neutral, positive, positive * 2), positive)
    assert torch.allclose(both, answers(name, regions), atol=1e-5)


def test_avoiding_the_prompt_itself_changes_nothing_but_rounding(parts) -> None:
    same = prompt(parts, "a red star")
    found = tensor(sampled(parts, Nag(same)))
    assert torch.allclose(found, tensor(sampled(parts)), atol=1e-5, rtol=0)
    watched = Forced(same)
    sampled(parts, watched)
    positive, negative = watched.seen[0]
    assert torch.allclose(positive, negative, atol=1e-6)


@every_network
def test_rows_of_a_negative_prompt_are_left_alone(name: str) -> None:
    one, other = (answers(name, Nag(said(seed))) for seed in (1, 2))
    assert torch.equal(one[:2], other[:2])
    assert not torch.equal(one[2:], other[2:])


@every_network
def test_only_image_tokens_change_at_a_site(name: str) -> None:
    watches = [Watch(), Watch()]
    answers(name, Nag(said(1)), watches[0])
    answers(name, Forced(said(1), scale=1.0), watches[1])
    (image, text), (plain, plain_text) = (watch.found[0] for watch in watches)
    assert not torch.equal(image[2:], plain[2:])
    if text is not None and plain_text is not None:
        base = slice(0, 7) if name != "z_image" else slice(0, 32)
        assert torch.equal(text[:, base], plain_text[:, base])


@every_network
@pytest.mark.parametrize("mode", ["open", "strict"])
def test_the_negative_text_never_hears_of_the_regions(name: str, mode: str) -> None:
    """Its pass has keys of its own and no border: with other region texts it is the same, bit for bit."""
    one, other = Forced(said(5)), Forced(said(5))
    answers(name, regional(1, 2, mode=mode), one)
    answers(name, regional(3, 4, mode=mode), other)
    assert torch.equal(one.seen[0][1], other.seen[0][1])
    assert not torch.equal(one.seen[0][0], other.seen[0][0])


@every_network
def test_what_a_region_avoids_stays_at_its_place(name: str) -> None:
    watches = []
    for seed in (5, 6):
        watch = Watch()
        answers(name, Nag(None, ((LEFT, said(seed)),)), watch)
        watches.append(watch.tokens())
    assert torch.equal(watches[0][:, :, HALF:], watches[1][:, :, HALF:])
    assert not torch.equal(watches[0][2:, :, :HALF], watches[1][2:, :, :HALF])
    # and where nobody avoids anything, nothing is pushed
    plain = Watch()
    answers(name, Forced(None, ((LEFT, said(5)),), scale=1.0), plain)
    assert torch.equal(watches[0][:, :, HALF:], plain.tokens()[:, :, HALF:])


def test_regions_that_avoid_come_and_go(parts) -> None:
    avoid = segment_conditioning(parts, "a blue ring")
    early: Region = replace(LEFT, end=0.5)
    control = Nag(avoid, ((early, avoid), (replace(RIGHT, start=0.5), avoid)), end=0.75)
    names = [[segment.name for segment in control.segments(step)] for step in STEPS]
    assert names == [
        ["nag.avoid", "nag.avoid.0"],
        ["nag.avoid", "nag.avoid.0"],
        ["nag.avoid", "nag.avoid.1"],
        [],
    ]
    assert sampled(parts, control).report["controls"][0]["steps"] == 3


def test_there_is_no_second_pass_of_the_network(parts) -> None:
    calls: list[int] = []
    handle = parts.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(kwargs["hidden_states"].shape[0]), with_kwargs=True
    )
    try:
        run = sampled(parts, Nag(segment_conditioning(parts, "a blue ring")), scale=1.0, batch=2)
    finally:
        handle.remove()
    assert calls == [2, 2, 2, 2] and run.report["forwards"] == 4


def test_beside_guidance_an_edit_and_a_batch(parts) -> None:
    avoid = Nag(segment_conditioning(parts, "a blue ring"))
    both = tensor(sampled(parts, avoid, batch=2, seed=5))
    for k in (0, 1):
        alone = tensor(sampled(parts, avoid, seed=5 + k))
        assert torch.allclose(both[k : k + 1], alone, atol=1e-5, rtol=0)
    run = sampled(parts, avoid, InjectQK(prompt(parts, "a red star"), 1.0))
    assert torch.equal(run.latents["source"].tensor, tensor(run))


@every_network
def test_the_network_is_as_it_was_afterwards(name: str) -> None:
    network = network_of(name)
    before = state(network)
    controlled(network, call_of(family_of(name), len(ROWS), grid=GRID), Nag(said(1)), roles=ROWS)
    assert state(network) == before


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"scale": 0.5}, "scale is 0.5"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"tau": 0.0}, "tau is 0"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"norm": "l3"}, "l1, l2"),
        ({"start": 0.9, "end": 0.1}, "after the end"),
    ],
)
def test_settings_that_are_not_possible_are_refused(settings: dict, what: str) -> None:
    with pytest.raises(StudioError, match=what):
        Nag(said(1), **settings)


def test_an_end_that_leaves_no_step_is_refused(parts) -> None:
    with pytest.raises(StudioError, match="less than one of its 4 steps"):
        sampled(parts, Nag(segment_conditioning(parts, "a blue ring"), end=0.1))

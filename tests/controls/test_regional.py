"""The laws of regional prompting (controls.md 7 (b)), on every family where the network allows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.controls.inject_qk import InjectQK
from studio.controls.region_texts import make_regional
from studio.controls.regional import MODES, Regional, RegionText
from studio.controls.tokens import cover
from studio.errors import StudioError
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.words import segment_conditioning
from studio.values import Layout, Mask, Region
from tests.controls.attaching import GRID, STEPS, attached_to, call_of, controlled, state, step_of
from tests.controls.region_help import (
    LEFT,
    NETWORKS,
    RIGHT,
    ROWS,
    Forced,
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


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def parts(request):
    store = ModelStore(device="cpu")
    yield parts_of(store.load(request.param))
    store.close()


def made(parts, *regions, prompt="a red star", background="", **settings):
    layout = Layout(prompt, regions, background)
    return make_regional(layout, lambda text: segment_conditioning(parts, text), **settings)


def answers(name, *controls, roles=ROWS):
    network = network_of(name)
    call = call_of(family_of(name), len(roles), grid=GRID)
    return image_tokens(family_of(name), controlled(network, call, *controls, roles=roles))


# leaks


@every_network
def test_strict_with_no_base_a_changed_text_leaves_the_other_region_bit_equal(name: str) -> None:
    one = answers(name, regional(1, 2, mode="strict", base_ratio=0.0))
    other = answers(name, regional(1, 3, mode="strict", base_ratio=0.0))
    assert torch.equal(one[:, :, :HALF], other[:, :, :HALF])
    assert not torch.equal(one[2:, :, HALF:], other[2:, :, HALF:])
    assert torch.equal(one[:2], other[:2])


@every_network
def test_strict_with_some_base_mixes_regions_and_open_lets_them_see_each_other(name: str) -> None:
    for settings in ({"mode": "strict", "base_ratio": 0.3}, {"mode": "open"}):
        one = answers(name, regional(1, 2, **settings))
        other = answers(name, regional(1, 3, **settings))
        assert not torch.equal(one[2:, :, :HALF], other[2:, :, :HALF])
        moved = (one - other)[2:].abs().mean(dim=(0, 1, 3))
        assert moved[:HALF].mean() < moved[HALF:].mean() / 2
        assert torch.equal(one[:2], other[:2])


@every_network
@pytest.mark.parametrize("mode", ["open", "strict"])
def test_attention_from_one_regions_tokens_to_the_others_text_is_exactly_nothing(
    name: str, mode: str
) -> None:
    found = []
    for seed in (2, 3):
        watch = Watch()
        answers(name, regional(1, seed, mode=mode, base_ratio=0.0), watch)
        found.append(watch.tokens())
    assert torch.equal(found[0][:, :, :HALF], found[1][:, :, :HALF])
    assert not torch.equal(found[0][2:, :, HALF:], found[1][2:, :, HALF:])


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_what_no_region_covers_hears_the_base_prompt_or_the_background(name: str) -> None:
    def with_background(seed: int | None, seed_left: int = 1) -> torch.Tensor:
        back = None if seed is None else said(seed)
        texts = (RegionText(LEFT, said(seed_left)),)
        return answers(name, Regional("the whole", texts, back, "strict", base_ratio=0.0))

    assert torch.equal(with_background(5)[:, :, :HALF], with_background(6)[:, :, :HALF])
    assert not torch.equal(with_background(5)[2:, :, HALF:], with_background(6)[2:, :, HALF:])
    assert not torch.equal(with_background(None)[2:, :, HALF:], with_background(6)[2:, :, HALF:])
    watch = Watch()
    answers(name, Regional("w", (RegionText(LEFT, said(1)),), said(5)), watch)
    again = Watch()
    answers(name, Regional("w", (RegionText(LEFT, said(1)),), said(6)), again)
    assert torch.equal(watch.tokens()[:, :, :HALF], again.tokens()[:, :, :HALF])
    assert not torch.equal(watch.tokens()[2:, :, HALF:], again.tokens()[2:, :, HALF:])


def test_strict_leaks_nothing_over_a_whole_run_without_guidance(parts) -> None:
    one = tensor(sampled(parts, made(parts, LEFT, RIGHT, mode="strict", base_ratio=0.0), scale=1.0))
    changed = replace(RIGHT, prompt="a green boat")
    other = tensor(sampled(parts, made(parts, LEFT, changed, mode="strict", base_ratio=0.0), scale=1.0))
    half = one.shape[-1] // 2
    assert torch.equal(one[..., :half], other[..., :half])
    assert not torch.equal(one[..., half:], other[..., half:])
    longer = made(parts, LEFT, replace(RIGHT, prompt="a green boat at night"), mode="strict", base_ratio=0.0)
    assert torch.allclose(tensor(sampled(parts, longer, scale=1.0))[..., :half], one[..., :half], atol=1e-5)


# neutral


def test_what_changes_nothing_is_dropped_bit_for_bit(parts) -> None:
    plain = tensor(sampled(parts))
    whole = Region("all", "a red star")
    for control in (
        made(parts),
        made(parts, background="a night sky"),
        made(parts, replace(LEFT, strength=0.0), replace(RIGHT, strength=0.0)),
        made(parts, LEFT, RIGHT, end=0.0),
        made(parts, replace(LEFT, start=0.5), end=0.5),
        made(parts, LEFT, RIGHT, mode="strict", base_ratio=1.0),
        made(parts, replace(LEFT, prompt=""), replace(RIGHT, prompt="  ")),
        *(made(parts, whole, mode=mode) for mode in MODES),
    ):
        assert control.is_neutral()
        assert torch.equal(tensor(sampled(parts, control)), plain)


def test_the_general_path_of_one_region_over_everything_gives_the_plain_picture(parts) -> None:
    plain = tensor(sampled(parts))
    whole = RegionText(Region("all", "a red star"), prompt(parts, "a red star"))
    for ratio in (0.0, 0.3):
        forced = Forced("a red star", (whole,), mode="strict", base_ratio=ratio)
        run = sampled(parts, forced)
        assert run.report["controls"][0]["steps"] == 4
        assert torch.allclose(tensor(run), plain, atol=1e-5, rtol=0)


def test_the_general_path_of_nothing_but_base_gives_the_plain_picture(parts) -> None:
    texts = tuple(RegionText(r, segment_conditioning(parts, r.prompt)) for r in (LEFT, RIGHT))
    forced = Forced("a red star", texts, mode="strict", base_ratio=1.0)
    assert torch.allclose(tensor(sampled(parts, forced)), tensor(sampled(parts)), atol=1e-5, rtol=0)


def test_a_lowest_region_that_repeats_the_base_is_left_out_and_nothing_else(parts) -> None:
    whole = Region("all", "a red star")
    with_it, without = made(parts, whole, RIGHT), made(parts, RIGHT)
    assert list(with_it.kept()) == [1]
    assert torch.equal(tensor(sampled(parts, with_it)), tensor(sampled(parts, without)))
    for other in (
        made(parts, RIGHT, whole),
        made(parts, replace(whole, strength=1.2)),
        made(parts, replace(whole, box=(0, 0, 1, 0.9))),
        made(parts, replace(whole, negative="a ring")),
        made(parts, replace(whole, prompt="a blue star")),
    ):
        assert not other.is_neutral() and len(other.kept()) == len(other.regions)


def test_a_region_of_no_strength_is_as_if_it_were_not_there(parts) -> None:
    over = Region("over", "a green boat", (0.25, 0.0, 0.75, 1.0), strength=0.0)
    with_it = sampled(parts, made(parts, LEFT, RIGHT, over))
    assert torch.equal(tensor(with_it), tensor(sampled(parts, made(parts, LEFT, RIGHT))))


@every_network
@pytest.mark.parametrize("mode", MODES)
def test_the_network_is_as_it_was_afterwards_also_after_an_exception(name: str, mode: str) -> None:
    network = network_of(name)
    call = call_of(family_of(name), len(ROWS), grid=GRID)
    before = state(network)
    controlled(network, call, regional(1, 2, mode=mode), roles=ROWS)
    assert state(network) == before
    bad = regional(1, 2, regions=(LEFT, replace(RIGHT, mask=Mask(np.zeros((2, 2), np.float32)))), mode=mode)
    with pytest.raises(StudioError, match="covers nothing"):
        controlled(network, call, bad, roles=ROWS)
    assert state(network) == before


# order and overlap


@every_network
@pytest.mark.parametrize("mode", MODES)
def test_disjoint_regions_commute(name: str, mode: str) -> None:
    one = answers(name, regional(1, 2, mode=mode))
    other = answers(name, regional(2, 1, regions=(RIGHT, LEFT), mode=mode))
    assert torch.allclose(one, other, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_where_regions_overlap_order_counts_unless_both_are_heard(name: str, mode: str) -> None:
    wide = replace(LEFT, box=(0.0, 0.0, 1.0, 1.0))
    assert not torch.allclose(
        answers(name, regional(1, 2, regions=(wide, RIGHT), mode=mode)),
        answers(name, regional(2, 1, regions=(RIGHT, wide), mode=mode)),
        atol=1e-4,
    )
    assert torch.allclose(
        answers(name, regional(1, 2, regions=(wide, RIGHT), mode=mode, overlap="share")),
        answers(name, regional(2, 1, regions=(RIGHT, wide), mode=mode, overlap="share")),
        atol=1e-6,
    )


@every_network
def test_a_region_of_a_part_of_a_token_is_heard(name: str) -> None:
    tiny = replace(LEFT, box=(0.02, 0.02, 0.05, 0.05))
    watches = [Watch(), Watch()]
    for seed, watch in zip((1, 3), watches, strict=True):
        answers(name, regional(seed, 2, regions=(tiny, RIGHT)), watch)
    moved = (watches[0].tokens() != watches[1].tokens()).any(dim=-1)
    assert moved[2:, 0, 0].all() and moved.sum() == 2


# settings


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_strength_is_added_as_a_logarithm_and_soft_masks_speak_softly(name: str) -> None:
    def first(region: Region) -> torch.Tensor:
        watch = Watch()
        answers(name, regional(1, 2, regions=(region, RIGHT)), watch)
        return watch.tokens()

    plain = first(LEFT)
    moved = [(first(replace(LEFT, strength=s)) - plain).abs().mean() for s in (0.5, 1.5, 2.0)]
    assert 0 < moved[1] < moved[2] and moved[0] > 0
    # a mask of one half everywhere speaks as a strength of one half does to the image
    half = replace(LEFT, mask=Mask(np.full((2, 2), 0.5, np.float32) * np.array([[1, 0]], np.float32)))
    share = cover((half, RIGHT), GRID).share[0].reshape(GRID)
    assert np.allclose(share[:, :HALF], 0.5) and np.allclose(share[:, HALF:], 0)
    soft, weak = first(half), first(replace(LEFT, strength=0.5))
    assert torch.allclose(soft, weak, atol=1e-6)


def test_regions_come_and_go_with_the_steps(parts) -> None:
    early, late = replace(LEFT, end=0.5), replace(RIGHT, start=0.5)
    control = made(parts, early, late, background="the sea")
    names = [[segment.name for segment in control.segments(step)] for step in STEPS]
    assert names == [["regions.0", "regions.rest"]] * 2 + [["regions.1", "regions.rest"]] * 2
    assert [control.active(step) for step in STEPS] == [(0,), (0,), (1,), (1,)]
    whole = sampled(parts, control)
    assert whole.report["forwards"] == 4 and torch.isfinite(tensor(whole)).all()
    # nothing is there from the middle on: the second half is the plain network
    half = made(parts, replace(LEFT, end=0.5), RIGHT, end=0.5)
    assert [bool(half.segments(step)) for step in STEPS] == [True, True, False, False]
    assert sampled(parts, half).report["controls"][0]["steps"] == 2


def test_a_region_below_shows_once_the_one_above_has_gone() -> None:
    below, above = replace(LEFT, box=(0.0, 0.0, 1.0, 1.0)), replace(RIGHT, end=0.5)
    network, call = network_of("sd3"), call_of("sd3", len(ROWS), grid=GRID)
    found = []
    for seed in (1, 4):
        watch = Watch()
        control = regional(seed, 2, regions=(below, above), mode="strict", base_ratio=0.0)
        with attached_to(network, control, watch, roles=ROWS) as attached:
            for step in (STEPS[1], STEPS[2]):
                step_of(attached, network, call, step, ROWS)
        found.append([tokens.reshape(len(ROWS), *GRID, -1) for tokens, _ in watch.found])
    (early, late), (early_b, late_b) = found
    assert torch.equal(early[:, :, HALF:], early_b[:, :, HALF:])
    assert not torch.equal(late[2:, :, HALF:], late_b[2:, :, HALF:])


def test_hard_is_strict_with_the_regions_on_their_own_at_first(parts) -> None:
    def of(**settings):
        return tensor(sampled(parts, made(parts, LEFT, RIGHT, **settings)))

    alone = of(mode="hard", alone=1.0, base_ratio=0.3)
    assert torch.equal(alone, of(mode="strict", base_ratio=0.0))
    never = of(mode="hard", alone=0.0, base_ratio=0.3)
    assert torch.equal(never, of(mode="strict", base_ratio=0.3))
    assert not torch.equal(of(mode="hard", alone=0.5, base_ratio=0.3), never)
    control = made(parts, LEFT, RIGHT, mode="hard", alone=0.5, base_ratio=1.0)
    assert not control.is_neutral()


def test_without_borders_everything_reads_all_prompts(parts) -> None:
    def of(**settings):
        return tensor(sampled(parts, made(parts, LEFT, RIGHT, **settings)))

    strict = {"mode": "strict", "base_ratio": 0.0}
    assert torch.equal(of(**strict), of(**strict, borders=1.0))
    assert torch.equal(of(**strict, borders=0.0), of(borders=0.0))
    assert not torch.equal(of(borders=0.0), tensor(sampled(parts)))
    half = of(**strict, borders=0.5)
    assert not torch.equal(half, of(**strict)) and not torch.equal(half, of(**strict, borders=0.0))


def test_single_stream_blocks_can_be_left_open() -> None:
    every = answers("flux", regional(1, 2, mode="strict", base_ratio=0.0))
    some = answers("flux", regional(1, 2, mode="strict", base_ratio=0.0, single_every=2))
    other = answers("flux", regional(1, 3, mode="strict", base_ratio=0.0, single_every=2))
    assert not torch.equal(every[2:], some[2:])
    assert not torch.equal(some[2:, :, :HALF], other[2:, :, :HALF])
    assert torch.equal(some[:2], other[:2])


# rows


@every_network
def test_a_regions_negative_text_stands_in_the_negative_rows_at_its_place(name: str) -> None:
    def with_negative(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        watch = Watch()
        texts = (RegionText(LEFT, said(1), said(seed)), RegionText(RIGHT, said(2)))
        found = answers(name, Regional("the whole", texts), watch)
        return found, watch.tokens()

    (one, one_first), (other, other_first) = with_negative(7), with_negative(8)
    assert torch.equal(one[2:], other[2:])
    assert not torch.equal(one[:2], other[:2])
    assert torch.equal(one_first[:2, :, HALF:], other_first[:2, :, HALF:])
    assert not torch.equal(one_first[:2, :, :HALF], other_first[:2, :, :HALF])


def test_a_negative_text_alone_is_enough_and_strict_regions_keep_it_open(parts) -> None:
    only = replace(LEFT, prompt="", negative="a blue ring")
    for mode in MODES:
        control = made(parts, only, mode=mode)
        assert not control.is_neutral()
        assert not torch.equal(tensor(sampled(parts, control)), tensor(sampled(parts)))
    # without negative rows there is nothing it could act on
    assert torch.allclose(
        tensor(sampled(parts, made(parts, only), scale=1.0)), tensor(sampled(parts, scale=1.0)), atol=1e-5
    )


@pytest.mark.parametrize("name", ["sd3", "sd35", "flux"])
@pytest.mark.parametrize("mode", MODES)
def test_the_edited_picture_reads_its_own_regions_and_the_source_never_hears_of_it(
    name: str, mode: str
) -> None:
    roles = ("source.uncond:0", "target.uncond:0", "source:0", "target:0")

    def edit(seed: int | None) -> torch.Tensor:
        texts = (RegionText(LEFT, said(1)), RegionText(RIGHT, said(2), None, seed and said(seed)))
        return answers(name, Regional("the whole", texts, mode=mode), roles=roles)

    one, other = edit(8), edit(9)
    assert torch.equal(one[:3], other[:3])
    assert not torch.equal(one[3], other[3])
    moved = (one[3] - other[3]).abs().mean(dim=(0, 2))
    assert moved[:HALF].mean() < moved[HALF:].mean()


def test_edit_and_regions_equal_prompts_keep_target_and_source_bit_equal(parts) -> None:
    source = prompt(parts, "a red star")
    for mode in MODES:
        run = sampled(parts, InjectQK(source, 1.0), made(parts, LEFT, RIGHT, mode=mode), batch=2)
        assert torch.equal(run.latents["source"].tensor, tensor(run))
    layout = Layout("a red star", (LEFT, RIGHT))
    changed = Layout("a red star", (LEFT, replace(RIGHT, prompt="a green boat")))
    both = make_regional(layout, lambda text: segment_conditioning(parts, text), edited=changed)
    run = sampled(parts, InjectQK(source, 0.5), both)
    assert not torch.equal(run.latents["source"].tensor, tensor(run))


@pytest.mark.parametrize("mode", MODES)
def test_eight_regions_in_a_batch_of_two_with_guidance(parts, mode: str) -> None:
    words = (
        "a red star",
        "a blue ring",
        "a green house",
        "a yellow boat",
        "a tree",
        "a fish",
        "the sea",
        "the sky",
    )
    eight = [
        Region(str(i), text, (i % 4 / 4, i // 4 / 2, i % 4 / 4 + 0.25, i // 4 / 2 + 0.5), negative="a heart")
        for i, text in enumerate(words)
    ]
    control = made(parts, *eight, background="at night", mode=mode)
    assert len(control.segments(STEPS[0])) == 17
    both = sampled(parts, control, batch=2, seed=5)
    assert torch.isfinite(tensor(both)).all() and both.report["forwards"] == 4
    for k in (0, 1):
        alone = sampled(parts, control, seed=5 + k)
        assert torch.allclose(tensor(both)[k : k + 1], tensor(alone), atol=1e-5, rtol=0)
    assert not torch.allclose(tensor(both), tensor(sampled(parts, batch=2, seed=5)), atol=1e-3)


def test_a_run_begins_from_a_picture_as_well(parts) -> None:
    from studio.sampling.guidance.cfg import cfg
    from studio.sampling.loop import sample_run
    from studio.sampling.samplers import sampler
    from studio.sampling.schedules import flow, from_strength

    start = sampled(parts).latent
    run = sample_run(
        parts,
        prompt(parts, "a red star"),
        prompt(parts, ""),
        start,
        from_strength(flow(6, 3.0), 0.5),
        sampler("heun"),
        cfg(3.0),
        attachments=[made(parts, LEFT, RIGHT, mode="strict")],
    )
    assert run.report["controls"][0]["steps"] == 3


# refusals


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"mode": "soft"}, "open, strict, hard"),
        ({"base_ratio": 1.5}, "base ratio is 1.5"),
        ({"base_ratio": float("nan")}, "base ratio is nan"),
        ({"start": 0.8, "end": 0.2}, "after the end"),
        ({"alone": -1.0}, "alone is -1"),
        ({"single_every": 0}, "single every is 0"),
        ({"borders": 1.5}, "borders is 1.5"),
    ],
)
def test_settings_that_are_not_possible_are_refused_with_what_is(settings: dict, what: str) -> None:
    with pytest.raises(StudioError, match=what):
        regional(1, 2, **settings)


def test_regions_that_are_not_possible_are_named() -> None:
    with pytest.raises(StudioError, match="'sky' is nan"):
        regional(1, regions=(replace(LEFT, name="sky", strength=float("nan")),))
    with pytest.raises(StudioError, match="65 regions"):
        Regional("w", tuple(RegionText(replace(LEFT, id=str(i)), said(1)) for i in range(65)))
    with pytest.raises(StudioError, match=r"Region 'left' from 0 to 0\.1 of the run is less than one"):
        controlled(network_of("sd3"), call_of("sd3", 4, grid=GRID), regional(1, 2, end=0.1), roles=ROWS)
    layout = Layout("w", (LEFT,))
    with pytest.raises(StudioError, match=r"'right'.*does not have") as raised:
        make_regional(layout, lambda text: said(1), edited=Layout("w", (RIGHT,)))
    assert "'left'" in raised.value.hint

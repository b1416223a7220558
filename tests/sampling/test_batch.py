"""Runs made together are what each is alone, within rounding, with its own noise, decisions and end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studio.blocks.gates import Limits
from studio.blocks.step_cache import attachment, first_block
from studio.controls.reweight import WordWeight
from studio.errors import Cancelled
from studio.models.text import encode_prompt
from studio.sampling.batch import Item, key_of, sample_batch
from studio.sampling.guidance.adaptive import adaptive
from studio.sampling.guidance.apg import apg
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.skip_layers import skip_layers
from studio.sampling.loop import sample_run
from studio.sampling.nested import nested
from studio.sampling.samplers import SAMPLERS, sampler
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent, Sigmas, Wrap

# rounding of another batch shape: 3e-7 a call, enlarged by guidance and the steps (see test_loop)
NEAR = 1e-5


def items(parts, *, canvases=None, steps=None):
    words = ["a red star", "a blue house", "a yellow boat"]
    canvases = canvases or [Latent(64, 64, 1, 3), Latent(64, 64, 1, 90), Latent(64, 64, 1, 4)]
    negative, _, _ = encode_prompt(parts, "", "it")
    steps = steps or [None] * len(canvases)
    return [
        Item(encode_prompt(parts, text, "it")[0], negative, canvas, on_step)
        for text, canvas, on_step in zip(words, canvases, steps, strict=False)
    ]


def alone(parts, item, rule, guidance, sigmas=None, **more):
    return sample_run(
        parts, item.positive, item.negative, item.canvas, sigmas or flow(6, 3.0), rule, guidance, **more
    )


def near(one, other):
    assert one.latent.seed == other.latent.seed and one.latent.batch == other.latent.batch
    return (one.latent.tensor - other.latent.tensor).abs().max() < NEAR


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_is_what_it_is_alone(tiny_parts, name):
    given, rule = items(tiny_parts), sampler(name)
    made = sample_batch(tiny_parts, given, flow(6, 3.0), rule, cfg(3.0, 0, 0.7))
    for item, run in zip(given, made, strict=True):
        assert near(run, alone(tiny_parts, item, rule, cfg(3.0, 0, 0.7)))
    assert (made[0].latent.tensor - made[2].latent.tensor).abs().max() > 0.1


def test_one_call_of_the_network_serves_all(tiny_parts):
    made = sample_batch(tiny_parts, items(tiny_parts), flow(6, 3.0), sampler("euler"), cfg(3.0))
    assert [run.calls["forwards"] for run in made] == [6, 6, 6]


def test_several_pictures_each_and_encoded_ones(tiny_parts, tiny_picture):
    euler, guidance = sampler("euler"), cfg(3.0)
    many = items(tiny_parts, canvases=[Latent(64, 64, 2, 3), Latent(64, 64, 2, 40)])
    for item, run in zip(many, sample_batch(tiny_parts, many, flow(6), euler, guidance), strict=True):
        assert near(run, alone(tiny_parts, item, euler, guidance, flow(6)))
    part = from_strength(flow(8, 3.0), 0.5)
    known = items(tiny_parts, canvases=[tiny_picture, tiny_picture])
    for item, run in zip(known, sample_batch(tiny_parts, known, part, euler, guidance), strict=True):
        assert near(run, alone(tiny_parts, item, euler, guidance, part))


@pytest.mark.parametrize("threshold", [0.9, 0.99, 0.999])
def test_adaptive_decisions_stay_each_pictures_own(tiny_parts, threshold):
    rule = adaptive(cfg(4.0), threshold)
    given = items(tiny_parts)
    for item, run in zip(
        given, sample_batch(tiny_parts, given, flow(6, 3.0), sampler("euler"), rule), strict=True
    ):
        assert near(run, alone(tiny_parts, item, sampler("euler"), rule))


def test_a_step_cache_decides_and_tells_for_each_picture_alone(tiny_parts):
    made = lambda: [attachment(first_block(0.2, limits=Limits(warm=1)))]  # noqa: E731
    given = items(tiny_parts)
    runs = sample_batch(tiny_parts, given, flow(8, 3.0), sampler("euler"), cfg(3.0), attachments=made())
    for item, run in zip(given, runs, strict=True):
        single = alone(tiny_parts, item, sampler("euler"), cfg(3.0), flow(8, 3.0), attachments=made())
        assert near(run, single)
        (mine,), (own,) = run.report["followers"], single.report["followers"]
        assert mine["pictures"] == own["pictures"] and list(mine["pictures"]) == ["0"]


def leaver(at, seen):
    def on_step(result):
        seen.append(result.step.index)
        if result.step.index == at:
            raise Cancelled()

    return on_step


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "midpoint_reuse", "euler_ancestral"])
@pytest.mark.parametrize("at", [0, 3, 5])
def test_who_leaves_takes_nobody_along_and_costs_nothing_more(tiny_parts, name, at):
    seen, heard = [[], [], []], []
    steps = [leaver(99, seen[0]), leaver(at, seen[1]), leaver(99, seen[2])]
    given = items(tiny_parts, steps=steps)
    widths = []
    handle = tiny_parts.transformer.register_forward_pre_hook(
        lambda _, args, kw: widths.append(len(kw["hidden_states"])), with_kwargs=True
    )
    try:
        made = sample_batch(
            tiny_parts, given, flow(6, 3.0), sampler(name), cfg(3.0), left=lambda n, e: heard.append(n)
        )
    finally:
        handle.remove()
    assert isinstance(made[1], Cancelled) and heard == [1]
    assert seen == [list(range(6)), list(range(at + 1)), list(range(6))]
    for k in (0, 2):
        assert near(made[k], alone(tiny_parts, given[k], sampler(name), cfg(3.0)))
    assert widths[0] == 6 and widths[-1] == (6 if at == 5 else 4)


def test_with_a_memory_the_batch_stays_and_the_others_are_right(tiny_parts):
    seen = [[], [], []]
    steps = [leaver(99, seen[0]), leaver(1, seen[1]), leaver(99, seen[2])]
    given = items(tiny_parts, steps=steps)
    made = sample_batch(tiny_parts, given, flow(6, 3.0), sampler("euler"), apg(4.0))
    assert isinstance(made[1], Cancelled) and len(seen[1]) == 2
    assert near(made[2], alone(tiny_parts, given[2], sampler("euler"), apg(4.0)))


def test_when_all_have_left_the_network_is_not_called_any_more(tiny_parts):
    seen = [[], []]
    given = items(tiny_parts, canvases=[Latent(64, 64), Latent(64, 64)], steps=[leaver(1, s) for s in seen])
    made = sample_batch(tiny_parts, given, flow(6, 3.0), sampler("euler"), cfg(3.0))
    assert all(isinstance(one, Cancelled) for one in made) and seen == [[0, 1], [0, 1]]


def test_an_early_stop_is_everybodys(tiny_parts):

    rule = replace(sampler("dpmpp_2m"), stop_after=3)
    given = items(tiny_parts)
    for item, run in zip(given, sample_batch(tiny_parts, given, flow(6), rule, cfg(3.0)), strict=True):
        assert near(run, alone(tiny_parts, item, rule, cfg(3.0), flow(6)))


def key(parts, **changed):
    given = {
        "model": "m",
        "canvas": Latent(64, 64, 1, 3),
        "positive": encode_prompt(parts, "a red star", "it")[0],
        "negative": encode_prompt(parts, "", "it")[0],
        "sigmas": flow(6),
        "sampler": sampler("euler"),
        "guidance": cfg(3.0),
        "wraps": (),
        "attachments": (),
    }
    return key_of(**{**given, **changed})


def test_only_runs_of_one_shape_and_settings_go_together(tiny_parts):
    other = encode_prompt(tiny_parts, "a blue house", "it")[0]
    assert key(tiny_parts) == key(tiny_parts, canvas=Latent(64, 64, 1, 77), positive=other)
    for changed in (
        {"model": "n"},
        {"canvas": Latent(64, 96, 1, 3)},
        {"canvas": Latent(64, 64, 2, 3)},
        {"sigmas": flow(7)},
        {"sampler": sampler("heun")},
        {"sampler": nested(4)},
        {"guidance": cfg(4.0)},
    ):
        assert key(tiny_parts, **changed) not in (None, key(tiny_parts))


def test_what_looks_at_a_run_as_a_whole_stays_alone(tiny_parts):
    control = WordWeight(())
    assert key(tiny_parts, wraps=(Wrap("any", lambda d: d),)) is None
    assert key(tiny_parts, attachments=(control,)) is None
    assert key(tiny_parts, guidance=skip_layers(cfg(3.0), 2.0)) is None
    assert key(tiny_parts, sigmas=Sigmas((0.0,))) is None

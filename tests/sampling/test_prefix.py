"""A run that goes on from a stored beginning is bit by bit the whole run; what cannot be resumed is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from studio.blocks.gates import Limits
from studio.blocks.step_cache import attachment, delta_dit, first_block, fixed_steps, taylor
from studio.controls.regional import Regional, RegionText
from studio.controls.reweight import WordWeight
from studio.controls.share_kv import KeepLook
from studio.errors import Cancelled
from studio.graph.cache import Cache
from studio.graph.digest import Codecs
from studio.graph.disk_cache import DiskCache
from studio.graph.kept import Kept
from studio.models.codec import TensorCodec
from studio.models.text import encode_prompt
from studio.models.words import find_words
from studio.sampling.guidance.adaptive import adaptive
from studio.sampling.guidance.apg import apg
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.cfg_zero import cfg_zero
from studio.sampling.guidance.coarse import coarse_guide
from studio.sampling.guidance.rcfg import rcfg
from studio.sampling.guidance.skip_layers import skip_layers
from studio.sampling.guidance.w2sd import w2sd
from studio.sampling.loop import Run, sample_run
from studio.sampling.prefix import Prefix
from studio.sampling.samplers import SAMPLERS, SETTINGS, sampler
from studio.sampling.schedules import custom, flow
from studio.sampling.tiled import tiles_wrap
from studio.values import Guidance, Latent, Region, Sigmas, Wrap

STEPS = 8


@pytest.fixture
def kept(tmp_path) -> Kept:
    return opened(tmp_path)


def opened(folder, owner="me") -> Kept:
    cache = Cache("disk", disk=DiskCache(folder / "cache"))
    cache.codecs = Codecs([TensorCodec()])
    return Kept(cache, owner)


def run(
    parts,
    kept: Kept | None,
    guidance: Guidance,
    *,
    name: str = "euler",
    settings: dict[str, Any] | None = None,
    seed: int = 3,
    sigmas: Sigmas | None = None,
    words: str = "a red star",
    avoid: str = "a blue house",
    batch: int = 1,
    base: str = "weights",
    stop: int = 0,
    **more: Any,
) -> Run:
    positive, _, _ = encode_prompt(parts, words, "it")
    negative, _, _ = encode_prompt(parts, avoid, "it")
    rule = replace(sampler(name, **(settings or {})), stop_after=stop)
    canvas = more.pop("canvas", None) or Latent(64, 64, batch, seed)
    prefix = None if kept is None else Prefix(kept, base)
    return sample_run(
        parts, positive, negative, canvas, sigmas or flow(STEPS, 3.0), rule, guidance, prefix=prefix, **more
    )


def same(first: Run, second: Run) -> bool:
    return torch.equal(first.latent.tensor, second.latent.tensor)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("memory", ["memory", "disk"])
def test_a_later_end_of_guidance_goes_on_where_it_first_counts_bit_by_bit(tiny_parts, tmp_path, name, memory):
    settings = {"churn": 20.0} if name == "edm" else {}
    whole = run(tiny_parts, None, cfg(3.0, 0, 0.75), name=name, settings=settings, batch=2)
    kept = opened(tmp_path)
    first = run(tiny_parts, kept, cfg(3.0, 0, 0.5), name=name, settings=settings, batch=2)
    again = opened(tmp_path) if memory == "disk" else kept
    second = run(tiny_parts, again, cfg(3.0, 0, 0.75), name=name, settings=settings, batch=2)
    assert (first.resumed, second.resumed) == (0, 4)
    assert same(second, whole) and not same(first, second)
    assert second.calls["forwards"] < whole.calls["forwards"]


RULES = {
    "adaptive": (lambda end: adaptive(cfg(4.0, 0, end), 0.9999), 4),
    "adaptive apg": (lambda end: adaptive(apg(4.0, end=end), 0.99999), 4),
    "apg": (lambda end: apg(4.0, end=end), 4),
    "cfg_zero": (lambda end: cfg_zero(3.0, 1, 0, end), 4),
    "skip_layers": (lambda end: skip_layers(cfg(2.0), 1.0, (0,), 0.0, end), 4),
    "weak over apg": (lambda end: skip_layers(apg(2.0), 1.0, (0,), 0.0, end), 4),
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_that_remember_are_taken_up_with_their_memory(tiny_parts, kept, rule):
    made, at = RULES[rule]
    whole = run(tiny_parts, None, made(0.75))
    run(tiny_parts, kept, made(0.5))
    second = run(tiny_parts, kept, made(0.75))
    assert second.resumed == at
    assert same(second, whole)


def test_residual_guidance_keeps_the_first_steps_estimate(tiny_parts, kept):
    """A later part of the schedule changes: the constant of the first step must come along."""
    flat = flow(STEPS, 3.0).values
    other = custom([*flat[:6], (flat[6] + flat[7]) / 2, *flat[7:]])
    whole = run(tiny_parts, None, rcfg(1.5), sigmas=other)
    run(tiny_parts, kept, rcfg(1.5), sigmas=custom(list(flat)))
    second = run(tiny_parts, kept, rcfg(1.5), sigmas=other)
    assert second.resumed == 5
    assert same(second, whole)


CACHES = {
    "taylor": lambda end: attachment(_until(taylor(2, order=2, limits=Limits(warm=2)), end)),
    "taylor, form and axis": lambda end: attachment(
        _until(taylor(2, order=1, form="taylor", axis="sigma", limits=Limits(warm=1)), end)
    ),
    "first block": lambda end: attachment(_until(first_block(0.9, limits=Limits(warm=1, most=2)), end)),
    "delta": lambda end: attachment(delta_dit(2, boundary=end)),
    "fixed": lambda end: attachment(fixed_steps([0, 2, *((4, 6) if end < 0.6 else (4, 7))])),
}


def _until(cache, end):
    return replace(cache, parts=tuple(replace(part, end=end) for part in cache.parts))


@pytest.mark.parametrize("mode", CACHES)
@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m", "euler_ancestral"])
def test_step_caches_are_taken_up_with_what_they_hold_and_what_they_told(tiny_parts, kept, mode, name):
    made = CACHES[mode]
    whole = run(tiny_parts, None, cfg(3.0), name=name, attachments=[made(0.75)], batch=2)
    run(tiny_parts, kept, cfg(3.0), name=name, attachments=[made(0.5)], batch=2)
    second = run(tiny_parts, kept, cfg(3.0), name=name, attachments=[made(0.75)], batch=2)
    assert 0 < second.resumed < STEPS
    assert same(second, whole)
    (before,), (after,) = whole.report["followers"], second.report["followers"]
    assert after["pictures"] == before["pictures"] and after["calls"] == before["calls"]
    assert after["error_estimate"] == before["error_estimate"]


def controls(parts, end):
    text = "a red star"
    other, _, _ = encode_prompt(parts, "a blue house", "it")
    region = Region("r", "a blue house", (0.0, 0.0, 0.5, 1.0), end=end)
    return {
        "weight": WordWeight(((find_words(parts, text, "red"), 1.6),), end=end),
        "regions": Regional(text, (RegionText(region, other),)),
    }


@pytest.mark.parametrize("which", ["weight", "regions"])
def test_a_controls_end_is_first_felt_where_it_was(tiny_parts, kept, which):
    first, second = (controls(tiny_parts, end)[which] for end in (0.5, 0.75))
    whole = run(tiny_parts, None, cfg(3.0), attachments=[second])
    run(tiny_parts, kept, cfg(3.0), attachments=[first])
    again = run(tiny_parts, kept, cfg(3.0), attachments=[second])
    assert again.resumed == 4
    assert same(again, whole)
    assert not same(again, run(tiny_parts, None, cfg(3.0), attachments=[first]))


def test_a_control_together_with_a_step_cache_is_resumed_too(tiny_parts, kept):
    cache = CACHES["taylor"](1.0)
    first, second = (controls(tiny_parts, end)["weight"] for end in (0.5, 0.75))
    whole = run(tiny_parts, None, cfg(3.0), attachments=[second, cache])
    run(tiny_parts, kept, cfg(3.0), attachments=[first, cache])
    again = run(tiny_parts, kept, cfg(3.0), attachments=[second, cache])
    assert again.resumed == 4 and same(again, whole)


def test_tiles_with_a_control_are_resumed_where_the_control_ends_later(tiny_parts, kept):
    first, second = (controls(tiny_parts, end)["weight"] for end in (0.5, 0.75))
    tiled = tiles_wrap(48, 16)
    whole = run(tiny_parts, None, cfg(3.0), attachments=[second], wraps=[tiled])
    run(tiny_parts, kept, cfg(3.0), attachments=[first], wraps=[tiled])
    again = run(tiny_parts, kept, cfg(3.0), attachments=[second], wraps=[tiled])
    assert again.resumed == 4 and same(again, whole)
    assert not same(again, run(tiny_parts, None, cfg(3.0), attachments=[first], wraps=[tiled]))


def test_a_wrap_that_ends_later_is_resumed(tiny_parts, tiny_picture, kept):
    made = [coarse_guide(tiny_picture, 0.5, 2, end) for end in (0.5, 0.75)]
    whole = run(tiny_parts, None, cfg(3.0), wraps=[made[1]])
    run(tiny_parts, kept, cfg(3.0), wraps=[made[0]])
    again = run(tiny_parts, kept, cfg(3.0), wraps=[made[1]])
    assert again.resumed == 4 and same(again, whole)


def test_the_same_run_again_calls_the_network_not_once(tiny_parts, kept):
    first = run(tiny_parts, kept, cfg(3.0))
    second = run(tiny_parts, kept, cfg(3.0))
    assert second.resumed == STEPS and second.calls["forwards"] == 0
    assert same(first, second)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 4},
        {"words": "a blue house"},
        {"avoid": "a red star"},
        {"base": "other weights"},
        {"name": "heun"},
        {"sigmas": flow(STEPS, 2.0)},
        {"sigmas": flow(STEPS + 1, 3.0)},
        {"batch": 2},
        {"canvas": Latent(96, 64, 1, 3)},
        {"guidance": cfg(3.5)},
        {"guidance": cfg(3.0, rescale=0.5)},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_counts_from_the_first_step_on_is_never_resumed(tiny_parts, kept, changed):
    run(tiny_parts, kept, cfg(3.0))
    given = {"guidance": cfg(3.0), **changed}
    second = run(tiny_parts, kept, **given)
    assert second.resumed == 0
    assert same(second, run(tiny_parts, None, **given))


def test_a_negative_prompt_counts_only_where_guidance_asks_it(tiny_parts, kept):
    run(tiny_parts, kept, cfg(3.0, 0.5, 1.0))
    other = {"guidance": cfg(3.0, 0.5, 1.0), "avoid": "a red star"}
    second = run(tiny_parts, kept, **other)
    assert second.resumed == 4 and same(second, run(tiny_parts, None, **other))


def test_settings_of_a_sampler_count(tiny_parts, kept):
    assert SETTINGS["euler_ancestral"]
    run(tiny_parts, kept, cfg(3.0), name="euler_ancestral", settings={"eta": 0.5})
    second = run(tiny_parts, kept, cfg(3.0), name="euler_ancestral", settings={"eta": 1.0})
    assert second.resumed == 0


def test_a_stopped_run_gives_the_estimate_of_its_last_step_and_a_whole_one_goes_on_from_it(tiny_parts, kept):
    seen = {}
    whole = run(
        tiny_parts, None, cfg(3.0), on_step=lambda r: seen.setdefault(r.step.index, r.denoised.clone())
    )
    early = run(tiny_parts, kept, cfg(3.0), stop=5)
    assert torch.equal(early.latent.tensor, seen[4].to(torch.float32))
    assert early.calls["forwards"] == 5
    on = run(tiny_parts, kept, cfg(3.0))
    assert on.resumed == 5 and same(on, whole)
    back = run(tiny_parts, kept, cfg(3.0), stop=3)
    assert back.calls["forwards"] == 0 and torch.equal(back.latent.tensor, seen[2].to(torch.float32))


@pytest.mark.parametrize("stop", [STEPS, STEPS + 5])
def test_a_stop_at_the_end_or_behind_it_is_the_whole_run(tiny_parts, kept, stop):
    whole = run(tiny_parts, None, cfg(3.0), name="dpmpp_2m")
    assert same(run(tiny_parts, None, cfg(3.0), name="dpmpp_2m", stop=stop), whole)
    assert same(run(tiny_parts, kept, cfg(3.0), name="dpmpp_2m", stop=stop), whole)
    assert same(run(tiny_parts, kept, cfg(3.0), name="dpmpp_2m", stop=stop), whole)


def test_a_cancelled_run_is_gone_on_with_from_the_step_where_it_stood(tiny_parts, tmp_path):
    def cancel(result):
        if result.step.index == 4:
            raise Cancelled()

    with pytest.raises(Cancelled):
        run(tiny_parts, opened(tmp_path), cfg(3.0), name="dpmpp_2m", on_step=cancel)
    second = run(tiny_parts, opened(tmp_path), cfg(3.0), name="dpmpp_2m")
    assert second.resumed == 5
    assert same(second, run(tiny_parts, None, cfg(3.0), name="dpmpp_2m"))


def test_a_resumed_run_tells_the_step_it_begins_with(tiny_parts, kept):
    run(tiny_parts, kept, cfg(3.0, 0, 0.5))
    told = []
    run(tiny_parts, kept, cfg(3.0, 0, 0.75), on_step=lambda result: told.append(result.step.index))
    assert told == [3, 4, 5, 6, 7]


def test_nobody_finds_what_another_owner_made(tiny_parts, tmp_path):
    run(tiny_parts, opened(tmp_path), cfg(3.0))
    assert run(tiny_parts, opened(tmp_path, "somebody else"), cfg(3.0)).resumed == 0


def test_what_reads_injects_or_does_not_say_when_it_counts_is_never_stored(tiny_parts, kept):
    source, _, _ = encode_prompt(tiny_parts, "a blue house", "it")
    look = KeepLook(source, (0,), 0.0, 0.5)
    unsaid = Wrap("unsaid", lambda denoise: denoise)
    for _ in range(2):
        assert run(tiny_parts, kept, cfg(3.0), attachments=[look]).resumed == 0
        assert run(tiny_parts, kept, cfg(3.0), wraps=[unsaid]).resumed == 0
    forgetful = replace(cfg(3.0), remembers=True)
    for _ in range(2):
        assert run(tiny_parts, kept, forgetful).resumed == 0


def test_reflection_is_resumed_where_it_ends_later(tiny_parts, kept):
    run(tiny_parts, kept, w2sd(cfg(3.0), None, 0.0, 0.5))
    second = run(tiny_parts, kept, w2sd(cfg(3.0), None, 0.0, 0.75))
    assert second.resumed == 0  # it does not say when it counts, so its range counts from the start
    assert same(second, run(tiny_parts, None, w2sd(cfg(3.0), None, 0.0, 0.75)))


def test_another_number_of_threads_starts_anew(tiny_parts, kept):
    """A product may differ in its last bits by the number of threads."""
    threads = torch.get_num_threads()
    run(tiny_parts, kept, cfg(3.0))
    try:
        torch.set_num_threads(threads + 1)
        assert run(tiny_parts, kept, cfg(3.0)).resumed == 0
    finally:
        torch.set_num_threads(threads)

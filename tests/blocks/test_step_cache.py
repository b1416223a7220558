"""The laws of the step cache (sampling.md 4.4) on miniatures of real networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from studio.blocks.gates import Drift, FixedSteps, Interval, Limits
from studio.blocks.parts import Part, StepCache
from studio.blocks.step_cache import (
    attachment,
    confident_taylor,
    delta_dit,
    first_block,
    fixed_steps,
    taylor,
)
from studio.errors import StudioError
from studio.models.tiny import tiny_transformer
from tests.blocks.caching import PAIR, cached, decisions, equal, inputs, plain, steps_of
from tests.controls.attaching import call_of, run, state

FAMILIES = ("sd3", "flux", "qwen_image")
families = pytest.mark.parametrize("family", FAMILIES)
ONE = Limits(warm=1)
PRESETS = {
    "first block": first_block(0.5),
    "confidence": confident_taylor(0.5, limits=ONE),
    "taylor": taylor(3, limits=ONE),
    "order 2": taylor(2, order=2, limits=ONE),
    "published form": taylor(2, order=2, form="taylor", limits=ONE),
    "over sigma": taylor(2, axis="sigma", limits=ONE),
    "delta": delta_dit(2),
    "fixed": fixed_steps((0, 1, 4)),
}
NEUTRAL = {
    "tolerance 0": first_block(0),
    "foreseen 0": confident_taylor(0),
    "interval 1": taylor(1, growth=0.5),
    "delta 1": delta_dit(1),
    "all steps": fixed_steps(None),
}
# never skips, but is attached
IDLE = {
    "all listed": fixed_steps(range(8)),
    "warm": taylor(3, limits=Limits(warm=8)),
    "last": taylor(3, limits=Limits(warm=0, last=8)),
    "tolerance too small": first_block(1e-30),
}


@families
@pytest.mark.parametrize("cache", IDLE.values(), ids=IDLE)
def test_a_cache_that_never_skips_gives_the_bits_of_the_plain_run(family: str, cache: StepCache) -> None:
    network, given = tiny_transformer(family), inputs(family, 8)
    found, session = cached(network, cache, given)
    assert equal(found, plain(network, given))
    assert decisions(session) == "F" * 8
    assert session is not None and session.report()["work"] == 1


@pytest.mark.parametrize("cache", NEUTRAL.values(), ids=NEUTRAL)
def test_a_neutral_cache_attaches_nothing(cache: StepCache) -> None:
    network = tiny_transformer("sd3")
    before = state(network)
    with attachment(cache).attach(network) as session:
        assert session is None and state(network) == before


@families
@pytest.mark.parametrize("cache", PRESETS.values(), ids=PRESETS)
def test_it_skips_and_a_second_run_is_equal_and_the_network_is_as_before(
    family: str, cache: StepCache
) -> None:
    network, given = tiny_transformer(family), inputs(family, 8)
    before, truth = state(network), plain(network, given)
    first, session = cached(network, cache, given)
    again, _ = cached(network, cache, given)
    assert "s" in decisions(session) and equal(first, again)
    assert not equal(first, truth) and state(network) == before
    assert equal(plain(network, given), truth)


@families
@pytest.mark.parametrize("cache", PRESETS.values(), ids=PRESETS)
def test_where_nothing_moves_a_skipped_step_is_the_full_one(family: str, cache: StepCache) -> None:
    network, given = tiny_transformer(family), inputs(family, 8, still=True)
    found, session = cached(network, cache, given)
    assert "s" in decisions(session)
    for one, other in zip(found, plain(network, given), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@families
def test_block_calls_are_those_of_full_steps_and_of_blocks_outside_the_range(family: str) -> None:
    network, given = tiny_transformer(family), inputs(family, 9)
    count = {"sd3": 2, "flux": 4, "qwen_image": 2}[family]
    calls = []
    handles = [
        module.register_forward_pre_hook(lambda *_: calls.append(1))
        for module in (
            network.get_submodule(name)
            for name, _ in network.named_modules()
            if name.endswith(("attn",)) and name.count(".") == 2
        )
    ]
    assert len(handles) == count
    part = Part(Interval(3), 1, -1, 0, limits=ONE)
    _, session = cached(network, StepCache("part", (part,)), given)
    full = decisions(session).count("F")
    assert full == 3 and len(calls) == full * count + (9 - full)
    assert session is not None and session.report()["work"] == pytest.approx(
        len(calls) / (9 * count), abs=1e-4
    )
    for handle in handles:
        handle.remove()


def test_what_is_added_between_blocks_is_counted_once() -> None:
    """ControlNet residuals: with identical inputs a skipped step is the full one."""
    network = tiny_transformer("sd3")
    given = inputs("sd3", 4, still=True)
    extra = torch.randn(2, 24, 16, generator=torch.Generator().manual_seed(4))
    for arguments in given:
        arguments["block_controlnet_hidden_states"] = [extra, extra]
    found, session = cached(network, fixed_steps((0,), order=0), given + given)
    assert decisions(session) == "F" + 7 * "s"
    assert all(torch.allclose(one, found[0], atol=1e-5) for one in found)
    assert not torch.allclose(found[0], run(network, call_of("sd3", 2)), atol=1e-3)


@families
def test_a_run_that_was_stopped_leaves_nothing_stale(family: str) -> None:
    network, given = tiny_transformer(family), inputs(family, 8)
    before, cache = state(network), taylor(3, limits=ONE)
    fresh, _ = cached(network, cache, given)
    with pytest.raises(KeyboardInterrupt), attachment(cache).attach(network) as session:
        with session.call(steps_of(8)[0], PAIR):  # type: ignore[attr-defined]
            run(network, inputs(family, 8)[5])
        raise KeyboardInterrupt
    assert state(network) == before
    assert equal(cached(network, cache, given)[0], fresh)


@families
@pytest.mark.parametrize(
    "cache", [first_block(0.02), confident_taylor(0.02, limits=ONE)], ids=["first block", "confidence"]
)
def test_every_picture_of_a_batch_decides_as_if_alone(family: str, cache: StepCache) -> None:
    """Picture 0 moves, picture 1 stands still."""
    network = tiny_transformer(family)
    moving, still = inputs(family, 8, rows=1), inputs(family, 8, rows=1, still=True)
    both = [{**inputs(family, 8)[i], **_stacked(moving[i], still[i])} for i in range(8)]
    together, session = cached(network, cache, both, ("cond:0", "cond:1"))
    for k, own in enumerate((moving, still)):
        alone, apart = cached(network, cache, own, ("cond:0",))
        assert decisions(session, str(k)) == decisions(apart)
        for one, other in zip(together, alone, strict=True):
            assert torch.allclose(one[k], other[0], atol=1e-5)
    assert decisions(session, "0") != decisions(session, "1")


def _stacked(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    made = {
        name: torch.cat([value, other[name]])
        for name, value in one.items()
        if isinstance(value, torch.Tensor) and not name.endswith("_ids")
    }
    if "img_shapes" in one:
        made["img_shapes"] = [*one["img_shapes"], *other["img_shapes"]]
    return made


def test_source_and_target_of_an_edit_share_one_decision() -> None:
    """One row moves, one stands still: the statistic is over both."""
    network = tiny_transformer("sd3")
    moving, still = inputs("sd3", 8, rows=1), inputs("sd3", 8, rows=1, still=True)
    both = [_stacked(moving[i], still[i]) for i in range(8)]
    _, session = cached(network, first_block(0.02), both, ("source:0", "target:0"))
    assert session is not None and list(session.report()["pictures"]) == ["0"]  # type: ignore[call-overload]


def test_both_sides_of_guidance_in_two_calls_follow_the_first_one() -> None:
    network, cache = tiny_transformer("sd3"), taylor(3, limits=ONE)
    given = inputs("sd3", 8, rows=1)
    joint, session = cached(network, cache, [_stacked(one, one) for one in given])
    apart = []
    with attachment(cache).attach(network) as two:
        for step, arguments in zip(steps_of(8), given, strict=True):
            pair = []
            for role in ("cond:0", "uncond:0"):
                with two.call(step, (role,)):  # type: ignore[attr-defined]
                    pair.append(run(network, arguments)[0])
            apart.append(torch.stack(pair))
        assert decisions(two) == decisions(session)  # type: ignore[arg-type]
    for one, other in zip(joint, apart, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_rows_that_go_away_or_another_text_or_size_begin_anew() -> None:
    network, cache = tiny_transformer("sd3"), taylor(9, limits=ONE)
    pair, single = inputs("sd3", 8), inputs("sd3", 8, rows=1)
    other = [{**one, "encoder_hidden_states": one["encoder_hidden_states"] + 1} for one in single]
    larger = [
        {**one, "hidden_states": torch.nn.functional.pad(one["hidden_states"], (0, 2))} for one in single
    ]
    plan = [(pair, PAIR)] * 2 + [(single, ("cond:0",))] * 2 + [(other, ("cond:0",))] * 2
    plan += [(larger, ("cond:0",))] * 2
    with attachment(cache).attach(network) as session:
        for step, (given, roles) in zip(steps_of(8), plan, strict=True):
            with session.call(step, roles):  # type: ignore[attr-defined]
                found = run(network, given[step.index])
            if step.index % 2 == 0:
                assert torch.equal(found, run(network, given[step.index]))
        assert decisions(session) == "FsFsFsFs"  # type: ignore[arg-type]


def test_two_stages_of_a_step_are_kept_apart() -> None:
    """Heun's second call is at another noise level: it is forecast from second calls."""
    network, cache = tiny_transformer("sd3"), taylor(2, order=0, limits=ONE)
    early, late = inputs("sd3", 8)[0], inputs("sd3", 8)[7]
    truth = plain(network, [early, late])
    with attachment(cache).attach(network) as session:
        for step in steps_of(8)[:4]:
            for stage, arguments in enumerate((early, late)):
                with session.call(step, PAIR):  # type: ignore[attr-defined]
                    assert torch.allclose(run(network, arguments), truth[stage], atol=1e-5)
        assert decisions(session) == "FsFs"  # type: ignore[arg-type]


def test_limits() -> None:
    network, given = tiny_transformer("sd3"), inputs("sd3", 8)
    still = inputs("sd3", 8, still=True)

    def told(gate: Any, limits: Limits, arguments: Any = given) -> str:
        return decisions(cached(network, StepCache("x", (Part(gate, 1, limits=limits),)), arguments)[1])

    assert told(Interval(8), Limits(warm=3)) == "FFFsssss"
    assert told(Interval(3), Limits(warm=3)) == "FFFssFss"
    assert told(Interval(2, 0.7), Limits(warm=1)) == "FsFsFsss"
    assert told(Interval(8), Limits(warm=1, last=2)) == "FsssssFF"
    assert told(Interval(8), Limits(warm=1, most=2)) == "FssFssFs"
    assert told(FixedSteps((0, 5)), Limits(warm=0)) == "FssssFss"
    assert told(Drift(0.5), Limits(warm=2), still) == "FFssssss"
    moving = told(Drift(9.0), Limits(warm=1))
    assert moving == "Fsssssss"
    assert told(Drift(9.0), Limits(warm=1, budget=0.05)).count("F") > 1


def test_gates_that_measure_a_drift_decide_as_by_hand() -> None:
    network, given = tiny_transformer("sd3"), inputs("sd3", 8)
    seen: list[torch.Tensor] = []
    hook = network.get_submodule("transformer_blocks.0").register_forward_hook(
        lambda _, args, kwargs, out: seen.append(out[1] - kwargs["hidden_states"]), with_kwargs=True
    )
    plain(network, given)
    hook.remove()

    def by_hand(tau: float, forecast: bool, budget: float) -> str:
        told, spent = "FF", 0.0
        full = [0, 1]
        for step in range(2, 8):
            last, before = full[-1], full[-2]
            expected = seen[last]
            if forecast:
                expected = expected + (seen[last] - seen[before]) * (step - last) / (last - before)
            drift = float((seen[step] - expected).abs().mean() / expected.abs().mean())
            skip = drift < tau and not (budget and spent + drift > budget)
            spent = spent + drift if skip else 0.0
            told += "s" if skip else "F"
            full += [] if skip else [step]
        return told

    patterns = []
    for given_gate in ((0.15, False, 0.0), (9.0, False, 0.3), (0.4, True, 0.0), (9.0, True, 0.6)):
        tau, forecast, budget = given_gate
        part = Part(Drift(tau, forecast), 1, limits=Limits(warm=2, budget=budget))
        patterns.append(decisions(cached(network, StepCache("x", (part,)), given)[1]))
        assert patterns[-1] == by_hand(*given_gate)
    assert len(set(patterns)) > 2 and all({"F", "s"} == set(told[2:]) for told in patterns)


def test_parts_work_at_their_own_steps() -> None:
    network, given = tiny_transformer("flux"), inputs("flux", 8)
    calls: list[str] = []
    for name in ("transformer_blocks.0", "single_transformer_blocks.1"):
        network.get_submodule(f"{name}.attn").register_forward_pre_hook(
            lambda *_, name=name: calls.append(name)
        )
    _, session = cached(network, delta_dit(2), given)
    assert decisions(session) == "FsFsFsFs"
    # the front runs at all four early steps and two late ones, the rear the other way round
    assert calls.count("transformer_blocks.0") == calls.count("single_transformer_blocks.1") == 6


def test_bad_settings_are_refused() -> None:
    network = tiny_transformer("sd3")

    def refused(make: Any, match: str) -> None:
        with pytest.raises(StudioError, match=match):
            make()

    refused(lambda: taylor(0), "One full step in 0")
    refused(lambda: taylor(2, growth=1.5), "growth of 1.5")
    refused(lambda: taylor(2, order=3), "order of 3")
    refused(lambda: taylor(2, form="newtn"), "no predictor 'newtn'")
    refused(lambda: first_block(-1), "tolerance of -1")
    refused(lambda: first_block(float("nan")), "tolerance of nan")
    refused(lambda: fixed_steps((-1, 2)), "numbered from 1")
    for part in (Part(first=2), Part(first=1, last=0), Part(Drift(0.1), first=0)):
        refused(lambda part=part: attachment(StepCache("x", (part,))).attach(network).__enter__(), "Blocks ")
    meeting = StepCache("x", (Part(first=0, last=1), Part(first=1)))
    refused(lambda: attachment(meeting).attach(network).__enter__(), "meet")
    for family in ("flux2", "z_image"):
        other = tiny_transformer(family)
        refused(lambda other=other: attachment(taylor(2)).attach(other).__enter__(), "do not know")


def test_runs_of_few_steps_have_only_the_mild_form() -> None:
    network = tiny_transformer("sd3")
    with pytest.raises(StudioError, match="does not fit a run of 4 steps"):
        cached(network, taylor(2, limits=ONE), inputs("sd3", 4))
    assert "s" in decisions(cached(network, delta_dit(2), inputs("sd3", 4))[1])


def test_two_caches_on_one_network_are_refused_and_hooks_left_behind_are_told() -> None:
    network = tiny_transformer("sd3")
    before = state(network)
    with (
        attachment(taylor(2)).attach(network),
        pytest.raises(StudioError, match="two step caches"),
        attachment(taylor(3)).attach(network),
    ):
        pass
    assert state(network) == before
    block: Any = network.get_submodule("transformer_blocks.0")
    with (
        pytest.raises(StudioError, match="Hooks were put on 1 blocks"),
        attachment(taylor(2)).attach(network),
    ):
        inner = block.forward
        block.forward = lambda **kwargs: inner(**kwargs)
    assert torch.equal(run(network, call_of("sd3")), run(tiny_transformer("sd3"), call_of("sd3")))


def test_a_block_that_somebody_else_leaves_out_is_an_error() -> None:
    network: Any = tiny_transformer("sd3")
    with (
        attachment(taylor(2, limits=ONE)).attach(network) as session,
        pytest.raises(StudioError, match="left out by somebody else"),
        session.call(steps_of(8)[0], PAIR),  # type: ignore[attr-defined]
    ):
        run(network, {**call_of("sd3", 2), "skip_layers": [1]})


def test_calls_of_another_thread_and_outside_of_a_run_are_plain() -> None:
    import threading

    network, given = tiny_transformer("sd3"), inputs("sd3", 8)
    truth = run(network, given[7])
    found = []
    with attachment(taylor(8, limits=ONE)).attach(network) as session:
        with session.call(steps_of(8)[0], PAIR):  # type: ignore[attr-defined]
            run(network, given[0])
        assert torch.equal(run(network, given[7]), truth)
        with session.call(steps_of(8)[1], PAIR):  # type: ignore[attr-defined]
            thread = threading.Thread(target=lambda: found.append(run(network, given[7])))
            thread.start()
            thread.join()
            run(network, given[1])
    assert torch.equal(found[0], truth)


def test_the_report_tells_what_was_skipped_and_how_far_off_it_was() -> None:
    network = tiny_transformer("sd3")
    _, session = cached(network, taylor(3, order=0, limits=ONE), inputs("sd3", 8))
    assert session is not None
    told: Any = session.report()
    assert told["pictures"] == {"0": {"full": [1, 4, 7], "skipped": [2, 3, 5, 6, 8]}}
    assert told["steps"] == told["calls"] == 8 and told["work"] == pytest.approx(3 / 8)
    assert told["error_estimate"] > 0 and isinstance(told["seconds_saved"], float)
    _, still = cached(network, taylor(3, order=0, limits=ONE), inputs("sd3", 8, still=True))
    assert still is not None and still.report()["error_estimate"] < 1e-5  # type: ignore[operator]

"""Step caches beside attention controls: what stays the same may be left out, what must act is not, and both
together do what the run without a cache does where nothing is skipped (sampling.md 4.3, 15)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from studio.blocks.gates import Limits
from studio.blocks.parts import StepCache
from studio.blocks.session import Session
from studio.blocks.step_cache import attachment, confident_taylor, fixed_steps, taylor
from studio.controls.attach import ControlNotApplied
from studio.controls.inject_qk import InjectQK
from studio.controls.negative import Nag
from studio.controls.regional import Regional, RegionText
from studio.controls.word_maps import WordMaps
from studio.errors import StudioError
from studio.models.family import Parts
from studio.models.words import find_words, segment_conditioning
from studio.sampling.flow_edit import flow_edit
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import Run, sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Latent, Region
from tests.controls.attaching import state

STEPS = 8
SIDE = 64
TEXT = "a red star on the left"
CACHE = taylor(3, limits=Limits(warm=1))
# random networks move much from step to step
TOLERANCE = {"sd3": 0.3, "flux": 0.6}
OFF = taylor(3, limits=Limits(warm=STEPS))


@pytest.fixture(scope="module", params=["sd3", "flux"])
def parts(request: pytest.FixtureRequest) -> Parts:
    from studio.models.family import parts_of
    from studio.models.loading import ModelStore

    return parts_of(ModelStore(device="cpu").load(f"tiny:{request.param}"))


def make(
    parts: Parts, *attachments: Any, batch: int = 1, steps: int = STEPS, seed: int = 3, by: str = "euler"
) -> Run:
    text = [parts.family.encode_text(parts, words)[0] for words in (TEXT, "")]
    return sample_run(
        parts,
        *text,
        Latent(SIDE, SIDE, batch, seed),
        flow(steps),
        sampler(by),
        cfg(3.0),
        attachments=attachments,
    )


def told(run: Run) -> dict[str, Any]:
    (report,) = run.report["followers"]  # type: ignore[misc]
    return report  # type: ignore[no-any-return]


def pattern(run: Run, picture: str = "0") -> str:
    pictures = told(run)["pictures"][picture]
    return "".join("s" if i + 1 in pictures["skipped"] else "F" for i in range(told(run)["steps"]))


def regions(parts: Parts, **more: Any) -> Regional:
    text = segment_conditioning(parts, "a blue house")
    return Regional(TEXT, (RegionText(Region("a", "a blue house", (0, 0, 0.5, 1), **more), text),))


def controls(parts: Parts) -> dict[str, Any]:
    return {
        "regions": regions(parts),
        "nag": Nag(segment_conditioning(parts, "house")),
        "edit": InjectQK(parts.family.encode_text(parts, "a blue star on the left")[0], tau=0.5),
        "watch": WordMaps((find_words(parts, TEXT, "star"),)),
    }


@pytest.mark.parametrize("name", ["regions", "nag", "edit", "watch"])
def test_a_cache_that_never_skips_changes_no_bit_of_a_controlled_run(parts: Parts, name: str) -> None:
    control = controls(parts)[name]
    before = state(parts.transformer)
    alone, beside = make(parts, control), make(parts, attachment(OFF), control)
    assert torch.equal(alone.latent.tensor, beside.latent.tensor)  # type: ignore[arg-type]
    assert alone.report["controls"] == beside.report["controls"]
    assert state(parts.transformer) == before


@pytest.mark.parametrize("name", ["regions", "nag"])
def test_what_stays_the_same_may_be_left_out(parts: Parts, name: str) -> None:
    run = make(parts, attachment(CACHE), controls(parts)[name])
    assert pattern(run) == "FssFssFs" and run.report["skipped"]


def test_a_region_that_starts_or_ends_begins_anew(parts: Parts) -> None:
    run = make(parts, attachment(taylor(9, limits=Limits(warm=1))), regions(parts, start=0.25, end=0.75))
    assert pattern(run) == "FsFsssFs"


def test_steps_at_which_an_edit_injects_are_full_and_both_rows_share_one_decision(parts: Parts) -> None:
    run = make(parts, attachment(CACHE), controls(parts)["edit"])
    assert pattern(run) == "FFFFFssF" and list(told(run)["pictures"]) == ["0"]


def test_what_must_be_seen_at_every_step_makes_every_step_full(parts: Parts) -> None:
    watch = controls(parts)["watch"]
    run = make(parts, attachment(CACHE), watch)
    assert pattern(run) == "F" * STEPS and "needed in full" in told(run)["warning"]
    assert torch.equal(run.latent.tensor, make(parts, watch).latent.tensor)  # type: ignore[arg-type]
    assert len(run.seen.maps) == len(make(parts, watch).seen.maps)


def test_an_attachment_that_skips_without_asking_is_still_an_error(parts: Parts) -> None:
    """The session asks; if what it asks says yes to all, the fail-closed check still finds a site unseen."""
    from studio.controls.attach import Attached

    watch = controls(parts)["watch"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ControlNotApplied):
        patch.setattr(Attached, "skip_blocks", lambda *_: True)
        make(parts, attachment(CACHE), watch)


@pytest.mark.parametrize("name", ["", "regions", "nag"])
def test_pictures_of_a_batch_are_those_made_alone(parts: Parts, name: str) -> None:
    """Each decides for itself; a block then runs for some rows alone, with the controls on those."""
    cache = attachment(confident_taylor(TOLERANCE[parts.family.name], limits=Limits(warm=1)))
    steady = [controls(parts)[name]] if name else []
    batch = make(parts, cache, *steady, batch=3)
    patterns = []
    for k in range(3):
        alone = make(parts, cache, *steady, seed=3 + k)
        assert pattern(alone) == pattern(batch, str(k))
        assert torch.allclose(alone.latent.tensor[0], batch.latent.tensor[k], atol=1e-4)  # type: ignore[index]
        patterns.append(pattern(alone))
    assert any("s" in found for found in patterns)


@pytest.mark.parametrize("by", ["heun", "midpoint", "midpoint_reuse", "dpmpp_2m"])
def test_other_samplers(parts: Parts, by: str) -> None:
    plain, idle = make(parts, by=by), make(parts, attachment(OFF), by=by)
    assert torch.equal(plain.latent.tensor, idle.latent.tensor)  # type: ignore[arg-type]
    assert "s" in pattern(make(parts, attachment(CACHE), by=by))


def test_a_run_stopped_half_way_leaves_nothing_stale(parts: Parts) -> None:
    before, fresh = state(parts.transformer), make(parts, attachment(CACHE))
    text = [parts.family.encode_text(parts, words)[0] for words in ("a blue house", "")]

    def stop(result: Any) -> None:
        if result.step.index == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_run(
            parts,
            *text,
            Latent(SIDE, SIDE, 1, 99),
            flow(STEPS),
            sampler("euler"),
            cfg(3.0),
            attachments=[attachment(CACHE)],
            on_step=stop,
        )
    assert state(parts.transformer) == before
    assert torch.equal(make(parts, attachment(CACHE)).latent.tensor, fresh.latent.tensor)  # type: ignore[arg-type]


def test_guidance_that_stops_is_a_change_of_plan(parts: Parts) -> None:
    """Rows that are no longer asked for: the next step is full."""
    from studio.sampling.guidance.cfg import cfg as rule

    text = [parts.family.encode_text(parts, words)[0] for words in (TEXT, "")]
    run = sample_run(
        parts,
        *text,
        Latent(SIDE, SIDE, 1, 3),
        flow(STEPS),
        sampler("euler"),
        rule(3.0, end=0.5),
        attachments=[attachment(fixed_steps((0,)))],
    )
    assert pattern(run) == "FsssFsss"


def test_a_recorded_pattern_played_again_gives_the_same_picture(parts: Parts) -> None:
    gated = make(parts, attachment(confident_taylor(0.2, order=0, limits=Limits(warm=1))))
    full = [step - 1 for step in told(gated)["pictures"]["0"]["full"]]
    part = confident_taylor(0.2, order=0).parts[0]
    from dataclasses import replace

    from studio.blocks.gates import FixedSteps

    played = StepCache("played", (replace(part, gate=FixedSteps(tuple(full)), limits=Limits(warm=1)),))
    again = make(parts, attachment(played))
    assert pattern(again) == pattern(gated)
    assert torch.equal(again.latent.tensor, gated.latent.tensor)  # type: ignore[arg-type]


def test_few_steps_two_caches_and_flow_edit_are_refused(parts: Parts) -> None:
    with pytest.raises(StudioError, match="does not fit a run of 4 steps"):
        make(parts, attachment(CACHE), steps=4)
    with pytest.raises(StudioError, match="two step caches"):
        make(parts, attachment(CACHE), attachment(CACHE))
    text = [parts.family.encode_text(parts, words)[0] for words in (TEXT, "a blue star", "")]
    latent = make(parts).latent
    with pytest.raises(StudioError, match="FlowEdit"):
        flow_edit(parts, *text, latent, flow(STEPS), n_max=4, attachments=[attachment(CACHE)])
    with attachment(CACHE).attach(parts.transformer) as session:
        assert isinstance(session, Session)

"""A run with controls that act between steps: branches, restarts, estimates, and what is dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch

from studio.controls.control import AttentionControl, Branch
from studio.errors import Cancelled, StudioError
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_latent, sample_run
from studio.sampling.samplers import SAMPLERS, advance, run_sampler, sampler, steps_of
from studio.sampling.schedules import flow
from studio.sampling.trajectories import Trajectories, trajectories_of
from studio.values import Conditioning, Latent, Row, Sampler, StepResult, Wrap

STEPS = 5
CANVAS = Latent(64, 64, seed=3)


@dataclass(frozen=True)
class Beside(AttentionControl):
    """Tests: a trajectory beside the target's, and a latent scaled after one step."""

    step_end_in_memory: ClassVar[bool] = True

    named: str = "beside"
    branch: tuple[Branch, ...] = ()
    scaled: str = ""
    at: int = 1
    factor: float = 0.5
    keep: tuple[int, ...] = ()
    neutral: bool = False
    seen: list[tuple[int, tuple[str, ...]]] = field(default_factory=list, compare=False)

    @property
    def name(self):
        return self.named

    def is_neutral(self):
        return self.neutral

    def branches(self):
        return self.branch

    def wants_estimate(self, step):
        return step.index in self.keep

    def step_end(self, latents, step, maps):
        self.seen.append((step.index, tuple(latents)))
        if self.scaled and step.index == self.at:
            return {self.scaled: latents[self.scaled] * self.factor}
        return {}


@pytest.fixture
def parts(tiny_parts):
    return tiny_parts


def prompt(parts, text):
    return encode_prompt(parts, text, "it")[0]


def run(parts, *controls, canvas=CANVAS, text="a red star", scale=3.0, name="euler", steps=STEPS, **kwargs):
    sampler_ = name if isinstance(name, Sampler) else sampler(name)
    return sample_run(
        parts,
        prompt(parts, text),
        prompt(parts, ""),
        canvas,
        flow(steps, 3.0),
        sampler_,
        cfg(scale),
        attachments=controls,
        **kwargs,
    )


def source(parts, text="a blue house", **kwargs):
    return Branch("source", prompt(parts, text), **kwargs)


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("batch", [1, 2])
def test_equal_prompts_make_source_and_target_the_same_bit_by_bit(parts, scale, batch):
    made = run(
        parts,
        Beside(branch=(source(parts, "a red star"),)),
        scale=scale,
        canvas=Latent(64, 64, batch, 3),
    )
    assert list(made.latents) == ["source", "target"]
    one, other = (made.latents[role] for role in ("source", "target"))
    assert torch.equal(one.tensor, other.tensor) and other is made.latent
    assert (other.batch, other.seed, other.tensor.shape[0]) == (batch, 3, batch)


def test_each_trajectory_is_the_run_of_its_own_prompt(parts):
    made = run(parts, Beside(branch=(source(parts),)), canvas=Latent(64, 64, 2, 3))
    for role, text in (("source", "a blue house"), ("target", "a red star")):
        alone = run(parts, text=text, canvas=Latent(64, 64, 2, 3)).latent.tensor
        # another batch shape takes other kernels
        assert (made.latents[role].tensor - alone).abs().max() < 1e-5, role


def test_a_branch_has_its_own_negative_prompt(parts):
    negative = prompt(parts, "a green tree")
    with_own = run(parts, Beside(branch=(source(parts, negative=negative),)))
    without = run(parts, Beside(branch=(source(parts),)))
    assert torch.equal(with_own.latent.tensor, without.latent.tensor)
    assert not torch.equal(with_own.latents["source"].tensor, without.latents["source"].tensor)


@pytest.mark.parametrize("kind", ["tensor", "function"])
def test_a_branch_starts_where_it_says(parts, kind):
    begin = torch.full(parts.family.latent_shape(parts, 1, 64, 64), 0.25)
    asked = []

    def starting(sigma):
        asked.append(sigma)
        return begin

    states = []
    branch = source(parts, start=begin if kind == "tensor" else starting)

    def record(denoise, latent, sigmas, *, noise, resume=None):
        states.append(latent)
        return SAMPLERS["euler"](denoise, latent, sigmas, noise=noise, resume=resume)

    run(parts, Beside(branch=(branch,)), name=Sampler("record", record), canvas=Latent(64, 64, 2, 3))
    state = Trajectories((branch,), 2).split(states[0])
    assert all(torch.equal(state["source"][k : k + 1], begin) for k in range(2))
    assert not torch.equal(state["target"][:1], begin)
    assert asked == ([] if kind == "tensor" else [1.0])


def test_a_start_of_another_size_is_refused_before_the_network_runs(parts):
    steps = []
    branch = source(parts, start=torch.zeros(1, 4, 4, 4))
    with pytest.raises(StudioError, match=r"'source' has the shape \(1, 4, 4, 4\)"):
        run(parts, Beside(branch=(branch,)), on_step=steps.append)
    assert not steps


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_changed_latent_goes_on_from_where_it_is(parts, name, factor):
    """Factor 1 restarts the sampler and changes nothing; else it is the same as sampling the rest anew."""
    plain = run(parts, name=name)
    made = run(parts, Beside(scaled="target", factor=factor), name=name)
    if factor == 1:
        assert torch.equal(made.latent.tensor, plain.latent.tensor)
        return
    assert not torch.equal(made.latent.tensor, plain.latent.tensor)
    after: list[StepResult] = []
    run(parts, name=name, on_step=after.append)
    changed = after[1].latent * factor
    resumed = []

    def resuming(denoise, latent, sigmas, *, noise, resume=None):
        resumed.append(resume)
        # what a sampler remembers is changed alike
        memory = tuple(item * factor for item in after[1].memory)
        return SAMPLERS[name](denoise, changed, sigmas, noise=noise, resume=(2, changed, memory))

    rest = run(parts, name=Sampler("rest", resuming))
    assert torch.equal(made.latent.tensor, rest.latent.tensor) and resumed == [None]


def test_a_change_of_the_last_step_is_the_result(parts):
    plain = run(parts).latent.tensor
    control = Beside(scaled="target", at=STEPS - 1, keep=(STEPS - 1,))
    made = run(parts, control)
    assert torch.equal(made.latent.tensor, plain * 0.5)
    assert torch.equal(made.seen.estimates[0].latent, made.latent.tensor)


def test_a_changed_source_leaves_the_target_as_it_was(parts):
    control = Beside(branch=(source(parts),), scaled="source")
    plain = run(parts, Beside(branch=(source(parts),)))
    made = run(parts, control)
    assert torch.equal(made.latent.tensor, plain.latent.tensor)
    assert not torch.equal(made.latents["source"].tensor, plain.latents["source"].tensor)
    assert control.seen == [(index, ("source", "target")) for index in range(STEPS)]


def test_controls_see_what_those_before_them_changed(parts):
    first, second = (Beside(named=name, scaled="target") for name in ("one", "two"))
    made = run(parts, first, second).latent.tensor
    assert torch.equal(made, run(parts, Beside(scaled="target", factor=0.25)).latent.tensor)


def test_what_a_sampler_remembers_is_changed_alike(parts):
    handed = []

    def remembering(denoise, latent, sigmas, *, noise, resume=None):
        start, latent, memory = resume or (0, latent, ())
        handed.append(memory)
        for step in steps_of(sigmas, start):
            denoised = denoise(latent, step)
            latent = advance(latent, denoised, step)
            yield StepResult(step, latent, denoised, (denoised, torch.ones(1)))

    made = []
    name = Sampler("remembering", remembering)
    run(parts, name=name, on_step=made.append)
    run(parts, Beside(scaled="target"), name=name)
    assert torch.equal(handed[2][0], made[1].denoised * 0.5) and handed[2][1].shape == (1,)

    class Blind(Beside):
        step_end_in_memory = False

    run(parts, Blind(scaled="target"), name=name)
    assert torch.equal(handed[-1][0], made[1].denoised)


def test_neutral_controls_are_dropped(parts):
    plain = run(parts).latent.tensor
    control = Beside(neutral=True, branch=(source(parts),), scaled="target")
    made = run(parts, control)
    assert torch.equal(made.latent.tensor, plain) and list(made.latents) == ["target"]
    assert not control.seen and not made.seen.estimates


def test_estimates_are_kept_where_they_are_asked_for_and_change_nothing(parts):
    results = []
    plain = run(parts, Beside(branch=(source(parts),)), on_step=results.append)
    made = run(parts, Beside(branch=(source(parts),), keep=(0, 2, STEPS - 1)))
    assert torch.equal(made.latent.tensor, plain.latent.tensor)
    assert [(e.step, e.sigma) for e in made.seen.estimates] == [
        (i, pytest.approx(flow(STEPS, 3.0).values[i])) for i in (0, 2, STEPS - 1)
    ]
    assert torch.equal(made.seen.estimates[1].latent, results[2].denoised.float())
    assert torch.equal(made.seen.estimates[-1].latent, made.latent.tensor)


def test_the_step_report_shows_the_target_alone(parts):
    results = []
    made = run(parts, Beside(branch=(source(parts),)), canvas=Latent(64, 64, 2, 3), on_step=results.append)
    assert [result.latent.shape[0] for result in results] == [2] * STEPS
    assert torch.equal(results[-1].latent, made.latent.tensor)


def test_wraps_steer_the_target_alone(parts):
    calls = []

    def black(denoise):
        def inner(latent, step):
            calls.append(latent.shape[0])
            return denoise(latent, step) * 0

        return inner

    control = Beside(branch=(source(parts),))
    plain = run(parts, control)
    made = run(parts, control, wraps=[Wrap("same", lambda denoise: denoise), Wrap("black", black)])
    assert calls == [1] * STEPS and not made.latent.tensor.any()
    assert torch.equal(made.latents["source"].tensor, plain.latents["source"].tensor)
    same = run(parts, control, wraps=[Wrap("same", lambda denoise: denoise)])
    assert torch.equal(same.latent.tensor, plain.latent.tensor)


def test_a_wrap_that_does_not_ask_the_network_still_leaves_the_source_alone(parts):
    control = Beside(branch=(source(parts),))
    grey = Wrap("grey", lambda denoise: lambda latent, step: torch.ones_like(latent))
    made = run(parts, control, wraps=[grey])
    assert torch.equal(made.latent.tensor, torch.ones_like(made.latent.tensor))
    assert torch.equal(made.latents["source"].tensor, run(parts, control).latents["source"].tensor)


def test_a_stop_in_the_middle_leaves_the_next_run_as_it_was(parts):
    control = Beside(branch=(source(parts),), scaled="target")
    expected = run(parts, control).latent.tensor

    def stop(result):
        if result.step.index == 2:
            raise Cancelled()

    with pytest.raises(Cancelled):
        run(parts, control, on_step=stop)
    assert torch.equal(run(parts, control).latent.tensor, expected)


def test_two_controls_share_a_trajectory_if_they_agree(parts):
    again = source(parts)  # the same prompt, encoded once more
    start = torch.zeros(1, 4, 8, 8)
    shared = trajectories_of(
        [
            Beside(named="a", branch=(source(parts),)),
            Beside(named="b", branch=(Branch(again.role, again.positive, start=start),)),
        ],
        1,
    )
    assert shared.roles == ("source", "target") and shared.branches[0].start is start
    for other, words in (
        (source(parts, "a green tree"), "'a blue house' and 'a green tree'"),
        (source(parts, start=start + 1), "two different latents"),
    ):
        with pytest.raises(StudioError, match=words):
            trajectories_of(
                [Beside(named="a", branch=(source(parts, start=start),)), Beside(named="b", branch=(other,))],
                1,
            )


@pytest.mark.parametrize("role", ["target", "source.uncond", "a:1", ""])
def test_a_branch_cannot_take_any_name(parts, role):
    with pytest.raises(StudioError, match="trajectory"):
        trajectories_of([Beside(branch=(Branch(role, prompt(parts, "")),))], 1)


def test_a_latent_of_a_role_that_is_not_there_is_refused(parts):
    class Wrong(Beside):
        def step_end(self, latents, step, maps):
            return {"source": latents["target"]}

    with pytest.raises(StudioError, match="'source', which is not in this run"):
        run(parts, Wrong())


def test_a_conditioning_of_another_family_on_a_branch_is_refused(parts):
    other = Conditioning("x", "other", torch.zeros(1, 2, 3))
    with pytest.raises(StudioError, match="'other'"):
        run(parts, Beside(branch=(Branch("source", other),)))


def test_roles_of_network_rows_are_row_then_trajectory_then_picture():
    nothing = Conditioning("", "sd3", torch.zeros(1, 1, 1))
    plain, two = Trajectories(batch=2), Trajectories((Branch("source", nothing),), 2)
    uncond, cond = two.rows(nothing, nothing)
    assert two.network_roles((uncond, cond)) == (
        "source.uncond:0", "source.uncond:1", "target.uncond:0", "target.uncond:1",
        "source:0", "source:1", "target:0", "target:1",
    )  # fmt: skip
    rows = (Row(nothing, "cond"),)
    assert plain.network_roles(rows) == ("cond:0", "cond:1")


def test_step_noise_is_the_same_for_every_trajectory():
    nothing = Conditioning("", "sd3", torch.zeros(1, 1, 1))
    noise = Trajectories((Branch("source", nothing),), 2).noise(
        lambda purpose, index: torch.arange(2.0).reshape(2, 1, 1, 1).expand(2, 4, 3, 3)
    )("churn", 0)
    assert noise.shape == (4, 4, 3, 3) and torch.equal(noise[:2], noise[2:])


def test_without_a_change_draining_a_sampler_asks_nothing_twice():
    calls = []

    def denoise(latent, step):
        calls.append(step.index)
        return latent * 0

    seen = []
    last = run_sampler(
        sampler("euler"), denoise, torch.ones(1, 1, 2, 2), flow(3), noise=lambda *_: torch.zeros(1),
        change=lambda result: seen.append(result.step.index),
    )  # fmt: skip
    assert calls == seen == [0, 1, 2] and not last.any()


def test_sample_latent_is_the_targets_latent(parts):
    control = Beside(branch=(source(parts),))
    alone = sample_latent(
        parts, prompt(parts, "a red star"), prompt(parts, ""), CANVAS, flow(STEPS, 3.0), sampler("euler"),
        cfg(3.0), attachments=[control],
    )  # fmt: skip
    assert torch.equal(alone.tensor, run(parts, control).latent.tensor)

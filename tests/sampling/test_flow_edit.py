"""FlowEdit: equal prompts change nothing at all, the counts, the mask, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from studio.controls.control import AttentionControl, Branch, Need, Write
from studio.controls.estimates import Estimates
from studio.errors import Cancelled, StudioError
from studio.models.text import encode_prompt
from studio.sampling.flow_edit import flow_edit
from studio.sampling.schedules import flow
from studio.values import Latent, Mask

STEPS, N_MAX = 6, 4
SOURCE, TARGET = "a red star", "a blue house"


@pytest.fixture
def edit(tiny_parts, tiny_picture):
    def run(source=SOURCE, target=TARGET, latent=tiny_picture, steps=STEPS, **kwargs):
        encoded = (encode_prompt(tiny_parts, text, "it")[0] for text in (source, target, ""))
        scales = {"source_scale": 2.0, "target_scale": 5.0, "n_max": N_MAX}
        return flow_edit(tiny_parts, *encoded, latent, flow(steps, 3.0), **{**scales, **kwargs})

    return run


@dataclass(frozen=True)
class Copies(AttentionControl):
    """Tests: the target's picture tokens take the source's queries and keys everywhere."""

    seen: list[str] = field(default_factory=list, compare=False)

    @property
    def name(self):
        return "copies"

    def needs(self, site, step):
        return Need.EDIT if site.joint else Need.NONE

    def writes(self, site, step):
        return (Write("target", "image", "qk"),)

    def edit(self, call):
        self.seen.append(call.site.name)
        source, target = (list(call.layout.rows(role)) for role in ("source", "target"))
        q, k, span = call.q.clone(), call.k.clone(), call.layout.span("image")
        for tensor in (q, k):
            tensor[target, :, span] = tensor[source, :, span]
        return q, k, call.v


@dataclass(frozen=True)
class Moves(AttentionControl):
    """Tests: one latent replaced by a function of all after a step."""

    role: str = "target"
    factor: float = 0.5
    at: int = 1

    @property
    def name(self):
        return "moves"

    def step_end(self, latents, step, maps):
        source, target = latents["source"], latents["target"]
        if step.index != self.at:
            return {}
        return {self.role: source + self.factor * (target - source) if self.role == "target" else source * 2}


@pytest.mark.parametrize("n_avg", [1, 2])
@pytest.mark.parametrize("batch", [1, 2])
def test_equal_prompts_give_the_picture_bit_by_bit_on_the_general_path(edit, tiny_picture, n_avg, batch):
    latent = replace(
        tiny_picture, batch=batch, tensor=tiny_picture.tensor.repeat(batch, 1, 1, 1), source=None
    )
    changes = []
    made = edit(
        SOURCE,
        SOURCE,
        latent,
        source_scale=4.0,
        target_scale=4.0,
        n_avg=n_avg,
        attachments=[Estimates(2)],
        on_step=lambda result: changes.append(torch.equal(result.latent, latent.tensor)),
    )
    assert torch.equal(made.latent.tensor, latent.tensor) and changes == [True] * N_MAX


def test_equal_prompts_stay_the_same_with_an_attention_edit_inside(edit, tiny_picture):
    control = Copies()
    made = edit(SOURCE, SOURCE, source_scale=4.0, target_scale=4.0, attachments=[control])
    assert made.latent is tiny_picture and control.seen and made.report["forwards"] == N_MAX


def test_an_attention_edit_changes_what_comes_out(edit):
    plain = edit().latent.tensor
    assert not torch.equal(edit(attachments=[Copies()]).latent.tensor, plain)


def test_what_changes_nothing_is_the_picture_itself_without_a_call(edit, tiny_parts, tiny_picture, recorded):
    with recorded(tiny_parts.transformer) as calls:
        assert edit(n_max=0).latent is tiny_picture
        assert edit(SOURCE, SOURCE, source_scale=4.0, target_scale=4.0).latent is tiny_picture
        nowhere = Mask(np.zeros((64, 64), np.float32))
        assert edit(mask=nowhere).latent is tiny_picture
    assert not calls


def test_both_pictures_are_seen_in_one_call_a_step(edit, tiny_parts, recorded):
    with recorded(tiny_parts.transformer) as calls:
        edit(n_avg=2)
    # a guidance-distilled network takes its scale as an input and needs no negative rows
    distilled = bool(getattr(tiny_parts.transformer.config, "guidance_embeds", False))
    assert [call["hidden_states"].shape[0] for call in calls] == [2 if distilled else 4] * (2 * N_MAX)


def test_the_first_step_is_the_published_one(tiny_parts, tiny_picture, edit):
    """x + (s' - s) (v_target - v_source) at z = (1 - s) x + s e, with e of the step alone."""
    results = []
    edit(n_max=1, on_step=results.append)
    repeated = []
    edit(n_max=1, on_step=repeated.append)
    assert torch.equal(results[0].latent, repeated[0].latent)
    step = results[0].step
    moved = results[0].latent - tiny_picture.tensor
    assert (step.index, step.total, step.sigma_next) == (0, 1, 0.0)
    assert moved.abs().max() > 1e-3
    other = edit(latent=replace(tiny_picture, seed=6), n_max=1).latent.tensor
    assert not torch.equal(other, results[0].latent)


def test_more_steps_and_a_stronger_target_go_further(edit, tiny_picture):
    def far(**kwargs):
        return float((edit(**kwargs).latent.tensor - tiny_picture.tensor).abs().mean())

    assert far(n_max=1) < far(n_max=3)
    assert far(target_scale=3.0) < far(target_scale=12.0)


@pytest.mark.parametrize("n_min", [0, 2, N_MAX])
def test_outside_the_mask_the_picture_stays_bit_by_bit(edit, tiny_picture, n_min):
    values = np.zeros((64, 64), np.float32)
    values[:, 32:] = 1
    made = edit(mask=Mask(values), n_min=n_min).latent.tensor
    half = made.shape[-1] // 2
    assert torch.equal(made[..., :half], tiny_picture.tensor[..., :half])
    assert not torch.equal(made[..., half:], tiny_picture.tensor[..., half:])


def test_a_mask_of_ones_is_no_mask(edit):
    ones = Mask(np.ones((64, 64), np.float32))
    assert torch.equal(edit(mask=ones).latent.tensor, edit().latent.tensor)


def test_the_last_steps_may_sample_the_target_plainly(edit):
    assert not torch.equal(edit(n_min=2).latent.tensor, edit().latent.tensor)


def test_a_control_between_steps_is_handed_picture_and_edit(edit, tiny_picture):
    results = []
    plain = []
    edit(on_step=plain.append)
    made = edit(attachments=[Moves()], on_step=results.append)
    wanted = tiny_picture.tensor + 0.5 * (plain[1].latent - tiny_picture.tensor)
    assert torch.allclose(results[1].latent, wanted, atol=1e-6)
    assert not torch.equal(made.latent.tensor, plain[-1].latent)
    back = edit(attachments=[Moves(factor=0.0, at=N_MAX - 1)])
    assert back.latent is tiny_picture


def test_a_control_that_moves_the_source_is_refused(edit):
    with pytest.raises(StudioError, match="moved the source"):
        edit(attachments=[Moves(role="source")])


def test_a_control_with_a_trajectory_of_its_own_is_refused(edit, tiny_parts):
    class Third(Moves):
        def branches(self):
            return (Branch("reference", encode_prompt(tiny_parts, "a tree", "it")[0]),)

    with pytest.raises(StudioError, match="side by side"):
        edit(attachments=[Third()])


def test_another_source_prompt_in_a_control_is_refused(edit, tiny_parts):
    class Other(Moves):
        def branches(self):
            return (Branch("source", encode_prompt(tiny_parts, "a tree", "it")[0]),)

    with pytest.raises(StudioError, match="'a red star' and 'a tree'"):
        edit(attachments=[Other()])


def test_estimates_end_with_the_edited_picture(edit):
    made = edit(attachments=[Estimates(2)])
    assert [e.step for e in made.seen.estimates] == [0, N_MAX - 1]
    assert torch.equal(made.seen.estimates[-1].latent, made.latent.tensor)


def test_a_stop_in_the_middle_leaves_the_next_run_as_it_was(edit):
    expected = edit(attachments=[Copies()]).latent.tensor

    def stop(result):
        raise Cancelled()

    with pytest.raises(Cancelled):
        edit(attachments=[Copies()], on_step=stop)
    assert torch.equal(edit(attachments=[Copies()]).latent.tensor, expected)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n_max": 7}, "n_max of 7 .* 6 steps"),
        ({"n_max": -1}, "n_max of -1"),
        ({"n_max": 2, "n_min": 3}, "n_min of 3"),
        ({"n_avg": 0}, "n_avg of 0"),
        ({"n_avg": 17}, "n_avg of 17"),
        ({"target_scale": 31.0}, "target"),
        ({"source_scale": float("nan")}, "source"),
        ({"mask": Mask(np.ones((32, 64), np.float32))}, "64x32 pixels, the picture 64x64"),
        ({"latent": Latent(64, 64)}, "empty"),
        ({"latent": Latent(64, 64, tensor=torch.zeros(1, 4, 4, 4), family="sd3")}, "shape"),
        ({"latent": Latent(64, 64, tensor=torch.zeros(1, 4, 8, 8), family="other")}, "'other'"),
        ({"latent": Latent(64, 64, tensor=torch.zeros(1, 4, 8, 8), family="sd3", sigma=1.0)}, "noise level"),
        ({"latent": Latent(70, 64, tensor=torch.zeros(1, 4, 8, 8), family="sd3")}, "width of 70"),
    ],
)
def test_bad_input_is_refused_before_the_network_runs(edit, tiny_parts, recorded, given, words):
    with recorded(tiny_parts.transformer) as calls, pytest.raises(StudioError, match=words):
        edit(**given)
    assert not calls

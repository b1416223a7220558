"""Attention values kept on the way up and put back on the way down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.controls.inject_v import InjectValues
from studio.errors import StudioError
from studio.models.family import adapter_for, parts_of
from studio.models.loading import ModelStore
from studio.models.pictures import encode_picture
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.inversion import METHODS, invert, inverted
from studio.sampling.loop import sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow, from_strength
from studio.values import Image, Latent

SIGMAS = flow(5, 1.5)


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def parts(request):
    store = ModelStore(device="cpu")
    yield parts_of(store.load(request.param))
    store.close()


@pytest.fixture(scope="module")
def paths(parts):
    """One path of a picture by every way to invert, with the values of two steps."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = encode_picture(parts, Image(pixels), seed=5)
    prompts = (prompt(parts, "a red star"), prompt(parts, ""))
    return {
        method: invert(parts, *prompts, picture, SIGMAS, method=method, keep_values=2, keep_from=0.0)
        for method in METHODS
    }


def prompt(parts, text):
    return encode_prompt(parts, text, "it")[0]


def run(parts, path, *controls, text="a blue house", name="", sigmas=SIGMAS, latent=None, scale=2.0):
    return sample_run(
        parts, prompt(parts, text), prompt(parts, ""), latent or inverted(path), sigmas,
        sampler(name or path.sampler), cfg(scale), attachments=controls,
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_values_put_back_change_the_run_and_bring_it_nearer_to_the_picture(parts, paths, method):
    path = paths[method]
    plain, made = run(parts, path), run(parts, path, InjectValues(path, 2))
    assert not torch.equal(plain.latent.tensor, made.latent.tensor)
    told = made.report["controls"][0]
    assert told["technique"] == "inject_v" and told["steps"] == 2
    joint = [s for s in adapter_for(parts.transformer).sites(parts.transformer) if s.joint]
    assert told["sites"] == len(joint)


def test_no_steps_is_the_plain_run_bit_by_bit(parts, paths):
    path = paths["midpoint"]
    made = run(parts, path, InjectValues(path, 0))
    assert torch.equal(made.latent.tensor, run(parts, path).latent.tensor) and not made.report


def test_the_runs_own_values_put_back_change_nothing(parts, paths):
    """What is kept of a call and put into the same call changes nothing: the tokens are the right ones."""
    path = paths["euler"]
    # one step whose start is the start of the walk up: the state at 0, seen at 0
    from studio.sampling.controlled import attached_controls
    from studio.sampling.denoiser import make_predict
    from studio.values import Row, Step

    step = Step(0, 1, 0.0, SIGMAS.values[-2])
    state = path.states[-1]
    # a guidance-distilled network was inverted at guidance 1
    led = (1.0,) if getattr(parts.transformer.config, "guidance_embeds", False) else ()
    row = Row(path.positive, "cond", guidance=led)
    whole = invert(
        parts, path.positive, path.positive, path.latent, SIGMAS, method="euler", keep_values=5, keep_from=0.0
    )

    class Same(InjectValues):
        def check(self, sites, steps):
            pass

        def _number(self, step):
            return len(SIGMAS.values) - 2

        def _values(self, number, half, site):
            return super()._values(number, False, site)

    with torch.inference_mode():
        plain = make_predict(parts)(state, step, (row,))[0]
        with attached_controls(parts, [Same(whole, 5)], [step], 1) as controlled:
            made = make_predict(parts, controlled.attached, controlled.trajectories)(state, step, (row,))[0]
        other = prompt(parts, "a blue house")
        with attached_controls(parts, [Same(whole, 5)], [step], 1) as controlled:
            predict = make_predict(parts, controlled.attached, controlled.trajectories)
            assert not torch.equal(predict(state, step, (Row(other, "cond"),))[0], plain)
    assert torch.equal(made, plain)


def test_the_prompts_own_values_may_be_left_to_the_run(parts, paths):
    path = paths["midpoint"]
    both, alone = (run(parts, path, InjectValues(path, 1, text)).latent.tensor for text in (True, False))
    assert not torch.equal(both, alone)


def test_rows_of_the_negative_prompt_are_left_alone(parts, paths):
    path = paths["euler"]
    control = InjectValues(path, 1)
    joint = next(s for s in adapter_for(parts.transformer).sites(parts.transformer) if s.joint)
    roles = {write.role for write in control.writes(joint, None)}
    assert roles == {"cond", "target"}


def test_a_batch_takes_the_values_of_its_one_picture(parts, paths):
    path = paths["midpoint"]
    noise = inverted(path)
    two = replace(noise, batch=2, tensor=noise.tensor.repeat(2, 1, 1, 1))
    made = run(parts, path, InjectValues(path, 2), latent=two).latent.tensor
    assert torch.equal(made[:1], made[1:])
    assert (made[:1] - run(parts, path, InjectValues(path, 2)).latent.tensor).abs().max() < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_another_sampler_than_that_of_the_path_is_refused(parts, paths, method):
    for name in {*METHODS, "heun"} - {method}:
        with pytest.raises(StudioError, match=f"'{method}' alone; this run has '{name}'"):
            run(parts, paths[method], InjectValues(paths[method], 1), name=name)


def test_another_schedule_is_refused(parts, paths):
    path = paths["euler"]
    for sigmas, words in ((flow(5, 1.0), "another schedule"), (flow(4, 1.5), "another schedule")):
        with pytest.raises(StudioError, match=words):
            run(parts, path, InjectValues(path, 1), sigmas=sigmas, latent=Latent(64, 64))


def test_a_run_that_starts_after_the_kept_steps_is_refused(parts, paths):
    path = paths["euler"]
    with pytest.raises(StudioError, match="starts after the first 2 steps"):
        run(parts, path, InjectValues(path, 2), sigmas=from_strength(SIGMAS, 0.5), latent=path.latent)


def test_another_model_is_refused(parts, paths):
    path = paths["euler"]
    foreign = replace(path, values=tuple(replace(value, site="blocks.9.attn") for value in path.values))
    with pytest.raises(StudioError, match=r"another model.*'blocks\.9\.attn'"):
        run(parts, path, InjectValues(foreign, 1))


def test_another_size_is_refused(parts, paths):
    path = paths["euler"]
    with pytest.raises(StudioError, match="values kept of the image"):
        run(parts, path, InjectValues(path, 1), latent=Latent(96, 64))


@pytest.mark.parametrize("steps", [3, -1, 1.5])
def test_more_steps_than_were_kept_are_refused(paths, steps):
    with pytest.raises(StudioError, match="the inversion kept those of 2"):
        InjectValues(paths["euler"], steps)
    with pytest.raises(StudioError, match="kept those of 0"):
        InjectValues(replace(paths["euler"], values=()), 1)

"""Relay: at its ends it is one model, in between both, and the network stays as it was."""

from __future__ import annotations

import math
import shutil

import pytest
import torch

from studio.blocks import step_cache
from studio.controls.negative import Nag
from studio.errors import StudioError
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.text import encode_prompt
from studio.models.tiny import save_tiny
from studio.models.words import segment_conditioning
from studio.sampling import schedules
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_run
from studio.sampling.relay import Relay, boundary, joined, relay_wrap
from studio.sampling.samplers import sampler
from studio.sampling.stepping import steps_of
from studio.values import Latent
from tests.models.test_lora import factors, weights, written

STEPS = 4


@pytest.fixture(scope="module")
def store():
    made = ModelStore(device="cpu")
    yield made
    made.close()


@pytest.fixture(scope="module")
def models(store, tmp_path_factory):
    """A miniature, and the same with a LoRA."""
    base = store.load("tiny:sd3")
    path = written(tmp_path_factory.mktemp("lora") / "turbo.safetensors", factors(parts_of(base)))
    return base, store.lora(base, str(path), 1.0)


def run(model, *, sigmas=None, relay=None, guidance=None, name="euler", attachments=(), **further):
    parts = parts_of(model)
    positive, negative = (encode_prompt(parts, text, "")[0] for text in ("a red star", "a blue house"))
    wraps = [] if relay is None else [relay]
    return sample_run(
        parts,
        positive,
        negative,
        Latent(32, 32, seed=3),
        sigmas or schedules.flow(STEPS, 3.0),
        sampler(name),
        guidance or cfg(3.0),
        wraps=wraps,
        attachments=attachments,
        **further,
    )


def over(at, *, first=None, second=None, **relay):
    own = schedules.flow(STEPS, 3.0)
    sigmas, level = joined(first or own, second or own, at)
    return sigmas, relay_wrap(Relay(level, **relay))


SAMPLERS = ("euler", "heun", "dpmpp_2m", "ab2", "euler_ancestral")


@pytest.mark.parametrize("name", SAMPLERS)
def test_at_its_ends_a_relay_is_one_model_and_with_one_model_the_plain_run(models, name):
    base, turbo = models
    plain = {model.digest: run(model, name=name).latent.tensor for model in models}
    for at, alone in ((0, turbo), (1, base)):
        sigmas, wrap = over(at, model=turbo)
        assert torch.equal(run(base, sigmas=sigmas, relay=wrap, name=name).latent.tensor, plain[alone.digest])
    for at in (0, 0.25, 0.5, 1):
        sigmas, wrap = over(at, model=base)
        assert torch.equal(run(base, sigmas=sigmas, relay=wrap, name=name).latent.tensor, plain[base.digest])
    sigmas, wrap = over(0.5, model=turbo)
    mixed = run(base, sigmas=sigmas, relay=wrap, name=name).latent.tensor
    assert not any(torch.equal(mixed, one) for one in plain.values())


def test_the_first_steps_are_the_first_models(models):
    base, turbo = models
    seen, whole = [], []
    sigmas, wrap = over(0.5, model=turbo)
    run(base, sigmas=sigmas, relay=wrap, on_step=lambda r: seen.append(r.latent.clone()))
    run(base, on_step=lambda r: whole.append(r.latent.clone()))
    assert [torch.equal(a, b) for a, b in zip(seen, whole, strict=True)] == [True, True, False, False]


def test_every_part_has_its_own_guidance(models):
    base, turbo = models
    sigmas, wrap = over(0.25, model=turbo, guidance=cfg(1.0))
    calls = run(base, sigmas=sigmas, relay=wrap).calls
    assert calls["by_role"] == {"uncond": 1, "cond": 4} and calls["forwards"] == 4


def test_lists_are_joined_at_the_hand_over():
    long, short = schedules.flow(20, 3.0), schedules.flow(4, 3.0)
    sigmas, level = joined(long, short, 0.25)
    assert level == short.values[1] and sigmas.values[-4:] == short.values[1:]
    assert sigmas.values[: sigmas.steps - 3] == long.values[: sigmas.steps - 3]
    assert boundary(tuple(steps_of(sigmas)), level) == sigmas.steps - 3
    assert joined(long, short, 0) == (short, math.inf) and joined(long, short, 1) == (long, 0.0)
    assert joined(short, short, 0.5)[0].values == short.values
    with pytest.raises(StudioError, match="not above the hand-over"):
        joined(schedules.from_strength(short, 0.25), short, 0.25)
    with pytest.raises(StudioError, match="not possible"):
        joined(long, short, float("nan"))


def test_three_models_by_turns(models, store, tmp_path):
    base, turbo = models
    path = written(tmp_path / "third.safetensors", factors(parts_of(base), seed=5))
    third = store.lora(base, str(path), 1.0)
    sigmas, late = over(0.75, model=third)
    early = joined(sigmas, sigmas, 0.25)[1]
    wrap = relay_wrap(Relay(early, model=turbo), late)
    only = relay_wrap(Relay(early, model=turbo))
    seen, two = [], []
    run(base, sigmas=sigmas, relay=wrap, on_step=lambda r: seen.append(r.latent.clone()))
    run(base, sigmas=sigmas, relay=only, on_step=lambda r: two.append(r.latent.clone()))
    assert [torch.equal(a, b) for a, b in zip(seen, two, strict=True)] == [True, True, True, False]
    with pytest.raises(StudioError, match="Let it take over later"):
        relay_wrap(Relay(0.1), wrap)


def test_a_step_cache_starts_anew_at_the_hand_over(models):
    base, _ = models
    cache = step_cache.attachment(step_cache.taylor(2, limits=step_cache.Limits(warm=1)))
    long = schedules.flow(12, 3.0)
    sigmas, wrap = over(0.5, first=long, second=long)
    found = run(base, sigmas=sigmas, relay=wrap, attachments=[cache]).report["followers"]
    assert [one["name"] for one in found] == ["step_cache", "step_cache_2"]
    full = [one["pictures"]["0"]["full"] for one in found]
    assert full == [[1, 3, 5], [7, 9, 11]]
    sigmas, wrap = over(0.5, first=long, second=long, keep=False)
    assert len(run(base, sigmas=sigmas, relay=wrap, attachments=[cache]).report["followers"]) == 1


def test_afterwards_and_after_a_stop_nothing_is_left(models):
    base, turbo = models
    parts, other = parts_of(base), parts_of(turbo)
    before = weights(parts.transformer), weights(other.transformer)
    cache = step_cache.attachment(step_cache.taylor(2, limits=step_cache.Limits(warm=1)))
    long = schedules.flow(12, 3.0)

    def stop(result):
        if result.step.index == 8:
            raise RuntimeError("stopped")

    sigmas, wrap = over(0.5, first=long, second=long, model=turbo)
    with pytest.raises(RuntimeError, match="stopped"):
        run(base, sigmas=sigmas, relay=wrap, attachments=[cache], on_step=stop)
    assert (weights(parts.transformer), weights(other.transformer)) == before
    for network in (parts.transformer, other.transformer):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
        assert not any("forward" in vars(m) for m in network.modules())
    sigmas, wrap = over(0, model=base)
    assert torch.equal(run(base, sigmas=sigmas, relay=wrap).latent.tensor, run(base).latent.tensor)


def test_models_of_other_latents_are_refused_before_the_run(models, store, tmp_path):
    base, _ = models
    other = store.load(str(save_tiny("sd3", tmp_path / "other", vae="kl")))
    sigmas, wrap = over(0.5, model=other)
    told = []
    with pytest.raises(StudioError, match="cannot take over from each other"):
        run(base, sigmas=sigmas, relay=wrap, on_step=told.append)
    assert not told


def test_a_relay_goes_from_one_family_to_another_with_the_same_latents(models, store, tmp_path):
    base, _ = models
    folder = save_tiny("flux", tmp_path / "flux")
    shutil.rmtree(folder / "vae")
    shutil.copytree(save_tiny("sd3", tmp_path / "sd3") / "vae", folder / "vae")
    flux = store.load(str(folder))
    parts = parts_of(flux)
    prompts = [encode_prompt(parts, text, "")[0] for text in ("a red star", "a blue house")]
    sigmas, wrap = over(0.5, model=flux, positive=prompts[0], negative=prompts[1], guidance=cfg(1.0))
    mixed = run(base, sigmas=sigmas, relay=wrap).latent
    assert torch.isfinite(mixed.tensor).all() and mixed.family == "sd3"
    sigmas, wrap = over(0, model=flux, positive=prompts[0], negative=prompts[1])
    assert torch.equal(run(base, sigmas=sigmas, relay=wrap).latent.tensor, run(flux).latent.tensor)


def test_controls_of_the_second_part_that_do_not_go_together_are_refused_before_the_first_step(models):
    base, _ = models
    avoid = Nag(segment_conditioning(parts_of(base), "red"))
    told = []
    sigmas, wrap = over(0.5, attachments=(avoid,))
    with pytest.raises(StudioError, match="write everything to avoid into one prompt"):
        run(base, sigmas=sigmas, relay=wrap, attachments=[avoid], on_step=told.append)
    assert not told
    sigmas, wrap = over(0.5, attachments=(avoid,), keep=False)
    run(base, sigmas=sigmas, relay=wrap, attachments=[avoid], on_step=told.append)
    assert len(told) == STEPS

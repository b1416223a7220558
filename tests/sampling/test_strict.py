"""Strict numerics: a picture of a batch is bit by bit the one alone, with what was seen and decided."""

from __future__ import annotations

import pytest
import torch

from studio.blocks.gates import Limits
from studio.blocks.step_cache import attachment, first_block
from studio.controls.estimates import Estimates
from studio.models.text import encode_prompt
from studio.sampling.guidance.adaptive import adaptive
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent


def run(parts, canvas, name="euler", sigmas=None, **more):
    positive, _, _ = encode_prompt(parts, "a red star", "it")
    negative, _, _ = encode_prompt(parts, "", "it")
    rule = adaptive(cfg(4.0), 0.99)
    return sample_run(
        parts, positive, negative, canvas, sigmas or flow(6, 3.0), sampler(name), rule, strict=True, **more
    )


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "euler_ancestral"])
def test_picture_k_is_that_of_the_seed_plus_k_bit_by_bit(tiny_parts, name):
    batch = run(tiny_parts, Latent(64, 64, 3, 5), name)
    for k in range(3):
        alone = run(tiny_parts, Latent(64, 64, 1, 5 + k), name)
        assert torch.equal(batch.latent.tensor[k : k + 1], alone.latent.tensor)
    assert (batch.latent.batch, batch.latent.seed) == (3, 5)


def test_encoded_pictures_keep_their_places(tiny_parts, tiny_picture):
    both = torch.cat([tiny_picture.tensor, tiny_picture.tensor + 0.1])
    canvas = Latent(64, 64, 2, 5, both, tiny_picture.family)
    made = run(tiny_parts, canvas, sigmas=from_strength(flow(8), 0.5))
    for k in range(2):
        one = Latent(64, 64, 1, 5 + k, both[k : k + 1], tiny_picture.family)
        alone = run(tiny_parts, one, sigmas=from_strength(flow(8), 0.5))
        assert torch.equal(made.latent.tensor[k : k + 1], alone.latent.tensor)


def test_what_was_seen_decided_and_called_is_that_of_all_pictures(tiny_parts):
    cache = attachment(first_block(0.2, limits=Limits(warm=1)))
    made = run(tiny_parts, Latent(64, 64, 2, 5), attachments=[Estimates(3), cache])
    alone = [run(tiny_parts, Latent(64, 64, 1, 5 + k), attachments=[Estimates(3), cache]) for k in range(2)]
    assert [e.latent.shape[0] for e in made.seen.estimates] == [2, 2, 2]
    for k, one in enumerate(alone):
        assert torch.equal(made.seen.estimates[1].latent[k], one.seen.estimates[1].latent[0])
        (mine,), (own,) = made.report["followers"], one.report["followers"]
        assert mine["pictures"][str(k)] == own["pictures"]["0"]
    assert made.calls["forwards"] == sum(one.calls["forwards"] for one in alone)


def test_steps_are_counted_through(tiny_parts):
    seen = []
    run(tiny_parts, Latent(64, 64, 2, 5), on_step=lambda r: seen.append((r.step.index, r.step.total)))
    assert seen == [(i, 12) for i in range(12)]

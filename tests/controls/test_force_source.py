"""The source forced to a picture's own path, through whole runs on both families."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.controls.control import AttentionControl, Branch, Need, Write
from studio.controls.force_source import ForceSource
from studio.errors import StudioError
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.pictures import encode_picture
from studio.models.text import encode_prompt
from studio.sampling.guidance.cfg import cfg
from studio.sampling.inversion import invert, inverted
from studio.sampling.loop import sample_run
from studio.sampling.samplers import SAMPLERS, sampler
from studio.sampling.schedules import flow, from_strength
from studio.values import Image, Latent

SIGMAS = flow(6, 1.5)


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def parts(request):
    store = ModelStore(device="cpu")
    yield parts_of(store.load(request.param))
    store.close()


@pytest.fixture(scope="module")
def path(parts):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = encode_picture(parts, Image(pixels), seed=5)
    return invert(parts, prompt(parts, "a red star"), prompt(parts, ""), picture, SIGMAS)


def prompt(parts, text):
    return encode_prompt(parts, text, "it")[0]


def run(parts, path, *controls, text="a blue house", name="euler", sigmas=SIGMAS, latent=None, scale=2.0):
    return sample_run(
        parts, prompt(parts, text), prompt(parts, ""), latent or inverted(path), sigmas, sampler(name),
        cfg(scale), attachments=controls,
    )  # fmt: skip


class Copies(AttentionControl):
    """Tests: an edit that names its own source prompt, as those of a real edit do."""

    def __init__(self, source):
        self.source = source

    @property
    def name(self):
        return "copies"

    def branches(self):
        return (Branch("source", self.source),)

    def needs(self, site, step):
        return Need.EDIT if site.joint else Need.NONE

    def writes(self, site, step):
        return (Write("target", "image", "qk"),)

    def edit(self, call):
        source, target = (list(call.layout.rows(role)) for role in ("source", "target"))
        q, k, span = call.q.clone(), call.k.clone(), call.layout.span("image")
        for tensor in (q, k):
            tensor[target, :, span] = tensor[source, :, span]
        return q, k, call.v


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_the_source_ends_as_the_picture_and_the_target_is_free(parts, path, name):
    made = run(parts, path, ForceSource(path), name=name)
    assert torch.equal(made.latents["source"].tensor, path.states[-1])
    alone = run(parts, path, name=name).latent.tensor
    assert (made.latent.tensor - alone).abs().max() < 1e-5
    assert not torch.equal(made.latent.tensor, path.states[-1])


def test_an_attention_edit_reads_the_pictures_own_path(parts, path):
    edit = Copies(replace(prompt(parts, "a red star")))
    made = run(parts, path, edit, ForceSource(path))
    assert list(made.latents) == ["source", "target"]
    assert torch.equal(made.latents["source"].tensor, path.states[-1])
    generated = run(parts, path, edit)
    assert not torch.equal(made.latent.tensor, generated.latent.tensor)
    assert not torch.equal(generated.latents["source"].tensor, path.states[-1])


def test_the_same_prompt_comes_back_as_near_as_the_inversion_is_exact(parts, path):
    made = run(parts, path, ForceSource(path), text="a red star", name="midpoint", scale=1.0)
    away = (made.latent.tensor - path.states[-1]).abs().mean()
    assert away < (path.states[0] - path.states[-1]).abs().mean() / 4


def test_a_run_may_start_within_the_path_and_from_any_canvas(parts, path):
    tail = from_strength(SIGMAS, 0.5)
    canvas = Latent(
        64, 64, batch=2, seed=1, tensor=path.latent.tensor.repeat(2, 1, 1, 1), family=path.latent.family
    )
    made = run(parts, path, ForceSource(path), sigmas=tail, latent=canvas)
    assert torch.equal(made.latents["source"].tensor, path.states[-1].repeat(2, 1, 1, 1))


@pytest.mark.parametrize("sigmas", [flow(6, 1.0), flow(5, 1.5)])
def test_another_schedule_is_refused(parts, path, sigmas):
    with pytest.raises(StudioError, match="another schedule"):
        run(parts, path, ForceSource(path), sigmas=sigmas, latent=Latent(64, 64))


def test_another_size_is_refused(parts, path):
    with pytest.raises(StudioError, match="'source' has the shape"):
        run(parts, path, ForceSource(path), latent=Latent(96, 64))


def test_another_source_prompt_in_the_edit_is_refused(parts, path):
    with pytest.raises(StudioError, match="'a red star'"):
        run(parts, path, Copies(prompt(parts, "a green tree")), ForceSource(path))

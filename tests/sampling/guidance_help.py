"""What the tests of guidance share: made-up predictions, runs on the miniatures, and what a network is."""

from __future__ import annotations

import hashlib

import torch

from studio.models.text import encode_prompt
from studio.sampling.loop import sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Conditioning, Latent, Row, Step

TEXT = Conditioning("x", "sd3", torch.zeros(1, 1, 1))
ROWS = (Row(TEXT, "uncond"), Row(TEXT, "cond"))
STEPS = 5


def normal(count, shape=(2, 4, 6, 6), seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


class Network:
    """Predictions by role, and what was asked."""

    def __init__(self, c, u):
        self.c, self.u, self.asked = c, u, []

    def __call__(self, latent, step, rows):
        self.asked.append([row.role for row in rows])
        return tuple(self.c if row.role == "cond" else self.u for row in rows)


def velocity_of(rule, c, u, step=None, latent=None):
    """The velocity that a rule makes of two predictions, and the rows that it asked for."""
    step = step or Step(3, 10, 0.7, 0.6)
    latent = torch.zeros_like(c) if latent is None else latent
    network = Network(c, u)
    denoised = rule.guide(network, ROWS)(latent, step)
    return (latent - denoised) / step.sigma, network.asked


def made(parts, rule, *, seed=2, batch=1, steps=STEPS, name="euler", **more):
    """A run on a miniature: the latent's tensor and the counted calls."""
    positive, negative = (encode_prompt(parts, text, "it")[0] for text in ("a red star", "blue house"))
    run = sample_run(
        parts, positive, negative, Latent(64, 64, batch, seed), flow(steps, 3.0), sampler(name), rule, **more
    )
    return run.latent.tensor, run.calls


def state_of(network):
    """What must be as before: weights, and every module's forward, hooks and attributes."""
    weights = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        weights.update(name.encode() + tensor.numpy().tobytes())
    modules = {
        name: (sorted(vars(module)), sorted(module._forward_hooks), sorted(module._forward_pre_hooks))
        for name, module in network.named_modules()
    }
    return weights.hexdigest(), modules

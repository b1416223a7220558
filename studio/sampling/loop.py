"""The one loop from a canvas to a latent: start noise, guidance, wraps, sampler; the network stays as it
was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch

from studio.errors import StudioError
from studio.models.device import start_noise
from studio.models.family import Parts, check_size
from studio.sampling.denoiser import make_predict
from studio.sampling.samplers import run_sampler
from studio.values import (
    Attachment,
    Conditioning,
    Guidance,
    Latent,
    Noise,
    Row,
    Sampler,
    Sigmas,
    StepResult,
    Wrap,
)


def sample_latent(
    parts: Parts,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    sigmas: Sigmas,
    sampler: Sampler,
    guidance: Guidance,
    *,
    wraps: Sequence[Wrap] = (),
    attachments: Sequence[Attachment] = (),
    on_step: Callable[[StepResult], None] | None = None,
) -> Latent:
    """Denoise a canvas or the latent of a picture; returns a latent of the same size, batch and seed.

    `on_step` is called after every step and may raise to stop. Without any step (sigmas of 0 alone) the
    latent
    is returned itself. Wraps lie around the guidance, the first one innermost.
    """
    check_size(parts, latent.width, latent.height)
    if sigmas.steps == 0:
        if latent.tensor is None:
            raise StudioError(
                "There is nothing to keep: strength 0 needs a picture, and this canvas is empty.",
                hint="Raise the strength, or start from an encoded picture.",
                socket="latent",
            )
        return latent
    if sigmas.values[0] > 1:
        raise StudioError(
            f"The sigmas start at {sigmas.values[0]:g}; {parts.family.title} goes from 1 to 0.",
            hint="Use the schedule 'flow' or 'flow_diffusers'.",
            socket="sigmas",
        )
    with torch.inference_mode(), ExitStack() as attached:
        start = start_latent(parts, latent, sigmas)
        rows = (Row(negative, "uncond"), Row(positive, "cond"))
        for attachment in attachments:
            attached.enter_context(attachment.attach(parts.transformer))
        denoise = guidance.guide(make_predict(parts), rows)
        for wrap in wraps:
            denoise = wrap.wrap(denoise)
        final = run_sampler(
            sampler, denoise, start, sigmas, noise=step_noise(start, latent.seed), on_step=on_step
        )
        if not bool(torch.isfinite(final).all()):
            raise StudioError(
                "The network made values that are not finite numbers.",
                hint="Lower the cfg_scale; if that does not help, the weights are damaged.",
            )
    return latent.with_tensor(_plain(final), parts.family.name)


def start_latent(parts: Parts, latent: Latent, sigmas: Sigmas) -> torch.Tensor:
    """Where a run starts, fp32 on the model's device: pure noise on an empty canvas, else (1 - s) x + s
    noise."""
    shape = parts.family.latent_shape(parts, latent.batch, latent.width, latent.height)
    noise = start_noise(shape, latent.seed).to(parts.device)
    if latent.tensor is None:
        return noise
    if latent.family != parts.family.name or tuple(latent.tensor.shape) != shape:
        raise StudioError(
            f"The latent has the shape {tuple(latent.tensor.shape)} of family {latent.family!r}; this "
            f"model needs {shape} of family {parts.family.name!r}.",
            hint="Encode the picture with the same model that samples.",
            socket="latent",
        )
    sigma = torch.tensor(sigmas.values[0], dtype=torch.float32, device=parts.device)
    return sigma * noise + (1.0 - sigma) * latent.tensor.to(parts.device)


def step_noise(like: torch.Tensor, seed: int) -> Noise:
    """Counter-based noise: image k of a step from SHA-256(seed, k, purpose, step); resuming needs no RNG
    state."""

    def noise(purpose: str, index: int) -> torch.Tensor:
        rows = []
        for k in range(like.shape[0]):
            word = hashlib.sha256(f"{seed}:{k}:{purpose}:{index}".encode()).digest()[:8]
            generator = torch.Generator("cpu").manual_seed(int.from_bytes(word, "big") >> 1)
            rows.append(torch.randn((1, *like.shape[1:]), generator=generator))
        return torch.cat(rows).to(like.device)

    return noise


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on CPU that is an ordinary tensor, so that a value outlives inference mode."""
    with torch.inference_mode(False):
        return torch.empty(tensor.shape, dtype=torch.float32).copy_(tensor)

"""The one loop from a canvas to a latent: start noise, guidance, wraps, controls, sampler; the network stays
as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch

from studio.controls.control import AttentionControl
from studio.errors import StudioError
from studio.models.device import start_noise
from studio.models.family import Parts, check_size
from studio.sampling.controlled import acting, check_sampler, plain
from studio.sampling.denoiser import Calls
from studio.sampling.leg import Course
from studio.sampling.prefix import Prefix, recorder, restore
from studio.sampling.relay import Legs, relays_of
from studio.sampling.samplers import run_sampler, steps_of
from studio.sampling.strict import one_by_one
from studio.sampling.tiled import check_canvas, tiles_of, tiling_of
from studio.sampling.trajectories import TARGET
from studio.values import (
    Attachment,
    Conditioning,
    Guidance,
    Latent,
    Noise,
    Sampler,
    Seen,
    Sigmas,
    StepResult,
    Wrap,
)


@dataclass(frozen=True, eq=False)
class Run:
    """What a run made: one latent for each trajectory by role, what was seen on the way, and, as JSON values,
    what the controls did and how often the network was called (`Calls`). Without branches the one role is
    "target". `resumed`: how many of its `steps` were taken from an earlier run."""

    latents: Mapping[str, Latent]
    seen: Seen = field(default_factory=Seen)
    report: Mapping[str, object] = field(default_factory=dict)
    calls: Mapping[str, object] = field(default_factory=dict)
    resumed: int = 0
    steps: int = 0

    @property
    def latent(self) -> Latent:
        """The target's: the result."""
        return self.latents[TARGET]


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
    attachments: Sequence[Attachment | AttentionControl] = (),
    on_step: Callable[[StepResult], None] | None = None,
) -> Latent:
    """The latent of `sample_run`."""
    run = sample_run(
        parts,
        positive,
        negative,
        latent,
        sigmas,
        sampler,
        guidance,
        wraps=wraps,
        attachments=attachments,
        on_step=on_step,
    )
    return run.latent


def sample_run(
    parts: Parts,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    sigmas: Sigmas,
    sampler: Sampler,
    guidance: Guidance,
    *,
    wraps: Sequence[Wrap] = (),
    attachments: Sequence[Attachment | AttentionControl] = (),
    on_step: Callable[[StepResult], None] | None = None,
    prefix: Prefix | None = None,
    strict: bool = False,
) -> Run:
    """Denoise a canvas or the latent of a picture; returns latents of the same size, batch and seed.

    `on_step` is called after every step with the target's share and may raise to stop. Without any step
    (sigmas of 0 alone) the latent is returned itself. Wraps lie around the guidance, the first one innermost,
    and steer the target alone. Attention controls go together onto the network; those that are neutral are
    dropped, and with none left nothing is attached. With a `prefix` the run goes on from the longest stored
    beginning it shares with an earlier one, bit-equal to the whole run, and its own states are stored.
    `strict`: every picture of a batch is a run of its own, so that it is bit by bit what it is alone.
    """
    if strict and latent.batch > 1:

        def alone(canvas: Latent, told: Callable[[StepResult], None] | None) -> Run:
            return sample_run(
                parts, positive, negative, canvas, sigmas, sampler, guidance,
                wraps=wraps, attachments=attachments, on_step=told, prefix=prefix,
            )  # fmt: skip

        return one_by_one(latent, alone, on_step)
    tiling = tiling_of(wraps)
    check_canvas(parts, latent.width, latent.height, tiling)
    if sigmas.steps == 0:
        if latent.tensor is None:
            raise StudioError(
                "There is nothing to keep: strength 0 needs a picture, and this canvas is empty.",
                hint="Raise the strength, or start from an encoded picture.",
                socket="latent",
            )
        if latent.sigma:
            raise wrong_level(latent, sigmas)
        return Run({TARGET: latent})
    check_flow(parts, sigmas)
    check_sampler(guidance.name, guidance.only_sampler, sampler.name)
    for wrap in wraps:
        check_sampler(wrap.name, wrap.only_sampler, sampler.name)
    calls = Calls()
    with torch.inference_mode(), ExitStack() as stack:
        own = start_latent(parts, latent, sigmas)
        steps = tuple(steps_of(sigmas))
        tiles = tiles_of(parts, latent.width, latent.height, tiling)
        course = Course(steps, latent.batch, sampler.name, wraps, tiles, calls)
        upto = min(sampler.stop_after or len(steps), len(steps))
        first = stack.enter_context(ExitStack())
        leg = first.enter_context(course.leg(parts, positive, negative, guidance, attachments))
        guided, controlled = leg.guided, leg.controlled
        beside = controlled.trajectories
        legs = Legs(
            relays_of(wraps), parts, latent, positive, negative, guidance, attachments, course, leg,
            first.close, upto,
        )  # fmt: skip
        whole_run = stack.enter_context(legs) if legs.relays else controlled
        run = recorder(
            prefix, parts, own, latent, positive, negative, sigmas, steps, sampler, guidance, guided, wraps,
            attachments, acting(attachments) if tiles else controlled.controls, controlled,
        )  # fmt: skip
        found = None if run is None else run.find(steps, upto)

        def told(result: StepResult) -> None:
            if run is not None and (found is None or result is not found.result):
                run.after(result)
            if on_step is not None:
                on_step(beside.target(result))

        if found is not None:
            restore(found, guided, controlled)
            told(found.result)
        if run is not None:
            stack.callback(run.close)
        if found is not None and found.index == upto:
            last = found.result
            final = last.latent if upto == len(steps) else last.denoised
        else:
            final = run_sampler(
                sampler,
                beside.wrapped(legs.denoise if legs.relays else guided, wraps),
                beside.start(own, sigmas.values[0]),
                sigmas,
                noise=beside.noise(step_noise(own, latent.seed)),
                on_step=told,
                resume=None if found is None else (found.index, found.result.latent, found.result.memory),
                change=whole_run.change if controlled.controls or legs.relays else None,
            )
        check_finite(final)
        latents = {role: keep(latent, piece, parts) for role, piece in beside.split(final).items()}
        from_step = 0 if found is None else found.index
        return Run(latents, whole_run.seen(), whole_run.report(), calls.as_json(), from_step, upto)


def check_flow(parts: Parts, sigmas: Sigmas) -> None:
    """Raise unless the sigmas lie in the range of a flow, 1 to 0."""
    # lists made in fp32 as schedulers make them miss 1 by some roundings
    if sigmas.values[0] > 1 + 1e-5:
        raise StudioError(
            f"The sigmas start at {sigmas.values[0]:g}; {parts.family.title} goes from 1 to 0.",
            hint="Use the schedule 'flow' or 'flow_diffusers'.",
            socket="sigmas",
        )


def check_finite(latent: torch.Tensor) -> None:
    """Raise if a result holds anything but finite numbers."""
    if not bool(torch.isfinite(latent).all()):
        raise StudioError(
            "The network made values that are not finite numbers.",
            hint="Lower the cfg_scale; if that does not help, the weights are damaged.",
        )


def start_latent(parts: Parts, latent: Latent, sigmas: Sigmas) -> torch.Tensor:
    """Where a run starts, fp32 on the model's device: pure noise on an empty canvas, else (1 - s) x + s
    noise; a latent that stands at a noise level already is the start itself."""
    shape = parts.family.latent_shape(parts, latent.batch, latent.width, latent.height)
    noise = start_noise(shape, latent.seed).to(parts.device)
    if latent.tensor is None:
        return noise
    content = check_latent(parts, latent)
    if latent.sigma:
        if abs(latent.sigma - sigmas.values[0]) > 1e-6:
            raise wrong_level(latent, sigmas)
        return content.to(parts.device)
    sigma = torch.tensor(sigmas.values[0], dtype=torch.float32, device=parts.device)
    return sigma * noise + (1.0 - sigma) * content.to(parts.device)


def wrong_level(latent: Latent, sigmas: Sigmas) -> StudioError:
    """What to raise where a latent on its way meets a schedule that starts elsewhere."""
    return StudioError(
        f"The latent stands at noise level {latent.sigma:.4g}, and the schedule starts at "
        f"{sigmas.values[0]:.4g}.",
        hint="Connect the Schedule with which the latent was made.",
        socket="sigmas",
    )


def check_picture(parts: Parts, latent: Latent) -> torch.Tensor:
    """The tensor of a latent that encodes a picture; StudioError unless it has this model's family and shape
    and no noise in it."""
    check_size(parts, latent.width, latent.height)
    if latent.sigma:
        raise StudioError(
            f"The latent stands at noise level {latent.sigma:.4g}; this works on a clean picture.",
            hint="Connect Encode picture.",
            socket="latent",
        )
    return check_latent(parts, latent)


def check_latent(parts: Parts, latent: Latent) -> torch.Tensor:
    """The tensor of a latent that holds something; StudioError unless it has this model's family and
    shape."""
    if latent.tensor is None:
        raise StudioError(
            "The canvas is empty: this works on a picture.",
            hint="Put Load picture and Encode picture before it.",
            socket="latent",
        )
    shape = parts.family.latent_shape(parts, latent.batch, latent.width, latent.height)
    if latent.family != parts.family.name or tuple(latent.tensor.shape) != shape:
        raise StudioError(
            f"The latent has the shape {tuple(latent.tensor.shape)} of family {latent.family!r}; this "
            f"model needs {shape} of family {parts.family.name!r}.",
            hint="Encode the picture with the same model that samples.",
            socket="latent",
        )
    return latent.tensor


def step_noise(like: torch.Tensor, seed: int) -> Noise:
    """Counter-based noise: image k of a step from SHA-256(seed + k, purpose, step), so that it is the same
    alone and in any batch; resuming needs no RNG state."""

    def noise(purpose: str, index: int) -> torch.Tensor:
        rows = []
        for k in range(like.shape[0]):
            word = hashlib.sha256(f"{seed + k}:0:{purpose}:{index}".encode()).digest()[:8]
            generator = torch.Generator("cpu").manual_seed(int.from_bytes(word, "big") >> 1)
            rows.append(torch.randn((1, *like.shape[1:]), generator=generator))
        return torch.cat(rows).to(like.device)

    return noise


def keep(canvas: Latent, tensor: torch.Tensor, parts: Parts) -> Latent:
    """The canvas with a result in it."""
    return canvas.with_tensor(plain(tensor), parts.family.name)

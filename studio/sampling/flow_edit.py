"""FlowEdit (arXiv 2412.08629, algorithm 1), in the form of a difference: a real picture edited from a prompt
of what it shows to a prompt of what it should show, without inversion.

At every noise level the picture under fresh noise is seen with both prompts, and the difference of the two
velocities carries the picture over: d <- d + (s' - s) (v(z + d, target) - v(z, source)), z = (1 - s) x + s e.
The result is x + d. With equal prompts d stays exactly 0; the published sum x_tar + z - x does not keep that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch

from studio.controls.control import AttentionControl, Branch
from studio.controls.leading import check_led
from studio.errors import StudioError
from studio.models.family import Parts
from studio.sampling.controlled import Controlled, attached_controls
from studio.sampling.denoiser import flow_denoised, make_predict
from studio.sampling.lead import Velocity, latent_mask, led_velocity
from studio.sampling.loop import Run, check_finite, check_flow, check_picture, keep, step_noise
from studio.sampling.samplers import steps_of
from studio.sampling.trajectories import TARGET, same_prompt
from studio.values import Attachment, Conditioning, Latent, Mask, Sigmas, Step, StepResult

SOURCE = "source"
MOST_AVERAGED = 16


def flow_edit(
    parts: Parts,
    source: Conditioning,
    target: Conditioning,
    negative: Conditioning,
    latent: Latent,
    sigmas: Sigmas,
    *,
    n_max: int,
    n_min: int = 0,
    n_avg: int = 1,
    source_scale: float = 3.5,
    target_scale: float = 13.5,
    mask: Mask | None = None,
    attachments: Sequence[Attachment | AttentionControl] = (),
    on_step: Callable[[StepResult], None] | None = None,
) -> Run:
    """Edit the picture in `latent` in the schedule's last `n_max` steps; Euler, both prompts in one batch.

    n_max: 0..steps; 0 returns the picture itself. n_min: the last steps that sample the target plainly, for a
    freer result. n_avg: noises averaged a step, 1..16. The scales are those of `led_velocity`. Outside `mask`
    the picture stays exactly as it is. Controls see the roles "source" and "target"; between steps they are
    handed the picture and the edited picture. The noise of a step depends on the latent's seed alone.
    """
    _check_counts(sigmas, n_max, n_min, n_avg)
    check_flow(parts, sigmas)
    picture = check_picture(parts, latent)
    inside = latent_mask(mask, latent, picture)
    same = same_prompt(source, target) and source_scale == target_scale and n_min == 0
    nowhere = inside is not None and not bool(inside.any())
    if n_max == 0 or nowhere or (same and not attachments):
        return Run({TARGET: latent})
    active = Sigmas(sigmas.values[sigmas.steps - n_max :], sigmas.name)
    steps = tuple(steps_of(active))
    with torch.inference_mode(), ExitStack() as stack:
        own = Branch(SOURCE, source, negative)
        controlled = stack.enter_context(
            attached_controls(parts, attachments, steps, latent.batch, branches=(own,))
        )
        beside = controlled.trajectories
        check_led(controlled.controls, target.text, [source.text])
        if beside.roles != (SOURCE, TARGET):
            raise StudioError(
                "FlowEdit runs source and target side by side; a control asks for "
                f"{', '.join(beside.roles)}.",
                hint="Use that control with Sample.",
                socket="attachments",
            )
        if controlled.followers:
            raise StudioError(
                "A step cache does not go with FlowEdit, which draws new noise at every step.",
                hint="Disconnect it.",
                socket="attachments",
            )
        x0 = picture.to(parts.device)
        predict = make_predict(parts, controlled.attached, beside)
        rows = beside.rows(target, negative)
        scales = {SOURCE: source_scale, TARGET: target_scale}
        velocity = led_velocity(parts, predict, rows, beside, scales)
        edit = _Edit(x0, velocity, controlled, None if inside is None else inside.to(x0), on_step)
        noise = step_noise(x0, latent.seed)
        first = sigmas.steps - n_max
        for step in steps[: n_max - n_min]:
            edit.carry(step, [noise(f"flow_edit:{k}", first + step.index) for k in range(n_avg)])
        if n_min:
            edit.sample(steps[n_max - n_min :], noise("flow_edit:rest", sigmas.steps - n_min))
        elif not bool(edit.delta.any()):
            return Run({TARGET: latent}, controlled.seen(), controlled.report())
        check_finite(edit.edited)
        return Run({TARGET: keep(latent, edit.edited, parts)}, controlled.seen(), controlled.report())


class _Edit:
    """The edit under way: `edited` = picture + `delta`, what has been added to it."""

    def __init__(
        self,
        picture: torch.Tensor,
        velocity: Velocity,
        controlled: Controlled,
        inside: torch.Tensor | None,
        on_step: Callable[[StepResult], None] | None,
    ) -> None:
        self.picture = picture
        self.delta = torch.zeros_like(picture)
        self.edited = picture
        self._velocity = velocity
        self._controlled = controlled
        self._inside = inside
        self._on_step = on_step

    def carry(self, step: Step, noises: Sequence[torch.Tensor]) -> None:
        """One step of the difference, averaged over noises."""
        change = torch.zeros_like(self.delta)
        for noise in noises:
            z = _noised(self.picture, noise, step.sigma)
            state = torch.cat([z, z + self.delta])
            v = self._velocity(state, step)
            before, after = v.split(len(z))
            change = change + (after - before)
        moved = (step.sigma_next - step.sigma) * (change / len(noises))
        self.delta = self.delta + (moved if self._inside is None else self._inside * moved)
        self.edited = self.picture + self.delta
        both = torch.cat([self.picture, self.edited])
        result = StepResult(step, both, flow_denoised(state, v, step))
        changed = self._controlled.change(result)
        if changed is not None:
            self.edited = self._target(changed)
            self.delta = self.edited - self.picture
        self._report(changed or result)

    def sample(self, steps: Sequence[Step], noise: torch.Tensor) -> None:
        """The rest of the way as plain Euler sampling of both pictures from one noise."""
        z = _noised(self.picture, noise, steps[0].sigma)
        state = torch.cat([z, z + self.delta])
        for step in steps:
            v = self._velocity(state, step)
            denoised = flow_denoised(state, v, step)
            state = state + (step.sigma_next - step.sigma) * v
            if self._inside is not None:
                outside = _noised(self.picture, noise, step.sigma_next)
                z, target = state.split(len(z))
                state = torch.cat([z, self._inside * target + (1 - self._inside) * outside])
            result = StepResult(step, state, denoised)
            result = self._controlled.change(result) or result
            state = result.latent
            self._report(result)
        self.edited = state[len(z) :]

    def _target(self, result: StepResult) -> torch.Tensor:
        source, target = result.latent.split(len(self.picture))
        if not torch.equal(source, self.picture):
            raise StudioError(
                "A control moved the source picture, which stays as it is in FlowEdit.",
                hint="Use the stored path of a picture with Sample.",
                socket="attachments",
            )
        return target

    def _report(self, result: StepResult) -> None:
        if self._on_step is not None:
            self._on_step(self._controlled.trajectories.target(result))


def _noised(picture: torch.Tensor, noise: torch.Tensor, sigma: float) -> torch.Tensor:
    return (1 - sigma) * picture + sigma * noise


def _check_counts(sigmas: Sigmas, n_max: int, n_min: int, n_avg: int) -> None:
    possible = (
        ("n_max", n_max, 0, sigmas.steps),
        ("n_min", n_min, 0, n_max),
        ("n_avg", n_avg, 1, MOST_AVERAGED),
    )
    for name, given, low, high in possible:
        if type(given) is not int or not low <= given <= high:
            raise StudioError(
                f"{name} of {given} is not possible with {sigmas.steps} steps.",
                hint=f"Possible: {low} to {high}.",
                socket=name,
            )

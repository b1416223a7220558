"""Attention controls around a run: the neutral dropped, the rest attached together, and what they do between
steps (controls.md 3.2, 3.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from studio.controls.composition import called, compose
from studio.controls.control import AttentionControl, Branch, Maps
from studio.controls.maps import MapStore
from studio.errors import StudioError
from studio.models.family import Parts, Site, adapter_for
from studio.sampling.followers import Followed, Follower
from studio.sampling.trajectories import TARGET, Trajectories, trajectories_of
from studio.values import Attachment, Estimate, Seen, Step, StepResult

GUIDANCE_ROWS = ("uncond", "cond")


@dataclass(eq=False)
class Controlled:
    """The controls of one run, in the order in which they act; empty = a plain run. `attached` is None where
    no control wants anything of the network itself."""

    controls: tuple[AttentionControl, ...]
    trajectories: Trajectories
    attached: Any = None
    followers: tuple[Follower, ...] = ()
    maps: Maps = field(default_factory=MapStore)
    estimates: list[Estimate] = field(default_factory=list)

    def change(self, result: StepResult) -> StepResult | None:
        """The result that takes a step's place, None if no control changes it; keeps the clean estimates
        that were asked for."""
        step, beside = result.step, self.trajectories
        latents = self.step_end(beside.split(result.latent), step)
        changed = None
        if latents is not None:
            changed = replace(
                result,
                latent=beside.join(latents, result.latent),
                memory=tuple(self._remembered(item, result) for item in result.memory),
            )
        if any(control.wants_estimate(step) for control in self.controls):
            # the last estimate is what comes out, whatever changed it
            final = (changed or result).latent if step.sigma_next == 0 else result.denoised
            self.estimates.append(Estimate(step.index, step.sigma, plain(beside.split(final)[TARGET])))
        return changed

    def step_end(
        self, latents: Mapping[str, torch.Tensor], step: Step, *, memory: bool = False
    ) -> dict[str, torch.Tensor] | None:
        """What the controls make of the latents by role, each seeing what those before it changed; None if
        nothing changed. `memory`: these are clean estimates that a sampler remembers."""
        now = dict(latents)
        changed: dict[str, torch.Tensor] = {}
        for control in self.controls:
            if memory and not control.step_end_in_memory:
                continue
            new = control.step_end(now, step, self.maps)
            now.update(new)
            changed.update(new)
        return changed or None

    def seen(self) -> Seen:
        maps = () if self.attached is None else tuple(self.attached.seen())
        return Seen(maps, tuple(self.estimates))

    @property
    def around(self) -> Followed | None:
        """What the denoiser must tell of every call of the network; None in a plain run."""
        followed = self.attached is not None or self.followers
        return Followed(self.attached, self.followers) if followed else None

    def report(self) -> dict[str, object]:
        """JSON values: which control acted where, and under "followers" what each of those did."""
        told = {} if self.attached is None else dict(self.attached.report())
        return told | ({"followers": [dict(f.report()) for f in self.followers]} if self.followers else {})

    def _remembered(self, item: torch.Tensor, result: StepResult) -> torch.Tensor:
        if item.shape != result.latent.shape:
            return item
        changed = self.step_end(self.trajectories.split(item), result.step, memory=True)
        return item if changed is None else self.trajectories.join(changed, item)


@contextmanager
def attached_controls(
    parts: Parts,
    attachments: Sequence[Attachment | AttentionControl],
    steps: Sequence[Step],
    batch: int,
    *,
    sampler: str = "euler",
    branches: Sequence[Branch] = (),
) -> Iterator[Controlled]:
    """`with attached_controls(...) as controlled`: every attachment on the network, `batch` pictures a
    trajectory.

    Plain attachments are entered in their order, then all controls at once. `steps` is what the run will do;
    `branches`: trajectories that the run itself has beside the target. Raises what `compose` and `attach`
    find, before any network call.
    """
    controls = compose(acting(attachments))
    for control in controls:
        check_sampler(control.name, control.only_sampler, sampler)
    trajectories = trajectories_of(controls, batch, branches)
    with ExitStack() as stack:
        made = [
            stack.enter_context(attachment.attach(parts.transformer))
            for attachment in attachments
            if not isinstance(attachment, AttentionControl)
        ]
        followers = tuple(one for one in made if isinstance(one, Follower))
        if sampler == "nested":
            check_nested(controls, followers)
        sites = adapter_for(parts.transformer).sites(parts.transformer) if controls else ()
        if not wants_attention(controls, sites, steps):
            for control in controls:
                control.check(sites, steps)
            yield Controlled(controls, trajectories, followers=followers)
            return
        from studio.controls.attach import attach  # brings diffusers, which takes seconds to load

        attached = stack.enter_context(
            attach(
                parts.transformer,
                controls,
                adapter_for(parts.transformer),
                steps=steps,
                roles=trajectories.row_roles(GUIDANCE_ROWS),
            )
        )
        yield Controlled(controls, trajectories, attached, followers, attached.maps)


def acting(attachments: Sequence[Attachment | AttentionControl]) -> list[AttentionControl]:
    """The attention controls among the attachments that are not neutral."""
    return [a for a in attachments if isinstance(a, AttentionControl) and not a.is_neutral()]


def check_sampler(name: str, wanted: str, given: str) -> None:
    """Raise if something made for one sampler's update meets another."""
    if wanted and given != wanted:
        raise StudioError(
            f"{name!r} works with the sampler {wanted!r} alone; this run has {given!r}.",
            hint=f"Choose {wanted}.",
            socket="sampler",
        )


def check_nested(controls: Sequence[AttentionControl], followers: Sequence[Follower]) -> None:
    """Raise for what counts on a run that goes straight down, where its noise goes down and up again."""
    strange = [called(c) for c in controls if type(c).step_end is not AttentionControl.step_end]
    strange += [repr(str(follower.report().get("name", "")).replace("_", " ")) for follower in followers]
    for name in strange:
        raise StudioError(
            f"{name} cannot work with the nested sampler: its noise level goes down and up again.",
            hint="Choose another sampler, such as euler.",
            socket="sampler",
        )


def wants_attention(
    controls: Sequence[AttentionControl], sites: Sequence[Site], steps: Sequence[Step]
) -> bool:
    """Whether any control wants something of the network, not only of the latents between steps."""
    return any(
        control.segments(step) or any(control.needs(site, step) for site in sites)
        for control in controls
        for step in steps
    )


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on CPU, fp32, that is an ordinary tensor, so that a value outlives inference mode."""
    with torch.inference_mode(False):
        return torch.empty(tensor.shape, dtype=torch.float32).copy_(tensor)

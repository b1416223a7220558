"""Trajectories side by side: the branches that controls ask for, and the target, in one batch.

The state of a run is a latent of trajectory, picture: every branch in the order asked for, the target last,
each with all pictures of the batch. Guidance and sampler see a bigger batch and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from studio.controls.control import AttentionControl, Branch
from studio.errors import StudioError
from studio.values import Conditioning, Denoise, Noise, Row, Step, StepResult, Wrap

TARGET = "target"


@dataclass(frozen=True, eq=False)
class Trajectories:
    """`branches` beside the target; `batch` pictures each. Without branches the target is all there is."""

    branches: tuple[Branch, ...] = ()
    batch: int = 1

    @property
    def roles(self) -> tuple[str, ...]:
        """One role for each trajectory, the target's last."""
        return (*(branch.role for branch in self.branches), TARGET)

    def row_role(self, row: str, trajectory: str) -> str:
        """The role of a network row: guidance's own without branches, else the trajectory's: "source",
        "source.uncond"."""
        if not self.branches:
            return row
        return trajectory if row == "cond" else f"{trajectory}.{row}"

    def row_roles(self, rows: Sequence[str]) -> tuple[str, ...]:
        """The roles, without picture, that the rows of guidance stand for."""
        return tuple(self.row_role(row, trajectory) for row in rows for trajectory in self.roles)

    def network_roles(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """One role for each network row: row, then trajectory, then picture."""
        roles = self.row_roles([row.role for row in rows])
        return tuple(f"{role}:{k}" for role in roles for k in range(self.batch))

    def rows(self, positive: Conditioning, negative: Conditioning) -> tuple[Row, Row]:
        """The rows of guidance, negative and positive, with the conditioning of every trajectory."""
        sides = (
            ("uncond", [branch.negative or negative for branch in self.branches], negative),
            ("cond", [branch.positive for branch in self.branches], positive),
        )
        uncond, cond = (
            Row(every[0], role, tuple(every[1:]))
            for role, others, own in sides
            for every in ([*others, own],)
        )
        return uncond, cond

    def start(self, own: torch.Tensor, sigma: float) -> torch.Tensor:
        """The first state, at noise level `sigma`, from the target's own start; batch, channel, height, width
        each."""
        if not self.branches:
            return own
        starts = []
        for branch in self.branches:
            given = branch.start(sigma) if callable(branch.start) else branch.start
            starts.append(own if given is None else self._fitted(branch.role, given, own))
        return torch.cat([*starts, own])

    def levels(self, sigma: float) -> tuple[float, ...] | None:
        """The noise level of every trajectory and picture where the run stands at `sigma`; None if all are
        there."""
        if all(branch.level is None for branch in self.branches):
            return None
        own = [sigma if branch.level is None else branch.level(sigma) for branch in self.branches]
        return tuple(level for level in (*own, sigma) for _ in range(self.batch))

    def split(self, state: torch.Tensor) -> dict[str, torch.Tensor]:
        """The latent of each trajectory by role."""
        return dict(zip(self.roles, state.split(self.batch), strict=True))

    def join(self, latents: Mapping[str, torch.Tensor], state: torch.Tensor) -> torch.Tensor:
        """A state with some trajectories put in place of those of `state`."""
        parts = self.split(state)
        for role, latent in latents.items():
            if role not in parts:
                raise StudioError(
                    f"A control changed the latent of {role!r}, which is not in this run.",
                    hint=f"There are {', '.join(parts)}.",
                )
            parts[role] = self._fitted(role, latent, parts[role])
        return torch.cat(list(parts.values()))

    def target(self, result: StepResult) -> StepResult:
        """A step as the target alone sees it."""
        if not self.branches:
            return result
        own = slice(-self.batch, None)
        return replace(result, latent=result.latent[own], denoised=result.denoised[own], memory=())

    def noise(self, noise: Noise) -> Noise:
        """Step noise for the state: the same for every trajectory."""
        if not self.branches:
            return noise
        return lambda purpose, index: noise(purpose, index).repeat(len(self.roles), 1, 1, 1)

    def wrapped(self, denoise: Denoise, wraps: Sequence[Wrap]) -> Denoise:
        """Wraps around a denoise, the first one innermost; they see and steer the target alone."""
        if not self.branches:
            for wrap in wraps:
                denoise = wrap.wrap(denoise)
            return denoise
        others: list[torch.Tensor] = []

        def own(target: torch.Tensor, step: Step) -> torch.Tensor:
            every = denoise(torch.cat([others[0], target]), step)
            others[1:] = [every[: -self.batch]]
            return every[-self.batch :]

        steered: Denoise = own
        for wrap in wraps:
            steered = wrap.wrap(steered)
        if steered is own:
            return denoise

        def all_of_them(state: torch.Tensor, step: Step) -> torch.Tensor:
            others[:] = [state[: -self.batch]]
            target = steered(state[-self.batch :], step)
            rest = others[1] if len(others) > 1 else denoise(state, step)[: -self.batch]
            others.clear()
            return torch.cat([rest, target.to(rest.dtype)])

        return all_of_them

    def _fitted(self, role: str, given: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        if given.shape[1:] != like.shape[1:] or given.shape[0] not in (1, like.shape[0]):
            raise StudioError(
                f"The latent of {role!r} has the shape {tuple(given.shape)}; this run has "
                f"{tuple(like.shape)}.",
                hint="Take a picture of the same size as the canvas.",
            )
        return given.to(like).expand_as(like)


def trajectories_of(
    controls: Sequence[AttentionControl], batch: int, own: Sequence[Branch] = ()
) -> Trajectories:
    """The branches of the run's own and those that controls ask for, merged by role: whoever shares a
    trajectory must agree on its prompts and its start."""
    found = {branch.role: (branch, "the run") for branch in own}
    for control in controls:
        for branch in control.branches():
            if branch.role == TARGET or not branch.role.isidentifier():
                raise StudioError(f"{control.name!r} asks for a trajectory called {branch.role!r}.")
            known = found.get(branch.role)
            merged = branch if known is None else _merge(known[0], branch, known[1], control.name)
            found[branch.role] = merged, control.name
    return Trajectories(tuple(branch for branch, _ in found.values()), batch)


def _merge(first: Branch, second: Branch, one: str, other: str) -> Branch:
    for ours, theirs in ((first.positive, second.positive), (first.negative, second.negative)):
        if ours is not None and theirs is not None and not same_prompt(ours, theirs):
            raise StudioError(
                f"{one!r} and {other!r} both lead the trajectory {first.role!r}, with the prompts "
                f"{ours.text!r} and {theirs.text!r}.",
                hint=f"Give both the same {first.role} prompt.",
            )
    start = first.start if second.start is None else second.start
    if first.start is not None and not _same_start(first.start, start):
        raise StudioError(
            f"{one!r} and {other!r} start the trajectory {first.role!r} from two different latents.",
            hint="Keep one of them.",
        )
    level = first.level if second.level is None else second.level
    if first.level is not None and first.level != level:
        raise StudioError(
            f"{one!r} and {other!r} lead the trajectory {first.role!r} along two schedules.",
            hint="Keep one of them.",
        )
    return Branch(first.role, first.positive, first.negative or second.negative, start, level)


def _same_start(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return one is other or (callable(one) and one == other)


def same_prompt(one: Conditioning, other: Conditioning) -> bool:
    """Whether two conditionings hold the same."""
    if one is other:
        return True
    if one.family != other.family or not torch.equal(one.embeds, other.embeds):
        return False
    if one.pooled is None or other.pooled is None:
        return one.pooled is other.pooled
    return torch.equal(one.pooled, other.pooled)

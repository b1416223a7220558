"""A stock transformer with conditionings becomes `predict(latent, step, rows)` (sampling 1.1, 1.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch

from studio.controls.control import TextSegment
from studio.errors import StudioError
from studio.models.family import Parts, adapter_for
from studio.models.guidance_input import guidance_inputs
from studio.sampling.trajectories import Trajectories
from studio.values import Predict, Row, Step

MOST_KEPT = 16


class Attached(Protocol):
    """Controls on the network, as the denoiser sees them (`controls.attach`)."""

    def segments(self, step: Step) -> Sequence[TextSegment]:
        """Prompts to append at this step."""

    def call(
        self, step: Step, roles: tuple[str, ...], *, segments: tuple[tuple[str, int], ...] = ()
    ) -> AbstractContextManager[object]:
        """Around one forward: where in the run it lies, one role for each row, and (name, tokens) of what was
        appended."""


@dataclass(eq=False)
class Calls:
    """How often a run called its network (`forwards`), and for which rows of guidance, by role; each row
    stands for all pictures and trajectories of the batch."""

    forwards: int = 0
    rows: dict[str, int] = field(default_factory=dict)

    def add(self, rows: Sequence[Row]) -> None:
        """One forward for these rows."""
        self.forwards += 1
        for row in rows:
            self.rows[row.role] = self.rows.get(row.role, 0) + 1

    def take(self, told: Mapping[str, object]) -> None:
        """Add what another run told of itself (`as_json`)."""
        forwards, by_role = told.get("forwards", 0), told.get("by_role", {})
        assert isinstance(forwards, int) and isinstance(by_role, dict)
        self.forwards += forwards
        for role, count in by_role.items():
            self.rows[role] = self.rows.get(role, 0) + count

    def as_json(self) -> dict[str, object]:
        return {"forwards": self.forwards, "rows": sum(self.rows.values()), "by_role": dict(self.rows)}


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What comes from the text for one set of rows; it keeps whatever its key names by id."""

    kept: tuple[object, ...]
    ordered: tuple[Row, ...]
    roles: tuple[str, ...]
    segments: tuple[tuple[str, int], ...]
    text: dict[str, torch.Tensor]


def make_predict(
    parts: Parts,
    attached: Attached | None = None,
    trajectories: Trajectories | None = None,
    calls: Calls | None = None,
) -> Predict:
    """The network's own velocity for each row asked for, batched in the family's order, returned in the
    asked one; a row of a changed network (`Row.around`) is a call of its own.

    latent: trajectory and picture, channel, height, width, fp32; each prediction has its shape. What comes
    from the text is put together once for each set of rows and appended prompts of a run, not at every step.
    `calls` counts.
    """
    prepared: dict[tuple[object, ...], _Prepared] = {}

    def predict(latent: torch.Tensor, step: Step, rows: Sequence[Row]) -> tuple[torch.Tensor, ...]:
        plain = [row for row in rows if row.around is None]
        if len(plain) == len(rows):
            return together(latent, step, rows)
        found = dict(zip(map(id, plain), together(latent, step, plain), strict=True)) if plain else {}
        for row in rows:
            if row.around is not None:
                roles = (trajectories or Trajectories(batch=latent.shape[0])).network_roles([row])
                with row.around(parts.transformer, step, roles):
                    (found[id(row)],) = together(latent, step, (row,))
        return tuple(found[id(row)] for row in rows)

    def together(latent: torch.Tensor, step: Step, rows: Sequence[Row]) -> tuple[torch.Tensor, ...]:
        segments = () if attached is None else tuple(attached.segments(step))
        kept = (*rows, *(segment.conditioning.embeds for segment in segments))
        key = (latent.shape[0], tuple(s.name for s in segments), *(id(thing) for thing in kept))
        if key not in prepared:
            if len(prepared) >= MOST_KEPT:
                prepared.clear()
            beside = trajectories or Trajectories(batch=latent.shape[0])
            prepared[key] = _prepare(parts, beside, rows, segments, kept)
        ready = prepared[key]
        levels = None if trajectories is None else trajectories.levels(step.sigma)
        with nullcontext() if attached is None else attached.call(
            step, ready.roles, segments=ready.segments
        ):
            velocity = parts.family.velocity(parts, latent, step, ready.text, len(rows), levels)
        if calls is not None:
            calls.add(rows)
        if len(rows) == 1:
            return (velocity,)
        pieces = torch.split(velocity, latent.shape[0])
        found = dict(zip((id(row) for row in ready.ordered), pieces, strict=True))
        return tuple(found[id(row)] for row in rows)

    return predict


def _prepare(
    parts: Parts,
    trajectories: Trajectories,
    rows: Sequence[Row],
    segments: Sequence[TextSegment],
    kept: tuple[object, ...],
) -> _Prepared:
    ordered = parts.family.order(rows)
    conditionings = [conditioning for row in ordered for conditioning in row.conditionings]
    for conditioning in (*conditionings, *(segment.conditioning for segment in segments)):
        if conditioning.family != parts.family.name:
            raise StudioError(
                f"A conditioning made for {conditioning.family!r} does not fit a model of "
                f"family {parts.family.name!r}.",
                hint="Encode the prompt with the same model that samples.",
            )
    text = parts.family.text_inputs(parts, conditionings, trajectories.batch)
    if segments:
        tensors = [(s.name, s.conditioning.embeds.to(parts.device, parts.dtype)) for s in segments]
        text = adapter_for(parts.transformer).join_text(text, tensors)
    text |= guidance_inputs(parts, [g for row in ordered for g in row.guidances], trajectories.batch)
    lengths = tuple((s.name, int(s.conditioning.embeds.shape[1])) for s in segments)
    return _Prepared(kept, ordered, trajectories.network_roles(ordered), lengths, text)


def flow_denoised(latent: torch.Tensor, velocity: torch.Tensor, step: Step) -> torch.Tensor:
    """The clean estimate of a flow network: x - sigma v (sampling 1.2), in fp64 where the device has it.

    In fp32 the difference would lose the last bits of the velocity, and a sampler could not get them back.
    """
    if latent.device.type == "mps":
        return latent - step.sigma * velocity
    return latent.double() - step.sigma * velocity.double()

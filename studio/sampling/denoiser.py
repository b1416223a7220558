"""A stock transformer with conditionings becomes `predict(latent, step, rows)` (sampling 1.1, 1.6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from studio.errors import StudioError
from studio.models.family import Parts
from studio.values import Predict, Row, Step


def make_predict(parts: Parts) -> Predict:
    """The network's own velocity for each row asked for, batched in the family's order, returned in the
    asked one.

    latent: batch, channel, height, width, fp32; each prediction has its shape. What comes from the text
    is put
    together once for each set of rows of a run, not at every step.
    """
    prepared: dict[tuple[int, tuple[int, ...]], tuple[tuple[Row, ...], dict[str, torch.Tensor]]] = {}

    def predict(latent: torch.Tensor, step: Step, rows: Sequence[Row]) -> tuple[torch.Tensor, ...]:
        batch = latent.shape[0]
        key = (batch, tuple(id(row) for row in rows))
        if key not in prepared:
            for row in rows:
                if row.conditioning.family != parts.family.name:
                    raise StudioError(
                        f"A conditioning made for {row.conditioning.family!r} does not fit a model of "
                        f"family {parts.family.name!r}.",
                        hint="Encode the prompt with the same model that samples.",
                    )
            ordered = parts.family.order(rows)
            # the rows are kept in the entry, so that their ids stay theirs
            prepared[key] = (
                ordered,
                parts.family.text_inputs(parts, [row.conditioning for row in ordered], batch),
            )
        ordered, text = prepared[key]
        velocity = parts.family.velocity(parts, latent, step, text, len(ordered))
        if len(ordered) == 1:
            return (velocity,)
        pieces = dict(zip((id(row) for row in ordered), torch.split(velocity, batch), strict=True))
        return tuple(pieces[id(row)] for row in rows)

    return predict


def flow_denoised(latent: torch.Tensor, velocity: torch.Tensor, step: Step) -> torch.Tensor:
    """The clean estimate of a flow network: x - sigma v (sampling 1.2), in fp64 where the device has it.

    In fp32 the difference would lose the last bits of the velocity, and a sampler could not get them back.
    """
    if latent.device.type == "mps":
        return latent - step.sigma * velocity
    return latent.double() - step.sigma * velocity.double()

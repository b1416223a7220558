"""Guidance that counts in a part of the picture only (FlowChef, arXiv 2412.00100: the cfg_scale of an edit
holds inside its mask)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from studio.sampling.denoiser import flow_denoised
from studio.sampling.guidance.pair import row_of
from studio.values import Denoise, Guidance, Predict, Row, Step


def inside(guidance: Guidance, weight: torch.Tensor | None, batch: int) -> Guidance:
    """The rule with its effect weighed by place: estimate = c + weight (guided - c), c the positive row's.

    weight: 0..1 on the latent's grid, broadcast over picture and channel; 1 = the rule itself, bit for bit,
    and None returns it as it is. Only the last `batch` latents, the target's, are weighed. No further call of
    the network.
    """
    if weight is None:
        return guidance
    given = weight

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        plain: list[torch.Tensor] = []
        at: list[torch.Tensor] = []

        def watched(latent: torch.Tensor, step: Step, asked: Sequence[Row]) -> tuple[torch.Tensor, ...]:
            found = predict(latent, step, asked)
            if latent is at[0]:  # a rule may look further ahead, from other latents
                plain[:] = [one for one, row in zip(found, asked, strict=True) if row.role == "cond"] or plain
            return found

        rule = guidance.guide(watched, rows)
        cond_row = row_of(rows, "cond")

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            at[:], plain[:] = [latent], []
            guided = rule(latent, step)
            if not plain:  # a rule that does not ask the prompt alone
                plain[:] = predict(latent, step, (cond_row,))
            own = slice(-batch, None)
            cond = flow_denoised(latent[own], plain[0][own], step).to(guided)
            where = given.to(guided)
            mixed = torch.where(where == 1, guided[own], cond + where * (guided[own] - cond))
            return torch.cat([guided[:-batch], mixed])

        return denoise

    return replace(guidance, guide=guide)

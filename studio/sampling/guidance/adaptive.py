"""Adaptive guidance (arXiv 2312.12487, section 5): once both predictions agree, the rest of the run follows
the prompt alone, at half the cost.

Picture by picture. A batch still calls the unconditional row while one of its pictures needs it, so that no
picture depends on the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from studio.controls.bounds import within
from studio.sampling.denoiser import flow_denoised
from studio.sampling.guidance.memory import Remembering
from studio.sampling.guidance.pair import each, row_of
from studio.values import Denoise, Guidance, Predict, Row, Settings, Step


def adaptive(guidance: Guidance, threshold: float = 0.991) -> Guidance:
    """`guidance` until the cosine of both predictions is above `threshold`, -1..1; the prompt alone in all
    later steps. 1 = never (neutral); -1 = after the first step.

    A guidance that never asks for both rows stays what it is. 0.991 is the paper's value for Stable
    Diffusion.
    """
    within("threshold", threshold, -1, 1)

    def guide(predict: Predict, rows: Sequence[Row]) -> Denoise:
        if threshold == 1:
            return guidance.guide(predict, rows)
        seen: dict[str, torch.Tensor] = {}
        asked: dict[str, Row] = {"cond": row_of(rows, "cond")}
        done: dict[int, torch.Tensor] = {}  # step -> which pictures follow the prompt alone after it

        def watched(latent: torch.Tensor, step: Step, wanted: Sequence[Row]) -> tuple[torch.Tensor, ...]:
            found = predict(latent, step, wanted)
            for row, one in zip(wanted, found, strict=True):
                if row.role in ("cond", "uncond") and row.role not in seen:
                    seen[row.role], asked[row.role] = one, row
            return found

        rule = guidance.guide(watched, rows)

        def denoise(latent: torch.Tensor, step: Step) -> torch.Tensor:
            before = _before(done, step)
            if before is not None and bool(before.all()):
                done[step.index] = before
                return flow_denoised(latent, predict(latent, step, (asked["cond"],))[0], step)
            seen.clear()
            guided = rule(latent, step)
            agreed = before if before is not None else torch.zeros(len(latent), dtype=torch.bool)
            agreed = agreed.to(latent.device)
            result = guided
            if bool(agreed.any()):
                result = torch.where(each(agreed), flow_denoised(latent, seen["cond"], step), guided)
            if len(seen) == 2:
                agreed = agreed | (cosine(seen["cond"], seen["uncond"]) > threshold)
            done[step.index] = agreed
            return result

        return Remembering(denoise, (done,), (rule,))

    def at(step: Step) -> Settings:
        inner = (("guidance", repr(guidance)),) if guidance.at is None else guidance.at(step)
        return inner and (("threshold", float(threshold)), *inner)

    return Guidance(
        f"adaptive {guidance.name}",
        guide,
        (("threshold", float(threshold)), ("guidance", repr(guidance))),
        guidance.only_sampler,
        guidance.perturbs,
        guidance.remembers or threshold != 1,
        guidance.at if threshold == 1 else at,
    )


def _before(done: dict[int, torch.Tensor], step: Step) -> torch.Tensor | None:
    """What was decided in the last step before this one."""
    earlier = [index for index in done if index < step.index]
    return done[max(earlier)] if earlier else None


def cosine(c: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The cosine of two predictions, picture by picture, at most 1."""
    c, u = c.flatten(1).float(), u.flatten(1).float()
    return torch.nn.functional.cosine_similarity(c, u, dim=1).clamp_max(1)

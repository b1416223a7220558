"""The guidance number as an input of the network: guidance-distilled models (arXiv 2210.03142), FLUX.1-dev.

It takes the place of the second pass of classifier-free guidance; `cfg_scale` stays the two-pass rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from studio.errors import BadModel, StudioError
from studio.models.family import Parts

USUAL = 3.5  # what FluxPipeline takes unless told otherwise


def guidance_inputs(parts: Parts, numbers: Sequence[float | None], batch: int) -> dict[str, torch.Tensor]:
    """The network's `guidance` argument, row, fp32: each number for `batch` pictures; {} if it has none.

    None stands for the card's `guidance` (3.5 by default). StudioError if a number is given to a network that
    takes none: it would change nothing.
    """
    if not getattr(parts.transformer.config, "guidance_embeds", False):
        given = next((number for number in numbers if number is not None), None)
        if given is not None:
            raise StudioError(
                f"This {parts.family.title} model takes no guidance number (guidance_embeds is off), so a "
                f"guidance of {given:g} would do nothing.",
                hint="Use the node Guidance (CFG), whose cfg_scale works with every model.",
                socket="guidance",
            )
        return {}
    usual = _usual(parts)
    rows = [usual if number is None else number for number in numbers for _ in range(batch)]
    return {"guidance": torch.tensor(rows, dtype=torch.float32, device=parts.device)}


def _usual(parts: Parts) -> float:
    given = parts.card.get("guidance", USUAL)
    if type(given) not in (int, float) or not (math.isfinite(given) and given >= 0):
        raise BadModel(f"The card's guidance is {given!r}; it must be a number of at least 0.")
    return float(given)

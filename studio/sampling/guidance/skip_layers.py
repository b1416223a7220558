"""Skip-layer guidance (SLG; Stability AI's SD3.5 reference code, and diffusers' `skip_guidance_layers`): away
from a network that leaves some of its blocks out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from studio.controls.control import in_open_range
from studio.models.family import adapter_for
from studio.sampling.guidance.weak import away_from, chosen_blocks
from studio.values import Guidance, Step


def skip_layers(
    guidance: Guidance | None = None,
    scale: float = 2.8,
    blocks: Sequence[int] = (),
    start: float = 0.01,
    end: float = 0.2,
) -> Guidance:
    """`guidance` away from the network without `blocks` (numbers of joint blocks; none = those that suit).

    scale 0..10, 0 = neutral; 2.8 from 0.01 to 0.2 is Stability AI's setting for SD3.5 medium. As there, the
    range is open on both sides: never the first step, and of 28 the second to the sixth.
    """

    @contextmanager
    def around(network: object, step: Step, roles: tuple[str, ...]) -> Iterator[None]:
        from studio.controls.left_out import without_blocks  # brings diffusers: seconds to load

        assert isinstance(network, torch.nn.Module)
        sites = chosen_blocks("Skip-layer guidance", blocks, adapter_for(network).sites(network))
        with without_blocks(network, [site.name.rpartition(".")[0] for site in sites]):
            yield

    given = (("blocks", tuple(blocks)),)
    return away_from("skip_layers", guidance, around, scale, start, end, given, in_open_range)

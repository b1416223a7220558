"""Adaptive projected guidance (arXiv 2410.02416): c + (w - 1) s, with the part of s = c - u that lies along
c, which makes colours burn, turned down; s limited in length and carried along with a momentum.

On the network's own prediction, as diffusers' AdaptiveProjectedGuidance; the paper takes clean estimates.
"""

from __future__ import annotations

import torch

from studio.controls.bounds import window, within
from studio.sampling.guidance.cfg import check_scale
from studio.sampling.guidance.pair import Combine, Recalling, each, in_steps, pair_guide
from studio.values import Guidance, Step

MOST_LENGTH = 1000.0


def apg(
    cfg_scale: float = 4.0,
    parallel: float = 0.0,
    longest: float = 15.0,
    momentum: float = -0.5,
    start: float = 0.0,
    end: float = 1.0,
) -> Guidance:
    """Guidance of strength `cfg_scale`, 0..30; at 1 the unconditional row is not computed (neutral).

    parallel: 0..1, what is left of the part along c (the paper's eta; 1, without limit and momentum, is CFG,
    bit by bit). longest: limit of the
    difference's Euclidean length, 0 = none; it grows with the square root of the picture's size. momentum:
    -1..1, the share of the last step's difference that is added; 0 = none.
    """
    check_scale(cfg_scale)
    window(start, end)
    within("parallel", parallel, 0, 1)
    within("longest", longest, 0, MOST_LENGTH)
    within("momentum", momentum, -1, 1)

    # written as CFG writes it, so that it has its bits
    plain = parallel == 1 and not longest and not momentum

    def made() -> Combine:
        # step -> the running difference after it; two-stage samplers come to a step twice
        known: dict[int, torch.Tensor] = {}

        def rule(c: torch.Tensor, u: torch.Tensor, step: Step) -> torch.Tensor:
            difference = c - u
            if plain:
                return u + cfg_scale * difference
            if momentum:
                for index in [index for index in known if index < step.index - 1]:
                    del known[index]
                last = known.get(step.index - 1)
                difference = difference if last is None else difference + momentum * last
                known[step.index] = difference
            if longest:
                difference = limited(difference, longest)
            if parallel != 1:
                difference = difference - (1 - parallel) * along(difference, c)
            return c + (cfg_scale - 1) * difference

        return Recalling(rule, known) if momentum else rule

    params = (
        ("cfg_scale", float(cfg_scale)),
        ("parallel", float(parallel)),
        ("longest", float(longest)),
        ("momentum", float(momentum)),
        ("start", float(start)),
        ("end", float(end)),
    )
    guide = pair_guide(made, start=start, end=end, neutral=cfg_scale == 1)
    acting = (("rule", "apg"), *params[:-2])
    at = in_steps(acting, start, end, neutral=cfg_scale == 1)
    return Guidance("apg", guide, params, remembers=momentum != 0, at=at)


def limited(difference: torch.Tensor, longest: float) -> torch.Tensor:
    """Each picture's difference, no longer than `longest`."""
    length = each(difference.flatten(1).norm(dim=1))
    return difference * (longest / length.clamp_min(1e-12)).clamp_max(1)


def along(difference: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """The part of each picture's difference that lies along its prediction."""
    a, b = difference.flatten(1).double(), c.flatten(1).double()
    share = (a * b).sum(1) / (b * b).sum(1).clamp_min(1e-24)
    return (each(share) * c.double()).to(difference.dtype)

"""BOSS: where N Euler steps should lie, by dynamic programming over one fine run (arXiv 2312.16414); its
search alone, nothing is trained.

A step from level j to level k of the fine run costs the squared distance between where Euler lands from the
fine run's own latent and velocity at j and the fine run's latent at k. The list with the least sum of costs
is found exactly; the fine run is all that the network is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from studio.errors import StudioError
from studio.values import Sigmas

Floats = npt.NDArray[np.float64]


def jump_costs(latents: Sequence[torch.Tensor], sigmas: Sigmas) -> Floats:
    """Costs [level j, level k], j < k, of one fine Euler run: mean squared error per element; infinite where
    k is not below j.

    latents: the run's at every level of `sigmas`, batch, channel, height, width each. The mean of several
    runs' costs is the cost for all of them.
    """
    count = len(sigmas.values)
    if len(latents) != count:
        raise ValueError(f"{len(latents)} latents for {count} levels")
    costs = np.full((count, count), np.inf)
    for j in range(count - 1):
        here = latents[j].double()
        slope = (latents[j + 1].double() - here) / (sigmas.values[j + 1] - sigmas.values[j])
        # the next level is where the fine run itself went
        costs[j, j + 1] = 0.0
        for k in range(j + 2, count):
            landed = here + (sigmas.values[k] - sigmas.values[j]) * slope
            costs[j, k] = float(((latents[k].double() - landed) ** 2).mean())
    return costs


def cheapest(costs: Floats, steps: int) -> tuple[int, ...]:
    """The levels, first and last included, of the cheapest way in exactly `steps` steps; the earliest levels
    of several equal ways."""
    last = len(costs) - 1
    if not 1 <= steps <= last:
        raise StudioError(
            f"{steps} steps cannot be found in a fine run of {last}.",
            socket="steps",
            hint=f"Possible: 1 to {last}; or raise the steps of the fine run.",
        )
    total = costs[0].copy()
    came_from = []
    for _ in range(steps - 1):
        ways = total[:, None] + costs
        came_from.append(np.argmin(ways, axis=0))
        total = np.min(ways, axis=0)
    path = [last]
    for table in reversed(came_from):
        path.append(int(table[path[-1]]))
    return (0, *reversed(path))


def total_cost(costs: Floats, levels: Sequence[int]) -> float:
    """The sum of the costs of a list of levels."""
    return float(sum(costs[j, k] for j, k in pairwise(levels)))


def even_levels(fine: int, steps: int) -> tuple[int, ...]:
    """Every (fine / steps)th level, rounded: the uniform choice."""
    return tuple(round(i * fine / steps) for i in range(steps + 1))


def chosen(sigmas: Sigmas, levels: Sequence[int], name: str = "boss") -> Sigmas:
    """The levels as a schedule."""
    return Sigmas(tuple(sigmas.values[level] for level in levels), name)

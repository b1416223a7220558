"""Which steps to run in full when their number is given, from what one run looked like (sampling.md 4.2, 6).

The idea of BAC (block-wise adaptive caching, arXiv 2506.13456): a step is worth a full pass where features
have moved away from those kept. Dynamic programming over the refresh points finds the least total distance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from studio.errors import StudioError


def distances(features: Sequence[torch.Tensor], *, order: int = 0) -> list[list[float]]:
    """C[i][j]: what it costs to go from a full step i to the next one j (j = steps: to the end).

    features: one tensor a step, any shape. Order 0: sum of 1 - cos(F_t, F_i) over i < t < j, as published.
    Order 1: sum of |F_t - line through F_i and the step before it|² / |F_t|², what a linear forecast would
    miss; the full step before i is taken as far away as j is.
    """
    count = len(features)
    flat = [feature.flatten().double() for feature in features]
    norms = [float(f @ f) for f in flat]
    dots = torch.stack(flat) @ torch.stack(flat).T

    def miss(t: int, i: int, j: int) -> float:
        if order == 0:
            return 1 - float(dots[t, i]) / max((norms[t] * norms[i]) ** 0.5, 1e-12)
        before = max(i - (j - i), 0)
        if before == i:
            away = norms[t] - 2 * float(dots[t, i]) + norms[i]
            return away / max(norms[t], 1e-12)
        slope = (t - i) / (i - before)
        guess = {i: 1 + slope, before: -slope}
        away = norms[t] - 2 * sum(w * float(dots[t, k]) for k, w in guess.items())
        away += sum(w * v * float(dots[k, m]) for k, w in guess.items() for m, v in guess.items())
        return away / max(norms[t], 1e-12)

    return [[sum(miss(t, i, j) for t in range(i + 1, j)) for j in range(count + 1)] for i in range(count)]


def best_steps(cost: Sequence[Sequence[float]], full: int) -> tuple[int, ...]:
    """The `full` steps, the first among them, with the least total cost (`distances`); StudioError unless
    1 <= full <= steps."""
    count = len(cost)
    if not 1 <= full <= count:
        raise StudioError(
            f"{full} full steps do not fit a run of {count} steps.", hint=f"Possible: 1 to {count}."
        )
    # least[k][i]: cost up to the full step i, the k-th
    least = [[float("inf")] * count for _ in range(full)]
    came = [[0] * count for _ in range(full)]
    least[0][0] = 0.0
    for k in range(1, full):
        for j in range(k, count):
            own: Callable[[int], float] = lambda i, k=k, j=j: least[k - 1][i] + cost[i][j]  # type: ignore[misc] # noqa: E731
            came[k][j] = min(range(j), key=own)
            least[k][j] = own(came[k][j])
    at = min(range(count), key=lambda i: least[full - 1][i] + cost[i][count])
    found = [at]
    for k in range(full - 1, 0, -1):
        at = came[k][at]
        found.append(at)
    return tuple(reversed(found))


def total(cost: Sequence[Sequence[float]], steps: Sequence[int]) -> float:
    """What a choice of full steps costs."""
    return sum(cost[i][j] for i, j in zip(steps, [*steps[1:], len(cost)], strict=True))

"""AutoDiffusion's search (arXiv 2309.10438) over lists of levels, seeded by others such as BOSS's.

Theirs judges by FID and may leave out layers; here a list is judged by a score of the caller's, and the
network stays whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Levels = tuple[int, ...]
PARENTS = 4
FARTHEST = 3


def evolve(
    score: Callable[[Levels], float],
    seeds: Sequence[Levels],
    *,
    generations: int,
    children: int = 4,
    seed: int = 0,
) -> tuple[Levels, float]:
    """The best list and its score (lower is better) after so many generations of `children` new lists.

    seeds: ascending levels of one length with the same first and last one. The best live on, so the result is
    never worse than the best seed. Each list is scored once; one that comes up again makes no new child.
    """
    rng = np.random.default_rng(seed)
    known = {levels: score(levels) for levels in dict.fromkeys(seeds)}
    for _ in range(generations):
        parents = sorted(known, key=lambda levels: (known[levels], levels))[:PARENTS]
        for _ in range(children):
            child = _child(parents, rng)
            if child not in known:
                known[child] = score(child)
    best = min(known, key=lambda levels: (known[levels], levels))
    return best, known[best]


def _child(parents: Sequence[Levels], rng: np.random.Generator) -> Levels:
    """A mix of two parents, or one of them, with one level moved."""
    one, other = (parents[int(k)] for k in rng.integers(len(parents), size=2))
    first, last, count = one[0], one[-1], len(one) - 2
    inner = sorted(set(one[1:-1]) | set(other[1:-1]))
    chosen = sorted(int(k) for k in rng.choice(inner, size=count, replace=False)) if count else []
    free = [
        (at, to)
        for at in range(count)
        for to in range(chosen[at] - FARTHEST, chosen[at] + FARTHEST + 1)
        if first < to < last and to not in chosen
    ]
    if free:
        at, to = free[int(rng.integers(len(free)))]
        chosen[at] = to
    return (first, *sorted(chosen), last)

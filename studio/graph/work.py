"""How much work a node is, as far as its settings tell: two runs of equal work take about as long.

Words, colours and seeds change what is made, not how long it takes; sizes, steps and choices do, here and
in all that the node is fed by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from studio.graph.resolve import Task

IDLE = ("prompt", "seed", "colour")  # sorts of widgets that change no time
COUNTED = ("regions",)  # their number counts, not what they say
SEEN_ONLY = ("picture",)  # which one it is tells its size, but only to who has met it


def tell_work(tasks: Sequence[Task]) -> None:
    """Set `work` of every task, which stand sources first: with the pictures it is fed by, without them, and
    without what is no whole number and no choice (a strength or a guidance seldom changes the time)."""
    for task in tasks:
        if task.spec is None:
            continue
        settings, shown = _settings(task)
        fed = [(name, tasks[index].work, out) for name, index, out in task.inputs]
        rough = _short((task.kind, settings, [(name, work[1], out) for name, work, out in fed]))
        same = not shown and all(work[0] == work[1] for _, work, _ in fed)
        exact = rough if same else _short((rough, shown, [work[0] for _, work, _ in fed]))
        whole = [(name, value) for name, value in settings if not isinstance(value, float)]
        coarse = _short(("coarse", task.kind, whole, [(name, work[2], out) for name, work, out in fed]))
        task.work = (exact, rough, coarse)


def _settings(task: Task) -> tuple[list[tuple[str, object]], list[tuple[str, object]]]:
    """What of a task's own settings is work, and the pictures among them."""
    assert task.spec is not None
    settings: list[tuple[str, object]] = []
    shown: list[tuple[str, object]] = []
    for param in task.spec.params:
        sort = param.widget.sort
        if sort in IDLE or param.name not in task.params:
            continue
        value = task.params[param.name]
        if sort in COUNTED:
            value = len(value) if isinstance(value, list) else 0
        (shown if sort in SEEN_ONLY else settings).append((param.name, value))
    return settings, shown


def _short(told: object) -> str:
    return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()

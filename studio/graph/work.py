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
    """Set `work` of every task, which stand sources first: with the pictures it is fed by, and without."""
    for task in tasks:
        if task.spec is None:
            continue
        settings, shown = _settings(task)
        fed = [(name, tasks[index].work, out) for name, index, out in task.inputs]
        rough = _short((task.kind, settings, [(name, work[1], out) for name, work, out in fed]))
        same = not shown and all(work[0] == work[1] for _, work, _ in fed)
        exact = rough if same else _short((rough, shown, [work[0] for _, work, _ in fed]))
        task.work = (exact, rough)


def _settings(task: Task) -> tuple[list[object], list[object]]:
    """What of a task's own settings is work, and the pictures among them."""
    assert task.spec is not None
    settings: list[object] = []
    shown: list[object] = []
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

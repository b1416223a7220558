"""How a picture's runs went, from its record: network calls, step caches, relays, and whether it ended early.

A record may come from anywhere: what is not as we write it is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

MOST_STEPS, MOST_PICTURES, MOST_PARTS = 1000, 16, 8


def calls(record: Mapping[str, Any]) -> dict[str, object] | None:
    """How often all runs called their network, `calls`, and for how many `rows` of guidance; `kept`: calls of
    earlier runs whose whole result came from the cache; `earlier`: [steps, of] that an earlier run had made,
    `of` None = not known; `computed`: the share of their blocks that the calls computed, None without a step
    cache. None if the record does not tell."""
    timings = table(record, "timings")
    made = rows = kept = steps = of = 0
    work, cached, known, whole = 0.0, False, False, True
    for node, given in _noted(record):
        network, resumed = table(given, "network"), table(given, "resumed")
        forwards = network.get("forwards")
        if type(forwards) is not int or type(network.get("rows")) is not int:
            continue
        known = True
        if timings and node not in timings:
            kept += forwards
            continue
        share = number(table(given, "step_cache").get("work"))
        made, rows, cached = made + forwards, rows + network["rows"], cached or share is not None
        work += forwards * (min(max(share, 0.0), 1.0) if share is not None else 1.0)
        if type(resumed.get("steps")) is int:
            steps += resumed["steps"]
            whole = whole and type(resumed.get("of")) is int
            of += resumed["of"] if type(resumed.get("of")) is int else 0
    if not known:
        return None
    return {
        "calls": made,
        "rows": rows,
        "kept": kept,
        "earlier": [steps, of if whole else None] if steps else None,
        "computed": round(work / made, 4) if cached and made else None,
    }


def caches(record: Mapping[str, Any]) -> list[dict[str, object]]:
    """What step caches did: for each picture of the run its number from 1, how many steps there were, the
    numbers of those skipped, how far the guesses were off (share) and the seconds saved; None = not known."""
    found: list[dict[str, object]] = []
    for _, given in _noted(record):
        told = table(given, "step_cache")
        steps = told.get("steps")
        if type(steps) is not int or not 0 < steps <= MOST_STEPS:
            continue
        for count, (_, steps_of) in enumerate(list(table(told, "pictures").items())[:MOST_PICTURES], 1):
            listed = steps_of.get("skipped") if isinstance(steps_of, Mapping) else None
            skipped = [s for s in listed if type(s) is int] if isinstance(listed, list) else []
            found.append(
                {
                    "picture": count,
                    "steps": steps,
                    "skipped": [step for step in skipped if 0 < step <= steps],
                    **{name: number(told.get(name)) for name in ("error_estimate", "seconds_saved")},
                }
            )
    return found


def relays(record: Mapping[str, Any]) -> list[dict[str, object]]:
    """Who painted which steps of a run that was handed over: `steps`, and `parts` in order, each with its
    `model`, its first step `from`, its last one `to`, and the noise `level` at which it took over."""
    found: list[dict[str, object]] = []
    for _, given in _noted(record):
        told = table(given, "relay")
        steps, listed = told.get("steps"), told.get("parts")
        if type(steps) is not int or not 0 < steps <= MOST_STEPS or not isinstance(listed, list):
            continue
        parts = [
            {
                "model": str(part.get("model", ""))[:200],
                "from": part["from"],
                "to": part["to"],
                "level": number(part.get("level")),
            }
            for part in listed[:MOST_PARTS]
            if isinstance(part, Mapping)
            and type(part.get("from")) is int
            and type(part.get("to")) is int
            and 0 < part["from"] <= part["to"] <= steps
        ]
        if parts:
            found.append({"steps": steps, "parts": parts})
    return found


def stopped(record: Mapping[str, Any]) -> list[int] | None:
    """[steps done, steps of the schedule] of a run that ended early; of several the last one. None for a
    whole one."""
    found = None
    for _, given in _noted(record):
        told = table(given, "stopped")
        if type(told.get("after")) is int and type(told.get("of")) is int:
            found = [told["after"], told["of"]]
    return found


def together(record: Mapping[str, Any]) -> str:
    """How many runs were one batch; empty for a run of its own."""
    counts = [table(given, "together").get("runs") for _, given in _noted(record)]
    return next((str(count) for count in counts if type(count) is int), "")


def table(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What a record holds under a name, if that is a table; else an empty one."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def number(value: object) -> float | None:
    """A finite number; None for anything else."""
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None  # type: ignore[arg-type]


def _noted(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for node, given in table(record, "notes").items():
        if isinstance(given, Mapping):
            yield str(node), given

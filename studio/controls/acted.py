"""What the controls of a run did, for its record."""

from __future__ import annotations

from collections.abc import Container, Sequence

from studio.controls.composition import called
from studio.controls.control import AttentionControl
from studio.controls.plan import StepPlan


def told_of(
    controls: Sequence[AttentionControl], acted: Sequence[tuple[StepPlan, int]], weighed: Container[str]
) -> list[dict[str, object]]:
    """JSON values: at how many sites and steps each control acted, and under "warning" if that came to
    nothing. `acted`: the plans that ran and the numbers of their steps; `weighed`: names of those whose
    weights on words any pass had a use for."""
    told = []
    for control in controls:
        places = [(index, _sites(plan, control)) for plan, index in acted]
        entry: dict[str, object] = {
            "name": control.name,
            "technique": control.technique,
            "sites": len({name for _, names in places for name in names}),
            "steps": len({index for index, names in places if names}),
        }
        warning = "" if control.name in weighed else _unread(control, acted)
        told.append(entry | ({"warning": warning} if warning else {}))
    return told


def _sites(plan: StepPlan, control: AttentionControl) -> set[str]:
    return {name for name, here in plan.sites.items() if any(one is control for one in here.controls())}


def _unread(control: AttentionControl, acted: Sequence[tuple[StepPlan, int]]) -> str:
    """What to say of weights on words that no part of the picture read, because of others that decide what it
    reads; empty if there are none."""
    owners: dict[str, None] = {}
    for plan, _ in acted:
        for here in plan.sites.values():
            if any(one is control for one in here.columns):
                owners |= dict.fromkeys(called(owner) for owner in here.owners)
    if not owners:
        return ""
    return (
        f"{called(control)} changed nothing: with {' and '.join(owners)} no part of the picture reads the "
        "prompt whose words it weighs. Raise the base ratio of strict regions, or leave part of the picture "
        "free."
    )

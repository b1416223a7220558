"""Whether a block may be left out where attention controls act in it (sampling.md 4.3, rule 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from studio.controls.control import AttentionControl
from studio.controls.plan import Plan, SitePlan
from studio.values import Step


def unchanged(plan: Plan, sites: Iterable[str], step: Step, recorded: Step) -> bool:
    """Whether the same controls act on the same terms at these sites at both steps."""
    return all(
        _terms(now, step) == _terms(before, recorded) for now, before in _pairs(plan, sites, step, recorded)
    )


def may_skip(plan: Plan, sites: Iterable[str], step: Step, recorded: Step | None) -> bool:
    """Whether what was recorded at an earlier step stands for these sites now: nobody acts there at either
    step, or those who do are steady and act on the same terms."""
    for now, before in _pairs(plan, sites, step, step if recorded is None else recorded):
        if now is None and before is None:
            continue
        if recorded is None or _terms(now, step) != _terms(before, recorded):
            return False
        if any(terms is None for _, terms in _terms(now, step)):
            return False
    return True


def _pairs(
    plan: Plan, sites: Iterable[str], step: Step, recorded: Step
) -> Iterator[tuple[SitePlan | None, SitePlan | None]]:
    now, before = plan.at(step), plan.at(recorded)
    for name in sites:
        yield now.sites.get(name), before.sites.get(name)


def _terms(plan: SitePlan | None, step: Step) -> list[tuple[int, object]]:
    """Who acts, and what `steady` says of it."""
    controls: tuple[AttentionControl, ...] = () if plan is None else plan.controls()
    return [(id(control), control.steady(step)) for control in controls]

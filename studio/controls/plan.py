"""Who acts at which site and step: asked of every control once, before the first network call, and checked
for conflicts (controls.md 3.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from studio.controls.composition import APART, KEEP_APART, called, rule
from studio.controls.control import AttentionControl, Need, Owns, TextSegment, Write
from studio.errors import StudioError, did_you_mean
from studio.models.family import Site
from studio.values import Step

Edit = tuple[AttentionControl, tuple[Write, ...]]

# What it means to change a span's tokens, and whose rows are meant, in words.
_CHANGES = {"image": "how the parts of {} look at each other", "text": "what the words say to {}"}
_ROWS = {
    "target": "the new picture",
    "source": "the old picture",
    "reference": "the reference",
    "cond": "the picture",
    "uncond": "what is avoided",
}


@dataclass(frozen=True, eq=False)
class SitePlan:
    """Who acts at one site at one step, in the order in which they act. `hides`: there are segments in the
    sequence, which rows that do not ask for them must not see."""

    site: Site
    edits: tuple[Edit, ...] = ()
    extends: tuple[AttentionControl, ...] = ()
    owners: tuple[AttentionControl, ...] = ()
    columns: tuple[AttentionControl, ...] = ()
    probes: tuple[AttentionControl, ...] = ()
    reads: tuple[AttentionControl, ...] = ()
    afters: tuple[AttentionControl, ...] = ()
    hides: bool = False
    # whether the network's own call, on edited tensors, is not enough
    general: bool = field(init=False)

    def __post_init__(self) -> None:
        general = bool(self.extends or self.owners or self.columns or self.hides)
        object.__setattr__(self, "general", general)

    def controls(self) -> tuple[AttentionControl, ...]:
        """Everybody who acts here."""
        found = [edit[0] for edit in self.edits]
        for group in (self.extends, self.owners, self.columns, self.probes, self.reads, self.afters):
            found += group
        return tuple({id(control): control for control in found}.values())


@dataclass(frozen=True, eq=False)
class StepPlan:
    """One step: the sites where somebody acts, by module name, and the prompts appended to the text."""

    sites: Mapping[str, SitePlan]
    segments: tuple[TextSegment, ...]


class Plan:
    """The plan of a run. `sites`: all of the network, in order; `roles`: of the rows of the run, without the
    picture's number.

    Raises StudioError, naming both controls, the sites and the steps, where two controls do not go together.
    """

    def __init__(
        self,
        controls: Sequence[AttentionControl],
        sites: Sequence[Site],
        steps: Sequence[Step],
        roles: Sequence[str],
    ) -> None:
        self.controls = tuple(controls)
        self.sites = tuple(sites)
        self.roles = tuple(dict.fromkeys(role.partition(":")[0] for role in roles))
        _check_names(self.controls)
        for control in self.controls:
            control.check(self.sites, tuple(steps))
            self._check_branches(control)
        self._steps: dict[Step, StepPlan] = {step: self._compile(step) for step in steps}
        self._check(self._steps)

    def at(self, step: Step) -> StepPlan:
        """The plan of a step, also of one at another noise level (`Step.at`), which is planned when it is
        met."""
        plan = self._steps.get(step)
        if plan is None:
            plan = self._compile(step)
            self._check({step: plan})
            self._steps[step] = plan
        return plan

    def _compile(self, step: Step) -> StepPlan:
        segments = tuple(segment for control in self.controls for segment in control.segments(step))
        _check_segments(segments)
        sites = {}
        for site in self.sites:
            needs = [(control, control.needs(site, step)) for control in self.controls]
            hides = bool(segments) and site.kind != "image_self"
            if hides or any(need is not Need.NONE for _, need in needs):
                sites[site.name] = self._site(site, step, needs, segments, hides)
        return StepPlan(sites, segments)

    def _site(
        self,
        site: Site,
        step: Step,
        needs: Sequence[tuple[AttentionControl, Need]],
        segments: Sequence[TextSegment],
        hides: bool,
    ) -> SitePlan:
        def those(flag: Need) -> tuple[AttentionControl, ...]:
            return tuple(control for control, need in needs if flag in need)

        edits = tuple((control, self._writes(control, site, step, segments)) for control in those(Need.EDIT))
        return SitePlan(
            site,
            edits,
            those(Need.EXTEND),
            those(Need.PASSES),
            those(Need.COLUMNS),
            those(Need.PROBE),
            those(Need.READ),
            those(Need.AFTER),
            hides,
        )

    def _writes(
        self, control: AttentionControl, site: Site, step: Step, segments: Sequence[TextSegment]
    ) -> tuple[Write, ...]:
        """What an edit writes, checked against the rows and segments that the run has."""
        writes = tuple(control.writes(site, step))
        if not writes:
            raise StudioError(
                f"{control.name!r} edits {site.name} at step {step.index} but does not say what it writes.",
                hint="A control that wants Need.EDIT returns its writes.",
            )
        if not any(write.role in self.roles for write in writes):
            roles = sorted({write.role for write in writes})
            raise StudioError(
                f"{control.name!r} writes rows of {_words(roles)}, which this run does not have.",
                hint=did_you_mean(roles[0], self.roles) or f"It has {', '.join(self.roles)}.",
            )
        known = {f"text/seg:{segment.name}" for segment in segments}
        for write in writes:
            if write.span.startswith("text/seg:") and write.span not in known:
                raise StudioError(
                    f"{control.name!r} writes {write.span!r}, which step {step.index} does not have.",
                    hint=did_you_mean(write.span, known) or "No control appends this prompt.",
                )
            if not write.tensors or set(write.tensors) - set("qkv"):
                raise StudioError(
                    f"{control.name!r} writes the tensors {write.tensors!r}; possible are q, k and v."
                )
        return writes

    def _check_branches(self, control: AttentionControl) -> None:
        for branch in control.branches():
            if branch.role not in self.roles:
                raise StudioError(
                    f"{control.name!r} needs rows of {branch.role!r} in the same call of the network; this "
                    "run does not have them.",
                    hint=f"It has {', '.join(self.roles)}.",
                )

    def _check(self, steps: Mapping[Step, StepPlan]) -> None:
        """Raise for the first pair in conflict, with all sites and steps where it is."""
        found: dict[tuple[int, int], list[tuple[Site, Step]]] = {}
        why: dict[tuple[int, int], tuple[AttentionControl, AttentionControl, str]] = {}
        for step, plan in steps.items():
            for here in plan.sites.values():
                for one, other, what in _conflicts(here, step):
                    why.setdefault((id(one), id(other)), (one, other, what))
                    found.setdefault((id(one), id(other)), []).append((here.site, step))
        for pair, places in found.items():
            raise clash(*why[pair], *zip(*places, strict=True))


def clash(
    one: AttentionControl, other: AttentionControl, what: str, sites: Sequence[Site], steps: Sequence[Step]
) -> StudioError:
    """What to raise where two controls meet that cannot: both named, why, where (blocks from 0, as they are
    written into fields; steps from 1, as they are shown) and what to change. `what` is said where the table
    of techniques has no words of its own."""
    reason, remedy = told(one.technique, other.technique, what)
    return StudioError(
        meeting(called(one), called(other), reason, sites, steps), hint=remedy, socket="attachments"
    )


def told(one: str, other: str, what: str) -> tuple[str, str]:
    """Why two techniques may not meet, and what to change; `what` where the table has no words of its own."""
    known = rule(one, other)
    reason = known.reason if known.verdict == APART else what
    return known.meets or reason, known.remedy or KEEP_APART


def meeting(one: str, other: str, reason: str, sites: Sequence[Site], steps: Sequence[Step]) -> str:
    """The sentence about two controls that meet at some sites and steps, and may not."""
    when = _numbered("step", {step.index + 1 for step in steps})
    return f"{one} and {other} meet in {_places(sites)}, {when} of {steps[0].total}: {reason}."


def _conflicts(plan: SitePlan, step: Step) -> Iterator[tuple[AttentionControl, AttentionControl, str]]:
    """Two controls in conflict at a site, and what both do."""
    for (one, first), (other, second) in combinations(plan.edits, 2):
        for a in first:
            for b in second:
                if set(a.tensors) & set(b.tensors) and a.role == b.role and a.span == b.span:
                    what = _CHANGES.get(a.span.partition("/")[0], f"the tokens {a.span!r} of {{}}")
                    yield one, other, f"both change {what.format(_ROWS.get(a.role, a.role))}"
    if len(plan.owners) > 1:
        owned = [(control, control.owns(plan.site, step)) for control in plan.owners]
        for (one, mine), (other, theirs) in combinations(owned, 2):
            if any(_meet(a, b) for a in mine for b in theirs):
                yield one, other, "both decide what each part of the picture may look at"


def _meet(one: Owns, other: Owns) -> bool:
    """Whether two owners cannot stand at one site: a plain and an outer one can, and outer ones of different
    spans."""
    if one.outer != other.outer or not set(one.roles) & set(other.roles):
        return False
    return not one.outer or bool(set(one.spans) & set(other.spans))


def _check_names(controls: Sequence[AttentionControl]) -> None:
    seen: set[str] = set()
    for control in controls:
        if not control.name or control.name in seen:
            raise StudioError(
                f"Two controls of a run are named {control.name!r}."
                if control.name
                else f"A {type(control).__name__} has no name.",
                hint="Connect only one of them; its author can let a run have several (`Several`).",
            )
        seen.add(control.name)


def _check_segments(segments: Sequence[TextSegment]) -> None:
    names = [segment.name for segment in segments]
    for name in names:
        if names.count(name) > 1:
            raise StudioError(
                f"Two appended prompts are named {name!r}.", hint="Begin their names with the control's."
            )


def _words(names: Sequence[str]) -> str:
    return " or ".join(repr(name) for name in names)


def _places(sites: Iterable[Site]) -> str:
    """Joint sites by number, others by name."""
    once = dict.fromkeys(sites)
    numbers = {site.index for site in once if site.joint}
    named = [_numbered("block", numbers)] if numbers else []
    return ", ".join([*named, *(site.name for site in once if not site.joint)])


def _numbered(what: str, numbers: Collection[int]) -> str:
    return f"{what}{'s' * (len(numbers) > 1)} {_ranges(sorted(numbers))}"


def _ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 -> "1-3, 7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)

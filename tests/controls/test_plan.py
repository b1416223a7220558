"""Who acts where is asked once, and what does not go together is refused before the first network call, with
both names, the sites and the steps (controls.md 3.4)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from studio.controls.composition import _TABLE, APART, WORKS, rule
from studio.controls.control import POSITIVE, AttentionControl, Branch, Need, Owns, Write
from studio.controls.plan import Plan
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Conditioning, Step
from tests.controls.attaching import STEPS, Control, copying, draw, segment, whole

SITES = (
    Site("refine.0", -1, "image_self", 0),
    Site("caption.0", -1, "text_self", 0),
    *(Site(f"blocks.{i}.attn", i, "joint_double", i) for i in range(3)),
)
ROLES = ("uncond", "source", "target")


def plan(*controls: AttentionControl, roles: tuple[str, ...] = ROLES) -> Plan:
    return Plan(controls, SITES, STEPS, roles)


@dataclass(frozen=True)
class Asked(AttentionControl):
    """Counts what it is asked."""

    count: Counter[str] = field(default_factory=Counter, compare=False)

    @property
    def name(self) -> str:
        return "asked"

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        self.count["check"] += 1
        assert tuple(sites) == SITES and tuple(steps) == STEPS

    def needs(self, site: Site, step: Step) -> Need:
        self.count["needs"] += 1
        return Need.PROBE if site.index == 1 and step.index < 2 else Need.NONE


def test_every_control_is_asked_once_for_each_site_and_step() -> None:
    asked = Asked()
    made = plan(asked)
    for step in (*STEPS, *STEPS):
        assert tuple(made.at(step).sites) == (("blocks.1.attn",) if step.index < 2 else ())
    assert asked.count == {"check": 1, "needs": len(SITES) * len(STEPS)}


def test_a_step_at_another_noise_level_is_planned_when_it_is_met() -> None:
    asked = Asked()
    made = plan(asked)
    between = STEPS[1].at(0.6)
    assert made.at(between) is made.at(between) and tuple(made.at(between).sites) == ("blocks.1.attn",)
    assert asked.count["needs"] == len(SITES) * (len(STEPS) + 1)


def test_a_site_has_its_controls_by_what_they_want_in_list_order() -> None:
    edit, owner = copying(), whole()
    probe = Control("probe", Need.PROBE | Need.READ | Need.AFTER)
    columns = Control("columns", Need.COLUMNS | Need.EXTEND)
    here = plan(edit, probe, owner, columns).at(STEPS[0]).sites["blocks.2.attn"]
    assert [control for control, _ in here.edits] == [edit] and here.edits[0][1] == edit.written
    assert (here.owners, here.probes, here.reads, here.afters) == ((owner,), (probe,), (probe,), (probe,))
    assert (here.columns, here.extends) == ((columns,), (columns,))
    assert [control.name for control in here.controls()] == ["edit", "columns", "owner", "probe"]
    assert here.general and not here.hides
    only = plan(edit, probe).at(STEPS[0]).sites["blocks.2.attn"]
    assert not only.general


def test_segments_make_every_site_with_text_a_planned_one() -> None:
    made = plan(Control(prompts=(segment("test/a"),), until=1))
    assert tuple(made.at(STEPS[0]).sites) == tuple(site.name for site in SITES[1:])
    assert all(here.hides and here.general for here in made.at(STEPS[0]).sites.values())
    assert [one.name for one in made.at(STEPS[0]).segments] == ["test/a"]
    assert made.at(STEPS[1]).sites == {} and made.at(STEPS[1]).segments == ()


def test_two_edits_of_the_same_tokens_are_refused_with_sites_and_steps() -> None:
    one = copying("qk", until=3)
    other = Control(
        "look", Need.EDIT, 2, sites=("blocks.0.attn", "blocks.1.attn", "refine.0"),
        written=(Write("target", "image", "kv"),),
    )  # fmt: skip
    with pytest.raises(StudioError) as refused:
        plan(one, other)
    assert refused.value.message == (
        "'edit' and 'look' meet in blocks 0-1, steps 1-2 of 4: both change how the parts of the new picture "
        "look at each other."
    )
    assert refused.value.hint.startswith("Let one of them end before the other starts")


def test_techniques_of_the_table_are_named_in_words_with_the_tables_reason_and_remedy() -> None:
    class Known(Control):
        technique = "edit"

    class Other(Control):
        technique = "look"

    writes = (Write("target", "image", "k"),)
    with pytest.raises(StudioError) as refused:
        plan(Known("a", Need.EDIT, written=writes), Other("b", Need.EDIT, written=writes))
    known = rule("edit", "look")
    assert refused.value.message.startswith("'Edit by prompt' and 'Keep the look' meet in blocks 0-")
    assert refused.value.message.endswith(f": {known.reason}.") and refused.value.hint == known.remedy


@pytest.mark.parametrize("pair", [pair for pair, found in _TABLE.items() if found.verdict != WORKS])
def test_no_reason_speaks_of_what_only_a_programmer_knows(pair: tuple[str, str]) -> None:
    known = rule(*pair)
    said = f"{known.reason} {known.remedy}".casefold()
    assert not re.search(r"token|latent|row|key|value|write|site|mask|tensor", said.replace("write ", ""))
    assert known.remedy or known.verdict != APART


@pytest.mark.parametrize(
    "write", [Write("target", "image", "v"), Write("target", "text", "qk"), Write("source", "image", "qk")]
)
def test_edits_of_other_tokens_rows_or_tensors_go_together(write: Write) -> None:
    made = plan(copying("qk"), Control("other", Need.EDIT, written=(write,)))
    assert len(made.at(STEPS[0]).sites["blocks.0.attn"].edits) == 2


def test_edits_that_never_meet_go_together() -> None:
    late = Control("late", Need.EDIT, sites=("blocks.2.attn",), written=copying().written)
    plan(Control("early", Need.EDIT, sites=("blocks.0.attn",), written=copying().written), late)
    with pytest.raises(StudioError, match=r"'late' and 'edit' meet in block 2, step 1 of 4"):
        plan(late, copying(until=1))


def outer(who: str, *spans: str, roles: tuple[str, ...] = POSITIVE) -> Control:
    return Control(who, Need.PASSES, owned=(Owns(roles, outer=True, spans=spans),))


def test_two_owners_of_one_row_are_refused() -> None:
    with pytest.raises(StudioError, match=r"'a' and 'b' meet in blocks 0-2, .* may look at"):
        plan(whole(who="a"), whole(("target",), who="b"))
    with pytest.raises(StudioError, match="'nag' and 'nasa'"):
        plan(outer("nag", "image"), outer("nasa", "image", "text/seg:x"))


def test_owners_of_other_rows_and_outer_owners_go_together() -> None:
    plan(whole(("source",), who="a"), whole(("target",), who="b"))
    plan(whole(), outer("nag", "image"), outer("concepts", "text/seg:c"))
    plan(outer("a", "image", roles=("source",)), outer("b", "image", roles=("target",)))


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (Control("mute", Need.EDIT), "does not say what it writes"),
        (Control("lost", Need.EDIT, written=(Write("targt", "image", "q"),)), "rows of 'targt'.*'target'"),
        (Control("odd", Need.EDIT, written=(Write("target", "image", "qx"),)), "possible are q, k and v"),
        (
            Control("s", Need.EDIT, prompts=(segment("s/a"),), written=(Write("target", "text/seg:s", "v"),)),
            "'text/seg:s'.*Did you mean 'text/seg:s/a'",
        ),
        (Control("two", prompts=(segment("a"), segment("a"))), "Two appended prompts are named 'a'"),
        (Control(""), "has no name"),
    ],
    ids=lambda value: value.who if isinstance(value, Control) else "",
)  # fmt: skip
def test_what_the_run_does_not_have_is_refused(control: Control, message: str) -> None:
    with pytest.raises(StudioError, match=message):
        plan(control)


def test_an_edit_of_rows_under_either_name_needs_one_of_them() -> None:
    writes = (Write("cond", "image", "v"), Write("target", "image", "v"))
    plan(Control("inject", Need.EDIT, written=writes))
    plan(Control("inject", Need.EDIT, written=writes), roles=("uncond", "cond"))


def test_names_are_unique() -> None:
    with pytest.raises(StudioError, match="Two controls of a run are named 'edit'"):
        plan(copying(), copying("v"))


@dataclass(frozen=True)
class Branching(AttentionControl):
    @property
    def name(self) -> str:
        return "branching"

    def branches(self) -> tuple[Branch, ...]:
        return (Branch("reference", Conditioning("a", "tiny", draw(1, 2, 4, seed=1))),)


def test_a_trajectory_that_the_run_lacks_is_refused() -> None:
    with pytest.raises(StudioError, match="'branching' needs rows of 'reference'"):
        plan(Branching())
    plan(Branching(), roles=(*ROLES, "reference:0"))


def test_a_controls_own_check_is_heard() -> None:
    @dataclass(frozen=True)
    class Fussy(Control):
        def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
            raise StudioError("block 99 is not there")

    with pytest.raises(StudioError, match="block 99"):
        plan(Fussy("fussy"))

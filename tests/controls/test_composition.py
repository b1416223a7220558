"""The table of what goes together: every pair has one verdict, and refusals say why."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from studio.controls import composition
from studio.controls.composition import APART, FREE, REFUSED, TITLES, WORKS, compose, rule, table
from studio.controls.control import AttentionControl
from studio.errors import StudioError
from studio.settings import ROOT


@dataclass(frozen=True)
class Of(AttentionControl):
    """A control of some technique."""

    kind: str

    @property
    def technique(self) -> str:  # type: ignore[override]
        return self.kind


@pytest.mark.parametrize(("one", "other"), [(a, b) for a in TITLES for b in TITLES])
def test_rules_are_the_same_both_ways_and_have_reasons(one: str, other: str) -> None:
    assert rule(one, other) == rule(other, one)
    assert rule(one, other).verdict in (WORKS, APART, REFUSED) and rule(one, other).reason


def test_the_pairs_that_the_design_names() -> None:
    for pair in (("edit", "regions"), ("edit", "nag"), ("regions", "nag"), ("edit", "text_layers")):
        assert rule(*pair).verdict == WORKS
    for pair in (("nag", "nasa"), ("regions", "regions"), ("text_layers", "regions")):
        assert rule(*pair).verdict == REFUSED
    for pair in (("look", "edit"), ("look", "regions")):
        assert rule(*pair).verdict == APART
    assert all(rule(a, b).verdict == WORKS for a in FREE for b in TITLES)


def test_the_order_of_acting_does_not_depend_on_the_order_of_connecting() -> None:
    names = ["word_maps", "nag", "blend", "regions", "edit", "weight"]
    forward = [control.technique for control in compose([Of(name) for name in names])]
    backward = [control.technique for control in compose([Of(name) for name in reversed(names)])]
    assert forward == backward == ["edit", "regions", "weight", "nag", "blend", "word_maps"]


def test_a_refusal_names_both_and_says_what_would_go() -> None:
    with pytest.raises(StudioError) as raised:
        compose([Of("nag"), Of("nasa")])
    assert "Avoid (NAG)" in str(raised.value) and "Avoid (NASA)" in str(raised.value)
    assert "regions" in raised.value.hint


def test_a_control_of_a_plugin_goes_with_everything_here() -> None:
    assert [c.technique for c in compose([Of(""), Of("edit")])] == ["edit", ""]


def test_the_table_holds_every_pair_once() -> None:
    pairs = [frozenset((a, b)) for a, b, _ in table()]
    assert len(pairs) == len(set(pairs)) == len(TITLES) * (len(TITLES) + 1) // 2


def test_the_page_of_controls_holds_the_table() -> None:
    page = (ROOT / "docs" / "controls.md").read_text(encoding="utf-8")
    for (one, other), found in composition._TABLE.items():
        assert f"| {TITLES[one]} | {TITLES[other]} |" in page and found.reason in page

"""see_tab.py: maps and masks of a run for the page; what is unknown or no longer kept is told in words."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from studio.errors import StudioError
from studio.policy import Policy
from studio.ui.edit_masks import cut_of
from studio.ui.owners import Owners
from studio.ui.see_tab import SeeTab


def event(**data):
    return SimpleNamespace(_data=data)


def tab_of(studio) -> tuple[SeeTab, Owners]:
    owners = Owners(studio.settings.home, public=studio.policy.is_public)
    return SeeTab(studio, owners), owners


@pytest.mark.parametrize("data", [{}, {"generation": 7}, {"generation": "no-such"}, {"word": "x"}], ids=repr)
def test_an_unknown_picture_is_refused_in_words(fake, data):
    tab, _ = tab_of(fake)
    assert json.loads(tab.maps("", event(**data)))["says"]
    assert json.loads(tab.mask("", event(**data)))["says"]


def test_maps_that_are_gone_say_what_to_do(fake, monkeypatch):
    tab, _ = tab_of(fake)
    made = fake.run(fake.workflow().set("p", "text", "a red star")).outputs[0].generation
    fake.plan = lambda *args, **named: None
    says = json.loads(tab.maps("", event(generation=made)))["says"]
    assert "no longer kept" in says and "Look" in says


def test_the_maps_of_somebody_else_are_not_told(make_fake):
    studio = make_fake(Policy.public(), pace=0.001)
    tab, owners = tab_of(studio)
    mine, other = owners.issue(), owners.issue()
    made = studio.run(studio.workflow(), owner=owners.owner(mine)).outputs[0].generation
    with pytest.raises(StudioError):
        studio.history.show(owners.owner(other), made)
    assert "maps" not in json.loads(tab.maps(other, event(generation=made)))


def test_a_picture_that_cannot_be_looked_at_is_told_as_such(fake):
    tab, _ = tab_of(fake)
    made = fake.run(fake.workflow()).outputs[0].generation
    told = json.loads(tab.look("", event(generation=made, turn=3)))
    assert "cannot be watched" in told["unseen"] and told["turn"] == 3


def test_a_mask_with_junk_for_its_amount_is_refused_in_words(fake):
    tab, _ = tab_of(fake)
    made = fake.run(fake.workflow()).outputs[0].generation
    for wrong in ("much", True, float("nan")):
        told = json.loads(tab.mask("", event(generation=made, word="star", amount=wrong, turn=2)))
        assert "amount" in told["says"] and told["turn"] == 2


def test_edges_that_cannot_be_followed_are_refused_and_never_a_smooth_edge_unsaid(fake):
    tab, _ = tab_of(fake)
    made = fake.run(fake.workflow()).outputs[0].generation
    wish = event(follow=True)
    for of, size, reason in [("", (64, 64), "no picture"), (made, (7, 9), "the mask 7×9")]:
        with pytest.raises(StudioError, match=reason) as caught:
            cut_of(fake, fake.workflow(), "local", "star", wish, size, of)
        assert caught.value.socket == "follow" and "smooth edge" in caught.value.hint
    fake.history.picture("local", made).unlink()
    told = json.loads(tab.mask("", event(generation=made, word="star", follow=True, turn=5)))
    assert "file is missing" in told["says"] and told["turn"] == 5

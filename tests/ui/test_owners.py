"""owners.py: who asks, and that nobody can say they are somebody else."""

from __future__ import annotations

import stat
import sys

import pytest

from studio.errors import Refused
from studio.ui.owners import Owners


def test_a_local_studio_has_one_owner_and_needs_no_token(home):
    owners = Owners(home, public=False)
    assert owners.issue() == "" and owners.owner("") == owners.owner("anything") == "local"


def test_a_token_survives_a_restart_of_the_server(home):
    token = Owners(home, public=True).issue()
    assert Owners(home, public=True).owner(token) == token.split(".")[0]


def test_visitors_differ(home):
    owners = Owners(home, public=True)
    assert len({owners.owner(owners.issue()) for _ in range(20)}) == 20


def test_made_up_tokens_are_refused(home):
    owners = Owners(home, public=True)
    owner, signature = owners.issue().split(".")
    other = owners.issue().split(".")[0]
    for wrong in ("", "local", owner, f"{owner}.", f"{owner}.{signature[:-1]}", f"{other}.{signature}",
                  f"local.{owners.sign('local')}", f"{owner}.{signature}\n", None, 7, ["x"]):  # fmt: skip
        assert not owners.knows(wrong)
        with pytest.raises(Refused, match="not signed in"):
            owners.owner(wrong)


def test_a_token_of_another_studio_is_refused(home, tmp_path):
    assert not Owners(tmp_path / "other", public=True).knows(Owners(home, public=True).issue())


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX modes")
def test_the_key_is_readable_by_its_owner_only(home):
    Owners(home, public=True)
    assert stat.S_IMODE((home / "owner.key").stat().st_mode) == 0o600

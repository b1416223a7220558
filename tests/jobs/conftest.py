"""A queue in a fresh home."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.db.open import Db, open_home
from studio.jobs.queue import Queue

GRAPH = '{"format": "weft/graph", "nodes": [{"id": "s", "kind": "sample"}]}'


@pytest.fixture
def db(home: Path) -> Iterator[Db]:
    with open_home(home, serve=True) as opened:
        yield opened


@pytest.fixture
def queue(db: Db) -> Queue:
    return Queue(db, per_owner_running=2)

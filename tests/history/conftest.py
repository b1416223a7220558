"""A history in a fresh home, and a quick way to fill it."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from studio.db.disk import Disk
from studio.db.open import Db, open_home
from studio.history.store import Generation, History, NewGeneration, new_record

Add = Callable[..., Generation]


def graph_of(prompt: str = "a red star", kind: str = "sample") -> str:
    return json.dumps({"format": "weft/graph", "version": 1,
                       "edges": [{"from": ["p", "c"], "to": ["s", "c"]}],
                       "nodes": [{"id": "p", "kind": "prompt", "widgets": {"text": prompt}},
                                 {"id": "s", "kind": kind, "widgets": {"steps": 20}}]})


def pixels_of(seed: int = 0, width: int = 24, height: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def record_of(seed: int = 0) -> dict[str, object]:
    return new_record(seed=seed, model={"ref": "embedded:scenes-sd3", "family": "sd3", "digest": "d1"},
                      versions={"torch": "2.13"}, device="cpu", dtype="float32", plugins=[],
                      timings={"s": 1.5},
                      nodes={"s": {"kind": "sample", "version": 1, "code": "c", "key": "k"}})


class NoSync(Disk):
    """Does not wait for the platter; the tests of crashes use the real one."""

    def sync(self, handle: IO[bytes]) -> None:
        handle.flush()

    def sync_folder(self, folder: Path) -> None:
        return


@pytest.fixture
def db(home: Path) -> Iterator[Db]:
    with open_home(home, disk=NoSync()) as opened:
        yield opened


@pytest.fixture
def history(db: Db) -> History:
    return History(db)


@pytest.fixture
def add(history: History) -> Add:
    def adding(prompt: str = "a red star", *, seed: int = 0, owner: str = "local",
               **more: object) -> Generation:
        values: dict[str, object] = {"pixels": pixels_of(seed), "graph": graph_of(prompt),
                                     "record": record_of(seed),
                                     "model": "embedded:scenes-sd3", **more}
        return history.add(NewGeneration(owner=owner, prompt=prompt, seed=seed,
                                         **values))  # type: ignore[arg-type]

    return adding

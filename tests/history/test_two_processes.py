"""Two processes write into one home at once, and one of them is killed."""
from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

from studio.db.open import open_home
from studio.history.embed import read_embedded
from studio.history.store import History, NewGeneration

from .conftest import graph_of, pixels_of, record_of

EACH = 25

WRITER = """
import sys
from pathlib import Path
import numpy as np
from studio.db.open import open_home
from studio.history.store import History, NewGeneration
with open_home(Path(sys.argv[1])) as db:
    history = History(db)
    for number in range(10_000):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        made = history.add(NewGeneration(owner="local", pixels=pixels, graph='{"nodes": []}', record={}))
        print(made.id, flush=True)
"""


def write_many(home: str, name: str, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    with open_home(Path(home)) as db:  # both meet a home without a database
        history = History(db)
        for number in range(EACH):
            made = history.add(NewGeneration(owner="local", pixels=pixels_of(number),
                                             graph=graph_of(f"{name} {number}"),
                                             record=record_of(number), prompt=f"{name} {number}"))
            history.star("local", made.id)
            history.tag("local", made.id, name)


def test_two_processes_write_at_once_and_nothing_is_lost(home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    workers = [context.Process(target=write_many, args=(str(home), name, start)) for name in ("left",
                                                                                              "right")]
    for worker in workers:
        worker.start()
    start.set()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    with open_home(home, serve=True) as db:
        history = History(db)
        assert history.count("local") == 2 * EACH
        assert history.tags("local") == {"left": EACH, "right": EACH}
        assert len(history.search("local", "right", limit=100, starred=True).items) == EACH
        assert all(history.picture("local", item.id).exists() for item in history.list("local",
                                                                                       limit=100).items)
        assert history.sweep().words == []
        assert db.one("PRAGMA integrity_check")[0] == "ok"


def test_killed_writer_leaves_whole_pictures_and_rows_only(home: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with open_home(home, serve=True) as db:
        history = History(db)
        history.sweep()
        for identity in told:
            assert read_embedded(history.picture("local", identity)).record is not None
        assert history.search("local", missing=True).items == ()
        on_disk = {digest for digest, _ in history.files.walk()}
        assert on_disk == {row["file"] for row in db.rows("SELECT file FROM generations")}

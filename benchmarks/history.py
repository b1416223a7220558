"""How fast a history of 10,000 pictures lists, searches, opens and is swept.

`python benchmarks/history.py [COUNT]` prints one JSON object: milliseconds, medians of 15. Filling skips
fsync; `add` is measured with it. `limit_ms`: what the database takes for one row, and the disk for one file,
without any of our code.
"""
from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.db.disk import Disk
from studio.db.open import open_home
from studio.history.store import History, NewGeneration, new_record

KINDS = ("star", "heart", "ring", "house", "tree", "boat", "fish", "cup", "mushroom", "balloon")
COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "black", "white")
NOISE = np.random.default_rng(0).bytes(256 * 256 * 3)
PLACES = ("on the left", "on the right", "at the top", "in the middle")


class NoSync(Disk):
    """Leaves the writing to the system's leisure."""

    def sync(self, handle: IO[bytes]) -> None:
        handle.flush()

    def sync_folder(self, folder: Path) -> None:
        pass


def new(number: int, side: int = 32) -> NewGeneration:
    """The picture with this number: its prompt, graph and record have the size of real ones."""
    rng = np.random.default_rng(number)
    prompt = (f"a {COLOURS[number % 10]} {KINDS[number // 10 % 10]} {PLACES[number % 4]} and a "
              f"{COLOURS[number // 7 % 10]} {KINDS[number // 3 % 10]}, evening number{number}")
    nodes = [{"id": f"n{k}", "kind": f"kind_{k}", "kind_version": 1, "title": "", "pos": [40 * k, 60],
              "mode": "normal",
              "widgets": {"text": prompt, "steps": 20, "seed": number, "cfg_scale": 3.0}} for k in range(9)]
    graph = json.dumps({"format": "weft/graph", "version": 1, "nodes": nodes, "edges": [], "exposed": []})
    record = new_record(
        seed=number, model={"ref": "embedded:scenes-sd3", "family": "sd3", "digest": "d" * 64},
        versions=dict.fromkeys(("weft", "python", "torch", "diffusers", "numpy"), "1.2.3"), device="cpu",
        dtype="float32", plugins=[], timings={f"n{k}": 0.5 for k in range(9)},
        nodes={f"n{k}": {"kind": f"kind_{k}", "version": 1, "code": "c" * 64, "key": "k" * 64}
               for k in range(9)})
    pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
    return NewGeneration(owner="local", pixels=pixels, graph=graph, record=record, prompt=prompt, seed=number,
                         model="embedded:scenes-sd3", key=f"key{number}",
                         created=1_700_000_000.0 + number)


def milliseconds(action: Callable[[], object], times: int = 15) -> float:
    """The median of some runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append((time.perf_counter() - start) * 1000)
    return round(statistics.median(taken), 3)


def written(path: Path) -> None:
    """What the disk takes for a picture of 256 x 256 alone; noise does not get smaller as a PNG."""
    with path.open("wb") as handle:
        handle.write(NOISE)
        handle.flush()
        os.fsync(handle.fileno())


def main(count: int) -> None:
    """Fill a home, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with open_home(home, disk=NoSync()) as db:
            history = History(db)
            for number in range(count):
                history.add(new(number))
            for found in history.list("local", limit=100).items:
                history.star("local", found.id)
                history.tag("local", found.id, "favourite")
        found_ms: dict[str, float] = {
            "open_command": milliseconds(lambda: open_home(home).close(), 5),
            "open_server": milliseconds(lambda: open_home(home, serve=True).close(), 5)}
        with open_home(home) as db:
            history = History(db)
            middle = history.list("local", limit=500)
            for _ in range(count // 1000):
                middle = history.list("local", limit=500, before=middle.next)
            found_ms |= {
                "list_first_page": milliseconds(lambda: history.list("local")),
                "list_middle_page": milliseconds(lambda: history.list("local", before=middle.next)),
                "search_one_hit": milliseconds(lambda: history.search("local", f"number{count // 2}")),
                "search_common_word": milliseconds(lambda: history.search("local", "evening")),
                "search_two_words": milliseconds(lambda: history.search("local", "red star")),
                "search_unfinished_word": milliseconds(lambda: history.search("local", "red st",
                                                                              prefix=True)),
                "search_no_spaces_script": milliseconds(lambda: history.search("local", "星")),
                "search_no_hit": milliseconds(lambda: history.search("local", "dragon")),
                "filter_star_and_tag": milliseconds(lambda: history.search("local", starred=True,
                                                                           tag="favourite")),
                "filter_seed": milliseconds(lambda: history.search("local", seed=count // 3)),
                "filter_node_kind": milliseconds(lambda: history.search("local", node_kind="kind_3")),
                "filter_model_without_hit": milliseconds(lambda: history.search("local",
                                                                                model="no such model")),
                "count": milliseconds(lambda: history.count("local")),
                "show": milliseconds(lambda: history.show("local", middle.items[0].id)),
                "find_by_key": milliseconds(lambda: history.find_by_key("local", f"key{count // 2}")),
                "sweep": milliseconds(history.sweep, 3)}
            row = "SELECT * FROM generations WHERE id = ?"
            limit_ms = {"one_row_by_its_key": milliseconds(lambda: db.rows(row, (middle.items[0].id,)))}
            extra = iter(range(count, count + 100))
            found_ms["add_256px_with_fsync"] = milliseconds(lambda: history.add(new(next(extra), 256)))
            size = (home / "studio.db").stat().st_size
            disk = milliseconds(lambda: written(Path(folder) / "bytes"))
            limit_ms["write_and_fsync_of_a_256px_file"] = disk
        found = {"generations": count, "database_mb": round(size / 1e6, 1), "ms": found_ms}
        print(json.dumps(found | {"limit_ms": limit_ms}, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)

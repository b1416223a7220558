"""Both tiers: bytes are bounded, what is dear stays, what is damaged goes (E13, E14)."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from studio.graph.cache import MISSING, Cache, Entry, MemoryTier
from studio.graph.disk_cache import DiskCache


def digest(i: int) -> str:
    return f"{i:064x}"


def test_memory_keeps_within_its_bytes_and_drops_what_is_cheap_to_make_again() -> None:
    tier = MemoryTier(1000)
    tier.put("dear", b"", 400, 10.0)
    tier.put("cheap", b"", 400, 0.001)
    tier.put("next", b"", 400, 1.0)
    assert tier.digests() == ["dear", "next"]
    assert tier.nbytes == 800


def test_old_dear_value_leaves_at_last() -> None:
    tier = MemoryTier(1000)
    tier.put("dear", b"", 500, 0.02)
    for i in range(200):
        tier.put(f"v{i}", b"", 500, 0.01)
    assert "dear" not in tier


def test_value_larger_than_the_limit_is_not_kept() -> None:
    tier = MemoryTier(1000)
    tier.put("small", b"", 10, 1.0)
    assert not tier.put("huge", b"", 1001, 100.0)
    assert tier.digests() == ["small"]


def test_memory_survives_many_touches() -> None:
    tier = MemoryTier(10_000)
    for i in range(5000):
        tier.put(f"v{i % 50}", i, 100, 0.1)
        tier.get(f"v{(i * 7) % 50}")
    assert tier.nbytes == sum(100 for _ in tier.digests())


def test_small_memory_gives_the_same_results(lab: Any, wire: Any) -> None:
    engine = lab.engine(cache=Cache("lru", memory_bytes=25))
    graph = wire(
        "a: blob\n b: blob\n j: join first=a.blob, second=b.blob\n out: keep blob=j.blob", b={"fill": 1}
    )
    for name in ("x", "y", "x"):
        report = engine.run(graph.set("out", "name", name))
        assert report.outputs["out"]["blob"].data == bytes(10) + b"\x01" * 10
        assert engine.cache.memory.nbytes <= 25


def test_classic_mode_keeps_only_the_last_run(lab: Any, wire: Any) -> None:
    engine = lab.engine(cache=Cache("classic"))
    graph = wire("n: number\n out: show a=n")
    engine.run(graph)
    engine.run(graph.set("n", "value", 2))
    report = engine.run(graph)
    assert report.ran == ("n", "out")


def test_disk_gives_back_what_was_written(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path)
    assert disk.read_value(digest(1)) is None
    assert disk.write_value(digest(1), "codec", b"payload")
    assert disk.holds(digest(1))
    assert DiskCache(tmp_path).read_value(digest(1)) == ("codec", b"payload")
    assert disk.write_entry("k" * 64, {"outputs": [["a", "b"]], "seconds": 1.5, "notes": {}})
    assert DiskCache(tmp_path).read_entry("k" * 64) == {"outputs": [["a", "b"]], "seconds": 1.5, "notes": {}}
    assert not list(tmp_path.rglob(".new-*"))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "magic"])
def test_damaged_file_is_deleted_and_counts_as_absent(tmp_path: Path, damage: str) -> None:
    disk = DiskCache(tmp_path)
    disk.write_value(digest(1), "codec", b"payload" * 10)
    disk.write_entry("k" * 64, {"outputs": [], "seconds": 0, "notes": {}})
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        data = path.read_bytes()
        path.write_bytes(
            {
                "flip": data[:-1] + bytes([data[-1] ^ 1]),
                "cut": data[:-3],
                "empty": b"",
                "magic": b"X" + data[1:],
            }[damage]
        )
    assert disk.read_value(digest(1)) is None
    assert disk.read_entry("k" * 64) is None
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_disk_stays_below_its_bytes_and_drops_what_was_not_used(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path, limit_bytes=10_000)
    for i in range(8):
        disk.write_value(digest(i), "c", bytes(1000))
        path = tmp_path / "values" / digest(i)[:2] / digest(i)
        os.utime(path, (1000 + i, 1000 + i))
    assert disk.read_value(digest(0)) is not None  # used again, so no longer the oldest
    for i in range(8, 14):
        disk.write_value(digest(i), "c", bytes(1000))
    real = sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())
    assert real <= 10_000
    assert disk.nbytes == real
    assert disk.holds(digest(0))
    assert not disk.holds(digest(1))
    assert not disk.write_value(digest(99), "c", bytes(20_000))


def test_disk_that_cannot_be_written_only_means_that_nothing_is_kept(
    lab: Any, wire: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    disk = DiskCache(tmp_path / "file")
    engine = lab.engine(cache=Cache("disk", disk=disk))
    assert engine.run(wire("n: number\n out: show a=n")).status == "finished"
    assert "not written" in disk.trouble


def test_note_that_is_no_json_does_not_lose_the_run(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path)
    assert not disk.write_entry("k" * 64, {"notes": {"x": float("nan")}})
    assert "not JSON" in disk.trouble


def test_two_processes_may_write_one_folder(tmp_path: Path) -> None:
    caches = [DiskCache(tmp_path, limit_bytes=30_000) for _ in range(2)]

    def write(cache: DiskCache, offset: int) -> None:
        for i in range(100):
            cache.write_value(digest(i + offset), "c", bytes(500))
            cache.read_value(digest(i))

    threads = [threading.Thread(target=write, args=(c, o)) for c, o in zip(caches, (0, 50), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) <= 60_000


def test_value_of_an_unknown_codec_is_dropped(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path)
    disk.write_value(digest(1), "from_the_future", b"x")
    assert Cache("disk", disk=disk).value(digest(1)) is MISSING
    assert not disk.holds(digest(1))


def test_clear_forgets_everything(tmp_path: Path) -> None:
    cache = Cache("disk", disk=DiskCache(tmp_path))
    cache.store(["k" * 64], Entry((("a", digest(1)),)), {"a": 5})
    cache.clear()
    assert cache.entry("k" * 64) is None
    assert cache.value(digest(1)) is MISSING


def test_bad_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="no cache mode"):
        Cache("lfu")
    with pytest.raises(ValueError, match="needs a DiskCache"):
        Cache("disk")

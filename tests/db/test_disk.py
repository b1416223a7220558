"""Files are written whole or not at all, also when the disk fails at any step."""
from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from studio.db.disk import Disk, write_file
from studio.errors import StudioError

STEPS = ("make_folder", "write", "sync", "rename")


class Failing(Disk):
    """Fails at one step; `write` writes half of the bytes first."""

    def __init__(self, step: str, number: int) -> None:
        self.step, self.number = step, number

    def _maybe(self, step: str) -> None:
        if step == self.step:
            raise OSError(self.number, os.strerror(self.number))

    def make_folder(self, folder: Path) -> None:
        self._maybe("make_folder")
        super().make_folder(folder)

    def write(self, handle: IO[bytes], data: bytes) -> None:
        if self.step == "write":
            super().write(handle, data[:len(data) // 2])
        self._maybe("write")
        super().write(handle, data)

    def sync(self, handle: IO[bytes]) -> None:
        self._maybe("sync")
        super().sync(handle)

    def rename(self, source: Path, target: Path) -> None:
        self._maybe("rename")
        super().rename(source, target)


@pytest.mark.parametrize("step", STEPS)
def test_failure_at_any_step_leaves_the_old_file_and_no_rest(tmp_path: Path, step: str) -> None:
    target = tmp_path / "images" / "a.png"
    write_file(Disk(), target, b"old")
    with pytest.raises(StudioError):
        write_file(Failing(step, errno.ENOSPC), target, b"new bytes" * 1000)
    assert target.read_bytes() == b"old"
    assert [path.name for path in target.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize(("number", "words"), [
    (errno.ENOSPC, "disk is full.*9.0 kB were needed.*free"), (errno.EDQUOT, "disk is full"),
    (errno.EROFS, "'images' in Weft's home cannot be written"), (errno.EACCES, "cannot be written"),
    (errno.EIO, "Writing into 'images' failed")])
def test_each_trouble_has_its_words_and_no_full_path(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(StudioError, match=words) as error:
        write_file(Failing("write", number), tmp_path / "images" / "a.png", b"new bytes" * 1000)
    assert error.value.hint
    assert str(tmp_path) not in str(error.value)


def test_written_file_holds_all_bytes(tmp_path: Path) -> None:
    write_file(Disk(), tmp_path / "x" / "y" / "z.bin", b"\0" * 100_000)
    assert (tmp_path / "x" / "y" / "z.bin").stat().st_size == 100_000
    assert len(list((tmp_path / "x" / "y").iterdir())) == 1

"""The pictures of a home: images/ab/<hash>.png written whole or not at all, thumbnails, temp files.

A file's name is the SHA-256 of its bytes. Thumbnails are derived, made when first asked for, may be deleted.
"""
from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from studio.db.disk import TEMP_SUFFIX, Disk, write_file
from studio.errors import BadDocument, StudioError
from studio.history.embed import picture_size

IMAGES, UPLOADS, THUMBNAILS = "images", "uploads", "thumbs"
MAX_PIXELS = 64_000_000
OLD_TEMP = 600.0  # seconds; younger ones may belong to a process that is writing
_NAME = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
THUMBNAIL_SIDES = range(16, 1025)


class Files:
    """Files by content hash below `home`."""

    def __init__(self, home: Path, disk: Disk) -> None:
        self.home = home
        self._disk = disk

    def __repr__(self) -> str:
        return f"Files({str(self.home)!r})"

    def path(self, digest: str, folder: str = IMAGES, suffix: str = ".png") -> Path:
        """Where the file of this hash lies, or would lie.

        StudioError for what is no hash (paths, traversal).
        """
        if not _NAME.fullmatch(digest) or not _SUFFIX.fullmatch(suffix):
            raise StudioError("That is not the name of a stored file: 64 hexadecimal digits are needed.")
        return self.home / folder / digest[:2] / f"{digest}{suffix}"

    def write(self, data: bytes, folder: str = IMAGES, suffix: str = ".png") -> str:
        """Store bytes and give their hash; the file is there whole or not at all."""
        digest = hashlib.sha256(data).hexdigest()
        target = self.path(digest, folder, suffix)
        if not (target.exists() and target.stat().st_size == len(data)):
            write_file(self._disk, target, data)
        return digest

    def remove(self, digest: str) -> None:
        """Remove a picture and its thumbnails.

        What the system refuses to remove is left to the next start.
        """
        try:
            self._disk.remove(self.path(digest))
            for thumbnail in (self.home / THUMBNAILS / digest[:2]).glob(f"{digest}-*.webp"):
                self._disk.remove(thumbnail)
        except OSError:
            return

    def thumbnail(self, digest: str, side: int) -> Path:
        """A WEBP of at most `side` pixels a side (16..1024), made if it is not there yet.

        StudioError if the picture is missing or damaged. A thumbnail that cannot be written is the picture
        itself.
        """
        if side not in THUMBNAIL_SIDES:
            raise StudioError(f"A thumbnail has 16 to 1024 pixels a side, not {side}.")
        source = self.path(digest)
        target = self.home / THUMBNAILS / digest[:2] / f"{digest}-{side}.webp"
        if target.exists():
            return target
        data = _shrunk(source, side)
        try:
            write_file(self._disk, target, data)
        except StudioError:
            return source  # a full disk costs the thumbnail, not the gallery
        return target

    def walk(self, folder: str = IMAGES) -> Iterator[tuple[str, Path]]:
        """Hash and path of every stored file in `folder`; names that are no hash are passed over."""
        top = self.home / folder
        if not top.is_dir():
            return
        for inner in sorted(os.scandir(top), key=lambda entry: entry.name):
            if inner.is_dir(follow_symlinks=False):
                for entry in os.scandir(inner):
                    path = Path(entry.path)
                    named = _NAME.fullmatch(path.stem) and _SUFFIX.fullmatch(path.suffix)
                    if named and entry.is_file(follow_symlinks=False):
                        yield path.stem, path

    def sweep_temp(self, *, older_than: float = OLD_TEMP) -> int:
        """Remove temp files that a dead process left; how many."""
        limit, count = time.time() - older_than, 0
        for folder in (IMAGES, UPLOADS, THUMBNAILS, "backups", "."):
            pattern = f"*{TEMP_SUFFIX}" if folder == "." else f"**/*{TEMP_SUFFIX}"
            for path in (self.home / folder).glob(pattern):
                try:
                    if path.stat().st_mtime < limit:
                        self._disk.remove(path)
                        count += 1
                except OSError:
                    continue  # another process was faster, or the system refuses; the next start tries again
        return count


def _shrunk(source: Path, side: int) -> bytes:
    try:
        if source.exists():
            width, height = picture_size(source)  # before Pillow opens it: it would warn of a bomb
            if width * height > MAX_PIXELS:
                raise StudioError(f"The picture is {width} x {height}, which is too large.")
        with Pillow.open(source, formats=("PNG",)) as picture:
            small = picture.convert("RGBA" if picture.mode == "RGBA" else "RGB")
    except FileNotFoundError as error:
        raise StudioError("The picture's file is missing.",
                          hint="Make it again from its workflow.") from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, BadDocument) as error:
        raise StudioError("The picture's file is damaged.",
                          hint="Make it again from its workflow.") from error
    small.thumbnail((side, side), Pillow.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=82)
    return buffer.getvalue()

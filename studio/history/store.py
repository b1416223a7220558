"""The side store: one row a generation, its picture on the disk, and everything needed to make it again.

A picture is written first (temp file, fsync, rename), its rows follow in one transaction: a row never lacks
its file.
"""
from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from studio.db.database import Db
from studio.errors import StudioError
from studio.history import export, lineage, search, sweep
from studio.history.calibrations import Calibrations
from studio.history.embed import strip as strip_png
from studio.history.files import UPLOADS, Files
from studio.history.generation import Generation, NewGeneration, clean, new_record, pixels_digest
from studio.history.remove import UNDO_SECONDS, purge, purge_expired
from studio.history.rows import MAX_TITLE, add_file, add_rows, make_png
from studio.history.search import Page, Query
from studio.history.sweep import SweepReport

__all__ = ["Generation", "History", "NewGeneration", "Page", "Query", "SweepReport", "UNDO_SECONDS",
           "new_record", "pixels_digest"]

MAX_TAG, MAX_NOTE = 64, 10_000

UPLOAD_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class History:
    """The finished pictures of a home.

    Every method works for one owner; what belongs to others does not exist. `adopt_owner` gets pictures that
    the sweep finds without a row: "local", or nobody's name on a public host.
    """

    def __init__(self, db: Db, *, adopt_owner: str = "local") -> None:
        self.db = db
        self.files = Files(db.home, db.disk)
        self.calibrations = Calibrations(db)
        self._adopt_owner = adopt_owner

    def __repr__(self) -> str:
        return f"History({str(self.db.home)!r})"

    # -- writing

    def add(self, new: NewGeneration) -> Generation:
        """Store a finished picture. StudioError if the disk refuses: then there is neither file nor row."""
        self.db.writable("The picture")
        pixels = pixels_digest(new.pixels)
        data = make_png(new, pixels)
        digest = self.files.write(data)
        try:
            with self.db.transaction():
                add_rows(self.db, new, digest=digest, size=len(data), width=new.pixels.shape[1],
                         height=new.pixels.shape[0], pixels=pixels)
        except BaseException:
            self.files.remove(digest)
            raise
        return self.show(new.owner, new.id)

    def rewrite(self, owner: str, identity: str, pixels: npt.NDArray[np.uint8]) -> Path:
        """Write the file of a generation again, as it was: for a missing or damaged picture. Its path."""
        self.db.writable("The picture")
        old = self.show(owner, identity)
        again = NewGeneration(
            id=old.id, created=old.created, owner=owner, pixels=pixels, graph=self.document(owner, old.id),
            record=old.record, run=old.run, node=old.node, item=old.item, key=old.key, parents=old.parents,
            title=old.title, prompt=old.prompt, negative=old.negative, seed=old.seed, model=old.model)
        data = make_png(again, pixels_digest(pixels))
        self.db.disk.remove(self.files.path(old.file))  # damaged bytes of the right length must not stay
        digest = self.files.write(data)
        with self.db.transaction():
            add_file(self.db, digest, len(data), pixels.shape[1], pixels.shape[0])
            self.db.execute("UPDATE generations SET file = ?, width = ?, height = ?, pixels = ? WHERE id = ?",
                            (digest, pixels.shape[1], pixels.shape[0], pixels_digest(pixels), old.id))
            if digest != old.file:
                self.db.execute("DELETE FROM files WHERE hash = ?", (old.file,))
        return self.files.path(digest)

    def star(self, owner: str, identity: str, on: bool = True) -> Generation:
        """Mark a picture, or take the mark away."""
        return self._set(owner, identity, "starred", int(on))

    def note(self, owner: str, identity: str, text: str) -> Generation:
        """Write a note to a picture; an empty text removes it."""
        return self._set(owner, identity, "note", clean(text, MAX_NOTE))

    def rename(self, owner: str, identity: str, title: str) -> Generation:
        """Give a picture a title; an empty one leaves the prompt as its name."""
        return self._set(owner, identity, "title", clean(title, MAX_TITLE))

    def tag(self, owner: str, identity: str, tag: str, on: bool = True) -> Generation:
        """Put a tag on a picture, or take it off. A tag has 1 to 64 characters; blanks are made single."""
        self.db.writable("The tag")
        found, tag = self.show(owner, identity), " ".join(clean(tag, 10_000).split())
        if not 1 <= len(tag) <= MAX_TAG:
            raise StudioError(f"A tag has 1 to {MAX_TAG} characters, not {len(tag)}.")
        self.db.execute("INSERT OR IGNORE INTO tags (generation, tag) VALUES (?, ?)" if on
                        else "DELETE FROM tags WHERE generation = ? AND tag = ?", (found.id, tag))
        return self.show(owner, found.id)

    def delete(self, owner: str, *identities: str, undo: bool = False) -> int:
        """Delete pictures: file, texts and record go, a tombstone keeps the lineage. How many were there.

        `undo=True` keeps everything for ten minutes, hidden, so that `undelete` can bring it back.
        """
        self.db.writable("The deletion")
        now = time.time()
        with self.db.transaction():
            gone = [identity for identity in dict.fromkeys(identities) if self.db.execute(
                "UPDATE generations SET deleted = ? WHERE owner = ? AND id = ? AND deleted IS NULL",
                (now, owner, identity))]
        if not undo:
            purge(self.db, self.files, gone)
        purge_expired(self.db, self.files, now)
        return len(gone)

    def undelete(self, owner: str, *identities: str) -> int:
        """Bring pictures back that were deleted with `undo=True` less than ten minutes ago. How many."""
        self.db.writable("The picture")
        purge_expired(self.db, self.files, time.time())
        with self.db.transaction():
            return sum(self.db.execute(
                "UPDATE generations SET deleted = NULL WHERE owner = ? AND id = ? AND deleted IS NOT NULL "
                "AND purged = 0", (owner, identity)) for identity in dict.fromkeys(identities))

    def delete_all(self, owner: str) -> int:
        """Delete all pictures of an owner and the finished runs with their prompts. How many pictures."""
        ids = [row["id"] for row in self.db.rows(
            "SELECT id FROM generations WHERE owner = ? AND deleted IS NULL", (owner,))]
        count = self.delete(owner, *ids)
        with self.db.transaction():
            self.db.execute("DELETE FROM runs WHERE owner = ? AND status NOT IN ('queued', 'running')",
                            (owner,))
            self.db.execute("DELETE FROM graphs WHERE hash NOT IN (SELECT graph FROM runs) "
                            "AND hash NOT IN (SELECT graph FROM generations WHERE graph IS NOT NULL)")
        return count

    def sweep(self) -> SweepReport:
        """Repair what a crash left: rows without files, files without rows, temp files, half deletions."""
        if self.db.read_only:
            return SweepReport()
        return sweep.sweep(self.db, self.files, self._adopt_owner)

    # -- reading

    def get(self, owner: str, identity: str) -> Generation | None:
        """One picture, or None; what belongs to another owner is None as well."""
        rows = self.db.rows(f"{search.SELECT} WHERE g.owner = ? AND g.id = ? AND g.deleted IS NULL",
                            (owner, identity))
        return search.complete(self.db, rows)[0] if rows else None

    def show(self, owner: str, identity: str) -> Generation:
        """One picture by its id or the unique beginning of it (4 or more characters).

        StudioError if there is none.
        """
        found = self.get(owner, identity)
        if found is not None:
            return found
        if len(identity) >= 4 and identity.isalnum():
            rows = self.db.rows(f"{search.SELECT} WHERE g.owner = ? AND g.deleted IS NULL "
                                "AND g.id >= ? AND g.id < ? LIMIT 2", (owner, identity, identity + "g"))
            if len(rows) == 1:
                return search.complete(self.db, rows)[0]
            if rows:
                raise StudioError(f"More than one picture's id begins with '{identity}'.",
                                  hint="Give more of it.")
        raise StudioError(f"No picture '{identity[:64]}' in the history.",
                          hint="'python -m studio history list' shows the ids.")

    def find_by_key(self, owner: str, key: str) -> Generation | None:
        """The newest picture that the output node with this ahead key made; None if there is none."""
        if not key:
            return None
        rows = self.db.rows(f"{search.SELECT} WHERE g.owner = ? AND g.key = ? AND g.key != '' "
                            "AND g.deleted IS NULL ORDER BY g.created DESC LIMIT 1", (owner, key))
        found = search.complete(self.db, rows)[0] if rows else None
        if found is not None and not found.missing and not self.files.path(found.file).exists():
            return self._mark_missing(found)
        return found

    def list(self, owner: str, limit: int = 50, before: str | None = None) -> Page:
        """Pictures, newest first; `before` is the `next` of the page before."""
        return search.find(self.db, owner, Query(), limit=limit, before=before)

    def query(self, **filters: Any) -> Query:
        """The fields of `Query`, for a caller that does not import it."""
        return Query(**filters)

    def find(self, owner: str, query: Query, *, limit: int = 50, before: str | None = None,
             skip: int = 0) -> Page:
        """Pictures that fit a query, newest first."""
        return search.find(self.db, owner, query, limit=limit, before=before, skip=skip)

    def days(self, owner: str, query: Query | None = None, zone: float = 0.0) -> tuple[tuple[int, int], ...]:
        """Pictures that fit, counted by day, newest first: (days since 1970-01-01, how many).

        `zone`: seconds that local time is ahead of UTC.
        """
        return tuple(search.days(self.db, owner, query or Query(), zone))

    def ids(self, owner: str, query: Query | None = None, limit: int = 10_000) -> tuple[str, ...]:
        """The ids of the pictures that fit, newest first."""
        return tuple(search.ids(self.db, owner, query or Query(), limit))

    def search(  # the filters of Query, spelt out for callers
        self, owner: str, text: str = "", *, limit: int = 50, before: str | None = None,
        model: str | None = None, seed: int | None = None, starred: bool | None = None,
        tag: str | None = None,
        node_kind: str | None = None, since: float | None = None, until: float | None = None,
        width: int | None = None, height: int | None = None, parent: str | None = None,
        run: str | None = None,
        missing: bool | None = None, prefix: bool = False,
    ) -> Page:
        """Pictures whose title, prompts, note or tags hold every word of `text`, newest first."""
        query = Query(text=text, prefix=prefix, model=model, seed=seed, starred=starred, tag=tag,
                      node_kind=node_kind,
                      since=since, until=until, width=width, height=height, parent=parent, run=run,
                      missing=missing)
        return self.find(owner, query, limit=limit, before=before)

    def count(self, owner: str, query: Query | None = None) -> int:
        """How many pictures fit."""
        return search.count(self.db, owner, query or Query())

    def tags(self, owner: str) -> dict[str, int]:
        """All tags of an owner with how often they are used."""
        return {row["tag"]: row["n"] for row in self.db.rows(
            "SELECT t.tag, count(*) AS n FROM tags t JOIN generations g ON g.id = t.generation "
            "WHERE g.owner = ? AND g.deleted IS NULL GROUP BY t.tag ORDER BY t.tag", (owner,))}

    def models(self, owner: str) -> dict[str, int]:
        """All models of an owner's pictures with how many each made."""
        return {row["model"]: row["n"] for row in self.db.rows(
            "SELECT model, count(*) AS n FROM generations WHERE owner = ? AND deleted IS NULL "
            "AND model != '' GROUP BY model ORDER BY model", (owner,))}

    def kinds(self, owner: str) -> dict[str, int]:
        """All kinds of node in the graphs of an owner's pictures, with how many pictures each."""
        return {row["kind"]: row["n"] for row in self.db.rows(
            "SELECT k.kind, count(*) AS n FROM graph_kinds k JOIN generations g ON g.graph = k.graph "
            "WHERE g.owner = ? AND g.deleted IS NULL GROUP BY k.kind ORDER BY k.kind", (owner,))}

    def bytes_used(self, owner: str) -> int:
        """Bytes of the owner's picture files."""
        row = self.db.one("SELECT coalesce(sum(f.bytes), 0) AS n FROM files f WHERE f.missing = 0 "
                          "AND f.hash IN (SELECT file FROM generations WHERE owner = ?)", (owner,))
        return int(row["n"]) if row else 0

    def document(self, owner: str, identity: str) -> str:
        """The graph that made a picture, as JSON text."""
        found = self.show(owner, identity)
        row = self.db.one("SELECT json FROM graphs WHERE hash = ?", (found.graph,))
        if row is None:
            raise StudioError(f"The workflow of picture {found.id[:8]} is lost.",
                              hint="It was too large to be embedded, and the database was rebuilt.")
        return str(row["json"])

    def family(self, owner: str, identity: str, depth: int = 20) -> lineage.Family:
        """What a picture was made from, and what was made from it, at most `depth` (1..50) links away."""
        return lineage.family(self, owner, identity, depth)

    # -- files

    def picture(self, owner: str, identity: str) -> Path:
        """The stored file. StudioError if it is missing; the row is then marked so."""
        found = self.show(owner, identity)
        path = self.files.path(found.file) if found.file else None
        if path is None or not path.exists():
            self._mark_missing(found)
            raise StudioError(f"The file of picture {found.id[:8]} is missing.",
                              hint="Make it again from its workflow.")
        return path

    def thumbnail(self, owner: str, identity: str, side: int = 256) -> Path:
        """A small WEBP of the picture, at most `side` (16..1024) pixels a side."""
        self.picture(owner, identity)
        return self.files.thumbnail(self.show(owner, identity).file, side)

    def handed_out(self, owner: str, identity: str, *, strip: bool = False) -> bytes:
        """The bytes to give away: the stored file, or the same picture without graph and record."""
        data = self.picture(owner, identity).read_bytes()
        return strip_png(data) if strip else data

    def export(self, owner: str, identities: Iterable[str], target: Path | BinaryIO, *,
               strip: bool = False) -> int:
        """A zip with each picture, its workflow as JSON and one history.json. How many pictures are in it."""
        return export.export(self, owner, list(identities), target, strip=strip)

    def put_upload(self, data: bytes, *, suffix: str = ".png") -> str:
        """Store a picture that a person brings, checked by the caller; its hash, for `{"file": hash}`."""
        self.db.writable("The upload")
        digest = self.files.write(data, UPLOADS, suffix)
        self.db.execute("INSERT OR IGNORE INTO files (hash, kind, mime, bytes, created) "
                        "VALUES (?, 'upload', ?, ?, ?)",
                        (digest, f"image/{suffix[1:]}", len(data), time.time()))
        return digest

    def upload(self, digest: str) -> Path:
        """The file of an upload. StudioError if there is none."""
        # By folder, not by row: the same bytes may stand there as a picture of the history already.
        paths = (self.files.path(digest, UPLOADS, suffix) for suffix in UPLOAD_SUFFIXES)
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            raise StudioError("That uploaded picture is not here any more.", hint="Choose the picture again.")
        return path

    # -- inside

    def _set(self, owner: str, identity: str, column: str, value: str | int) -> Generation:
        self.db.writable("The change")
        found = self.show(owner, identity)
        self.db.execute(f"UPDATE generations SET {column} = ? WHERE id = ?", (value, found.id))
        return self.show(owner, found.id)

    def _mark_missing(self, found: Generation) -> Generation:
        if not self.db.read_only:
            self.db.execute("UPDATE files SET missing = 1 WHERE hash = ?", (found.file,))
        return self.get(found.owner, found.id) or found

"""A zip with pictures, their workflows and what the history knows of them."""
from __future__ import annotations

import json
import re
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from studio.db.disk import write_with
from studio.errors import StudioError
from studio.history.generation import Generation

if TYPE_CHECKING:
    from studio.history.store import History

MAX_PICTURES = 10_000


def export(history: History, owner: str, identities: Sequence[str], target: Path | BinaryIO, *,
           strip: bool) -> int:
    """Write the zip: NNN-<slug>.png and .json for each picture, history.json for all; how many pictures.

    A picture whose file is missing still gives its workflow. `strip`: pictures alone, without workflow,
    prompt, record. A path is written whole or not at all.
    """
    if not identities:
        raise StudioError("No picture was chosen for the export.")
    if len(identities) > MAX_PICTURES:
        raise StudioError(f"One export holds at most {MAX_PICTURES} pictures, not {len(identities)}.")
    chosen = [history.show(owner, identity) for identity in dict.fromkeys(identities)]
    if isinstance(target, Path):
        write_with(history.db.disk, target, lambda handle: _fill(history, owner, chosen, handle, strip))
    else:
        _fill(history, owner, chosen, target, strip)
    return len(chosen)


def slug(text: str, fallback: str) -> str:
    """A file name of a-z, 0-9 and '-', at most 64 characters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:64].strip("-") or fallback


def _fill(history: History, owner: str, chosen: Sequence[Generation], handle: IO[bytes], strip: bool) -> None:
    entries: list[dict[str, object]] = []
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, found in enumerate(chosen, 1):
            # A stripped copy tells nothing of the prompt, not even in its name.
            name = f"{number:03d}-{found.id[:8] if strip else slug(found.name, found.id[:8])}"
            try:
                data = history.handed_out(owner, found.id, strip=strip)
                archive.writestr(f"{name}.png", data, zipfile.ZIP_STORED)  # it is packed already
            except StudioError as error:
                entries.append({"name": name, "missing": error.message})
            if not strip:
                entries.append({"name": name, **found.as_json()})
                try:
                    archive.writestr(f"{name}.json", history.document(owner, found.id))
                except StudioError:
                    continue  # its graph was lost with a damaged database; the picture is there
        if not strip:
            archive.writestr("history.json", json.dumps({"format": "weft/history", "version": 1,
                                                         "pictures": entries},
                                                        ensure_ascii=False, indent=1))

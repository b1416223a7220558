"""Zips of pictures: a ticket is made by an event of the page, its signed address hands the file out."""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from studio.errors import StudioError
from studio.ui.owners import Owners

if TYPE_CHECKING:
    from studio.studio import Studio

KEPT = 32  # tickets; the oldest goes first


class Exports:
    """Tickets live in memory and hold ids only; the zip is written when it is fetched, and then removed."""

    def __init__(self, studio: Studio, owners: Owners) -> None:
        self._studio = studio
        self._owners = owners
        self._tickets: OrderedDict[tuple[str, str], tuple[tuple[str, ...], bool]] = OrderedDict()
        self._lock = threading.Lock()

    def ticket(self, owner: str, ids: tuple[str, ...], *, strip: bool) -> str:
        """The address of a zip of these pictures. `strip`: pictures alone, without prompts and workflows."""
        name = secrets.token_hex(16)
        with self._lock:
            self._tickets[owner, name] = (ids, strip)
            while len(self._tickets) > KEPT:
                self._tickets.popitem(last=False)
        return f"weft/export/{quote(owner)}/{name}.zip?k={self._owners.sign(f'export {owner}/{name}')}"

    def routes(self) -> list[Route]:
        return [Route("/weft/export/{owner}/{name}.zip", self._zip, methods=["GET"])]

    def _zip(self, request: Request) -> Response:
        owner, name = request.path_params["owner"], request.path_params["name"]
        right = self._owners.signed(f"export {owner}/{name}", request.query_params.get("k", ""))
        with self._lock:
            found = self._tickets.get((owner, name)) if right else None
        if found is None:
            return PlainTextResponse("Not found", 404)
        ids, strip = found
        with tempfile.NamedTemporaryFile(suffix=".zip", prefix="weft-", delete=False) as file:
            path = Path(file.name)
        try:
            self._studio.history.export(owner, ids, path, strip=strip)
        except (OSError, StudioError) as error:
            path.unlink(missing_ok=True)
            words = str(error) if isinstance(error, StudioError) else "The disk refused the zip."
            return PlainTextResponse(words, 409)
        gone = BackgroundTask(path.unlink, missing_ok=True)
        headers = {"Cache-Control": "no-store"}
        return FileResponse(
            path, media_type="application/zip", filename="weft-pictures.zip", headers=headers, background=gone
        )

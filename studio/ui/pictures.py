"""Pictures of the history as the page sees them: facts, signed addresses, and the routes that serve them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from studio.errors import StudioError
from studio.ui.enlarged import enlarged
from studio.ui.how_it_ran import stopped
from studio.ui.owners import Owners

if TYPE_CHECKING:
    from studio.history.store import Generation
    from studio.studio import Studio

KEPT = "private, max-age=31536000, immutable"  # an address names one generation, whose pixels never change


class Pictures:
    """Cards for the page and the two routes /weft/picture and /weft/thumb.

    An address holds owner, generation id and an HMAC over both; without the right one the answer is 404, as
    for a picture that does not exist.
    """

    def __init__(self, studio: Studio, owners: Owners) -> None:
        self._studio = studio
        self._owners = owners

    def card(self, item: Generation) -> dict[str, object]:
        """What the page shows of one generation; texts are plain texts."""
        where = f"{quote(item.owner)}/{item.id}"
        key = "k=" + self._owners.sign(f"{item.owner}/{item.id}")
        url = f"weft/picture/{where}.png?{key}"
        keeps_graph = self._studio.policy.embed_graph
        return {
            "id": item.id,
            "run": item.run,
            "node": item.node,
            "item": item.item,
            "created": item.created,
            "title": item.title,
            "prompt": item.prompt,
            "negative": item.negative,
            "seed": item.seed,
            "model": item.model,
            "width": item.width,
            "height": item.height,
            "starred": item.starred,
            "missing": item.missing,
            "helper": item.helper,
            "tags": list(item.tags),
            "note": item.note,
            "seconds": _seconds(item.record),
            "stopped": stopped(item.record),
            "enlarged": enlarged(item, lambda id: self._studio.history.get(item.owner, id)),
            "file": _name(item),
            "url": url,
            "thumb": f"weft/thumb/{where}.webp?{key}",
            "save": url,
            "saveWithGraph": None if keeps_graph else url + "&graph=1",
        }

    def newest(self, owner: str, limit: int = 24) -> list[dict[str, object]]:
        return [self.card(item) for item in self._studio.history.list(owner, limit=limit).items]

    def made(self, owner: str, ids: Iterable[str]) -> list[dict[str, object]]:
        """Cards of these generations, in the order given; ids that are not this owner's are left out."""
        found = (self._studio.history.get(owner, generation) for generation in ids)
        return [self.card(item) for item in found if item is not None]

    def routes(self) -> list[Route]:
        return [
            Route("/weft/picture/{owner}/{id}.png", self._picture, methods=["GET"]),
            Route("/weft/thumb/{owner}/{id}.webp", self._thumb, methods=["GET"]),
        ]

    def _asked(self, request: Request) -> tuple[str, str] | None:
        owner, generation = request.path_params["owner"], request.path_params["id"]
        right = self._owners.signed(f"{owner}/{generation}", request.query_params.get("k", ""))
        return (owner, generation) if right else None

    def _picture(self, request: Request) -> Response:
        asked = self._asked(request)
        if asked is None:
            return PlainTextResponse("Not found", 404)
        strip = not self._studio.policy.embed_graph and "graph" not in request.query_params
        try:
            data = self._studio.history.handed_out(*asked, strip=strip)
        except StudioError:
            return PlainTextResponse("Not found", 404)
        return Response(data, media_type="image/png", headers={"Cache-Control": KEPT})

    def _thumb(self, request: Request) -> Response:
        asked = self._asked(request)
        if asked is None:
            return PlainTextResponse("Not found", 404)
        try:
            path: Path = self._studio.history.thumbnail(*asked)
        except StudioError:
            return PlainTextResponse("Not found", 404)
        return FileResponse(path, media_type="image/webp", headers={"Cache-Control": KEPT})


def _seconds(record: dict[str, object]) -> float | None:
    """Seconds spent in nodes, from the record's timings; None where an old record has none."""
    timings = record.get("timings")
    if not isinstance(timings, dict):
        return None
    numbers = [value for value in timings.values() if isinstance(value, int | float)]
    return round(sum(numbers), 2) if numbers else None


def _name(item: Generation) -> str:
    """A file name of our own: only a-z, 0-9 and -, at most 64 characters before `.png`."""
    words = re.sub(r"[^a-z0-9]+", "-", (item.title or item.prompt).lower()).strip("-")[:48].strip("-")
    return f"{words or 'weft'}-{item.id[:8]}.png"

"""Pictures that a person brings to the form: read by our decoder, stored without metadata, shown small."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from studio.errors import StudioError
from studio.graph.document import Graph
from studio.graph.widgets import PictureRefWidget
from studio.pixels import encode, read_picture, shrink
from studio.ui.forms import Field
from studio.values import Image

if TYPE_CHECKING:
    from studio.studio import Studio

LONGEST_SIDE = 2048  # pixels; no canvas is larger, and no page shows more
THUMB_SIDE = 160


class Uploads:
    """Stores uploads and makes the thumbnails of those that a document names."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def store(self, data: bytes, name: str, *, whole: bool = False) -> dict[str, object]:
        """A PNG, JPEG or WEBP file as a stored PNG of at most 2048 pixels a side; `whole`: as large as it is.

        Gives `value` (what a picture widget holds) and `thumb` (a data address). Raises StudioError.
        """
        policy = self._studio.policy
        policy.check_upload(len(data))
        image = read_picture(data, max_pixels=policy.max_decoded_pixels)
        image = image if whole else shrink(image, LONGEST_SIDE)
        digest = self._studio.history.put_upload(encode(image))
        shown = "".join(letter for letter in name if letter.isprintable())[-80:]
        return {"value": {"file": digest, "name": shown or "picture"}, "thumb": _thumb(image)}

    def thumbs(self, document: Graph, fields: Sequence[Field]) -> dict[str, str]:
        """Data addresses by hash, for the pictures in these fields; those that are gone are left out."""
        found: dict[str, str] = {}
        for field in fields:
            if field["sort"] != "picture":
                continue
            value = document.node(str(field["node"])).widgets.get(str(field["widget"]))
            if not isinstance(value, dict) or PictureRefWidget().problem(value) is not None:
                continue
            try:
                data = self._studio.history.upload(value["file"]).read_bytes()
                found[value["file"]] = _thumb(read_picture(data))
            except (OSError, StudioError):
                continue
        return found


def _thumb(image: Image) -> str:
    picture = encode(shrink(image, THUMB_SIDE), "WEBP")
    return "data:image/webp;base64," + base64.b64encode(picture).decode()

"""Where an edit may act: painted masks are stored, and a thing is cut out where a word acts."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import TYPE_CHECKING

import gradio as gr

from studio.errors import StudioError
from studio.graph.document import Graph
from studio.pixels import read_picture
from studio.ui import asked, bus
from studio.ui.owners import Owners
from studio.ui.uploads import Uploads

if TYPE_CHECKING:
    from studio.studio import Studio
    from studio.values import Image

LONGEST_DOCUMENT = 1_000_000  # characters; what the page sends is a ready workflow


class EditMasks:
    """Handlers of the mask in Edit; event data comes from a browser and is checked."""

    def __init__(self, studio: Studio, owners: Owners) -> None:
        self._studio = studio
        self._owners = owners
        self._uploads = Uploads(studio)

    def mask(self, token: object, event: gr.EventData) -> str:
        """Stores a painted mask: {"mask"}. Event data: `data` (a PNG, base64), `turn` (told back)."""
        turn = asked.given(event, "turn")
        if isinstance(turn, bool) or not isinstance(turn, int):
            return bus.dump({"says": "The page sent no usable mask. Reload it."})
        try:
            self._owners.owner(token)
            data = asked.upload(event, self._studio.policy.max_upload_bytes)
            stored = self._uploads.store(data, "painted mask")
        except binascii.Error:
            return bus.dump({"mask": {"turn": turn, "fault": "The mask did not arrive whole. Try again."}})
        except StudioError as error:
            return bus.dump({"mask": {"turn": turn, "fault": str(error)}})
        return bus.dump({"mask": {"turn": turn, "value": stored["value"]}})

    def look(self, token: object, event: gr.EventData) -> str:
        """The maps of a run whose pictures are not stored: {"maps"}. Event data: `document` (JSON text)."""
        from studio.wordmaps import maps_of_run  # loads torch, as a run has done already

        try:
            owner, document = self._asked(token, event)
            found = maps_of_run(self._studio, document, owner)
        except StudioError as error:
            return bus.dump({"says": str(error)})
        return bus.dump({"maps": {name: found[name] for name in ("labels", "rows", "columns", "mean")}})

    def thing(self, token: object, event: gr.EventData) -> str:
        """The mask of a word's thing: {"thing": {"word", "picture", "turn"}}. Event data: `document`, `word`,
        `generation` (the picture it is cut from), `amount`, `grow`, `follow`, `turn` (told back), and `x` and
        `y` (0..1) for the piece nearest to a point, else the largest."""
        turn = asked.turn(event)
        try:
            owner, document = self._asked(token, event)
            word, of = asked.text(event, "word", 100), asked.given(event, "generation")
            made = of if isinstance(of, str) else ""
            data = cut_of(self._studio, document, owner, word, event, _size(document), made)
        except StudioError as error:
            return bus.dump({"says": str(error), "turn": turn})
        return bus.dump({"thing": {"word": word, "picture": address(data), "turn": turn}})

    def _asked(self, token: object, event: gr.EventData) -> tuple[str, Graph]:
        owner = self._owners.owner(token)
        return owner, self._studio.read_document(asked.text(event, "document", LONGEST_DOCUMENT))


def cut_of(
    studio: Studio,
    document: Graph,
    owner: str,
    word: str,
    event: gr.EventData,
    size: tuple[int, int],
    generation: str,
    sampler: str | None = None,
) -> bytes:
    """The mask of a word as an event asks for it: `amount` (0..1), `grow` (pixels), `follow` (the edges of
    the picture `generation`; unless it is said, where that fits), `x` and `y`. Raises StudioError."""
    from studio.wordmaps import mask_of_word

    guide, wanted = None, asked.given(event, "follow")
    if wanted is True:
        guide = _guide(studio, owner, generation, size)
    elif wanted is not False:
        with suppress(StudioError):
            guide = _guide(studio, owner, generation, size)
    amount = asked.number(event, "amount", 0.0, 1.0, 0.5)
    grow = round(asked.number(event, "grow", -64, 64, 0))
    at = asked.point(event)
    given = {"amount": amount, "grow": grow, "follow": guide, "sampler": sampler}
    return mask_of_word(studio, document, owner, word, size, at, **given)  # type: ignore[arg-type]


def _guide(studio: Studio, owner: str, generation: str, size: tuple[int, int]) -> Image:
    """The picture whose edges a mask of that size follows."""
    off = "Switch “Follow the edges of the picture” off for a smooth edge."
    if not generation:
        raise StudioError("There is no picture whose edges the mask could follow.", socket="follow", hint=off)
    try:
        guide = read_picture(studio.history.picture(owner, generation).read_bytes())
    except (OSError, StudioError) as error:
        said = "The edges of the picture cannot be followed: its file is missing."
        raise StudioError(said, socket="follow", hint=off) from error
    if (guide.width, guide.height) != size:
        said = (
            f"The edges of the picture cannot be followed: it has {guide.width}×{guide.height} pixels, "
            f"the mask {size[0]}×{size[1]}."
        )
        raise StudioError(said, socket="follow", hint=off)
    return guide


def address(data: bytes) -> str:
    """A PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _size(document: Graph) -> tuple[int, int]:
    """Pixels of the picture that a document paints; a square where its canvas says nothing."""
    canvas = next((node for node in document.nodes if node.kind == "empty_latent"), None)
    sides = [] if canvas is None else [canvas.widgets.get(name) for name in ("width", "height")]
    whole = [s for s in sides if isinstance(s, int) and not isinstance(s, bool) and 16 <= s <= 16384]
    return (whole[0], whole[1]) if len(whole) == 2 else (256, 256)

"""Found schedules in the menu of Create: which fit the page's document, and the document that uses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import gradio as gr

from studio import found_lists
from studio.errors import StudioError
from studio.graph.document import Graph
from studio.ui import asked, bus

if TYPE_CHECKING:
    from studio.studio import Studio


def found_for(studio: Studio, document: Graph) -> list[found_lists.Offer]:
    """The found lists that fit a document (`found_lists.offers`)."""
    kept = studio.history.calibrations
    return found_lists.offers(document, studio.registry, kept, lambda ref: studio.models.digest(ref))


def use_found(
    studio: Studio, read: Callable[[], Graph], answer: Callable[..., str], event: gr.EventData
) -> str:
    """What Create answers to `found`; `read` gives its document and may refuse, `answer` tells one."""
    try:
        steps = int(asked.number(event, "steps", 1, 1000, 8))
        document = found_lists.wired(read(), studio.registry, asked.text(event, "node", 200), steps)
    except StudioError as error:
        return bus.dump({"says": str(error)})
    says = f"The schedule that was searched is used: {steps} steps of euler."
    return answer(document, says=says, undo=True)

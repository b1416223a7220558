"""Errors that speak to the person who can mend them: a message, a hint, and where it happened."""
from __future__ import annotations

import difflib
from collections.abc import Iterable


class StudioError(Exception):
    """What went wrong (given against possible) and one next step.

    `node` is a node id or path, `socket` a socket or widget name; both empty when the error has no place.
    """

    def __init__(self, message: str, *, hint: str = "", node: str = "", socket: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.node = node
        self.socket = socket

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


# What anybody may hear of a fault of our own; the log has the rest.
BUG = StudioError("Something went wrong inside the studio.", hint="The log of the studio says more.")


class Cancelled(StudioError):  # noqa: N818 - a decision of the user, not a fault
    """The run was stopped; raised by `ctx.step()` inside a node."""

    def __init__(self, message: str = "The run was stopped.") -> None:
        super().__init__(message)


class BadDocument(StudioError):  # noqa: N818
    """A workflow file that cannot be read: truncated, not JSON, too deep, too large, or too new."""


class BadModel(StudioError):  # noqa: N818
    """A model folder that is missing, incomplete, a pickle, or of a class that Weft has no family for."""


class Refused(StudioError):  # noqa: N818
    """Something that this host's Policy does not allow."""


def did_you_mean(word: str, known: Iterable[str], *, limit: int = 3) -> str:
    """The hint "Did you mean 'a' or 'b'?" for the nearest known words, or an empty text."""
    close = difflib.get_close_matches(word, list(known), n=limit, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""

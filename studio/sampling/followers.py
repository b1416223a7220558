"""Attachments that are told of every call of the network, such as step caches (sampling.md 4).

What an attachment's `with` gives may be a `Follower`; anything else is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol, runtime_checkable

from studio.controls.control import TextSegment
from studio.values import Step


@runtime_checkable
class Follower(Protocol):
    """Something on the network that must know where in the run a call lies."""

    def call(self, step: Step, roles: Sequence[str], controls: Any = None) -> AbstractContextManager[object]:
        """Around one forward. `controls`: the attention controls on the network (`controls.attach`), if
        any."""

    def report(self) -> Mapping[str, object]:
        """JSON values: what it did."""


class Followed:
    """Attention controls, if any, and followers, as the denoiser sees them."""

    def __init__(self, attached: Any, followers: Sequence[Follower]) -> None:
        self.attached = attached
        self.followers = tuple(followers)

    def segments(self, step: Step) -> tuple[TextSegment, ...]:
        """Prompts to append at this step."""
        return () if self.attached is None else tuple(self.attached.segments(step))

    @contextmanager
    def call(
        self, step: Step, roles: tuple[str, ...], *, segments: tuple[tuple[str, int], ...] = ()
    ) -> Iterator[None]:
        """Around one forward: the controls outside, the followers in their order."""
        with ExitStack() as stack:
            if self.attached is not None:
                stack.enter_context(self.attached.call(step, roles, segments=segments))
            for follower in self.followers:
                stack.enter_context(follower.call(step, roles, self.attached))
            yield

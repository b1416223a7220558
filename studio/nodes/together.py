"""Several attachments in one run, and the check that they go together."""

from __future__ import annotations

from collections.abc import Iterator

from studio.api import Attachment, Refusal, View, node
from studio.controls.composition import partners, refusals, title


@node(group="Steer", title="Use together")
def together(
    first: list[Attachment],
    second: list[Attachment] = [],  # noqa: B006 - read only
    third: list[Attachment] = [],  # noqa: B006 - read only
    fourth: list[Attachment] = [],  # noqa: B006 - read only
) -> list[Attachment]:
    """Several ways to steer or watch one run; they always act in the same order, however they are connected.

    first: anything for the "attachments" input of Sample, or another "Use together"
    """
    return [*first, *second, *third, *fourth]


def review_attachments(view: View) -> Iterator[Refusal]:
    """Techniques at the `attachments` input that cannot go together (controls/composition.py)."""
    steering = [source for source in view.feeding("attachments") if source.technique]
    named = {source.technique: source.title for source in steering}
    for one, other, rule in refusals([source.technique for source in steering]):
        both = f"{named[one]!r} and {named[other]!r}" if one != other else f"two of {title(one)!r}"
        yield Refusal(
            f"{both[0].upper()}{both[1:]} cannot be used in one run: {rule.reason}.",
            f"Disconnect one of them. {title(one)} goes with {partners(one)}.",
            "attachments",
        )

"""Scorers, and the steering of a run by one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from studio.api import Choice, Model, Prompt, Refusal, Scorer, Slider, StudioError, View, Wrap, node
from studio.models.family import parts_of
from studio.nodes.prompt import refused
from studio.sampling.guidance.colour_place import Thing, colour_place
from studio.sampling.guidance.scorer import MOST_STRENGTH, THROUGH, by_score
from studio.scenes.wanted import coloured, parse
from studio.scenes.world import COLOURS


def review_colours(view: View) -> Iterator[Refusal]:
    """A text that names no colour."""
    text = view.widgets.get("text")
    if isinstance(text, str):
        try:
            things_of(text)
        except StudioError as error:
            yield refused(error)


@node(group="Steer", title="Score colours and places", review=review_colours)
def score_colours(text: Prompt = "a red star on the left") -> Scorer:
    """A judge that looks for the colours of a prompt at their places, in the words of the scene world.

    text: things with colours, such as "a red star on the left and a blue house on the right"
    """
    return colour_place(things_of(text))


@node(group="Steer", title="Steer by score")
def steer_by_score(
    model: Model,
    scorer: Scorer,
    strength: Annotated[float, Slider(0, MOST_STRENGTH, 0.05)] = 1.0,
    start: Annotated[float, Slider(0, 1, 0.01)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.01)] = 0.6,
    through: Annotated[str, Choice(*THROUGH)] = "preview",
) -> Wrap:
    """Push the picture in every step towards what a judge likes, without a further pass of the network.

    strength: how firmly; 0 = not at all
    start: the share of the steps before it acts
    end: the share of the steps after which it stops
    through: how the judge sees the picture: preview = coarse and nearly free, decoder = exact and slow
    """
    return by_score(parts_of(model), scorer, strength, start, end, through)


def things_of(text: str) -> tuple[Thing, ...]:
    """The coloured things of a prompt; StudioError if there are none."""
    things = coloured(parse(text))
    if not things:
        raise StudioError(
            "This names no thing with a colour.",
            hint=f"Write such as 'a red star on the left'. Colours: {', '.join(COLOURS)}.",
            socket="text",
        )
    return things

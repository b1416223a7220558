"""Samplers and spacings that do not suit a model, and why, for one of them and for all. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from studio.models.sampler_kinds import LOOK_BACK, RENOISE, TWO_CALLS, of_kind

SPREAD = ("karras", "exponential", "beta", "ays", "ays_xl")


@dataclass(frozen=True)
class Rule:
    """Choices of the setting `widget` that do not suit a model. `why`: what stands before and behind a choice
    in the reason for it; `all`: the reason for all of them, with a colon at the end."""

    widget: str
    choices: Sequence[str]
    why: tuple[str, str]
    all: str

    def reason(self, choice: str) -> str:
        """Why that choice does not suit."""
        return choice.join(self.why)


def rules(name: str, spacing: str, *, few: bool, endless: bool) -> Iterator[Rule]:
    """What rules out samplers and spacings for the model `name`, whose own spacing is `spacing`.

    few: it is made for a few steps; endless: any number of steps does it good.
    """
    if endless:
        yield Rule(
            "sampler",
            of_kind(RENOISE),
            (
                "",
                " lays new noise over a finished guess at every step, for models made for a few steps; "
                f"{name} is not one, and its early guesses are blurred.",
            ),
            f"{name} is not made for a few steps: its early guesses are too blurred for samplers that lay "
            "new noise over each of them:",
        )
    if not few:
        return
    yield Rule(
        "sampler",
        of_kind(TWO_CALLS),
        ("", f" calls the network twice a step, and {name} has learnt whole steps: twice the time of euler."),
        f"{name} has learnt whole steps: samplers that call the network twice in each take twice the time of "
        "euler:",
    )
    yield Rule(
        "sampler",
        of_kind(LOOK_BACK),
        ("", f" draws on earlier steps, and {name} takes too few to draw on; euler suits it."),
        f"{name} takes too few steps for samplers that draw on earlier ones:",
    )
    own = spacing.replace("_", " ")
    yield Rule(
        "spacing",
        [choice for choice in SPREAD if choice != spacing],
        (f"{name} is made for the noise levels of {own}; ", " puts its few steps elsewhere."),
        f"{name} is made for the noise levels of {own}; these put its few steps elsewhere:",
    )

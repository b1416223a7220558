"""Relay: another model, guidance or cache for the rest of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, NamedTuple

from studio.api import (
    Attachment,
    Conditioning,
    Guidance,
    Model,
    Refusal,
    Sigmas,
    Slider,
    View,
    Wrap,
    node,
)
from studio.models.outline import Outline
from studio.nodes.guidance_checks import review_guidance
from studio.nodes.meet_checks import refused_pairs
from studio.nodes.preset_checks import review_preset
from studio.nodes.prompt import outline, refused, strange_prompts
from studio.nodes.run_checks import review_joined
from studio.sampling.relay import Relay, apart, joined, relay_wrap


class Handed(NamedTuple):
    """What Sample needs: who takes over and when, and the schedule of both parts."""

    wrap: Wrap
    sigmas: Sigmas


def review_relay(view: View) -> Iterator[Refusal]:
    """Prompts that were encoded for another family than the model that takes over, and lists that do not
    join."""
    yield from review_joined(view)
    yield from strange_prompts(view, outline(view), "; who takes over is", "Encode it with that model.")


def review_relays(view: View, model: Outline | None, sampler: str = "") -> Iterator[Refusal]:
    """Relays at the `wraps` of a run that cannot take over from its model, or go on with what does not suit
    theirs."""
    relays = [wrap for wrap in view.feeding("wraps") if wrap.kind == "relay"]
    if len(relays) > 1:
        yield Refusal(
            "There are two relays beside each other.", "Connect one to the other's “then”.", "wraps"
        )
    for first in relays:
        for one in chain(first):
            yield from _takes_over(view, one, model)
            yield from _kept(view, one)
            own = outline(one) or model
            for found in (*review_guidance(one, sampler), *review_preset(one, own, sampler)):
                yield replace(found, at=one)


def chain(view: View) -> Iterator[View]:
    """A relay and those that follow it."""
    yield view
    for later in view.feeding("then"):
        yield from chain(later)


def _takes_over(view: View, one: View, model: Outline | None) -> Iterator[Refusal]:
    if one.widgets.get("at") == 1:
        return
    other = outline(one)
    if model is not None and other is not None:
        why = other_space(model, other)
        if why:
            yield refused(apart(model.title, other.title, why), "wraps")
        for socket in ("positive", "negative"):
            if other.family != model.family and not one.feeding(socket):
                yield Refusal(
                    f"{one.title!r} goes on with {other.title}, which reads prompts in its own way.",
                    f"Encode the {socket} prompt with it and connect it there.",
                    "wraps",
                )
    for control in view.feeding("attachments"):
        if control.kind in ("edit_by_prompt", "keep_look", "keep_subject", "blend"):
            yield Refusal(
                f"{control.title!r} keeps an old picture beside the new one, and {one.title!r} goes on with "
                "one picture.",
                "Disconnect one of them.",
                "attachments",
            )


def _kept(view: View, one: View) -> Iterator[Refusal]:
    """Attachments of the second part that are there already, or do not go with those that go on in it."""
    keeps, own = one.widgets.get("keep_controls"), one.feeding("attachments")
    if keeps is None or one.widgets.get("at") == 1:
        return
    kept = view.feeding("attachments") if keeps else ()
    for control in own:
        if control in kept:
            yield Refusal(
                f"{control.title!r} is connected to {view.title!r} and to {one.title!r}, which keeps the "
                f"attachments of {view.title!r}: it would act twice.",
                f"Disconnect it from {one.title!r}, or switch its keep_controls off.",
                "attachments",
                at=one,
            )
    others = [control for control in own if control not in kept]
    for found in refused_pairs(others, kept):
        more = f" With keep_controls off those of {view.title!r} end with the first part." if keeps else ""
        yield replace(found, hint=found.hint + more, at=one)


def other_space(one: Outline, other: Outline) -> str:
    """Why latents of two models are not the same, as far as their files tell; "" if nothing says so."""
    if one.latents == other.latents or not (one.latents and other.latents):
        return ""
    named = zip(one.latents, other.latents, strict=False)  # the class comes first
    name, mine, theirs = next((a[0], a[1], b[1]) for a, b in named if a != b)
    return f"the {name.replace('_', ' ')} of their autoencoders is {mine} and {theirs}"


@node(group="Sampling", title="Relay", review=review_relay)
def relay(
    sigmas: Sigmas,
    model: Model | None = None,
    positive: Conditioning | None = None,
    negative: Conditioning | None = None,
    guidance: Guidance | None = None,
    second: Sigmas | None = None,
    attachments: list[Attachment] = [],  # noqa: B006 - read only
    then: Wrap | None = None,
    at: Annotated[float, Slider(0, 1, 0.01)] = 0.25,
    keep_controls: bool = True,
) -> Handed:
    """Hand a run over: one model begins the picture and another one ends it, in one latent. With the base
    model for the layout and a few-step model after it, a run takes a part of the base's steps. Connect both
    outputs to Sample, whose own model, prompts and guidance make the first part.

    sigmas: the schedule of the first part
    model: who takes over; open = the same one, so that only what is connected here changes
    positive: its prompt, if it reads prompts in another way
    negative: its negative prompt
    guidance: its guidance; open = that of Sample
    second: its schedule; open = the same one
    attachments: controls and caches of the second part
    then: another Relay that takes over later
    at: the share of the second schedule that the first model does instead; 0 = the second model alone, 1 =
    the first alone; one step of four is 0.25
    keep_controls: the controls and caches of Sample act in the second part too; a cache starts anew
    """
    both, level = joined(sigmas, second or sigmas, at)
    found = Relay(level, model, positive, negative, guidance, tuple(attachments), keep_controls)
    return Handed(relay_wrap(found, then), both)

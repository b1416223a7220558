"""Relay: one latent, several models by turns (Hybrid SD, arXiv 2408.06646, section 3; diversity distillation,
arXiv 2503.10637: the base model for the first step, the distilled one after it).

Each part of a run has its own network, prompts, guidance and attachments; sampler, noise and latent are the
run's. At the hand-over the attachments of one part leave before those of the next come, so that a step cache
starts empty. All families here predict the velocity of one flow from noise level 1 to 0, so that a latent of
any of them is one of all whose autoencoder is the same; others are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch

from studio.controls.composition import compose
from studio.controls.control import AttentionControl
from studio.controls.leading import check_led
from studio.errors import StudioError
from studio.models.family import Parts, parts_of
from studio.sampling.controlled import Controlled, acting, check_sampler
from studio.sampling.leg import Course, Leg
from studio.values import (
    Attachment,
    Conditioning,
    Denoise,
    Guidance,
    Latent,
    Model,
    Seen,
    Sigmas,
    Step,
    StepResult,
    Wrap,
)

# Sigmas that come from different formulas differ by roundings.
NEAR = 1e-6


@dataclass(frozen=True, eq=False)
class Relay:
    """What takes over at noise level `level` (infinite = from the start). What is None is the run's own.

    `attachments` act in this part; `keep`: those of the run go on in it, too.
    """

    level: float
    model: Model | None = None
    positive: Conditioning | None = None
    negative: Conditioning | None = None
    guidance: Guidance | None = None
    attachments: tuple[Attachment | AttentionControl, ...] = ()
    keep: bool = True


@dataclass(frozen=True)
class RelayWrap(Wrap):
    """The wrap that carries relays to the run, in the order of their noise levels; by itself it does
    nothing."""

    relays: tuple[Relay, ...] = field(default=(), compare=False, repr=False)


def relay_wrap(relay: Relay, then: Wrap | None = None) -> Wrap:
    """A relay, and those that `then` carries for later; StudioError unless their levels fall."""
    later = then.relays if isinstance(then, RelayWrap) else ()
    if then is not None and not isinstance(then, RelayWrap):
        raise StudioError(
            f"{then.name!r} is no relay.", hint="Connect the wrap of another Relay.", socket="then"
        )
    if later and later[0].level >= relay.level:
        raise StudioError(
            f"The next relay takes over at noise level {later[0].level:.3g}, not after this one "
            f"({relay.level:.3g}).",
            hint="Let it take over later.",
            socket="then",
        )
    params = (("levels", tuple(one.level for one in (relay, *later))),)

    def wrap(denoise: Denoise) -> Denoise:
        return denoise

    return RelayWrap("relay", wrap, params, relays=(relay, *later))


def relays_of(wraps: Sequence[Wrap]) -> tuple[Relay, ...]:
    """The relays among the wraps of a run; StudioError for two sets of them."""
    found = [wrap for wrap in wraps if isinstance(wrap, RelayWrap)]
    if len(found) > 1:
        raise StudioError(
            "There are two relays beside each other.",
            hint="Connect one to the other's “then”.",
            socket="wraps",
        )
    return found[0].relays if found else ()


def joined(first: Sigmas, second: Sigmas, share: float) -> tuple[Sigmas, float]:
    """The list of a run that changes over, and the noise level at which it does.

    `share` 0..1 of the second's steps is done by the first instead, on its own list, down to the level where
    the second goes on: 0 = the second's list, hand-over at infinity; 1 = the first's list, at 0.
    """
    if not (math.isfinite(share) and 0 <= share <= 1):
        raise StudioError(f"A share of {share} is not possible.", hint="Possible: 0 to 1.", socket="at")
    step = math.floor(share * second.steps + 1e-9)
    if step == 0:
        return second, math.inf
    level = second.values[step]
    if first.values[0] <= level + NEAR:
        raise StudioError(
            f"The first schedule starts at noise level {first.values[0]:.3g}, not above the hand-over at "
            f"{level:.3g}.",
            hint="Let the hand-over lie later, or start both schedules at the same strength.",
            socket="sigmas",
        )
    if level == 0:
        return first, 0.0
    values = (*(v for v in first.values if v > level + NEAR), *second.values[step:])
    same = first.values == second.values
    return Sigmas(values, first.name if same else f"{first.name} + {second.name}"), level


def boundary(steps: Sequence[Step], level: float) -> int:
    """The first step that begins at or below a noise level; their number if none does."""
    return next((step.index for step in steps if step.sigma <= level + NEAR), len(steps))


def check_latents(one: Parts, other: Parts, canvas: Latent) -> None:
    """StudioError unless two models have one latent space: the same shape and the same autoencoder."""
    if one.vae is other.vae:
        return
    mine_is, theirs_is = (str(parts.card.get("title") or parts.family.title) for parts in (one, other))
    shapes = [p.family.latent_shape(p, canvas.batch, canvas.width, canvas.height) for p in (one, other)]
    if shapes[0] != shapes[1]:
        raise apart(mine_is, theirs_is, f"their latents have the shapes {shapes[0]} and {shapes[1]}")
    for name in ("scaling_factor", "shift_factor"):
        given = [getattr(parts.vae.config, name, None) for parts in (one, other)]
        if given[0] != given[1]:
            raise apart(mine_is, theirs_is, f"the {name} of their autoencoders is {given[0]} and {given[1]}")
    mine, theirs = one.vae.state_dict(), other.vae.state_dict()
    if mine.keys() != theirs.keys() or not all(
        mine[name].shape == theirs[name].shape and torch.equal(mine[name], theirs[name]) for name in mine
    ):
        raise apart(mine_is, theirs_is, "their autoencoders have different weights")


def apart(one: str, other: str, why: str) -> StudioError:
    """What to raise where two models cannot share a latent."""
    return StudioError(
        f"{one} and {other} cannot take over from each other: {why}.",
        hint="A relay needs models with the same autoencoder, such as a model and the same with a LoRA.",
        socket="model",
    )


@dataclass(eq=False)
class Legs:
    """The parts of one run, one at a time on its network; a context manager that ends the last one.

    `leg`: the first part, which `release` takes off its network; `upto`: steps that the run makes.
    """

    relays: tuple[Relay, ...]
    parts: Parts
    canvas: Latent
    positive: Conditioning
    negative: Conditioning
    guidance: Guidance
    attachments: Sequence[Attachment | AttentionControl]
    course: Course
    leg: Leg
    release: Callable[[], None]
    upto: int
    _from: list[int] = field(default_factory=list)
    _at: int = 0
    _told: list[Controlled] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Legs:
        self._from = [0, *(boundary(self.course.steps, relay.level) for relay in self.relays)]
        for relay in self.relays:
            if relay.guidance is not None:
                check_sampler(relay.guidance.name, relay.guidance.only_sampler, self.course.sampler)
            if relay.model is not None:
                check_latents(self.parts, parts_of(relay.model), self.canvas)
            if relay.level > 0:
                controls = compose(acting(self._attached(relay)))
                check_led(controls, (relay.positive or self.positive).text)
        if self.leg.controlled.trajectories.branches:
            raise branched()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def denoise(self, latent: torch.Tensor, step: Step) -> torch.Tensor:
        """The clean estimate by whoever is on at this step."""
        wanted = max(number for number, first in enumerate(self._from) if first <= step.index)
        if wanted != self._at:
            self._change_to(wanted)
        return self.leg.guided(latent, step)

    def change(self, result: StepResult) -> StepResult | None:
        """What the controls of the current part make of a step."""
        controlled = self.leg.controlled
        return controlled.change(result) if controlled.controls else None

    def seen(self) -> Seen:
        """What all parts saw."""
        found = [one.seen() for one in (*self._told, self.leg.controlled)]
        return Seen(
            tuple(map for one in found for map in one.maps),
            tuple(estimate for one in found for estimate in one.estimates),
        )

    def report(self) -> dict[str, object]:
        """JSON values: who painted which steps (`relay`), and what the controls of every part did; a cache of
        a later part has its number."""
        whole: dict[str, Any] = {}
        followers: list[dict[str, object]] = []
        for one in (*self._told, self.leg.controlled):
            own: dict[str, Any] = dict(one.report())
            for told in own.pop("followers", ()):
                count = sum(str(had["name"]).startswith(told["name"]) for had in followers)
                followers.append(dict(told) | ({"name": f"{told['name']}_{count + 1}"} if count else {}))
            whole |= own
        return whole | self._painted() | ({"followers": followers} if followers else {})

    def _painted(self) -> dict[str, object]:
        """The parts that made steps, with the noise level at which each took over; steps count from 1."""
        models = [relay.model for relay in self.relays]
        own = str(self.parts.card.get("title") or self.parts.family.title)
        titles = [own, *(own if model is None else model.title for model in models)]
        ends = [*self._from[1:], len(self.course.steps)]
        parts = [
            {
                "model": title,
                "from": first + 1,
                "to": min(end, self.upto),
                "level": round(self.course.steps[first].sigma, 4),
            }
            for title, first, end in zip(titles, self._from, ends, strict=True)
            if first < min(end, self.upto)
        ]
        return {"relay": {"steps": len(self.course.steps), "parts": parts}}

    def _attached(self, relay: Relay) -> tuple[Attachment | AttentionControl, ...]:
        return (*(self.attachments if relay.keep else ()), *relay.attachments)

    def _change_to(self, number: int) -> None:
        self._told.append(self.leg.controlled)
        if self._at == 0:
            self.release()
        self._stack.close()
        relay = self.relays[number - 1]
        self.leg = self._stack.enter_context(
            self.course.leg(
                self.parts if relay.model is None else parts_of(relay.model),
                relay.positive or self.positive,
                relay.negative or self.negative,
                relay.guidance or self.guidance,
                self._attached(relay),
            )
        )
        if self.leg.controlled.trajectories.branches:
            raise branched()
        self._at = number


def branched() -> StudioError:
    """What to raise where a control has a second picture beside the run's."""
    return StudioError(
        "A relay goes on with one picture, and an edit keeps the old one beside it.",
        hint="Disconnect the relay or the edit.",
        socket="attachments",
    )

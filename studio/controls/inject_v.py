"""Attention values of a real picture, kept while it is inverted and put back in the first steps of the way
back (RF-Edit, arXiv 2411.04746, section 4.2; FireFlow, arXiv 2412.07517).

A step lies between two noise levels, and the network is called at its start and, by some samplers, at its
middle. On the way up a step starts at its lower level, on the way back at its upper one; what is kept belongs
to the step and to start or middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from studio.controls.bounds import repeated
from studio.controls.control import AttentionControl, Call, Need, Write
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Inversion, KeptValues, Sigmas, Step

if TYPE_CHECKING:
    import torch

ROLES = ("cond", "target")
SPANS = ("image", "text")
Key = tuple[int, bool, str]


@dataclass(frozen=True, eq=False)
class KeepValues(AttentionControl):
    """Keeps the values of an inversion and changes nothing.

    `sites`: module names; `levels`: the noise levels between which steps are kept, from the top down.
    """

    sites: tuple[str, ...]
    levels: tuple[float, ...]
    _found: dict[Key, tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def name(self) -> str:
        return "keep_values"

    def needs(self, site: Site, step: Step) -> Need:
        wanted = site.name in self.sites and step.sigma_next > self.levels[-1]
        return Need.EDIT if wanted else Need.NONE

    def writes(self, site: Site, step: Step) -> tuple[Write, ...]:
        return (Write("cond", "image", "v"),)

    def edit(self, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        step = call.step
        number = self.levels.index(step.sigma_next)
        lower = self.levels[number + 1]
        rows = list(call.layout.rows("cond"))
        image, text = (call.v[rows][:, :, call.layout.span(name)].float().cpu() for name in SPANS)
        self._found[number, step.sigma != lower, call.site.name] = image, text
        return call.q, call.k, call.v

    def kept(self, sigmas: Sigmas) -> tuple[KeptValues, ...]:
        """What was kept, in the order of the way back."""
        return tuple(KeptValues(*key, *self._found[key]) for key in sorted(self._found))


@dataclass(frozen=True, eq=False)
class InjectValues(AttentionControl):
    """The kept values in place of the run's own, in its first `steps` steps: 0 = none.

    `text`: whether those of the prompt's tokens are put back too, as published. The run must have the
    inversion's schedule, or the last part of it, and the sampler that walks its path back.
    """

    technique: ClassVar[str] = "inject_v"

    inversion: Inversion
    steps: int = 1
    text: bool = True

    def __post_init__(self) -> None:
        kept = 1 + max((value.step for value in self.inversion.values), default=-1)
        if type(self.steps) is not int or not 0 <= self.steps <= kept:
            raise StudioError(
                f"The values of {self.steps} steps cannot be put back; the inversion kept those of {kept}.",
                hint="Raise keep_values of Invert picture." if kept < 1 else f"Possible: 0 to {kept}.",
                socket="steps",
            )

    @property
    def only_sampler(self) -> str:
        return self.inversion.sampler

    def is_neutral(self) -> bool:
        return self.steps == 0

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        for step in steps:
            upper = self.inversion.level(step.sigma)
            if self.inversion.level(step.sigma_next) != upper + 1:
                raise StudioError(
                    "The picture was inverted with more steps than this run has.",
                    hint="Connect one Schedule to both Invert picture and Sample.",
                    socket="sigmas",
                )
        if not any(self._number(step) < self.steps for step in steps):
            raise StudioError(
                f"This run starts after the first {self.steps} steps, whose values should be put back.",
                hint="Raise steps, or the strength of the schedule.",
                socket="steps",
            )
        known, named = {site.name for site in sites}, {value.site for value in self.inversion.values}
        if not named <= known:
            raise StudioError(
                f"The picture was inverted with another model: this one has no {min(named - known)!r}.",
                hint="Invert it with the model that samples.",
                socket="model",
            )

    def needs(self, site: Site, step: Step) -> Need:
        wanted = self._number(step) < self.steps and any(v.site == site.name for v in self.inversion.values)
        return Need.EDIT if wanted else Need.NONE

    def writes(self, site: Site, step: Step) -> tuple[Write, ...]:
        spans = SPANS if self.text else SPANS[:1]
        return tuple(Write(role, span, "v") for role in ROLES for span in spans)

    def edit(self, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        number = self._number(call.step)
        half = abs(call.step.sigma - self.inversion.sigmas.values[number]) > 1e-6
        kept = self._values(number, half, call.site.name)
        if kept is None:
            return call.q, call.k, call.v
        rows = list(call.layout.rows(*ROLES))
        v = call.v.clone()
        for name, stored in zip(SPANS, (kept.image, kept.text), strict=True):
            if name == "text" and not self.text:
                continue
            span = call.layout.span(name)
            whole = repeated(
                stored,
                v[rows][:, :, span],
                f"The values kept of the {name} at {call.site.name} have",
                hint="Invert a picture of the canvas's size, with prompts of the same model.",
                socket="inversion",
            )
            v[rows, :, span] = whole.to(v)
        return call.q, call.k, v

    def _number(self, step: Step) -> int:
        """Which step of the inversion's schedule a step of the run is."""
        return self.inversion.level(step.sigma_next) - 1

    def _values(self, number: int, half: bool, site: str) -> KeptValues | None:
        """None at the one call for which nothing can be kept: the start of the whole way back by
        midpoint_reuse, of which every later predictor is a middle."""
        for value in self.inversion.values:
            if (value.step, value.half, value.site) == (number, half, site):
                return value
        return None

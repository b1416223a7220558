"""Values that carry behaviour: sampler, guidance, wrap, attachment (sampling 1.1).

Each has a name and frozen parameters, so that it compares, hashes and prints; the callable takes no part in
comparing. `studio.values` has all of these names too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Union, runtime_checkable

if TYPE_CHECKING:
    import torch

    from studio.values import Image, Row, Sigmas, Step, StepResult

Setting = Union[str, int, float, bool, None, "tuple[Setting, ...]"]
Settings = tuple[tuple[str, Setting], ...]

# at(step): the parameters that have an effect at a step
AtStep = Callable[["Step"], Settings]

# predict(latent, step, rows): the network's own prediction for each row, fp32
Predict = Callable[["torch.Tensor", "Step", "Sequence[Row]"], "tuple[torch.Tensor, ...]"]
# around(network, step, roles): a `with` block in which the network is another one for a single forward
Around = Callable[[object, "Step", "tuple[str, ...]"], AbstractContextManager[object]]
# denoise(latent, step): the clean estimate
Denoise = Callable[["torch.Tensor", "Step"], "torch.Tensor"]
# index of the next step, latent, memory
Resume = tuple[int, "torch.Tensor", "tuple[torch.Tensor, ...]"]


class Guide(Protocol):
    """Rule that turns predictions of rows into a clean estimate; asks only for the rows that it needs."""

    def __call__(self, predict: Predict, rows: Sequence[Row]) -> Denoise: ...


class Noise(Protocol):
    """Counter-based noise of a run: `noise(purpose, index)` has the latent's shape and never the global
    RNG."""

    def __call__(self, purpose: str, index: int) -> torch.Tensor: ...


@runtime_checkable
class Keeping(Protocol):
    """Something that keeps state from step to step and can say all of it, so that a run can go on from the
    middle, bit-equal: lists of tensors and JSON values."""

    def snapshot(self) -> list[Any]:
        """The state as it is; later steps do not change what was given."""

    def restore(self, state: list[Any]) -> None:
        """Take up a state that `snapshot` gave."""


class Store(Protocol):
    """Where values lie from run to run: bounded, and only the owner's own (`Context.kept`)."""

    def get(self, key: str) -> Any:
        """What was put under the key, never to be written to; None if it is not there."""

    def put(self, key: str, value: Any, seconds: float, *, disk: bool) -> None:
        """Keep a value of lists, tensors and JSON values; `seconds`: what it cost to make."""


class SampleFunction(Protocol):
    """A sampler: a generator, one StepResult per step."""

    def __call__(
        self,
        denoise: Denoise,
        latent: torch.Tensor,
        sigmas: Sigmas,
        *,
        noise: Noise,
        resume: Resume | None = None,
    ) -> Iterator[StepResult]: ...


@dataclass(frozen=True)
class Sampler:
    """The stepping rule of a run. `run` takes no part in comparing: name and params say what it does.

    `stop_after`: the run ends after so many steps with the clean estimate of the last one; 0 = at the end.
    """

    name: str
    run: SampleFunction = field(compare=False, repr=False)
    params: Settings = ()
    stop_after: int = 0

    def __repr__(self) -> str:
        return _spell("Sampler", self.name, self.params)


@dataclass(frozen=True)
class Guidance:
    """How predictions become the clean estimate (sampling 3).

    `only_sampler`: the one sampler whose update it is made for; empty = any. `perturbs`: it asks for rows of
    a changed network, which goes with no attention control. `remembers`: it keeps something from step to
    step; every run starts with an empty memory. `at`: what of it counts at a step, () = the prompt alone;
    None = its name and parameters at every step.
    """

    name: str
    guide: Guide = field(compare=False, repr=False)
    params: Settings = ()
    only_sampler: str = ""
    perturbs: bool = False
    remembers: bool = False
    at: AtStep | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        return _spell("Guidance", self.name, self.params)


@dataclass(frozen=True)
class Tiling:
    """A run by overlapping tiles: their largest `side` and the `overlap` of neighbours, in pixels."""

    side: int
    overlap: int


@dataclass(frozen=True)
class Wrap:
    """A `denoise` around a `denoise` (inpainting, steering); neutral returns the inner one itself.

    `only_sampler`: the one sampler whose update it is made for, such as "euler"; empty = any. `guided`: where
    the run's guidance counts, weights 0..1 on the latent's grid, elsewhere the prompt alone leads; None =
    everywhere. `tiles`: the network sees the latent piece by piece; this lies inside the guidance. `at`: what
    of it counts at a step, () = nothing, for one that keeps nothing from step to step; None = nobody says.
    """

    name: str
    wrap: Callable[[Denoise], Denoise] = field(compare=False, repr=False)
    params: Settings = ()
    only_sampler: str = ""
    guided: torch.Tensor | None = field(default=None, compare=False, repr=False)
    tiles: Tiling | None = None
    at: AtStep | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        return _spell("Wrap", self.name, self.params)


@dataclass(frozen=True)
class Scorer:
    """A differentiable judge: `score` takes pixels (picture, 3, height, width, about 0..1, any size) and
    gives one number a picture, more = better."""

    name: str
    score: Callable[[torch.Tensor], torch.Tensor] = field(compare=False, repr=False)
    params: Settings = ()

    def __repr__(self) -> str:
        return _spell("Scorer", self.name, self.params)


@dataclass(frozen=True)
class Attachment:
    """A `with` block on the network (controls, caches, LoRA); leaves it exactly as it was.

    `at`: what of it counts at a step, () = nothing; None = nobody says. What it keeps from step to step, a
    `Keeping` gives and takes back.
    """

    name: str
    attach: Callable[[object], AbstractContextManager[object]] = field(compare=False, repr=False)
    params: Settings = ()
    at: AtStep | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        return _spell("Attachment", self.name, self.params)


class Upscale(Protocol):
    """What an open upscaler does to a picture: RGB in and out, `scale` times as wide and high.

    `guide`: a picture of the full size to follow, for those that need one. `on_step(i, total)` may raise.
    """

    def __call__(
        self,
        image: Image,
        scale: int,
        *,
        prompt: str = "",
        steps: int = 1,
        seed: int = 0,
        guide: Image | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Image: ...


@dataclass(frozen=True)
class Upscaler:
    """Makes pictures larger by one of its `scales` (sampling 11.2).

    `open`: a `with` block in which its weights are loaded; it gives an `Upscale`. `tile`: the largest side in
    pixels it is given at once; `overlap`: pixels that neighbouring tiles share; `reach`: how far from its own
    place a pixel looks (0 = unknown); `multiple`: sides of what it is given are multiples of it; `least`: the
    smallest side. `needs`: what it cannot do without: "prompt", "guide". `alpha`: it takes and gives
    transparent pictures as they are; else it sees none.
    """

    name: str
    open: Callable[[], AbstractContextManager[Upscale]] = field(compare=False, repr=False)
    scales: tuple[int, ...]
    tile: int = 256
    overlap: int = 32
    reach: int = 0
    multiple: int = 1
    least: int = 1
    needs: tuple[str, ...] = ()
    params: Settings = ()
    alpha: bool = False

    def __repr__(self) -> str:
        return _spell("Upscaler", self.name, self.params)


def _spell(kind: str, name: str, params: Settings) -> str:
    return f"{kind}({', '.join([name, *(f'{key}={value!r}' for key, value in params)])})"

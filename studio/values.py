"""What travels on edges: small frozen values, named as in the field (architecture 3, sampling 1.1).

Nothing here imports torch; tensors are named only for the type checker. Arrays are read-only, values
that carry
behaviour (`Sampler`, `Guidance`, `Wrap`, `Attachment`) have a name and frozen parameters, so that they
compare,
hash and print, and a callable that takes no part in comparing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from studio.behaviour import Around as Around
from studio.behaviour import AtStep as AtStep
from studio.behaviour import Attachment as Attachment
from studio.behaviour import Denoise as Denoise
from studio.behaviour import Guidance as Guidance
from studio.behaviour import Guide as Guide
from studio.behaviour import Keeping as Keeping
from studio.behaviour import Noise as Noise
from studio.behaviour import Predict as Predict
from studio.behaviour import Resume as Resume
from studio.behaviour import SampleFunction as SampleFunction
from studio.behaviour import Sampler as Sampler
from studio.behaviour import Scorer as Scorer
from studio.behaviour import Setting as Setting
from studio.behaviour import Settings as Settings
from studio.behaviour import Store as Store
from studio.behaviour import Tiling as Tiling
from studio.behaviour import Upscale as Upscale
from studio.behaviour import Upscaler as Upscaler
from studio.behaviour import Wrap as Wrap
from studio.errors import StudioError
from studio.traces import Estimate as Estimate
from studio.traces import Inversion as Inversion
from studio.traces import KeptValues as KeptValues
from studio.traces import Seen as Seen
from studio.traces import SeenMap as SeenMap

if TYPE_CHECKING:
    import torch

_Dtype = TypeVar("_Dtype", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Image:
    """A picture: `pixels` is a read-only uint8 array, height, width, 3 (RGB) or 4 (RGBA, straight alpha)."""

    pixels: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            raise StudioError(
                f"An Image holds a uint8 array, not {_describe(pixels)}.",
                hint="Use to_image(array) for values in 0..1.",
            )
        if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or 0 in pixels.shape:
            raise StudioError(f"An Image is height, width, 3 or 4 channels, not {pixels.shape}.")
        object.__setattr__(self, "pixels", _frozen(pixels))

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def has_alpha(self) -> bool:
        return bool(self.pixels.shape[2] == 4)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and np.array_equal(self.pixels, other.pixels)

    def __hash__(self) -> int:
        return hash((Image, self.pixels.tobytes()))

    def __repr__(self) -> str:
        return f"Image({self.width}x{self.height}{', alpha' if self.has_alpha else ''})"


@dataclass(frozen=True, eq=False)
class Mask:
    """A soft mask: `values` is a read-only float32 array, height, width; 1 = here, 0 = not here."""

    values: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        values = self.values
        if (
            not isinstance(values, np.ndarray)
            or values.dtype != np.float32
            or values.ndim != 2
            or not values.size
        ):
            raise StudioError(f"A Mask holds a float32 array of height, width, not {_describe(values)}.")
        if not (float(values.min()) >= 0.0 and float(values.max()) <= 1.0):
            raise StudioError("A Mask holds values from 0 to 1; these lie outside, or are not numbers.")
        object.__setattr__(self, "values", _frozen(values))

    @property
    def width(self) -> int:
        return int(self.values.shape[1])

    @property
    def height(self) -> int:
        return int(self.values.shape[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((Mask, self.values.tobytes()))

    def __repr__(self) -> str:
        return f"Mask({self.width}x{self.height})"


class ModelSource(Protocol):
    """Whoever holds the weights behind a `Model`; loads them again if they were released meanwhile."""

    def parts(self, model: Model) -> object:
        """The loaded components (`models.loading.Parts`); raises BadModel if they are gone or changed."""


@dataclass(frozen=True, eq=False)
class Model:
    """A handle to a network: light, never copied and never pickled; the weights stay with `source`.

    `digest` is the SHA-256 over the weight and configuration files; two handles with one digest are equal.
    `card` is the model's card as read-only mapping (JSON values), empty if it has none.
    """

    ref: str
    family: str
    digest: str
    source: ModelSource = field(repr=False)
    card: Mapping[str, object] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "card", MappingProxyType(dict(self.card)))

    @property
    def parts(self) -> object:
        return self.source.parts(self)

    @property
    def title(self) -> str:
        return str(self.card.get("title") or self.ref)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash((Model, self.digest))

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: object) -> Model:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} holds loaded weights and cannot be pickled; keep its ref instead.")


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the text encoders make of one prompt; computed by and for one family.

    `embeds`: 1, text token, channel. `pooled`: 1, channel; None for families without a pooled vector.
    """

    text: str
    family: str
    embeds: torch.Tensor = field(repr=False)
    pooled: torch.Tensor | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Latent:
    """A latent, or the canvas that one starts from.

    `tensor`: batch, channel, height, width, fp32 on CPU, unpacked and in the network's scale; None =
    empty canvas,
    whose start is pure noise. `width` and `height` are pixels. Image k of the batch draws its noise from
    `seed + k`. `source` is the picture that this latent encodes, as long as nothing has changed it: a decoder
    returns that picture itself. `sigma` is the noise level at which `tensor` stands: 0 = clean; above it,
    sampling goes on from there instead of laying noise over it.
    """

    width: int
    height: int
    batch: int = 1
    seed: int = 0
    tensor: torch.Tensor | None = field(default=None, repr=False)
    family: str = ""
    source: Image | None = field(default=None, repr=False)
    sigma: float = 0.0

    def with_tensor(self, tensor: torch.Tensor, family: str, sigma: float = 0.0) -> Latent:
        """The same canvas with other content; the picture it came from is no longer what it holds."""
        return replace(self, tensor=tensor, family=family, source=None, sigma=sigma)


@dataclass(frozen=True)
class Sigmas:
    """Noise levels of a run: finite, strictly descending, ending in 0; n + 1 values make n steps.

    One value alone, (0.0,), makes no step: the latent stays what it is.
    """

    values: tuple[float, ...]
    name: str = "custom"

    def __post_init__(self) -> None:
        values = tuple(float(v) for v in self.values)
        object.__setattr__(self, "values", values)
        if not values:
            raise StudioError("A list of sigmas needs at least the final 0.", hint="For example 1, 0.5, 0.")
        for number, value in enumerate(values, 1):
            if not math.isfinite(value) or value < 0:
                raise StudioError(
                    f"Entry {number} of the sigmas is {value}; a sigma is a finite number of at least 0.",
                    hint="Possible: numbers that fall to 0, such as 1, 0.75, 0.5, 0.25, 0.",
                )
            if number > 1 and value >= values[number - 2]:
                raise StudioError(
                    f"Entry {number} of the sigmas is {value:g}, not below the one before it "
                    f"({values[number - 2]:g}).",
                    hint="Sigmas descend from noise to 0.",
                )
        if values[-1] != 0:
            raise StudioError(f"The last sigma is {values[-1]:g}; it must be 0.", hint="Add a final 0.")

    @property
    def steps(self) -> int:
        return len(self.values) - 1

    def __repr__(self) -> str:
        return f"Sigmas({self.name}, {self.steps} steps from {self.values[0]:.4g})"


@dataclass(frozen=True)
class Step:
    """Where in a run we are: `index` of `total` steps, going from `sigma` to `sigma_next`."""

    index: int
    total: int
    sigma: float
    sigma_next: float

    def at(self, sigma: float) -> Step:
        """The same step, evaluated at another noise level (second stage of a two-stage sampler)."""
        return replace(self, sigma=sigma)


@dataclass(frozen=True, eq=False)
class Row:
    """One row that guidance asks for: a conditioning and its role (`cond`, `uncond` or `weak`).

    Where several trajectories run side by side (source and target of an edit), the latent holds them one
    after the other, and `conditionings` has one for each; else it has `conditioning` alone. `guidance` is the
    number that a guidance-distilled network takes as input: none, one for all trajectories, or one for each.
    `around`: the network is called for this row alone, changed as the `with` block says (`weak` rows).
    """

    conditioning: Conditioning
    role: str
    further: tuple[Conditioning, ...] = ()
    guidance: tuple[float, ...] = ()
    around: Around | None = field(default=None, repr=False)

    @property
    def conditionings(self) -> tuple[Conditioning, ...]:
        return (self.conditioning, *self.further)

    @property
    def guidances(self) -> tuple[float | None, ...]:
        """One for each trajectory; None where nobody named a number."""
        count = 1 + len(self.further)
        if len(self.guidance) not in (0, 1, count):
            raise StudioError(f"{len(self.guidance)} guidance numbers do not fit {count} trajectories.")
        return (self.guidance or (None,)) * (1 if len(self.guidance) == count else count)


@dataclass(frozen=True)
class TokenSpan:
    """Text tokens that belong to some words of a prompt, in every encoder.

    `tokens`: indices on the text axis of the prompt's conditioning, ascending; never empty.
    """

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Region:
    """A part of the picture with a prompt of its own: a box or a painted mask.

    `box`: x0, y0, x1, y1 in 0..1 from the top left; `mask` takes its place where it is given. `strength`
    0..2 (0 = not there, 1 = plain), `start` and `end` are fractions of the steps. Later regions lie above.
    """

    id: str
    prompt: str
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    mask: Mask | None = None
    name: str = ""
    negative: str = ""
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    role: str = ""
    locked: bool = False


@dataclass(frozen=True)
class Layout:
    """The region list: a prompt for the whole picture, regions in z-order (the last on top), and a prompt for
    what no region covers (empty: the base prompt alone)."""

    prompt: str
    regions: tuple[Region, ...] = ()
    background: str = ""


@dataclass(frozen=True, eq=False)
class StepResult:
    """What a sampler yields after a step: the new latent, the clean estimate of that step, its history."""

    step: Step
    latent: torch.Tensor
    denoised: torch.Tensor
    memory: tuple[torch.Tensor, ...] = ()


def _frozen(array: npt.NDArray[_Dtype]) -> npt.NDArray[_Dtype]:
    """The array itself if nothing can write to it, else a read-only copy."""
    base: object = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            array = np.array(array, order="C")
            array.flags.writeable = False
            return array
        base = base.base
    return array


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    return f"a {type(value).__name__}"

"""What must be known of a network: the Family protocol, its components, and the loaded parts.

Tensors are named only for the type checker, so that attention controls can read this without torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from studio.errors import BadModel, StudioError
from studio.values import Conditioning, Model, Row, Step

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Component:
    """A part of a diffusers folder: its name in model_index.json, its possible classes as (library,
    class)."""

    name: str
    classes: tuple[tuple[str, str], ...]
    weights: bool = True
    optional: bool = False


@dataclass(frozen=True, eq=False)
class Parts:
    """The loaded components of a model, placed on one device in one dtype; nothing changes them.

    `card` is the model's card (JSON values), empty if it has none.
    """

    family: Family
    components: Mapping[str, Any] = field(repr=False)
    device: torch.device
    dtype: torch.dtype
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)
    # what is worked out from the weights once, as the latent -> RGB map of previews
    notes: dict[str, object] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"Parts({self.family.name}, {self.device}, {self.dtype})"

    @property
    def transformer(self) -> Any:
        return self.components["transformer"]

    @property
    def vae(self) -> Any:
        return self.components["vae"]


@dataclass(frozen=True)
class TextReport:
    """What became of a prompt: words no encoder knows, and the end of the text that did not fit."""

    unknown: tuple[str, ...] = ()
    cut: str = ""
    limit: int = 0


@dataclass(frozen=True)
class Token:
    """One token of a prompt that stands for words: `index` on the text axis of the conditioning's embeds,
    `start` and `stop` the characters of the prompt that it covers."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True)
class Site:
    """One attention module of a network.

    `kind`: joint_double (own projections for text), joint_single (one projection for both), image_self or
    text_self. `index` counts the joint sites alone, 0.. in the order they run; self sites have -1.
    `block` is the block's number within its kind, `name` the module's name below the transformer.
    `text_out`: whether the network goes on with the text's output (SD3's last block drops it).
    """

    name: str
    index: int
    kind: str
    block: int
    text_out: bool = True

    @property
    def joint(self) -> bool:
        return self.kind.startswith("joint")


@dataclass(frozen=True, eq=False)
class TokenLayout:
    """Which tokens and which rows one attention call has.

    `spans`: name -> slice of the joint sequence: "image" (generated tokens only), "text" (the base prompt),
    "text/seg:NAME" (appended prompts), "image/ref:N" (reference pictures). `grid`: rows, columns of the image
    tokens. `roles`: one per row of the batch, such as "cond:0" (controls.md 3.1). `length`: S.
    `pad`: bool, row, S; True = a real token; None = all of them.
    """

    spans: Mapping[str, slice]
    grid: tuple[int, int]
    roles: tuple[str, ...]
    length: int
    pad: torch.Tensor | None = field(default=None, repr=False)

    def span(self, name: str) -> slice:
        """The slice of a span; StudioError naming those there are."""
        if name not in self.spans:
            raise StudioError(
                f"This network call has no tokens {name!r}.", hint=f"It has {', '.join(self.spans)}."
            )
        return self.spans[name]

    def size(self, name: str) -> int:
        """How many tokens a span has."""
        span = self.span(name)
        return int(span.stop - span.start)

    def rows(self, *roles: str) -> tuple[int, ...]:
        """The rows of any of these roles, in order, whatever their picture: "target" finds "target:0"."""
        return tuple(i for i, role in enumerate(self.roles) if role.partition(":")[0] in roles)


class AttentionAdapter(Protocol):
    """What attention controls must know of a network class; about 60 lines a family."""

    def sites(self, transformer: Any) -> tuple[Site, ...]:
        """Every attention module that a control may act on, in the order they run."""

    def token_layout(
        self,
        transformer: Any,
        kwargs: Mapping[str, Any],
        roles: tuple[str, ...],
        segments: Sequence[tuple[str, int]],
    ) -> TokenLayout:
        """The joint sequence of a call with these keyword arguments. `segments`: (name, tokens) in the order
        in which they stand at the end of the text."""

    def at_site(self, layout: TokenLayout, site: Site) -> TokenLayout:
        """The same call as one site sees it: image_self sites have image tokens alone, text_self the text."""

    def join_text(
        self, kwargs: Mapping[str, Any], segments: Sequence[tuple[str, torch.Tensor]]
    ) -> dict[str, Any]:
        """All keyword arguments, their text with further prompts, each (name, embeds 1 or row, token,
        channel), appended; position ids included."""

    def place(self, transformer: Any, segments: Sequence[tuple[str, int]]) -> AbstractContextManager[None]:
        """Around a forward with segments, always: where the network counts its text itself, it makes every
        segment start where the base prompt starts. Leaves nothing behind."""

    def outputs(
        self, site: Site, output: Any, layout: TokenLayout
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(image with references, text with segments), row, token, channel, out of what an attention module
        returned; text is None where the network drops it or the site has none."""


class Family(Protocol):
    """One file a family (`models/sd3.py`); everything else is written against this."""

    name: str
    pipeline: str
    title: str
    components: tuple[Component, ...]
    attention: AttentionAdapter

    def tokens(self, parts: Parts, text: str) -> tuple[Token, ...]:
        """The tokens of a prompt that stand for words, in every encoder whose states the network sees; start,
        end, padding and what was cut off are left out."""

    def check(self, parts: Parts) -> None:
        """Raise BadModel, naming both numbers, where two components do not fit."""

    def size_step(self, parts: Parts) -> int:
        """Pixels of which width and height are whole multiples."""

    def size_limit(self, parts: Parts) -> int:
        """Largest width or height in pixels."""

    def latent_shape(self, parts: Parts, batch: int, width: int, height: int) -> tuple[int, int, int, int]:
        """batch, channel, height, width of the unpacked latent."""

    def order(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """The rows in the order in which the stock pipeline batches them."""

    def text_inputs(
        self, parts: Parts, conditionings: Sequence[Conditioning], batch: int
    ) -> dict[str, torch.Tensor]:
        """Keyword arguments of the network that come from the text: row by row, each for `batch` latents."""

    def velocity(
        self,
        parts: Parts,
        latent: torch.Tensor,
        step: Step,
        text: dict[str, torch.Tensor],
        rows: int,
        levels: Sequence[float] | None = None,
    ) -> torch.Tensor:
        """One call of the network on `rows` copies of the latent: its velocity (noise - data), fp32.

        `levels`: the noise level, 0..1, that the network is told for each latent of the batch, where they
        differ; None = the step's for all."""

    def text_lengths(self, parts: Parts) -> dict[str, int]:
        """How many tokens each tokenizer reads, start and end marks included, by component name; looks at
        their `model_max_length`, at which encoders there are, and at the card."""

    def encode_text(self, parts: Parts, text: str) -> tuple[Conditioning, TextReport]:
        """The conditioning of a prompt, as the stock pipeline makes it."""

    def decode(self, parts: Parts, latent: torch.Tensor) -> torch.Tensor:
        """batch, channel, height, width of the latent -> batch, 3, height, width; fp32, about -1..1."""

    def encode_pixels(self, parts: Parts, pixels: torch.Tensor) -> torch.Tensor:
        """The inverse of `decode`, without random draw (the mean of the distribution)."""


# Network class -> module of studio.models whose ATTENTION is its adapter.
ADAPTERS: Mapping[str, str] = {
    "SD3Transformer2DModel": "sd3_attention",
    "FluxTransformer2DModel": "flux_attention",
    "Flux2Transformer2DModel": "flux2_attention",
    "QwenImageTransformer2DModel": "qwen_image_attention",
    "ZImageTransformer2DModel": "z_image_attention",
}


def adapter_for(transformer: Any) -> AttentionAdapter:
    """The adapter of a network, found by its class or one that it derives from; StudioError for others."""
    for known in type(transformer).__mro__:
        if known.__name__ in ADAPTERS:
            module = importlib.import_module(f"studio.models.{ADAPTERS[known.__name__]}")
            adapter: AttentionAdapter = module.ATTENTION
            return adapter
    given = type(transformer).__name__
    raise StudioError(
        f"Attention controls do not know networks of class {given}.",
        hint=f"They know {', '.join(ADAPTERS)}.",
    )


def families() -> dict[str, Family]:
    """Every family by pipeline class: each module of `studio.models` that defines FAMILY."""
    import studio.models

    found: dict[str, Family] = {}
    for info in sorted(pkgutil.iter_modules(studio.models.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"studio.models.{info.name}")
        family = getattr(module, "FAMILY", None)
        if family is not None:
            found[family.pipeline] = family
    return found


def parts_of(model: Model) -> Parts:
    """The loaded parts behind a handle; loads them again if they were released."""
    parts = model.parts
    if not isinstance(parts, Parts):
        raise BadModel(f"{model!r} does not stand for loaded components but for a {type(parts).__name__}.")
    return parts


def check_size(parts: Parts, width: int, height: int) -> None:
    """Raise a StudioError that names the nearest possible size unless the model can make this one."""
    check_sides(parts.family.size_step(parts), parts.family.size_limit(parts), width, height)


def check_sides(step: int, limit: int, width: int, height: int) -> None:
    """As `check_size`, for multiples of `step` pixels up to `limit`."""
    for name, given in (("width", width), ("height", height)):
        if given < step or given > limit or given % step:
            near = min(max(round(given / step), 1) * step, limit // step * step)
            raise StudioError(
                f"A {name} of {given} pixels is not possible with this model.",
                socket=name,
                hint=f"Possible: multiples of {step} from {step} to {limit // step * step}; "
                f"the nearest is {near}.",
            )

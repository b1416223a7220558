"""The attention-control abstraction (controls.md 3): what a control may want of a site, and in which words.

No torch here; tensors are named for the type checker only. A control is a frozen dataclass whose fields are
plain values, values of `studio.values` or other frozen dataclasses, so that it has a content digest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import TYPE_CHECKING, ClassVar, Protocol

from studio.models.family import Site, TokenLayout
from studio.values import Conditioning, Step

if TYPE_CHECKING:
    import torch

# Rows that a positive prompt leads; everything else is a row of the negative prompt and is left alone unless
# a control names it.
POSITIVE = ("cond", "source", "target", "reference")


class Need(Flag):
    """What a control wants at one site and step."""

    NONE = 0
    EDIT = auto()
    EXTEND = auto()
    PASSES = auto()
    COLUMNS = auto()
    PROBE = auto()
    READ = auto()
    AFTER = auto()


@dataclass(frozen=True, eq=False)
class Call:
    """One attention call as a control sees it. q, k, v: row, head, S, channel; post-norm, post-RoPE, often
    views: never write into them. `mask` and `scale` are the network's own. `maps` is what the run has
    gathered up to here: all earlier steps, and this step's earlier sites."""

    site: Site
    step: Step
    layout: TokenLayout
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    mask: torch.Tensor | None = None
    scale: float | None = None
    maps: Maps | None = None


@dataclass(frozen=True)
class Write:
    """What `edit` will write at a site: rows of a role, tokens of a span, and which of q, k, v."""

    role: str
    span: str
    tensors: str


@dataclass(frozen=True, eq=False)
class Extension:
    """Keys and values to append for some rows. k, v: row of `rows`, head, token, channel.

    `weight` > 0: log(weight) is added to their scores, so that 1 is plain and towards 0 nobody sees them.
    """

    name: str
    rows: tuple[int, ...]
    k: torch.Tensor
    v: torch.Tensor
    weight: float = 1.0


@dataclass(frozen=True)
class Scores:
    """Scores of a pass with the keys of `span` that are those of other rows: one of `rows` for each row of
    the pass set, its queries of the same spans with its keys."""

    rows: tuple[int, ...]
    span: str


@dataclass(frozen=True, eq=False)
class Pass:
    """One attention of some queries over some keys, named by spans; a key may also be an extension's name.

    `mask`: bool (True = seen) or additive float, broadcastable to row, head, query, key in the order in
    which the spans are named. Every query must see at least one key. `scores`: what takes the place of some
    of its scores, before weights are added.
    """

    queries: tuple[str, ...]
    keys: tuple[str, ...]
    mask: torch.Tensor | None = None
    scores: Scores | None = None


# Output of attention by query span: row, head, token, channel.
Outputs = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True, eq=False)
class PassSet:
    """The passes of some rows and how their outputs become one.

    `combine(inner, outputs)`: `outputs` has one mapping (query span -> tensor) per pass. A plain owner gets
    `inner` None and returns every span that its rows show ("text", "image", references, its segments).
    An `outer` owner stands around another: `inner` is what the rows would have without it, and it returns
    what it changes. Segments that nobody returns attend to themselves; nobody sees them.
    """

    rows: tuple[int, ...]
    passes: tuple[Pass, ...]
    combine: Callable[[Outputs | None, Sequence[Outputs]], Outputs]
    outer: bool = False


@dataclass(frozen=True)
class Owns:
    """What `passes` will own at a site, for the conflict check: rows of these roles and, of an outer owner,
    the spans that it returns."""

    roles: tuple[str, ...] = POSITIVE
    outer: bool = False
    spans: tuple[str, ...] = ("image",)


@dataclass(frozen=True)
class Columns:
    """Re-weighting of text tokens for image queries of some rows, inside every pass of the base text.

    `scale`: their values count times `weight` after the softmax (not renormalised, P2P); else log(weight) is
    added to their scores. Terms of several controls multiply. weight > 0 unless `scale`.
    """

    rows: tuple[int, ...]
    tokens: tuple[int, ...]
    weight: float
    scale: bool = True


@dataclass(frozen=True)
class Probe:
    """Attention mass from image tokens to groups of text tokens, mean over heads: row, image token, group.

    `span`: whose tokens the groups index. `before`: read from q and k as they were before any edit.
    """

    rows: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    span: str = "text"
    before: bool = True


@dataclass(frozen=True, eq=False)
class Branch:
    """A further trajectory beside the target's: its role, prompts, and its start if it is not the run's own.

    `start`: the latent to start from, batch (1 = the same for every picture), channel, height, width, fp32,
    or a function of the run's first noise level that gives it; None = the same start as the target.
    `negative` None = that of the run. Equal branches of several controls are one trajectory. `level`: the
    noise level that the network is told for this trajectory, as a function of the run's; None = the run's.
    """

    role: str
    positive: Conditioning
    negative: Conditioning | None = None
    start: torch.Tensor | Callable[[float], torch.Tensor] | None = field(default=None, repr=False)
    level: Callable[[float], float] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class TextSegment:
    """A further prompt behind the base prompt, seen only by passes that name "text/seg:NAME".

    `conditioning`: cut to its own tokens, embeds 1, token, channel.
    """

    name: str
    conditioning: Conditioning


class Maps(Protocol):
    """What the probes and `after` of one run have gathered, by control name."""

    def add(self, name: str, site: Site, step: Step, roles: Sequence[str], value: torch.Tensor) -> None:
        """Keep a map; value: row, image token, group; or row, 1, group for facts about the whole picture."""

    def mean(self, name: str, role: str) -> torch.Tensor | None:
        """Mean over all sites and steps so far for one role, batch, image token, group; None before the
        first."""


class _FitsAttachment:
    __weft_type__ = "Attachment"


class AttentionControl(_FitsAttachment):
    """Base of every control; each member's default is to want nothing.

    A socket of type Attachment takes it. `technique` is its name in the composition table
    (`controls/composition.py`), `name` its own in messages and maps: unique in a run.
    """

    __weft_type__ = "AttentionControl"
    technique: ClassVar[str] = ""
    # whether `step_end` is also asked about the clean estimates in a sampler's memory
    step_end_in_memory: ClassVar[bool] = True
    # whether it is enough that `led_by` leads another picture of the run, such as the old one of an edit
    led_by_any: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.technique

    @property
    def led_by(self) -> str | None:
        """The prompt whose words it means, which must lead the run's picture; None = any."""
        return None

    @property
    def labels(self) -> tuple[str, ...]:
        """What the columns of its maps stand for (`SeenMap.labels`), such as the words."""
        return ()

    @property
    def detail(self) -> bool:
        """Whether its maps are kept for every site and step (`Seen.maps`), not only as running means."""
        return False

    @property
    def only_sampler(self) -> str:
        """The one sampler that it works with, such as "euler"; empty = any."""
        return ""

    def steady(self, step: Step) -> object | None:
        """On which terms it acts at a step, if all it does follows from them and from what it is given:
        between steps of equal terms a step cache may leave out blocks in which it acts, and a run may be
        taken up behind them. Fields called `start` and `end` have no other effect than through the terms.
        None = it must run at every step (it reads, it injects, or nobody has shown more)."""
        return None

    def cropped(self, part: tuple[float, float, float, float]) -> AttentionControl | None:
        """The control as a part of the picture sees it, x0, y0, x1, y1 in 0..1, where a picture is made by
        tiles; None = it cannot be cropped, and such runs refuse it."""
        return None

    def wants_estimate(self, step: Step) -> bool:
        """Whether the clean estimate of this step must be kept (`Seen.estimates`)."""
        return False

    def is_neutral(self) -> bool:
        """Provably the identity: the control is dropped before anything is attached."""
        return False

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        """Raise StudioError for what this network or run cannot give, such as a block it lacks; called once
        when the plan is built."""

    def branches(self) -> tuple[Branch, ...]:
        """Trajectories that must run beside the target's."""
        return ()

    def segments(self, step: Step) -> tuple[TextSegment, ...]:
        """Prompts that must be in the sequence at this step."""
        return ()

    def needs(self, site: Site, step: Step) -> Need:
        """What it wants; asked once per site and step, from plain numbers only."""
        return Need.NONE

    def writes(self, site: Site, step: Step) -> tuple[Write, ...]:
        """What `edit` will write, for the conflict check."""
        return ()

    def edit(self, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """New q, k, v."""
        raise NotImplementedError

    def extend(self, call: Call) -> Sequence[Extension]:
        """Keys and values to append; every pass of those rows over "image" sees them unless an owner names
        its keys."""
        raise NotImplementedError

    def passes(self, call: Call) -> Sequence[PassSet]:
        """Owns the output of the rows named; a row has one plain owner, and one outer owner a span."""
        raise NotImplementedError

    def owns(self, site: Site, step: Step) -> tuple[Owns, ...]:
        """What `passes` will own, for the conflict check."""
        return (Owns(),)

    def columns(self, call: Call) -> Sequence[Columns]:
        raise NotImplementedError

    def probe(self, call: Call) -> Sequence[Probe]:
        """Maps wanted; each lands in `maps` under this control's name, further ones under name + "/1", ..."""
        raise NotImplementedError

    def read(self, call: Call, outputs: Outputs, maps: Maps) -> None:
        """What attention gave at every span of the call, its segments included, all passes combined and not
        yet projected: read it into `maps`; never write into it."""
        raise NotImplementedError

    def after(
        self, call: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Maps
    ) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """The attention outputs after their projections, row, token, channel: read them into `maps` and
        return None, or return what takes their place."""
        raise NotImplementedError

    def step_end(
        self, latents: Mapping[str, torch.Tensor], step: Step, maps: Maps
    ) -> Mapping[str, torch.Tensor]:
        """The latents that change after a step, by role ("target", "source", ...); also called, with the
        same step, for every tensor of the sampler's memory (`step_end_in_memory`). Without branches the one
        role is "target"."""
        return {}


@dataclass(frozen=True)
class Several(AttentionControl):
    """A control of which a run may have more than one of a name: all but the first get a number when they
    meet (`composition.compose`), and their names end in it."""

    number: int = field(default=1, kw_only=True)

    @property
    def name(self) -> str:
        return self.only_name if self.number == 1 else f"{self.only_name} ({self.number})"

    @property
    def only_name(self) -> str:
        """Its name where it is the only one."""
        return self.technique


def in_range(step: Step, start: float, end: float) -> bool:
    """Whether a step lies in [start, end), fractions of the run (sampling.md 1.4)."""
    return math.floor(start * step.total + 1e-9) <= step.index < math.floor(end * step.total + 1e-9)


def in_open_range(step: Step, start: float, end: float) -> bool:
    """Whether a step lies strictly between two fractions of the run: never the first one."""
    return step.total * start < step.index < step.total * end

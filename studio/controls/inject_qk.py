"""Edit by prompt: queries and keys of the source picture lead the first steps of the target
(arXiv 2508.07519, "Exploring Multimodal Diffusion Transformers for Enhanced Prompt-based Image Editing").

Source and target start from the same noise in one batch. Where the image tokens of the target ask and answer
like those of the source, the picture is laid out as the source is; values and text stay the target's own.
Only rows of the role "target" change: the source and the rows of the negative prompt are as without the edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from studio.controls.bounds import some_step, within
from studio.controls.control import (
    AttentionControl,
    Branch,
    Call,
    Need,
    Outputs,
    Owns,
    Pass,
    PassSet,
    Scores,
    Write,
    in_range,
)
from studio.controls.sites import check_sites
from studio.controls.spans import copied, pairs
from studio.controls.tokens import reference_spans
from studio.errors import StudioError, did_you_mean
from studio.models.family import Site
from studio.values import Conditioning, Step

# What is copied: tensor -> spans. "qiki" is the paper's choice, the others are its comparisons.
PROJECTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "qiki": {"q": ("image",), "k": ("image",)},
    "qk": {"q": ("text", "image"), "k": ("text", "image")},
    "qi": {"q": ("image",)},
    "ki": {"k": ("image",)},
    "qikt": {"q": ("image",), "k": ("text",)},
    "qtki": {"q": ("text",), "k": ("image",)},
    "qtkt": {"q": ("text",), "k": ("text",)},
    "kivi": {"k": ("image",), "v": ("image",)},
}
# One block of the scores in place of projections, named by its flow X2Y: queries of X, keys of Y.
BLOCKS: Mapping[str, tuple[str, str]] = {
    "I2I": ("image", "image"),
    "T2I": ("image", "text"),
    "I2T": ("text", "image"),
    "T2T": ("text", "text"),
}
# Runs of at most so many steps copy at `few_step_sites` only (the paper's figures are for 4).
FEW_STEPS = 4


@dataclass(frozen=True)
class InjectQK(AttentionControl):
    """The edit. `source` is the prompt of the picture that is kept, the run's own prompt is the target's.

    `tau`: share of the steps that follow the source, 0..1; 0 = no edit. `sites`: indices of joint sites,
    None = all (in runs of at most four steps `few_step_sites`, None = all there too). `projection` is a key
    of PROJECTIONS; `block`, a key of BLOCKS, takes its place unless empty. `negative` None = the run's.
    """

    technique: ClassVar[str] = "edit"

    source: Conditioning
    tau: float = 0.2
    sites: tuple[int, ...] | None = None
    few_step_sites: tuple[int, ...] | None = None
    projection: str = "qiki"
    block: str = ""
    negative: Conditioning | None = None
    led_by: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        within("tau", self.tau, 0, 1)
        for socket, given, known in (
            ("projection", self.projection, PROJECTIONS),
            ("block", self.block, ("", *BLOCKS)),
        ):
            if given not in known:
                raise StudioError(
                    f"There is no {socket} {given!r}.",
                    hint=did_you_mean(given, known) or f"There are {', '.join(filter(None, known))}.",
                    socket=socket,
                )

    def is_neutral(self) -> bool:
        return self.tau == 0 or self.sites == ()

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        check_sites(self.sites, sites, socket="blocks")
        some_step("tau", 0, self.tau, steps, socket="tau")

    def branches(self) -> tuple[Branch, ...]:
        return (Branch("source", self.source, self.negative),)

    def needs(self, site: Site, step: Step) -> Need:
        chosen = self.few_step_sites if self.sites is None and step.total <= FEW_STEPS else self.sites
        if not site.joint or not in_range(step, 0, self.tau):
            return Need.NONE
        if chosen is not None and site.index not in chosen:
            return Need.NONE
        return Need.PASSES if self.block else Need.EDIT

    def writes(self, site: Site, step: Step) -> tuple[Write, ...]:
        if self.block or self.needs(site, step) is Need.NONE:
            return ()
        spans = PROJECTIONS[self.projection]
        return tuple(Write("target", span, tensor) for tensor, names in spans.items() for span in names)

    def edit(self, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        spans = PROJECTIONS[self.projection]

        def made(name: str, tensor: torch.Tensor) -> torch.Tensor:
            return copied(tensor, call.layout, spans[name], "target", "source") if name in spans else tensor

        return made("q", call.q), made("k", call.k), made("v", call.v)

    def owns(self, site: Site, step: Step) -> tuple[Owns, ...]:
        return (Owns(("target",)),)

    def passes(self, call: Call) -> Sequence[PassSet]:
        target, source = pairs(call.layout, "target", "source")
        if not target:
            return ()

        asks, keyed = BLOCKS[self.block]
        shown = ("text", "image", *reference_spans(call.layout))
        rest = tuple(name for name in shown if name != asks)
        led = Pass((asks,), shown, scores=Scores(tuple(source), keyed))

        def combine(inner: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
            return {**outputs[0], **outputs[1]}

        return (PassSet(tuple(target), (led, Pass(rest, shown)), combine),)

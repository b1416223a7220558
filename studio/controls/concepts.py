"""ConceptAttention (arXiv 2502.04320): where in the picture a concept is, in the space of attention outputs.

Short words are appended to the text as a segment that attends to itself and to the picture and that nobody
sees; so its rows turn into the concepts as this picture shows them. A place's score is the softmax over the
concepts of the products of its attention output with theirs, mean over blocks and steps. Outputs are those of
attention itself, all heads side by side, before the module projects picture and text each in its own way;
only there do both lie in one space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from studio.controls.control import (
    AttentionControl,
    Call,
    Maps,
    Need,
    Outputs,
    Owns,
    Pass,
    PassSet,
    TextSegment,
)
from studio.controls.where import Where
from studio.controls.word_maps import PICTURE_ROWS
from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Conditioning, Step

NAME = "concepts"
SPAN = f"text/seg:{NAME}"
MOST_CONCEPTS = 32


@dataclass(frozen=True)
class Concepts(AttentionControl):
    """Maps of concepts, one column each, that sum to 1 at every place.

    `conditioning`: the tokens of all concepts in one piece, 1, token, channel; `owners`: for each of its
    tokens the number of its concept. `where` says which double blocks are read; the segment runs through all
    blocks. `every`: keep the map of each block and step.
    """

    technique: ClassVar[str] = NAME

    concepts: tuple[str, ...]
    conditioning: Conditioning
    owners: tuple[int, ...]
    where: Where = field(default_factory=Where)
    every: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        return self.concepts

    @property
    def detail(self) -> bool:
        return self.every

    def check(self, sites: Sequence[Site], steps: Sequence[Step]) -> None:
        self.where.check("Watch concepts", sites, steps)
        check_readable(self.where.blocks, sites)

    def segments(self, step: Step) -> tuple[TextSegment, ...]:
        return (TextSegment(NAME, self.conditioning),) if self.where.on(step) else ()

    def needs(self, site: Site, step: Step) -> Need:
        if not (site.joint and site.text_out and self.where.on(step)):
            return Need.NONE
        read = _readable(site) and self.where.at(site, step)
        return Need.PASSES | (Need.READ if read else Need.NONE)

    def owns(self, site: Site, step: Step) -> tuple[Owns, ...]:
        return (Owns(PICTURE_ROWS, outer=True, spans=(SPAN,)),)

    def passes(self, call: Call) -> Sequence[PassSet]:
        def concepts(inner: Outputs | None, outputs: Sequence[Outputs]) -> Mapping[str, torch.Tensor]:
            return {SPAN: outputs[0][SPAN]}

        rows = call.layout.rows(*PICTURE_ROWS)
        return (PassSet(rows, (Pass((SPAN,), (SPAN, "image")),), concepts, outer=True),) if rows else ()

    def read(self, call: Call, outputs: Outputs, maps: Maps) -> None:
        rows = call.layout.rows(*PICTURE_ROWS)
        if rows:
            image, tokens = (outputs[span][list(rows)].transpose(1, 2).flatten(2) for span in ("image", SPAN))
            roles = [call.layout.roles[row] for row in rows]
            maps.add(self.name, call.site, call.step, roles, self.scores(image, tokens))

    def scores(self, image: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The softmax over concepts at each place. image: row, image token, channel; tokens: row, concept
        token, channel -> row, image token, concept; fp32. A concept of several tokens counts with their
        mean."""
        owners = torch.tensor(self.owners, device=image.device)
        of = torch.nn.functional.one_hot(owners, len(self.concepts)).float()
        products = image.float() @ tokens.float().transpose(1, 2)
        return torch.softmax(products @ (of / of.sum(0)), -1)


def make_concepts(
    pieces: Sequence[Conditioning], where: Where | None = None, *, every: bool = False
) -> Concepts:
    """The control for concepts that were encoded each on its own and cut to their own tokens and the mark
    after them (`segment_conditioning`), at which causal encoders sum a concept up. `where`: which double
    blocks are read, and when. StudioError for one concept alone, too many, or one given twice."""
    names = [piece.text for piece in pieces]
    check_names(names)
    owners = tuple(i for i, piece in enumerate(pieces) for _ in range(piece.embeds.shape[1]))
    joined = torch.cat([piece.embeds for piece in pieces], 1)
    conditioning = Conditioning(", ".join(names), pieces[0].family, joined)
    return Concepts(tuple(names), conditioning, owners, where or Where(), every)


def check_names(names: Sequence[str]) -> None:
    """StudioError for one concept alone, too many, or one given twice."""
    if len(names) < 2:
        raise StudioError(
            "Concepts compete with each other: one alone would take every place.",
            socket="concepts",
            hint='Give two or more, such as "star, house, background".',
        )
    if len(names) > MOST_CONCEPTS:
        raise StudioError(
            f"{len(names)} concepts are too many; {MOST_CONCEPTS} are possible.", socket="concepts"
        )
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise StudioError(
            f"The concept {twice!r} is named twice.", socket="concepts", hint="Name each concept once."
        )


def check_readable(blocks: Sequence[int], sites: Sequence[Site]) -> None:
    """StudioError if concepts can be read at none of these blocks; none given means all."""
    readable = [site.index for site in sites if _readable(site)]
    if not any(index in readable for index in blocks or readable):
        raise StudioError(
            "Concepts are read at blocks with a text stream of their own, and none was chosen.",
            socket="blocks",
            hint=f"It has {_listed(readable)}." if readable else "Watch words instead.",
        )


def best_blocks(measured: Mapping[str, object] | None, sites: Sequence[Site]) -> tuple[int, ...]:
    """The blocks to read: of those in which words were measured to be clearest (calibration "map_blocks",
    "scenes") the ones that can be read, else the later half of those; the paper takes the last 10 of FLUX's
    19."""
    readable = [site.index for site in sites if _readable(site)]
    found = (measured or {}).get("chosen")
    own = [index for index in readable if index in found] if isinstance(found, list | tuple) else []
    return tuple(own or readable[len(readable) // 2 :])


def _readable(site: Site) -> bool:
    return site.kind == "joint_double" and site.text_out


def _listed(blocks: Sequence[int]) -> str:
    return f"blocks {', '.join(map(str, blocks))}"

"""Where and when a control looks: some of the network's joint blocks, during some of the steps."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from studio.errors import StudioError
from studio.models.family import Site
from studio.values import Step


@dataclass(frozen=True)
class Where:
    """Joint sites by their number in the order in which they run (empty = all of them), and the part
    [start, end) of the steps, in fractions of the run."""

    blocks: tuple[int, ...] = ()
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.start < self.end <= 1.0:
            raise StudioError(
                f"The steps from {self.start:g} to {self.end:g} are no part of a run.",
                socket="start",
                hint="Give two fractions, the first the smaller: 0 to 1 is the whole run.",
            )

    def steps(self, total: int) -> range:
        """The steps of a run that are chosen."""
        return range(*(math.floor(part * total + 1e-9) for part in (self.start, self.end)))

    def on(self, step: Step) -> bool:
        """Whether this step is among those chosen."""
        return step.index in self.steps(step.total)

    def at(self, site: Site, step: Step) -> bool:
        """Whether this site and step are among those chosen."""
        if not site.joint or (self.blocks and site.index not in self.blocks):
            return False
        return self.on(step)

    def check(self, who: str, sites: Sequence[Site], steps: Sequence[Step] | None = None) -> None:
        """StudioError if a block is not in the network, or no step of the run is chosen (None = not known
        yet)."""
        known = [site.index for site in sites if site.joint]
        strange = [block for block in self.blocks if block not in known]
        if strange:
            raise StudioError(
                f"{who} is set to block {strange[0]}, which this network does not have.",
                socket="blocks",
                hint=f"It has the blocks 0 to {max(known)}; leave the field empty for all of them.",
            )
        if steps is not None and not any(self.on(step) for step in steps):
            raise StudioError(
                f"{who} looks from {self.start:g} to {self.end:g} of the run: none of its {len(steps)} "
                "steps lies there.",
                socket="start",
                hint="Take a wider range or more steps.",
            )


def parse_blocks(text: str) -> tuple[int, ...] | None:
    """The block numbers of a text such as "0-3, 8"; "all" = () = every block; empty text = None = those that
    suit best."""
    if text.strip().casefold() in ("", "all"):
        return () if text.strip() else None
    found: set[int] = set()
    for piece in re.split(r"[,\s]+", re.sub(r"\s*-\s*", "-", text.strip().strip(","))):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", piece)
        if match is None:
            raise StudioError(
                f"{piece[:40]!r} is not a block number.",
                socket="blocks",
                hint='Write numbers and ranges, such as "0-3, 8", or "all".',
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise StudioError(
                f"The range {piece} runs backwards.", socket="blocks", hint=f"Write {last}-{first}."
            )
        found.update(range(first, last + 1))
    return tuple(sorted(found))

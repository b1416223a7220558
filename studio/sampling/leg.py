"""How a part of a run is put together on its network: attachments, guidance and what calls the network. Most
runs are one part; a relay has several, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from studio.controls.control import AttentionControl
from studio.controls.leading import check_led
from studio.errors import StudioError
from studio.models.family import Parts
from studio.sampling.controlled import Controlled, acting, attached_controls
from studio.sampling.denoiser import Calls, make_predict
from studio.sampling.guidance.inside import inside
from studio.sampling.tiled import Tiles, by_tiles
from studio.values import Attachment, Conditioning, Denoise, Guidance, Step, Wrap


@dataclass(frozen=True, eq=False)
class Leg:
    """A part at work: the rule without wraps, and the attachments on the network."""

    guided: Denoise
    controlled: Controlled


@dataclass(frozen=True, eq=False)
class Course:
    """What all parts of a run share. `batch`: pictures; `sampler`: its name; `calls` counts."""

    steps: tuple[Step, ...]
    batch: int
    sampler: str
    wraps: Sequence[Wrap]
    tiles: Tiles | None
    calls: Calls

    @contextmanager
    def leg(
        self,
        parts: Parts,
        positive: Conditioning,
        negative: Conditioning,
        guidance: Guidance,
        attachments: Sequence[Attachment | AttentionControl],
    ) -> Iterator[Leg]:
        """`with course.leg(...) as leg`: afterwards the network is as before. In tiles controls are attached
        at every call, each with its own piece. StudioError for what does not go together."""
        whole = () if self.tiles else attachments
        with attached_controls(parts, whole, self.steps, self.batch, sampler=self.sampler) as controlled:
            check_changed(guidance, controlled, self.tiles and attachments)
            for wrap in self.wraps:
                guidance = inside(guidance, wrap.guided, self.batch)
            beside = controlled.trajectories
            check_led(acting(attachments), positive.text, [b.positive.text for b in beside.branches])
            if self.tiles is None:
                predict = make_predict(parts, controlled.around, beside, self.calls)
            else:
                predict = by_tiles(
                    parts, self.tiles, attachments, self.steps, self.batch, self.sampler, self.calls
                )
            yield Leg(guidance.guide(predict, beside.rows(positive, negative)), controlled)


def check_changed(guidance: Guidance, controlled: Controlled, more: object = None) -> None:
    """StudioError where guidance changes the network's blocks that something else acts in; `more`: whether
    there is anything else, such as controls in tiles."""
    if guidance.perturbs and (controlled.around is not None or more):
        raise StudioError(
            f"{guidance.name!r} changes the network's blocks itself, so that no control or cache can act in "
            "them.",
            hint="Disconnect the controls, or choose another guidance.",
            socket="attachments",
        )

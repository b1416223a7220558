"""Sample nodes of several runs as one batch (`sampling.batch`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from studio.api import Context, Sampler, Sigmas
from studio.models.family import parts_of
from studio.nodes.progress import telling
from studio.sampling.batch import MOST, Item, key_of, sample_batch
from studio.sampling.loop import Run

NAMES = ("positive", "negative", "sigmas", "sampler", "guidance", "wraps", "attachments")


class Batched:
    """How Sample nodes go together. `given(run, ctx)`: what the node gives of a run."""

    def __init__(self, given: Callable[[Run, Context], object]) -> None:
        self._given = given

    def key(self, given: Mapping[str, Any]) -> object | None:
        """Runs of equal keys are one batch."""
        ctx: Context = given["ctx"]
        if ctx.numerics != "fast":
            return None
        return key_of(
            given["model"].digest, given["latent"], **{name: _or_none(given, name) for name in NAMES}
        )

    def run(self, given: Sequence[Mapping[str, Any]], done: Callable[[int, object], None]) -> None:
        """Batches of at most `MOST`, one after the other."""
        for first in range(0, len(given), MOST):
            self._run(given[first : first + MOST], partial(_shifted, done, first))

    def _run(self, given: Sequence[Mapping[str, Any]], done: Callable[[int, object], None]) -> None:
        one = given[0]
        parts = parts_of(one["model"])

        def item(own: Mapping[str, Any]) -> Item:
            return Item(own["positive"], own["negative"], own["latent"], telling(parts, own["ctx"]))

        made = sample_batch(
            parts,
            [item(own) for own in given],
            one["sigmas"],
            one["sampler"],
            one["guidance"],
            attachments=_or_none(one, "attachments"),
            left=done,
        )
        for number, (own, run) in enumerate(zip(given, made, strict=True)):
            if isinstance(run, Run):
                ctx: Context = own["ctx"]
                ctx.note("together", {"runs": len(given)})
                note_stop(own["sampler"], own["sigmas"], ctx)
                done(number, self._given(run, ctx))


def _shifted(done: Callable[[int, object], None], first: int, number: int, outcome: object) -> None:
    done(first + number, outcome)


def note_stop(sampler: Sampler, sigmas: Sigmas, ctx: Context) -> None:
    """For the record: after which step a run was ended."""
    if 0 < sampler.stop_after < sigmas.steps:
        ctx.note("stopped", {"after": sampler.stop_after, "of": sigmas.steps})


def _or_none(given: Mapping[str, Any], name: str) -> Any:
    """An argument; nothing for a list that nobody connected."""
    return given.get(name, ()) if name in ("wraps", "attachments") else given[name]

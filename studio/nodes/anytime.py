"""Pictures that can be had at any time: nested sampling, and a run that ends early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from studio.api import Context, Number, Refusal, Sampler, Slider, View, node
from studio.nodes.edit import blends
from studio.sampling.nested import MOST_INNER, nested


@node(group="Sampling", title="Sampler for any time (nested)")
def nested_sampler(inner: Annotated[int, Slider(1, MOST_INNER, 1)] = 4) -> Sampler:
    """A sampler with a finished picture early on, which gets better as the run goes: made for being stopped.

    inner: how many steps make one finished picture; a run of 28 steps with 4 shows 7 of them. The whole run
    takes as long as any other; its last picture is a little coarser. 1 = euler
    """
    return nested(inner)


def review_early(view: View) -> Iterator[Refusal]:
    """A stop that is none."""
    if view.widgets.get("after") == 0:
        yield Refusal(
            f"{view.title!r} does nothing: the run goes to its end.",
            "Set the number of steps, or remove the node.",
            "after",
            "note",
        )


# What works on the latents between steps (`AttentionControl.step_end`), beside an edit with a blend.
BETWEEN = ("blend", "subject", "force")


def review_nested(view: View, sampler: str) -> Iterator[Refusal]:
    """What counts on a run that goes straight down, beside the nested sampler."""
    for source in view.feeding("attachments") if sampler == "nested" else ():
        if source.kind == "edit_by_prompt" and blends(source):
            yield Refusal(
                f"{source.title!r} puts the rest of the picture back after each step, which does not go with "
                "the nested sampler: its noise level goes down and up.",
                "Set its eta to 0, or choose another sampler, such as euler.",
                "eta",
                at=source,
            )
        if source.kind == "step_cache" or source.technique in BETWEEN:
            yield Refusal(
                f"{source.title!r} does not go with the nested sampler, whose noise level goes down and up.",
                "Disconnect it, or choose another sampler, such as euler.",
                "attachments",
                at=source,
            )


@node(group="Sampling", title="Stop early", review=review_early)
def stop_early(sampler: Sampler, after: Annotated[int, Number(0, 1000)] = 10, *, ctx: Context) -> Sampler:
    """End a run after some of its steps, with the picture as it is believed to be then ("Keep this").

    after: how many steps are done; 0, or more than the run has = all of them
    """
    if sampler.stop_after and not 0 < after < sampler.stop_after:
        ctx.warn(f"The run already ends after {sampler.stop_after} steps.")
        return sampler
    return replace(sampler, stop_after=after)

"""Samplers with settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from studio.api import Choice, Refusal, Sampler, Slider, View, node
from studio.sampling import samplers


@node(group="Sampling", title="Sampler with noise")
def noisy_sampler(
    sampler: Annotated[str, Choice("euler_ancestral", "dpmpp_2m_sde", "tcd")] = "euler_ancestral",
    noise: Annotated[float, Slider(0, 1, 0.01)] = 1.0,
) -> Sampler:
    """A sampler that draws new noise at every step; the same seed still gives the same picture.

    sampler: tcd is for models made for a few steps
    noise: how much; 0 = none: euler_ancestral and tcd are euler then, dpmpp_2m_sde is dpmpp_2m
    """
    return samplers.sampler(sampler, **{"gamma" if sampler == "tcd" else "eta": noise})


@node(group="Sampling", title="Sampler with momentum")
def momentum_sampler(
    sampler: Annotated[str, Choice("ghvb", "hb")] = "ghvb",
    order: Annotated[int, Slider(1, 4, 1)] = 2,
    beta: Annotated[float, Slider(0.05, 1, 0.05)] = 0.8,
) -> Sampler:
    """A sampler with momentum: fewer torn shapes at few steps and high guidance.

    sampler: ghvb keeps its order, hb is steadier and less exact
    order: how many steps it looks back on, itself included
    beta: less = more momentum; 1 = none (ab2 to ab4)
    """
    return samplers.sampler(sampler, order=order, beta=beta)


def review_churn(view: View) -> Iterator[Refusal]:
    """A range that is none."""
    low, high = view.widgets.get("low"), view.widgets.get("high")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        yield Refusal(f"low {low:g} is above high {high:g}.", "Set low at most as large as high.", "low")


@node(group="Sampling", title="Sampler with churn (EDM)", review=review_churn)
def churn_sampler(
    churn: Annotated[float, Slider(0, 100, 0.5)] = 10.0,
    low: Annotated[float, Slider(0, 1, 0.01)] = 0.05,
    high: Annotated[float, Slider(0, 1, 0.01)] = 0.95,
    spread: Annotated[float, Slider(0.9, 1.1, 0.001)] = 1.003,
) -> Sampler:
    """Heun's method that goes back up a little before every step, with new noise; two calls of the network a
    step.

    churn: how much noise over the whole run; 0 = heun
    low: it acts from this noise level ...
    high: ... to this one
    spread: how strong the new noise is; slightly above 1 keeps detail
    """
    return samplers.sampler("edm", churn=churn, low=low, high=high, spread=spread)


@node(group="Sampling", title="Sampler UniPC")
def unipc_sampler(order: Annotated[int, Slider(1, 3, 1)] = 2) -> Sampler:
    """UniPC: every step is corrected by what the next call finds; one call of the network a step.

    order: how many steps it looks back on, itself included
    """
    return samplers.sampler("unipc", order=order)

"""What each sampler does at its steps, by name, for presets and checks. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping

# draws new noise at every step; takes every guess for the finished picture and lays new noise over it; calls
# the network twice a step; draws on earlier steps
NOISE, RENOISE, TWO_CALLS, LOOK_BACK = "noise", "renoise", "two calls", "look back"
KINDS: Mapping[str, tuple[str, ...]] = {
    "euler": (),
    "heun": (TWO_CALLS,),
    "midpoint": (TWO_CALLS,),
    "midpoint_reuse": (LOOK_BACK,),
    "dpmpp_2m": (LOOK_BACK,),
    "dpmpp_3m": (LOOK_BACK,),
    "unipc": (LOOK_BACK,),
    "ab2": (LOOK_BACK,),
    "ab3": (LOOK_BACK,),
    "ab4": (LOOK_BACK,),
    "hb": (LOOK_BACK,),
    "ghvb": (LOOK_BACK,),
    "edm": (TWO_CALLS,),
    "euler_ancestral": (NOISE,),
    "dpmpp_2m_sde": (NOISE, LOOK_BACK),
    "tcd": (RENOISE,),
    "lcm": (RENOISE,),
    "scm": (RENOISE,),
}


def of_kind(kind: str) -> tuple[str, ...]:
    """The samplers of a kind, in the order of the list."""
    return tuple(name for name, kinds in KINDS.items() if kind in kinds)

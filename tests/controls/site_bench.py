"""One site with random tensors, and its attention written out; for the tests of execute and passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from studio.controls.control import Call, Need, Outputs, PassSet
from studio.controls.execute import execute
from studio.controls.intercept import Kernel
from studio.controls.maps import MapStore
from studio.controls.passes import Here
from studio.controls.plan import Plan
from studio.models.family import Site, TokenLayout
from tests.controls.attaching import ROLES, STEPS, Control, draw, fingerprint, segment

HEADS, WIDE = 3, 8
SITE = Site("blocks.0.attn", 0, "joint_double", 0)
SIZES = {"image": 12, "image/ref:1": 4, "text": 7, "text/seg:a": 3, "text/seg:b": 5}
IMAGE_FIRST = tuple(SIZES)
TEXT_FIRST = ("text", "text/seg:a", "text/seg:b", "image", "image/ref:1")
SHOWN = ("text", "image", "image/ref:1")
orders = pytest.mark.parametrize("order", [IMAGE_FIRST, TEXT_FIRST], ids=["image first", "text first"])
plain_attention = torch.nn.functional.scaled_dot_product_attention


def layout_of(
    order: Sequence[str], roles: tuple[str, ...] = ROLES, pad: torch.Tensor | None = None
) -> TokenLayout:
    spans, start = {}, 0
    for name in order:
        spans[name] = slice(start, start + SIZES[name])
        start += SIZES[name]
    return TokenLayout(spans, (3, 4), roles, start, pad)


def no_segments(order: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in order if not name.startswith("text/seg"))


class Bench:
    """A site with random tensors; `run` gives the output under some controls."""

    def __init__(self, layout: TokenLayout, mask: torch.Tensor | None = None) -> None:
        self.layout, self.mask = layout, mask
        self.here = Here(layout)
        shape = (len(layout.roles), HEADS, layout.length, WIDE)
        self.q, self.k, self.v = (draw(*shape, seed=seed) for seed in (1, 2, 3))
        self.maps = MapStore()

    def run(self, *controls: Control) -> torch.Tensor:
        prompts = tuple(segment(name.removeprefix("text/seg:")) for name in self.here.hidden)
        carrier = (Control("carrier", prompts=prompts),) if prompts else ()
        plan = Plan([*carrier, *controls], [SITE], STEPS, self.layout.roles)
        here = plan.at(STEPS[0]).sites.get(SITE.name)
        kernel = Kernel((self.q, self.k, self.v), {"attn_mask": self.mask, "is_causal": False})
        before = fingerprint(self.q, self.k, self.v)
        if here is None:
            return kernel.plain(self.q, self.k, self.v)
        call = Call(SITE, STEPS[0], self.layout, self.q, self.k, self.v, self.mask, None, self.maps)
        out, self.edited = execute(here, call, self.here, kernel, self.maps)
        assert fingerprint(self.q, self.k, self.v) == before
        return out

    def wanted(
        self,
        row: int,
        queries: Sequence[str],
        keys: Sequence[str],
        *,
        more: tuple[torch.Tensor, torch.Tensor] | None = None,
        logs: torch.Tensor | None = None,
        factors: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One row's attention of spans over spans, written out: head, query, channel; `more`: keys and values
        behind them, `logs` (query, key) added to scores, `factors` (key) on values."""
        q = torch.cat([self.q[row, :, self.layout.spans[n]] for n in queries], 1).double()
        k = torch.cat([self.k[row, :, self.layout.spans[n]] for n in keys], 1).double()
        v = torch.cat([self.v[row, :, self.layout.spans[n]] for n in keys], 1).double()
        scores = q @ k.mT / math.sqrt(WIDE)
        if self.layout.pad is not None:
            seen = torch.cat([self.layout.pad[row, self.layout.spans[n]] for n in keys])
            scores = scores.masked_fill(~seen, -math.inf)
        if more is not None:
            scores = torch.cat([scores, q @ more[0].double().mT / math.sqrt(WIDE)], -1)
            v = torch.cat([v, more[1].double()], 1)
        if logs is not None:
            scores = scores + logs
        share = torch.softmax(scores, -1)
        if factors is not None:
            share = share * factors
        return share @ v

    def near(self, out: torch.Tensor, row: int, spans: Sequence[str], wanted: torch.Tensor) -> None:
        given = torch.cat([out[row, :, self.layout.spans[name]] for name in spans], 1)
        assert given.shape == wanted.shape and (given - wanted).abs().max() < 2e-6


def keep(inner: Outputs | None, outputs: Sequence[Outputs]) -> Outputs:
    """Every span out of the pass that has it."""
    return {name: tensor for output in outputs for name, tensor in output.items()}


def owner(*sets: PassSet, who: str = "owner", **more: Any) -> Control:
    return Control(who, Need.PASSES, on_passes=lambda call: sets, **more)

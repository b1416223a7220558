"""One site, on tensors: edits, extensions, passes, columns, hidden prompts and probes against the softmax
written out, in both orders of text and image (controls.md 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from studio.controls.control import Call, Columns, Extension, Need, Outputs, Pass, PassSet, Probe, Write
from studio.controls.execute import execute
from studio.controls.intercept import Kernel
from studio.controls.plan import Plan
from studio.errors import StudioError
from tests.controls.attaching import ROLES, STEPS, Control, copying, draw
from tests.controls.site_bench import (
    HEADS,
    IMAGE_FIRST,
    SHOWN,
    SITE,
    SIZES,
    TEXT_FIRST,
    WIDE,
    Bench,
    keep,
    layout_of,
    no_segments,
    orders,
    owner,
    plain_attention,
)


@orders
def test_without_passes_it_is_the_networks_own_call(order: Sequence[str]) -> None:
    bench = Bench(layout_of(no_segments(order)))
    plain = plain_attention(bench.q, bench.k, bench.v)
    read = Control("read", Need.PROBE, on_probe=lambda call: (Probe((0, 2), ((1,),)),))
    empty = owner(who="empty")
    assert torch.equal(bench.run(read, empty), plain)


def test_one_edit_is_the_networks_call_with_its_tensors() -> None:
    bench = Bench(layout_of(no_segments(IMAGE_FIRST)))
    out = bench.run(copying("qkv"))
    image = bench.layout.span("image")
    q, k, v = (t.clone() for t in (bench.q, bench.k, bench.v))
    for tensor in (q, k, v):
        tensor[2, :, image] = tensor[1, :, image]
    assert torch.equal(out, plain_attention(q, k, v))


def test_several_edits_each_see_the_original_and_their_order_does_not_matter() -> None:
    bench = Bench(layout_of(no_segments(TEXT_FIRST)))

    def swapping(call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # reads the target's image keys, which the other edit writes; changes more than it declares
        k = torch.full_like(call.k, 9.0)
        k[1, :, call.layout.span("image")] = call.k[2, :, call.layout.span("image")]
        return call.q * 0, k, call.v

    other = Control("swap", Need.EDIT, written=(Write("source", "image", "k"),), on_edit=swapping)
    one, two = bench.run(copying("qk"), other), bench.run(other, copying("qk"))
    image = bench.layout.span("image")
    q, k = bench.q.clone(), bench.k.clone()
    q[2, :, image] = bench.q[1, :, image]
    k[2, :, image], k[1, :, image] = bench.k[1, :, image], bench.k[2, :, image]
    assert torch.equal(one, two) and torch.equal(one, plain_attention(q, k, bench.v))


def test_an_edit_of_rows_that_are_not_in_the_call_is_not_asked() -> None:
    bench = Bench(layout_of(no_segments(IMAGE_FIRST), roles=("uncond:0",)))

    def never(call: Call) -> Any:
        raise AssertionError("asked")

    edit = Control("edit", Need.EDIT, written=(Write("target", "image", "q"),), on_edit=never)
    plan = Plan([edit], [SITE], STEPS, ROLES).at(STEPS[0]).sites[SITE.name]
    call = Call(SITE, STEPS[0], bench.layout, bench.q, bench.k, bench.v)
    out, edited = execute(plan, call, bench.here, Kernel((bench.q, bench.k, bench.v), {}), bench.maps)
    assert edited is call and torch.equal(out, plain_attention(bench.q, bench.k, bench.v))


def test_an_edit_that_changes_shapes_is_refused() -> None:
    bench = Bench(layout_of(no_segments(IMAGE_FIRST)))
    written = (Write("target", "text", "k"),)
    edit = Control("edit", Need.EDIT, written=written, on_edit=lambda c: (c.q, c.k[:, :, 1:], c.v))
    with pytest.raises(StudioError, match="'edit' changed the shape"):
        bench.run(edit)


@orders
def test_hidden_prompts_are_seen_by_nobody_and_see_themselves(order: Sequence[str]) -> None:
    bench = Bench(layout_of(order))
    out = bench.run()
    for row in range(3):
        bench.near(out, row, SHOWN, bench.wanted(row, SHOWN, SHOWN))
        for name in bench.here.hidden:
            bench.near(out, row, [name], bench.wanted(row, [name], [name]))


def test_a_pass_set_may_make_its_outputs_itself() -> None:
    bench = Bench(layout_of(no_segments(IMAGE_FIRST)))
    made = {name: draw(1, HEADS, SIZES[name], WIDE, seed=9) for name in SHOWN}
    out = bench.run(owner(PassSet((1,), (), lambda inner, outputs: made)))
    for name, tensor in made.items():
        assert torch.equal(out[1:2, :, bench.layout.span(name)], tensor)
    plain = plain_attention(bench.q, bench.k, bench.v)
    assert torch.equal(out[0], plain[0]) and torch.equal(out[2], plain[2])


def test_an_outer_owner_gets_what_the_rows_would_have_without_it() -> None:
    bench = Bench(layout_of(IMAGE_FIRST))
    inner_out = bench.run(owner(PassSet((2,), (Pass(SHOWN, ("image",)),), keep)))
    got: dict[str, torch.Tensor] = {}

    def around(inner: Outputs | None, outputs: Sequence[Outputs]) -> Mapping[str, torch.Tensor]:
        assert inner is not None
        got.update({name: tensor.clone() for name, tensor in inner.items()})
        return {"image": 2 * inner["image"] - outputs[0]["image"], "text/seg:a": outputs[1]["text/seg:a"]}

    seg = ("text/seg:a", "image")
    outer = PassSet((1, 2), (Pass(("image",), seg), Pass(seg[:1], seg)), around, outer=True)
    nag = Control("nag", Need.PASSES, on_passes=lambda call: (outer,), owned=())
    plain = owner(PassSet((2,), (Pass(SHOWN, ("image",)),), keep))
    out = bench.run(plain, nag)
    assert set(got) == set(SHOWN)
    for name in SHOWN:
        assert torch.equal(got[name], inner_out[1:, :, bench.layout.span(name)])
    for row in (1, 2):
        keys = ["image"] if row == 2 else SHOWN
        there = bench.wanted(row, ["image"], seg)
        bench.near(out, row, ["image"], 2 * bench.wanted(row, ["image"], keys) - there)
        bench.near(out, row, ["text"], bench.wanted(row, ["text"], keys))
        bench.near(out, row, ["text/seg:a"], bench.wanted(row, ["text/seg:a"], seg))
        bench.near(out, row, ["text/seg:b"], bench.wanted(row, ["text/seg:b"], ["text/seg:b"]))
    assert torch.equal(out[0], inner_out[0])


def test_two_outer_owners_of_one_span_are_refused_and_of_two_are_not() -> None:
    bench = Bench(layout_of(IMAGE_FIRST))

    def outer(who: str, span: str) -> Control:
        one = PassSet((1,), (Pass((span,), ("image", span)),), keep, outer=True)
        return Control(who, Need.PASSES, on_passes=lambda call: (one,), owned=())

    bench.run(outer("nag", "image"), outer("concepts", "text/seg:b"))
    with pytest.raises(StudioError, match="'nag' and 'nasa' both change the output of 'image'"):
        bench.run(outer("nag", "image"), outer("nasa", "image"))


@orders
@pytest.mark.parametrize("padded", [False, True])
def test_probes_read_the_tensors_before_or_after_the_edits(order: Sequence[str], padded: bool) -> None:
    layout = layout_of(order)
    if padded:
        pad = torch.ones(3, layout.length, dtype=torch.bool)
        pad[2, layout.span("text").stop - 2 : layout.span("text").stop] = False
        layout = layout_of(order, pad=pad)
    bench = Bench(layout, None if layout.pad is None else layout.pad[:, None, None])
    probes = (
        Probe((1, 2), ((0, 1), ())),
        Probe((2,), ((1,),), before=False),
        Probe((1, 2), ((0,), (1, 2)), span="text/seg:a"),
    )
    bench.run(Control("words", Need.PROBE, on_probe=lambda call: probes), copying("qk"))

    def mass(q: torch.Tensor, k: torch.Tensor, row: int, span: str, tokens: Sequence[int]) -> torch.Tensor:
        keys = [*SHOWN, *([span] if span not in SHOWN else [])]
        scores = torch.cat([q[row, :, layout.span("image")] @ k[row, :, layout.span(n)].mT for n in keys], -1)
        if layout.pad is not None:
            seen = torch.cat([layout.pad[row, layout.span(name)] for name in keys])
            scores = scores.masked_fill(~seen, -math.inf)
        share = torch.softmax(scores / math.sqrt(WIDE), -1).mean(0)
        start = sum(SIZES[name] for name in keys[: keys.index(span)])
        return share[:, [start + token for token in tokens]].sum(-1)

    q, k = bench.edited.q, bench.edited.k
    for row, role in ((1, "source"), (2, "target")):
        found = bench.maps.mean("words", role)
        assert found is not None and found.shape == (1, SIZES["image"], 2)
        assert torch.allclose(found[0, :, 0], mass(bench.q, bench.k, row, "text", (0, 1)), atol=5e-7)
        assert not found[0, :, 1].any()
        found = bench.maps.mean("words/2", role)
        assert found is not None
        for column, tokens in enumerate(((0,), (1, 2))):
            wanted = mass(bench.q, bench.k, row, "text/seg:a", tokens)
            assert torch.allclose(found[0, :, column], wanted, atol=5e-7)
    found = bench.maps.mean("words/1", "target")
    assert found is not None and torch.allclose(found[0, :, 0], mass(q, k, 2, "text", (1,)), atol=5e-7)
    assert bench.maps.mean("words/1", "source") is None
    before = mass(bench.q, bench.k, 2, "text", (1,))
    assert not torch.allclose(found[0, :, 0], before, atol=1e-4)


class Heads(TorchDispatchMode):
    """The largest tensor with an axis of heads."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for item in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(item, torch.Tensor) and item.ndim == 4 and item.shape[1] == HEADS:
                self.numel = max(self.numel, item.numel())
        return out


def test_everything_at_once_builds_no_map_for_each_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """T12: with hundreds of tokens no tensor with heads is larger than the extended keys."""
    monkeypatch.setitem(SIZES, "image", 400)
    monkeypatch.setitem(SIZES, "text", 100)
    bench = Bench(layout_of(TEXT_FIRST))
    mask = torch.ones(1, 1, 404, 403, dtype=torch.bool).tril(300)
    mask[..., 0] = True
    passes = (Pass(("text",), SHOWN), Pass(("image", "image/ref:1"), ("image", "text/seg:a"), mask))
    more = [draw(1, HEADS, 4, WIDE, seed=seed) for seed in (11, 12)]
    with torch.inference_mode(), Heads() as largest:
        bench.run(
            copying(),
            owner(PassSet((2,), passes, keep)),
            Control("extend", Need.EXTEND, on_extend=lambda call: (Extension("ref", (1,), *more),)),
            Control("columns", Need.COLUMNS, on_columns=lambda call: (Columns((1,), (3,), 2.0, False),)),
            Control("probe", Need.PROBE, on_probe=lambda call: (Probe((1, 2), ((1,), (2,))),)),
        )
    assert 0 < largest.numel <= 3 * HEADS * (bench.layout.length + 4) * WIDE


@orders
@pytest.mark.parametrize("owned", [False, True], ids=["the network's own call", "passes"])
def test_readers_get_every_span_of_the_output_as_it_left_attention(order: Sequence[str], owned: bool) -> None:
    bench = Bench(layout_of(order if owned else no_segments(order)))
    met: list[tuple[Call, Outputs]] = []
    read = Control("read", Need.READ, on_read=lambda call, outputs, maps: met.append((call, outputs)))
    made = {name: draw(1, HEADS, SIZES[name], WIDE, seed=9) for name in SHOWN}
    owners = [owner(PassSet((1,), (), lambda inner, outputs: made))] if owned else []
    out = bench.run(read, copying("qk"), *owners)
    ((call, outputs),) = met
    assert call is bench.edited and set(outputs) == set(bench.layout.spans)
    for name, tensor in outputs.items():
        assert torch.equal(tensor, out[:, :, bench.layout.spans[name]])
        if owned and name in made:
            assert torch.equal(tensor[1:2], made[name])

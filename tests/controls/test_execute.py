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
from studio.controls.maps import MapStore
from studio.controls.passes import ALL, Here, row_index
from studio.controls.plan import Plan
from studio.errors import StudioError
from studio.models.family import Site, TokenLayout
from tests.controls.attaching import ROLES, STEPS, Control, copying, draw, fingerprint, segment

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


def test_rows_are_slices_where_they_can_be() -> None:
    assert row_index((0, 1, 2), 3) is ALL
    assert row_index((1,), 3) == slice(1, 2, 1) and row_index((0, 2, 4), 6) == slice(0, 5, 2)
    assert row_index((0, 1, 3), 4) == [0, 1, 3] and row_index((1, 0), 2) == [1, 0]


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


@orders
@pytest.mark.parametrize("padded", [False, True])
def test_passes_of_some_rows_with_masks_in_the_order_in_which_spans_are_named(
    order: Sequence[str], padded: bool
) -> None:
    layout = layout_of(order)
    if padded:
        pad = torch.ones(3, layout.length, dtype=torch.bool)
        pad[1, layout.span("text").stop - 2 : layout.span("text").stop] = False
        layout = layout_of(order, pad=pad)
    bench = Bench(layout, None if layout.pad is None else layout.pad[:, None, None])
    queries, keys = ("text/seg:b", "image", "image/ref:1"), ("image", "text/seg:b", "text")
    counts = [sum(SIZES[name] for name in names) for names in (queries, keys)]
    mask = draw(2, 1, *counts, seed=7) > -0.5
    mask[..., 0] = True
    sets = (
        PassSet(
            (2, 1),
            (
                Pass(("text",), ("text", "image", "image/ref:1")),
                Pass(queries, keys, mask),
                Pass(("text/seg:a",), ("text/seg:a", "image"), torch.zeros(1, 1, 1, SIZES["image"] + 3)),
            ),
            keep,
        ),
    )
    out = bench.run(owner(*sets))
    bench.near(out, 0, SHOWN, bench.wanted(0, SHOWN, SHOWN))
    for name in bench.here.hidden:
        bench.near(out, 0, [name], bench.wanted(0, [name], [name]))
    for place, row in enumerate((2, 1)):
        logs = torch.zeros(counts).masked_fill(~mask[place, 0], -math.inf)
        bench.near(out, row, queries, bench.wanted(row, queries, keys, logs=logs))
        bench.near(out, row, ["text"], bench.wanted(row, ["text"], SHOWN))
        bench.near(out, row, ["text/seg:a"], bench.wanted(row, ["text/seg:a"], ["text/seg:a", "image"]))


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
def test_extensions_join_the_passes_over_the_image_or_those_that_name_them(order: Sequence[str]) -> None:
    bench = Bench(layout_of(order))
    more = [draw(2, HEADS, 4, WIDE, seed=seed) for seed in (11, 12)]
    extension = Extension("ref", (2, 0), *more)
    extend = Control("subject", Need.EXTEND, on_extend=lambda call: (extension,))
    out = bench.run(extend)
    for place, row in enumerate((2, 0)):
        further = (more[0][place], more[1][place])
        bench.near(out, row, SHOWN, bench.wanted(row, SHOWN, SHOWN, more=further))
    bench.near(out, 1, SHOWN, bench.wanted(1, SHOWN, SHOWN))

    rest = tuple(name for name in SHOWN if name != "image")
    unnamed = (Pass(("image",), ("image", "text")), Pass(rest, ("text",)))
    out = bench.run(extend, owner(PassSet((0, 1), unnamed, keep)))
    first = (more[0][1], more[1][1])
    bench.near(out, 0, ["image"], bench.wanted(0, ["image"], ["image", "text"], more=first))
    bench.near(out, 0, rest, bench.wanted(0, rest, ["text"]))
    bench.near(out, 1, ["image"], bench.wanted(1, ["image"], ["image", "text"]))

    mask = draw(1, 1, SIZES["image"], 4 + SIZES["image"], seed=3) > -0.7
    mask[..., 4] = True
    named = (Pass(("image",), ("ref", "image"), mask), Pass(rest, ("image", "text")))
    out = bench.run(extend, owner(PassSet((0,), named, keep)))
    logs = torch.zeros(mask.shape[2:]).masked_fill(~mask[0, 0], -math.inf).roll(-4, -1)
    bench.near(out, 0, ["image"], bench.wanted(0, ["image"], ["image"], more=first, logs=logs))
    bench.near(out, 0, rest, bench.wanted(0, rest, ["image", "text"]))


def test_an_extensions_weight_is_added_to_its_scores_and_outer_passes_do_not_see_it() -> None:
    bench = Bench(layout_of(IMAGE_FIRST))
    more = [draw(1, HEADS, 4, WIDE, seed=seed) for seed in (11, 12)]
    extension = Extension("ref", (1,), *more, weight=0.3)
    extend = Control("subject", Need.EXTEND, on_extend=lambda call: (extension,))
    outer = PassSet((1,), (Pass(("image",), ("image", "text/seg:a")),), keep, outer=True)
    out = bench.run(extend, Control("nag", Need.PASSES, owned=(), on_passes=lambda call: (outer,)))
    logs = torch.zeros(sum(SIZES[name] for name in SHOWN) + 4)
    logs[-4:] = math.log(0.3)
    further = (more[0][0], more[1][0])
    bench.near(out, 1, ["text"], bench.wanted(1, ["text"], SHOWN, more=further, logs=logs))
    bench.near(out, 1, ["image"], bench.wanted(1, ["image"], ["image", "text/seg:a"]))


@orders
def test_columns_weigh_text_for_image_queries_inside_every_pass_of_the_base_text(
    order: Sequence[str],
) -> None:
    bench = Bench(layout_of(order))
    terms = (Columns((1, 2), (0, 3), 2.5), Columns((2,), (3, 5), 0.5, scale=False), Columns((2,), (0,), 0.0))
    columns = Control("weight", Need.COLUMNS, on_columns=lambda call: terms)
    rest = tuple(name for name in SHOWN if name != "image")
    passes = (
        Pass(("image", "text"), ("image", "text")),
        Pass(("image/ref:1",), ("text",)),
        Pass(("text/seg:a",), ("image", "text")),
    )
    for controls in ((columns,), (columns, owner(PassSet((2,), passes, keep)))):
        out = bench.run(*controls)
        for row in range(3):
            keys = ("image", "text") if row == 2 and len(controls) == 2 else ("image", "image/ref:1", "text")
            text = sum(SIZES[name] for name in keys if name != "text")
            factors = torch.ones(text + SIZES["text"])
            logs = torch.zeros(text + SIZES["text"])
            if row:
                factors[[text, text + 3]] *= 2.5
            if row == 2:
                factors[text] = 0
                logs[[text + 3, text + 5]] = math.log(0.5)
            bench.near(out, row, ["image"], bench.wanted(row, ["image"], keys, logs=logs, factors=factors))
            bench.near(out, row, ["text"], bench.wanted(row, ["text"], keys))
            if len(keys) == 3:
                bench.near(out, row, rest, bench.wanted(row, rest, keys))


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


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([PassSet((1,), (Pass(("imag",), ("image",)),), keep)], "the tokens 'imag'.*'image'"),
        ([PassSet((1,), (Pass(("image",), ("text/seg:c",)),), keep)], "'text/seg:c'"),
        ([PassSet((1,), (Pass(("image",), ()),), keep)], "without queries or keys"),
        ([PassSet((1,), (Pass(("image",), ("image",)),), keep)], "lacks"),
        ([PassSet((1,), (Pass(SHOWN, SHOWN),), lambda i, o: {**o[0], "x": o[0]["text"]})], "names 'x'"),
        ([PassSet((3,), (Pass(SHOWN, SHOWN),), keep)], r"owns the rows \(3,\)"),
        ([PassSet((1,), (Pass(SHOWN, SHOWN),), keep)] * 2, "'owner' and 'owner' both decide"),
        (
            [PassSet((1,), (Pass(SHOWN, SHOWN, torch.zeros(1, 1, 23, 23, dtype=torch.bool)),), keep)],
            "leaves a query without any key",
        ),
    ],
)
def test_pass_sets_that_cannot_be_are_refused(sets: list[PassSet], message: str) -> None:
    with pytest.raises(StudioError, match=message):
        Bench(layout_of(IMAGE_FIRST)).run(owner(*sets))


def test_a_layout_must_name_every_token() -> None:
    with pytest.raises(StudioError, match="must name every token"):
        Here(TokenLayout({"image": slice(0, 4)}, (2, 2), ROLES, 6))


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


def test_programs_and_masks_are_worked_out_once_for_each_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(layout_of(IMAGE_FIRST))
    mask = torch.ones(1, 1, 12, 19, dtype=torch.bool)
    mask[..., 0, 1] = False

    def passes(call: Call) -> tuple[PassSet, ...]:
        rest = ("text", "image/ref:1")
        return (PassSet((1, 2), (Pass(("image",), ("text", "image"), mask), Pass(rest, SHOWN)), keep),)

    control = Control("owner", Need.PASSES, on_passes=passes)
    first = bench.run(control)
    monkeypatch.setattr("studio.controls.passes._Builder.program", None)
    monkeypatch.setattr("studio.controls.passes.KernelCall._mask", None)
    assert torch.equal(bench.run(control), first)

"""Pass sets, extensions and column weights as calls of the kernel, against the softmax written out, in both
orders of text and image (controls.md 3.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from studio.controls.control import Call, Columns, Extension, Need, Pass, PassSet
from studio.controls.passes import ALL, Here, row_index
from studio.errors import StudioError
from studio.models.family import TokenLayout
from tests.controls.attaching import ROLES, Control, draw
from tests.controls.site_bench import (
    HEADS,
    IMAGE_FIRST,
    SHOWN,
    SIZES,
    WIDE,
    Bench,
    keep,
    layout_of,
    orders,
    owner,
)


def test_rows_are_slices_where_they_can_be() -> None:
    assert row_index((0, 1, 2), 3) is ALL
    assert row_index((1,), 3) == slice(1, 2, 1) and row_index((0, 2, 4), 6) == slice(0, 5, 2)
    assert row_index((0, 1, 3), 4) == [0, 1, 3] and row_index((1, 0), 2) == [1, 0]


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

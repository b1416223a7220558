"""Maps of the words of regions: the explicit softmax of the passes that regions make, and nothing changed."""

from __future__ import annotations

import math

import pytest
import torch

from studio.controls.control import Call, Need
from studio.controls.region_maps import RegionMaps, RegionWord
from studio.controls.regional import MODES, Regional, RegionText
from studio.controls.tokens import cover
from studio.controls.where import Where
from studio.errors import StudioError
from studio.models.family import Parts
from studio.models.text import encode_prompt
from studio.models.words import find_words, segment_conditioning, segment_words
from studio.nodes.see import region_words, watch_regions
from studio.values import Region, Step
from tests.controls.attaching import Control, attached_to, call_of, step_of
from tests.controls.edit_runs import MODELS, parts_for
from tests.controls.region_help import (
    LEFT,
    NETWORKS,
    RIGHT,
    family_of,
    network_of,
    regional,
    sampled,
    tensor,
)

ROWS = ("uncond:0", "cond:0", "cond:1")


def watch(control: Regional, **more: object) -> RegionMaps:
    words = (
        RegionWord("1 left", 0, "text/seg:regions.0", (0, 1, 2)),
        RegionWord("1: two", 0, "text/seg:regions.0", (1,)),
        RegionWord("2: one", 1, "text/seg:regions.1", (0, 2)),
    )
    return RegionMaps(control, words, **more)  # type: ignore[arg-type]


def explicit(control: Regional, call: Call, row: int) -> torch.Tensor:
    """image token, column: softmaxes written out, one pass at a time."""
    layout, total = call.layout, torch.zeros(call.layout.size("image"), 3, dtype=torch.float64)
    (own,) = (one for one in control.passes(call) if row in one.rows)
    passes = [each for each in own.passes if "image" in each.queries]
    ratio = control.base_ratio if len(passes) == 2 else 0.0
    for each, weight in zip(passes, (ratio, 1 - ratio) if len(passes) == 2 else (1.0,), strict=True):
        queries = [i for name in each.queries for i in range(*layout.span(name).indices(layout.length))]
        keys = [i for name in each.keys for i in range(*layout.span(name).indices(layout.length))]
        q, k = call.q[row].double(), call.k[row].double()
        k = k.repeat_interleave(q.shape[0] // k.shape[0], 0)
        scores = q[:, queries] @ k[:, keys].mT * (call.scale or 1 / math.sqrt(q.shape[-1]))
        masks = [] if each.mask is None else [each.mask.expand(1, 1, len(queries), len(keys))[0]]
        if layout.pad is not None:
            masks.append(layout.pad[row][None, None, keys])
        for mask in masks:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        mean = scores.softmax(-1).mean(0)[[queries.index(i) for i in range(*image_of(call))]]
        for column, (name, tokens) in enumerate((("0", (0, 1, 2)), ("0", (1,)), ("1", (0, 2)))):
            if f"text/seg:regions.{name}" in each.keys:
                first = layout.span(f"text/seg:regions.{name}").start
                total[:, column] += weight * mean[:, [keys.index(first + token) for token in tokens]].sum(-1)
    return total


def image_of(call: Call) -> tuple[int, int]:
    span = call.layout.span("image")
    return span.start, span.stop


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", MODES)
def test_a_map_is_the_softmax_of_the_passes_of_the_regions(name: str, mode: str) -> None:
    network, family = network_of(name), family_of(name)
    control = regional(11, 12, mode=mode, base_ratio=0.3, alone=0.0)
    calls: list[Call] = []
    reader = Control("reader", Need.AFTER, on_after=lambda call, *rest: calls.append(call))
    with attached_to(network, control, watch(control, every=True), reader, roles=ROWS) as attached:
        step_of(attached, network, call_of(family), roles=ROWS)
    found = {map.site: map for map in attached.seen() if map.step >= 0}
    read = [call for call in calls if call.site.joint]
    assert len(found) == len(read) > 0
    for call in read:
        for picture, row in enumerate(call.layout.rows("cond")):
            values = found[call.site.name].values[picture].flatten(0, 1).double()
            assert torch.allclose(values, explicit(control, call, row), atol=5e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_word_has_no_mass_where_its_region_may_not_speak(mode: str) -> None:
    network = network_of("sd3")
    control = regional(11, 12, mode=mode, alone=0.0, borders=0.5)
    early, late = Step(0, 4, 1.0, 0.75), Step(3, 4, 0.25, 0.0)
    with attached_to(network, control, watch(control, every=True), roles=ROWS) as attached:
        for step in (early, late):
            step_of(attached, network, call_of("sd3"), step, roles=ROWS)
    left, right = (torch.tensor(m).reshape(4, 6) for m in cover((LEFT, RIGHT), (4, 6)).member)
    for map in (m for m in attached.seen() if m.step >= 0):
        for column, inside in ((0, left), (1, left), (2, right)):
            outside = map.values[..., column][:, ~inside]
            assert bool(outside.any()) is (map.step == 3)
            assert map.values[..., column][:, inside].min() > 0


def of(parts: Parts, **settings: object) -> Regional:
    texts = (("a red star", (0.0, 0.0, 0.5, 1.0), "star"), ("a blue house", (0.5, 0.0, 1.0, 1.0), ""))
    made = [RegionText(Region(f"r{i}", text, box, name=name), segment_conditioning(parts, text))
            for i, (text, box, name) in enumerate(texts)]  # fmt: skip
    return Regional("a red star", tuple(made), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("ref", MODELS)
@pytest.mark.parametrize("mode", MODES)
def test_the_run_is_the_same_bit_for_bit(ref: str, mode: str) -> None:
    parts = parts_for(ref)
    control = of(parts, mode=mode, borders=0.6)
    looked = sampled(parts, control, RegionMaps(control, tuple(region_words(parts, control))), batch=2)
    assert torch.equal(tensor(looked), tensor(sampled(parts, control, batch=2)))
    (map,) = looked.seen.maps
    assert map.labels == ("1 star", "1: red", "1: star", "2 r1", "2: blue", "2: house")
    assert map.values.shape[0] == 2 and map.values[..., 0].mean() > map.values[..., 1].mean() > 0


@pytest.mark.parametrize("ref", MODELS)
def test_the_places_of_words_are_those_of_the_segment(ref: str) -> None:
    parts, text = parts_for(ref), "a red star, red again"
    whole, segment = encode_prompt(parts, text, "it")[0].embeds, segment_conditioning(parts, text).embeds
    spans = {span.text: span.tokens for span in segment_words(parts, text)}
    assert set(spans) == {"red", "star", "again"} and len(spans["red"]) == 2 * len(spans["star"])
    for word, tokens in spans.items():
        own = find_words(parts, text, word).tokens
        assert torch.equal(segment[0, list(tokens)], whole[0, list(own)])


def test_what_never_speaks_is_not_watched_and_other_attachments_are_refused() -> None:
    parts = parts_for("tiny:sd3")
    quiet = Region("quiet", "a green tree", strength=0.0)
    texts = (*of(parts).regions, RegionText(quiet, segment_conditioning(parts, quiet.prompt)))
    words = region_words(parts, Regional("a red star", texts))
    assert {word.region for word in words} == {0, 1}
    with pytest.raises(StudioError, match="No region has a word"):
        RegionMaps(Regional("a", ()), ())
    with pytest.raises(StudioError, match="no regions") as raised:
        watch_regions(None, Control("other", Need.AFTER))
    assert raised.value.socket == "regions"
    with pytest.raises(StudioError, match="block 9"):
        sampled(parts, of(parts), RegionMaps(of(parts), tuple(words), Where((9,))))

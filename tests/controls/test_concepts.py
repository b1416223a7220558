"""ConceptAttention: the picture stays, the concepts evolve, the scores are the explicit products."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from studio.controls.concepts import NAME, SPAN, Concepts, best_blocks, make_concepts
from studio.controls.control import Call, Need
from studio.controls.where import Where
from studio.errors import StudioError
from studio.models.family import adapter_for
from studio.models.tiny import TEXT_WIDTH, tiny_transformer
from studio.models.words import segment_conditioning
from studio.values import Conditioning
from tests.controls.attaching import (
    FAMILIES,
    GRID,
    STEPS,
    Control,
    attached_to,
    call_of,
    draw,
    step_of,
    whole,
)
from tests.controls.edit_runs import MODELS, Beside, parts_for, sampled, tensor

every_model = pytest.mark.parametrize("ref", MODELS)
NAMES = ("star", "blue heart", "sea")
# Z-Image has one projection for picture and text everywhere
DOUBLE = [family for family in FAMILIES if family != "z_image"]


def concepts(ref: str, *names: str, where: Where | None = None, every: bool = False) -> Concepts:
    parts = parts_for(ref)
    pieces = [segment_conditioning(parts, name) for name in names or NAMES]
    return make_concepts(pieces, where, every=every)


def drawn(tokens: Sequence[int] = (1, 2, 1)) -> Concepts:
    """Concepts of random tokens, for networks without text encoders."""
    pieces = [
        Conditioning(f"concept {i}", "tiny", draw(1, size, TEXT_WIDTH, seed=30 + i))
        for i, size in enumerate(tokens)
    ]
    return make_concepts(pieces, every=True)


@every_model
@pytest.mark.parametrize("batch", [1, 2])
def test_the_picture_stays_within_a_hundred_thousandth(ref: str, batch: int) -> None:
    parts = parts_for(ref)
    plain = sampled(parts, batch=batch, size=(96, 64))
    looked = sampled(parts, concepts(ref), batch=batch, size=(96, 64))
    assert (tensor(plain) - tensor(looked)).abs().max() <= 1e-5
    (map,) = looked.seen.maps
    step = parts.family.size_step(parts)
    assert map.values.shape == (batch, 64 // step, 96 // step, 3)
    assert map.labels == NAMES


@every_model
def test_the_scores_of_a_place_add_up_to_one(ref: str) -> None:
    for map in sampled(parts_for(ref), concepts(ref, every=True)).seen.maps:
        assert torch.allclose(map.values.sum(-1), torch.ones(map.values.shape[:3]), atol=1e-5)
        assert map.values.std() > 0


@every_model
def test_beside_another_trajectory_the_target_is_read(ref: str) -> None:
    from studio.controls.control import Branch
    from tests.controls.edit_runs import text

    parts = parts_for(ref)
    beside = Beside((Branch("source", text(parts, "a red star")),))
    plain, looked = sampled(parts, beside), sampled(parts, beside, concepts(ref))
    for role in ("source", "target"):
        assert (tensor(plain, role) - tensor(looked, role)).abs().max() <= 1e-5
    assert [map.role for map in looked.seen.maps] == ["target"]


@pytest.mark.parametrize("family", DOUBLE)
def test_segment_rows_attend_to_themselves_and_the_picture_alone(family: str) -> None:
    """The concepts' rows at the first block, against the softmax over [concepts, image] built by hand."""
    network, control = tiny_transformer(family), drawn()
    calls: list[Call] = []
    outputs: list[torch.Tensor] = []
    reader = Control("reader", Need.AFTER, on_after=lambda call, image, text, maps: calls.append(call))
    site = next(site for site in adapter_for(network).sites(network) if site.joint)
    module = network.get_submodule(site.name)
    with attached_to(network, control, reader) as attached:
        # the hook of attaching lies around this one
        handle = module.register_forward_hook(lambda module, args, output: outputs.append(output))
        step_of(attached, network, call_of(family))
        handle.remove()
    call = calls[0]
    span, image = call.layout.span(SPAN), call.layout.span("image")
    keys = torch.cat([torch.arange(s.start, s.stop) for s in (image, span)])
    row = call.layout.rows("target")[0]
    scale = call.scale or call.q.shape[-1] ** -0.5
    weights = torch.softmax(call.q[row][:, span] @ call.k[row][:, keys].mT * scale, -1)
    out = (weights @ call.v[row][:, keys]).transpose(0, 1).flatten(1)
    projection = module.to_add_out
    _, text = adapter_for(network).outputs(site, outputs[0], call.layout)
    assert text is not None
    first = call.layout.span("text").start
    with torch.inference_mode():
        wanted = projection(out) if isinstance(projection, torch.nn.Linear) else projection[0](out)
    assert torch.allclose(text[row, span.start - first : span.stop - first], wanted, atol=1e-5)


@pytest.mark.parametrize("family", DOUBLE)
def test_scores_are_the_softmax_of_the_products_of_outputs_before_the_projections(family: str) -> None:
    """Against what the network itself hands to its projections, caught there."""
    network, control = tiny_transformer(family), drawn()
    doubles = [s for s in adapter_for(network).sites(network) if s.kind == "joint_double" and s.text_out]
    given: dict[str, list[torch.Tensor]] = {"image": [], "text": []}
    calls: list[Call] = []
    handles = []
    for site in doubles:
        module = network.get_submodule(site.name)
        for name, projection in (("image", module.to_out), ("text", module.to_add_out)):
            first = projection if isinstance(projection, torch.nn.Linear) else projection[0]
            keep = given[name].append
            handles.append(first.register_forward_pre_hook(lambda _, args, keep=keep: keep(args[0].double())))
    reader = Control("reader", Need.READ, on_read=lambda call, *rest: calls.append(call))
    with attached_to(network, control, reader) as attached:
        step_of(attached, network, call_of(family))
    for handle in handles:
        handle.remove()
    layout = calls[0].layout
    row, start, span = layout.rows("target")[0], layout.span("text").start, layout.span(SPAN)
    owners = torch.tensor(control.owners)
    maps = [map for map in attached.seen() if map.step >= 0]
    assert [map.index for map in maps] == [site.index for site in doubles]
    for map, image, text in zip(maps, given["image"], given["text"], strict=True):
        own = text[row, span.start - start : span.stop - start]
        products = image[row, : layout.size("image")] @ own.T
        means = torch.stack([products[:, owners == i].mean(-1) for i in range(3)], -1)
        assert map.values.shape == (1, *GRID, 3) and means.std() > 0
        assert torch.allclose(map.values.flatten(1, 2)[0].double(), torch.softmax(means, -1), atol=1e-5)


def test_a_network_without_text_streams_is_refused() -> None:
    network = tiny_transformer("z_image")
    refused = pytest.raises(StudioError, match="a text stream of their own")
    with refused as caught, attached_to(network, drawn()):
        pass
    assert "words" in caught.value.hint


@pytest.mark.parametrize("family", DOUBLE)
def test_nobody_sees_the_concepts(family: str) -> None:
    """Other concepts leave every bit of the network's output as it is: same lengths, same kernels."""
    network, given = tiny_transformer(family), call_of(family)
    outputs = []
    for seed in (1, 2):
        pieces = [Conditioning(str(i), "tiny", draw(1, 2, TEXT_WIDTH, seed=seed + 10 * i)) for i in range(2)]
        with attached_to(network, make_concepts(pieces)) as attached:
            outputs.append(step_of(attached, network, given))
    assert torch.equal(*outputs)


def test_concepts_stand_around_another_owner_and_leave_it_as_it_is() -> None:
    network, given = tiny_transformer("flux"), call_of("flux")
    with attached_to(network, whole(split=True)) as attached:
        alone = step_of(attached, network, given)
    with attached_to(network, whole(split=True), drawn()) as attached:
        both = step_of(attached, network, given)
    assert (alone - both).abs().max() <= 1e-5


def test_only_chosen_blocks_and_steps_are_read_and_carry_the_segment() -> None:
    control = concepts("tiny:flux", where=Where((1,), 0.4, 0.8), every=True)
    run = sampled(parts_for("tiny:flux"), control)
    assert {(map.index, map.step) for map in run.seen.maps if map.step >= 0} == {(1, 2), (1, 3)}


def test_blocks_are_those_measured_for_words_or_the_paper_s_later_half() -> None:
    network = tiny_transformer("flux")
    sites = adapter_for(network).sites(network)
    assert best_blocks(None, sites) == best_blocks({"chosen": [3]}, sites) == (1,)
    assert best_blocks({"chosen": [3, 0]}, sites) == (0,)
    sd3 = tiny_transformer("sd3")
    # of two blocks the last has no text output, so the first is all there is
    assert best_blocks(None, adapter_for(sd3).sites(sd3)) == (0,)


@every_model
def test_a_block_without_its_own_text_is_refused(ref: str) -> None:
    block = 1 if ref == "tiny:sd3" else 3
    with pytest.raises(StudioError, match="a text stream of their own") as caught:
        sampled(parts_for(ref), concepts(ref, where=Where((block,))))
    assert "blocks 0" in caught.value.hint


@pytest.mark.parametrize(
    ("names", "message"),
    [((), "one alone"), (("star",), "one alone"), (("star", "sea", "star"), "named twice")],
)
def test_concepts_that_cannot_compete_are_refused(names: tuple[str, ...], message: str) -> None:
    parts = parts_for("tiny:sd3")
    with pytest.raises(StudioError, match=message):
        make_concepts([segment_conditioning(parts, name) for name in names])


def test_too_many_concepts_are_refused() -> None:
    with pytest.raises(StudioError, match="33 concepts"):
        drawn((1,) * 33)


def test_the_segment_is_named_as_the_span() -> None:
    (found,) = drawn().segments(STEPS[0])
    assert found.name == NAME and f"text/seg:{NAME}" == SPAN
    assert found.conditioning.embeds.shape == (1, 4, TEXT_WIDTH)

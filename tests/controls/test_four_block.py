"""The four-block view: the run stays the same, masses add up, and they are the explicit softmax's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from studio.controls.block_chart import block_chart
from studio.controls.control import Call, Need
from studio.controls.four_block import BLOCKS, BlockRow, FourBlock, block_masses, block_table
from studio.controls.heat_colours import PICTURE, TEXT
from studio.controls.where import Where
from studio.errors import StudioError
from studio.models.tiny import tiny_transformer
from tests.controls.attaching import FAMILIES, ROLES, Control, attached_to, call_of, step_of
from tests.controls.attaching import TEXT as TOKENS
from tests.controls.edit_runs import MODELS, STEPS, joint, parts_for, sampled, tensor

every_model = pytest.mark.parametrize("ref", MODELS)
every_family = pytest.mark.parametrize("family", FAMILIES)


@every_model
@pytest.mark.parametrize("batch", [1, 2])
def test_looking_never_changes_a_bit_of_the_run(ref: str, batch: int) -> None:
    parts = parts_for(ref)
    plain = sampled(parts, batch=batch, size=(96, 64))
    looked = sampled(parts, FourBlock(), batch=batch, size=(96, 64))
    assert torch.equal(tensor(plain), tensor(looked))
    assert all(map.values.shape == (batch, 1, 1, 4) for map in looked.seen.maps)
    assert {map.labels for map in looked.seen.maps} == {BLOCKS}


@every_model
def test_the_table_has_a_line_for_each_block_and_step_that_adds_up(ref: str) -> None:
    parts = parts_for(ref)
    rows = block_table(sampled(parts, FourBlock()).seen.maps)
    assert [(row.step, row.block) for row in rows] == [
        (step, block) for step in range(STEPS) for block in range(joint(parts))
    ]
    for row in rows:
        assert row.t2i + row.i2i == pytest.approx(1, abs=1e-6)
        assert row.i2t + row.t2t == pytest.approx(1, abs=1e-6)
        assert all(0 < mass < 1 for mass in (row.t2i, row.i2i, row.i2t, row.t2t))
    assert [row.sigma for row in rows] == sorted((row.sigma for row in rows), reverse=True)
    assert len({row.t2i for row in rows}) == len(rows)


def test_two_calls_in_one_step_are_one_line() -> None:
    parts = parts_for("tiny:sd3")
    heun = block_table(sampled(parts, FourBlock(), name="heun").seen.maps)
    assert len(heun) == STEPS * joint(parts)


def test_only_chosen_blocks_and_steps_are_in_the_table() -> None:
    rows = block_table(sampled(parts_for("tiny:flux"), FourBlock(Where((1, 3), 0.4, 0.8))).seen.maps)
    assert {(row.block, row.step) for row in rows} == {(1, 2), (1, 3), (3, 2), (3, 3)}
    assert {row.kind for row in rows} == {"joint_double", "joint_single"}


def explicit(call: Call, row: int) -> tuple[float, float]:
    """Mass on text keys, of image queries and of text queries."""
    layout = call.layout
    text = layout.span("text")
    scores = call.q[row].double() @ call.k[row].mT.double()
    scores *= call.scale or 1 / math.sqrt(call.q.shape[-1])
    if layout.pad is not None:
        scores = scores.masked_fill(~layout.pad[row], -math.inf)
    on_text = torch.softmax(scores, -1).mean(0)[:, text].sum(-1)
    own = on_text[text] if layout.pad is None else on_text[text][layout.pad[row, text]]
    return float(on_text[layout.span("image")].mean()), float(own.mean())


@every_family
@pytest.mark.parametrize("ragged", [False, True])
def test_masses_are_those_of_the_explicit_softmax(family: str, ragged: bool) -> None:
    network = tiny_transformer(family)
    text = (TOKENS, TOKENS - 3, TOKENS) if ragged and family in ("qwen_image", "z_image") else ()
    calls: list[Call] = []
    reader = Control("reader", Need.AFTER, on_after=lambda call, *rest: calls.append(call))
    with attached_to(network, reader) as attached:
        step_of(attached, network, call_of(family, text=text))
    assert len(calls) >= 2
    for call in calls:
        found = block_masses(call, range(len(ROLES)))
        for row in range(len(ROLES)):
            from_image, from_text = explicit(call, row)
            wanted = (from_image, 1 - from_image, 1 - from_text, from_text)
            assert found[row, 0].tolist() == pytest.approx(wanted, abs=2e-6)


def test_blocks_that_are_not_there_are_refused() -> None:
    with pytest.raises(StudioError, match="block 12") as caught:
        sampled(parts_for("tiny:sd3"), FourBlock(Where((12,))))
    assert "0 to 1" in caught.value.hint


def rows_of(blocks: int, steps: int, words: float) -> list[BlockRow]:
    masses = (words, 1 - words, 1 - words, words)
    return [
        BlockRow(block, "joint_double", step, 1 - step / steps, *masses)
        for step in range(steps)
        for block in range(blocks)
    ]


def ink(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((image == np.array(colour)).all(-1).sum())


@pytest.mark.parametrize(("blocks", "steps"), [(1, 1), (7, 20), (57, 28), (60, 50)])
def test_the_chart_fits_any_network_and_shows_the_shares(blocks: int, steps: int) -> None:
    few, many = (block_chart(rows_of(blocks, steps, words), "Chart").pixels for words in (0.1, 0.6))
    assert few.shape == many.shape and few.shape[1] == 980
    keys = 15 * 15
    for pixels, words in ((few, 0.1), (many, 0.6)):
        on_text, on_picture = ink(pixels, TEXT) - keys, ink(pixels, PICTURE) - keys
        assert on_text / (on_text + on_picture) == pytest.approx(words, abs=0.01)


def test_a_table_without_any_text_mass_can_be_drawn() -> None:
    rows = [BlockRow(0, "joint_double", 0, 1.0, 0.0, 1.0, 0.0, 1.0)]
    assert block_chart(rows, "Nothing crosses").width == 980

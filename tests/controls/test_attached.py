"""What controls do on real networks of every family: rows, outputs, maps, the report; inputs stay as they are
(controls.md 3.2, 3.3; T8, T12)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from studio.controls.control import Call, Columns, Extension, Need, Probe, Write
from studio.errors import StudioError
from studio.models.family import adapter_for
from studio.models.tiny import TEXT_WIDTH, tiny_transformer
from studio.values import Conditioning, Step
from tests.controls.attaching import (
    FAMILIES,
    ROLES,
    STEPS,
    TEXT,
    Control,
    attached_to,
    call_of,
    controlled,
    copying,
    draw,
    fingerprint,
    looking,
    run,
    segment,
    step_of,
    whole,
)

families = pytest.mark.parametrize("family", FAMILIES)


@families
def test_an_edit_changes_its_row_alone_and_equal_rows_stay_equal(family: str) -> None:
    network = tiny_transformer(family)
    call = call_of(family)
    plain, out = run(network, call), controlled(network, call, copying())
    assert torch.equal(out[:2], plain[:2]) and not torch.allclose(out[2], plain[2], atol=1e-4)
    call = call_of(family, same=True)
    plain, out = run(network, call), controlled(network, call, copying("qkv"), copying("v", "text", who="b"))
    assert torch.equal(out, plain) and torch.equal(out[1], out[2])


@families
@pytest.mark.parametrize("split", [False, True])
def test_rows_owned_and_given_what_they_had_are_as_before(family: str, split: bool) -> None:
    network = tiny_transformer(family)
    call = call_of(family, text=(TEXT, 3, 40) if family in ("qwen_image", "z_image") else ())
    assert torch.allclose(controlled(network, call, whole(split=split)), run(network, call), atol=1e-5)


@families
@pytest.mark.parametrize("ragged", [False, True])
def test_prompts_that_nobody_asks_for_are_not_seen(family: str, ragged: bool) -> None:
    network = tiny_transformer(family)
    call = call_of(family, text=(TEXT, 3, 40) if ragged and family in ("qwen_image", "z_image") else ())
    prompts = (segment("a"), segment("b", 5, seed=31))
    out = controlled(network, call, Control(prompts=prompts))
    other = controlled(network, call, Control(prompts=(segment("a", seed=32), prompts[1])))
    assert torch.allclose(out, run(network, call), atol=1e-5)
    assert torch.equal(out, other)


@families
def test_outputs_can_be_read_and_replaced(family: str) -> None:
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    joint = [site.name for site in adapter_for(network).sites(network) if site.joint]
    shapes: list[tuple[Any, Any]] = []

    def read(c: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Any) -> None:
        shapes.append((tuple(image.shape[:2]), None if text is None else tuple(text.shape[:2])))

    def moved(c: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Any) -> Any:
        changed = image.clone()
        changed[2] = changed[2].roll(1, 0)
        return changed, text

    controlled(network, call, Control("read", Need.AFTER, on_after=read))
    image = 32 if family == "z_image" else 24
    text = 32 if family == "z_image" else TEXT
    assert [shape for shape, _ in shapes] == [(3, image)] * len(joint)
    assert {shape for _, shape in shapes} == ({(3, text), None} if family == "sd3" else {(3, text)})
    out = controlled(network, call, Control("moved", Need.AFTER, on_after=moved))
    assert torch.equal(out[:2], plain[:2]) and not torch.allclose(out[2], plain[2], atol=1e-3)
    # the next control sees what the first one returned
    twice = controlled(
        network, call, *(Control(who, Need.AFTER, on_after=moved, sites=joint[:1]) for who in "ab")
    )

    def again(c: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Any) -> Any:
        return moved(c, moved(c, image, text, maps)[0], text, maps)

    both = Control("both", Need.AFTER, sites=joint[:1], on_after=again)
    assert torch.equal(twice, controlled(network, call, both))
    with pytest.raises(StudioError, match="'bad' returns an output of"):
        controlled(network, call, Control("bad", Need.AFTER, on_after=lambda c, i, t, m: (i[:, 1:], t)))


@families
def test_no_control_can_write_into_what_the_network_holds(family: str) -> None:
    """T12: everything at once; q, k and v that each control sees are the same bytes afterwards."""
    network, call = tiny_transformer(family), call_of(family)
    seen: list[tuple[Call, str]] = []

    def note(c: Call) -> None:
        seen.append((c, fingerprint(c.q, c.k, c.v)))

    def edit(c: Call) -> Any:
        note(c)
        return copying().edit(c)

    def extend(c: Call) -> Any:
        note(c)
        image = c.layout.span("image")
        return (Extension("ref", (2,), c.k[1:2, :, image], c.v[1:2, :, image]),)

    def columns(c: Call) -> Any:
        note(c)
        return (Columns((2,), (1,), 3.0), Columns((1,), (2,), 3.0, scale=False))

    def probe(c: Call) -> Any:
        note(c)
        return (Probe((2,), ((1,),), before=False),)

    inputs = [value for value in call.values() if isinstance(value, torch.Tensor)]
    before = fingerprint(*inputs)
    with attached_to(
        network,
        Control("edit", Need.EDIT, written=(Write("target", "image", "qk"),), on_edit=edit),
        Control("edit2", Need.EDIT, written=(Write("target", "text", "v"),), on_edit=edit),
        Control("extend", Need.EXTEND, on_extend=extend, prompts=(segment("a"),)),
        Control("columns", Need.COLUMNS, on_columns=columns),
        Control("probe", Need.PROBE, on_probe=probe),
        whole(("source",)),
    ) as attached:
        step_of(attached, network, call)
    sites = [site for site in attached.sites if site.joint]
    assert len(seen) == 5 * len(sites)
    assert all(fingerprint(c.q, c.k, c.v) == digest for c, digest in seen)
    assert fingerprint(*inputs) == before


@families
def test_maps_and_the_report_tell_what_happened(family: str) -> None:
    network, call = tiny_transformer(family), call_of(family)
    probe = Control(
        "words", Need.PROBE, until=2, keeps=True, words=("star", "rest"),
        on_probe=lambda c: (Probe(c.layout.rows("target"), ((1,), (0, 2, 3, 4, 5, 6))),),
    )  # fmt: skip
    with attached_to(network, probe, copying(until=1)) as attached:
        for step in STEPS[:3]:
            step_of(attached, network, call, step)
    joint = sum(site.joint for site in attached.sites)
    seen = attached.seen()
    mean, *single = seen
    assert (mean.name, mean.role, mean.step) == ("words", "target", -1) and len(single) == 2 * joint
    assert mean.values.shape == (1, 4, 6, 2) and mean.labels == ("star", "rest")
    assert torch.allclose(mean.values, torch.stack([one.values for one in single]).mean(0), atol=1e-6)
    assert float(mean.values.min()) > 0 and float(mean.values.sum(-1).max()) < 1
    assert json.loads(json.dumps(attached.report())) == {
        "forwards": 3,
        "sites": len(attached.sites),
        "skipped": 0,
        "controls": [
            {"name": "words", "technique": "", "sites": joint, "steps": 2},
            {"name": "edit", "technique": "", "sites": joint, "steps": 1},
        ],
    }


# Rows of several pictures and calls (T8)


def test_sd3_one_batch_of_two_pictures_with_their_negative_rows() -> None:
    """Rows negative then positive, inside a row trajectory by trajectory, then picture by picture."""
    network = tiny_transformer("sd3")
    roles = tuple(
        f"{role}:{k}" for role in ("source.uncond", "target.uncond", "source", "target") for k in (0, 1)
    )
    call = call_of("sd3", rows=8)
    plain, out = run(network, call), controlled(network, call, copying("qk"), roles=roles)
    assert torch.equal(out[:6], plain[:6])
    assert all(not torch.allclose(out[row], plain[row], atol=1e-4) for row in (6, 7))
    # picture 0 and picture 1 each follow their own source
    pairs = {name: value[[4, 6, 5, 7]] for name, value in call.items()}
    order = ("source:0", "target:0", "source:1", "target:1")
    assert torch.allclose(
        controlled(network, pairs, copying("qk"), roles=order), out[[4, 6, 5, 7]], atol=1e-5
    )
    probe = Control("words", Need.PROBE, on_probe=lambda c: (Probe(c.layout.rows("target"), ((1,),)),))
    with attached_to(network, probe, roles=roles) as attached:
        step_of(attached, network, call, roles=roles)
    (seen,) = attached.seen()
    assert seen.values.shape[0] == 2 and not torch.equal(seen.values[0], seen.values[1])


def rows_of(call: dict[str, Any], rows: slice) -> dict[str, Any]:
    shared = ("img_ids", "txt_ids")
    return {name: value if name in shared else value[rows] for name, value in call.items()}


@families
def test_rows_may_come_in_calls_of_their_own_and_the_negative_ones_may_stop(family: str) -> None:
    network = tiny_transformer(family)
    call = call_of(family)
    together = controlled(network, call, copying(), looking())
    with attached_to(network, copying(), looking()) as attached:
        negative = step_of(attached, network, rows_of(call, slice(0, 1)), STEPS[0], ROLES[:1])
        positive = step_of(attached, network, rows_of(call, slice(1, 3)), STEPS[0], ROLES[1:])
        assert torch.allclose(torch.cat([negative, positive]), together, atol=1e-5)
        step_of(attached, network, call, STEPS[1])
        stopped = step_of(attached, network, rows_of(call, slice(1, 3)), STEPS[2], ROLES[1:])
    assert torch.equal(stopped, positive)


def test_the_step_of_a_second_stage_reaches_the_controls() -> None:
    network, call = tiny_transformer("sd3"), call_of("sd3")
    met: list[Step] = []
    control = Control("look", Need.AFTER, on_after=lambda c, *_: met.append(c.step))
    with attached_to(network, control) as attached:
        step_of(attached, network, call, STEPS[1].at(0.61))
    assert set(met) == {STEPS[1].at(0.61)}


def test_layouts_stay_the_same_object_while_nothing_changes() -> None:
    network = tiny_transformer("qwen_image")
    met: list[Any] = []
    control = Control("look", Need.AFTER, on_after=lambda c, *_: met.append(c.layout))
    with attached_to(network, control) as attached:
        for text in ((7, 3, 5), (7, 3, 5), (7, 4, 5)):
            step_of(attached, network, call_of("qwen_image", text=text))
    assert [layout is met[0] for layout in met] == [True] * 4 + [False] * 2


def test_segments_of_another_family_width_are_refused() -> None:
    network = tiny_transformer("sd3")
    wrong = segment("a")
    wide = Conditioning("a", "tiny", draw(1, 3, TEXT_WIDTH + 1, seed=1))
    with pytest.raises(StudioError, match="channels"):
        controlled(network, call_of("sd3"), Control(prompts=(type(wrong)("a", wide),)))

"""The linter: each fault is found, named after its regions, and comes with one next step that helps."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from studio.layout.boxes import box_of
from studio.layout.lint import Finding, lint
from studio.layout.measures import measure
from studio.layout.plan import plan_sentence
from studio.layout.saliency import Maps
from studio.values import Layout, Mask, Region

Box = tuple[float, float, float, float]


def layout(*regions: Region, prompt: str = "a picture") -> Layout:
    return Layout(prompt, regions)


def region(name: str, box: Box, **more: object) -> Region:
    return Region(name, f"a {name}", box, name=name, **more)  # type: ignore[arg-type]


def about(found: tuple[Finding, ...], measure: str) -> list[Finding]:
    return [finding for finding in found if finding.about == measure]


def test_a_good_layout_has_nothing_to_mend() -> None:
    for sentence in ("a cat and a dog", "two dogs in front of a barn", "a star above a house"):
        assert lint(plan_sentence(sentence)[0]) == ()


def test_overlap_names_both_and_the_step_parts_them() -> None:
    cat, dog = region("cat", (0.1, 0.2, 0.5, 0.6)), region("dog", (0.4, 0.3, 0.8, 0.8))
    (found,) = about(lint(layout(cat, dog)), "Ove")
    assert (found.level, found.regions) == ("warning", ("cat", "dog"))
    assert "'dog' covers 19% of 'cat'" in found.message
    step = re.fullmatch(r"Move '(\w+)' (\d+)% (to the left|to the right|up|down)\.", found.hint)
    assert step is not None
    way = float(step[2]) / 100 * {"to the left": -1, "up": -1}.get(step[3], 1)
    axis = 0 if "to the" in step[3] else 1
    moved = {}
    for one in (cat, dog):
        box = list(one.box)
        if one.name == step[1]:
            box[axis] += way
            box[axis + 2] += way
        moved[one.name] = replace(one, box=tuple(box))
        assert min(box) >= -1e-9 and max(box) <= 1 + 1e-9
    assert about(lint(layout(*moved.values())), "Ove") == []


def test_overlap_of_locked_or_large_boxes_asks_for_smaller_ones() -> None:
    wide = region("sea", (0.0, 0.1, 1.0, 0.8), locked=True)
    (found,) = about(lint(layout(wide, region("boat", (0.2, 0.0, 0.6, 0.9)))), "Ove")
    assert found.hint == "Make one of them smaller."


def test_what_lies_wholly_under_another_is_an_error() -> None:
    small, large = region("cat", (0.4, 0.4, 0.5, 0.5)), region("wall", (0.1, 0.1, 0.9, 0.9))
    (found,) = about(lint(layout(small, large)), "Ove")
    assert (found.level, found.hint) == (
        "error",
        "Put 'cat' after 'wall' in the list: later ones lie on top.",
    )
    (found,) = about(lint(layout(small, large, replace(large, id="x"))), "Ove")[:1]
    assert "Move" not in found.hint
    twins = [replace(small, id=f"r{k}", name="") for k in (1, 5, 7)]  # nine at one place are not 36 faults
    found = about(lint(layout(*twins)), "Ove")
    assert [f.message.partition(",")[0] for f in found] == [
        "Region 1 lies wholly under region 2",
        "Region 2 lies wholly under region 3",
    ]
    assert all(f.hint.startswith("Move region") and f.hint.endswith(".") for f in found)
    under = replace(large, role="underlay")
    assert about(lint(layout(under, small)), "Ove") == []
    assert [finding.level for finding in about(lint(layout(small, under)), "Ove")] == ["error"]


def test_a_painted_mask_counts_by_what_is_painted_and_not_by_the_box_around_it() -> None:
    stroke = np.eye(64, dtype=np.float32)
    stroke[range(63), range(1, 64)] = 1.0
    drawn = Region("s", "a rope", mask=Mask(stroke))
    moon = Region("moon", "a moon", (0.6, 0.05, 0.9, 0.35), name="moon")
    assert about(lint(layout(moon, drawn)), "Ove") == [], "the stroke passes beside it"
    across = Region("m", "a moon", (0.3, 0.3, 0.7, 0.7))
    (found,) = about(lint(layout(across, drawn)), "Ove")
    share = int(re.match(r"Region 2 covers (\d+)% of region 1\.", found.message)[1])  # type: ignore[index]
    assert 2 <= share <= 8 and "erase it there" in found.hint
    assert about(lint(layout(across, drawn)), "Ali") == []
    full = Region("f", "sea", mask=Mask(np.ones((8, 8), np.float32)))
    (found,) = about(lint(layout(across, full)), "Ove")
    assert found.level == "error" and found.hint.startswith("Put region 1 after region 2")
    (found,) = about(lint(layout(full, replace(full, id="g"))), "Ove")
    assert found.hint == "Erase one of them there."
    dot = np.zeros((64, 64), np.float32)
    dot[3, 3] = dot[60, 60] = 1.0  # its box is large, its paint is not
    (found,) = lint(layout(Region("d", "a star", mask=Mask(dot))))
    assert (found.level, found.message[:20]) == ("error", "Region 1 covers 0.05")


def test_regions_without_a_name_are_called_by_their_number() -> None:
    two = layout(Region("r4", "a", (0.1, 0.1, 0.6, 0.6)), Region("r9", "b", (0.3, 0.3, 0.9, 0.9)))
    (found,) = about(lint(two), "Ove")
    assert found.message == "Region 2 covers 36% of region 1." and found.regions == ("r4", "r9")
    (found,) = about(lint(two, numbers={"r4": 2, "r9": 3}), "Ove")
    assert found.message == "Region 3 covers 36% of region 2."
    assert lint(layout(Region("x", " ")))[0].message == "Region 1 has no prompt."


def test_boxes_that_are_none_tiny_or_outside() -> None:
    tokens = (16, 16)
    found = lint(
        layout(
            region("inverted", (0.5, 0.1, 0.3, 0.2)),
            region("speck", (0.9, 0.02, 0.91, 0.05)),
            region("small", (0.02, 0.9, 0.1, 0.98)),
            region("out", (0.8, 0.4, 1.3, 0.6)),
            Region("p", "x", name="painted", mask=Mask(np.zeros((4, 4), np.float32))),
        ),
        tokens=tokens,
    )
    said = {
        finding.regions[0]: (finding.level, finding.message) for finding in found if len(finding.regions) == 1
    }
    assert said["inverted"] == ("error", "'inverted': the box has no area.")
    assert said["p"] == ("error", "'painted': the mask is empty.")
    assert said["speck"][0] == "error" and "0.03%" in said["speck"][1]
    assert said["small"][0] == "warning" and "less than 4 of 256 tokens" in said["small"][1]
    assert said["out"] == ("warning", "60% of 'out' lies outside the picture.")
    assert [finding.level for finding in found] == sorted(
        (finding.level for finding in found), key=("error", "warning", "note").index
    )


def test_lines_that_are_nearly_shared_and_the_step_shares_them() -> None:
    a, b = region("a", (0.1, 0.1, 0.3, 0.25)), region("b", (0.112, 0.5, 0.42, 0.9))
    (found,) = about(lint(layout(a, b)), "Ali")
    assert found.message == "The left edges of 'a' and 'b' are 1.2% apart."
    assert found.hint == "Move 'a' 1.2% right, so that both are at 11.2%."
    assert about(lint(layout(replace(a, box=(0.112, 0.1, 0.312, 0.25)), b)), "Ali") == []
    (found,) = about(lint(layout(replace(a, locked=True), b)), "Ali")
    assert found.hint == "Move 'b' 1.2% left, so that both are at 10.0%."
    assert about(lint(layout(a, replace(b, box=(0.16, 0.5, 0.42, 0.9)))), "Ali") == []


def test_an_underlay_with_nothing_on_it() -> None:
    under = region("panel", (0.1, 0.1, 0.4, 0.4), role="underlay")
    assert about(lint(layout(under, region("text", (0.2, 0.2, 0.6, 0.3)))), "Und")[0].regions == ("panel",)
    assert about(lint(layout(under, region("text", (0.2, 0.2, 0.4, 0.3)))), "Und") == []


def test_words_ids_strengths_and_ranges() -> None:
    broken = (
        Region("a", "", (0.0, 0.0, 0.3, 0.3)),
        Region("a", "x", (0.5, 0.0, 0.8, 0.3), start=0.5, end=0.5),
        Region("b", "x", (0.5, 0.5, 0.8, 0.8), strength=0.0),
    )
    found = lint(layout(*broken, prompt=" "))
    assert {(finding.about, finding.level) for finding in found} == {
        ("id", "error"), ("start", "error"), ("prompt", "warning"), ("strength", "note"),
    }  # fmt: skip
    assert len(about(found, "prompt")) == 2
    assert about(lint(Layout("p")), "regions")[0].message == "The layout has no regions."
    many = [
        region(f"r{k}", ((k % 4) / 4, (k // 4) / 4, (k % 4) / 4 + 0.2, (k // 4) / 4 + 0.2)) for k in range(12)
    ]
    assert "12 regions" in about(lint(layout(*many)), "regions")[0].message


@pytest.mark.parametrize("which", ["Occ", "Rea"])
def test_what_lies_below_and_the_place_that_is_quieter(which: str) -> None:
    loud, quiet = np.zeros((40, 40), np.float32), np.zeros((40, 40), np.float32)
    loud[:, :20] = 1.0
    maps = Maps(loud, quiet) if which == "Occ" else Maps(quiet, loud)
    text = region("title", (0.0, 0.1, 0.4, 0.3), role="text")
    (found,) = lint(layout(text), maps)
    assert (found.about, found.regions) == (which, ("title",))
    place = re.fullmatch(
        r"Move 'title', for example to ([\d.]+)% from the left and ([\d.]+)% from the top\.", found.hint
    )
    assert place is not None
    x, y = float(place[1]) / 100, float(place[2]) / 100
    moved = replace(text, box=(x, y, x + 0.4, y + 0.2))
    assert lint(layout(moved), maps) == ()
    assert getattr(measure(layout(moved), maps), which.lower()) < 0.05
    everywhere = Maps(np.ones((40, 40), np.float32), np.ones((40, 40), np.float32))
    assert all("smaller" in finding.hint for finding in lint(layout(text), everywhere))


def test_every_finding_has_a_message_and_a_step_that_end_in_a_full_stop() -> None:
    rng = np.random.default_rng(0)
    names = [f"r{k}" for k in range(6)]
    for _ in range(40):
        low = rng.uniform(-0.2, 0.9, (6, 2))
        boxes = np.concatenate([low, low + rng.uniform(-0.1, 0.5, (6, 2))], axis=1)
        made = layout(*[
            region(name, tuple(box.tolist()), role=["", "text", "underlay"][rng.integers(3)], locked=k > 3)
            for k, (name, box) in enumerate(zip(names, boxes, strict=True))
        ])  # fmt: skip
        for finding in lint(made, Maps(*rng.random((2, 20, 20)).astype(np.float32))):
            assert finding.message.endswith(".") and finding.hint.endswith(".")
            assert set(finding.regions) <= set(names)
            assert all(f"'{name}'" in finding.message for name in finding.regions)
            assert finding.as_json()["regions"] == list(finding.regions)
    assert box_of(region("a", (0, 0, 1, 1))) == (0, 0, 1, 1)

"""The linter, the planner and the masks of the Regions tab; nothing of a browser is trusted."""

from __future__ import annotations

import base64
import io
import json
from types import SimpleNamespace

import pytest
from PIL import Image as Pillow

from studio.policy import Policy
from studio.ui.owners import Owners
from studio.ui.regions_tab import RegionsTab, start_of


def tab_of(studio) -> RegionsTab:
    return RegionsTab(studio, Owners(studio.settings.home, public=studio.policy.is_public))


def event(**data):
    return SimpleNamespace(_data=data)


def layout(*boxes, prompt="two things"):
    regions = [{"id": f"r{i}", "prompt": "a star", "box": list(box)} for i, box in enumerate(boxes, 1)]
    return {"prompt": prompt, "regions": regions, "width": 256, "height": 256}


def painted() -> str:
    picture = Pillow.new("L", (64, 64))
    picture.paste(255, (16, 16, 48, 48))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_overlap_and_size_are_told_with_what_to_do(fake):
    tab = tab_of(fake)
    two = layout((0.1, 0.1, 0.6, 0.6), (0.3, 0.3, 0.9, 0.9))
    (found,) = json.loads(tab.lint(event(**two)))["findings"]
    assert found["regions"] == ["r1", "r2"] and "covers" in found["message"] and found["hint"]
    small = json.loads(tab.lint(event(**layout((0.1, 0.1, 0.13, 0.12)))))["findings"]
    assert small[0]["level"] == "error"
    assert json.loads(tab.lint(event(**layout((0.1, 0.1, 0.5, 0.5))))) == {"findings": [], "says": ""}


def test_a_sentence_becomes_regions_that_the_layout_takes(fake):
    from studio.graph.widgets import RegionsWidget

    data = event(prompt="a red star on the left and a blue house on the right", width=256, height=256)
    planned = json.loads(tab_of(fake).plan(data))["planned"]
    assert [region["prompt"] for region in planned["regions"]] == ["a red star", "a blue house"]
    assert RegionsWidget().problem(planned["regions"]) is None
    assert planned["regions"][0]["box"][2] <= planned["regions"][1]["box"][0] + 0.1


def test_a_painted_mask_is_kept_shown_again_and_linted(fake):
    tab = tab_of(fake)
    kept = json.loads(tab.mask("", event(region="r1", data=painted())))["mask"]
    assert kept["region"] == "r1"
    file = kept["value"]["file"]
    shown = json.loads(tab.masks(event(files=[file, "0" * 64, 7])))["masks"]
    assert list(shown) == [file] and shown[file].startswith("data:image/png;base64,")
    masked = {"id": "r1", "prompt": "a star", "shape": "mask", "mask": kept["value"], "box": [0, 0, 1, 1]}
    data = layout((0.3, 0.3, 0.6, 0.6))
    data["regions"] = [masked, {"id": "r2", "prompt": "a house", "box": [0.4, 0.4, 0.9, 0.9]}]
    assert "covers" in json.loads(tab.lint(event(**data)))["findings"][0]["message"]


NO_REGIONS = [
    (7, "7 is not a region."),
    ({"prompt": "x"}, "A region has no id."),
    ({"id": "r2", "box": [0.99, 0, 0.89, 1]}, "The box has no size: left 0.99, right 0.89."),
    ({"id": "r2", "box": [0, -0.05, 1, 1]}, "The box leaves the canvas: top -0.05."),
    ({"id": "r2", "shape": "mask", "mask": {"file": "../x"}}, "SHA-256"),
    ({"id": "r2", "prompt": "x", "shape": "mask", "mask": {"file": "0" * 64}}, "not here"),
]


@pytest.mark.parametrize(("entry", "said"), NO_REGIONS, ids=lambda data: repr(data)[:40])
def test_a_region_that_is_none_is_named_and_the_others_are_looked_over_all_the_same(fake, entry, said):
    data = layout((0.1, 0.1, 0.6, 0.6), (0, 0, 1, 1), (0.3, 0.3, 0.9, 0.9))
    data["regions"][1] = entry
    first, *rest = json.loads(tab_of(fake).lint(event(**data)))["findings"]
    assert (
        first["level"] == "error" and first["message"].startswith("Region 2: ") and said in first["message"]
    )
    assert first["regions"] == ([entry["id"]] if isinstance(entry, dict) and "id" in entry else [])
    assert [f["message"] for f in rest] == ["Region 3 covers 36% of region 1."], "as the page numbers them"


def test_what_has_no_words_is_told(fake):
    data = layout((0.1, 0.1, 0.5, 0.5), prompt=" ")
    data["regions"][0]["prompt"] = ""
    found = json.loads(tab_of(fake).lint(event(**data)))["findings"]
    assert [f["message"] for f in found] == ["The whole picture has no prompt.", "Region 1 has no prompt."]
    assert json.loads(tab_of(fake).lint(event(**layout(prompt=""))))["findings"] == []


JUNK = [
    {}, {"prompt": 7}, {"prompt": "x", "regions": 7}, {"prompt": "x", "regions": [{}] * 65},
    {"prompt": "x", "regions": [], "width": "wide", "height": -1},
]  # fmt: skip


@pytest.mark.parametrize("data", JUNK, ids=lambda data: repr(data)[:40])
def test_junk_is_answered_in_words_and_finds_nothing(fake, data):
    tab = tab_of(fake)
    assert json.loads(tab.lint(event(**data)))["findings"] == []
    assert json.loads(tab.plan(event(**data)))
    assert json.loads(tab.masks(event(**data))) == {"masks": {}}


@pytest.mark.parametrize("data", ["", "!!", base64.b64encode(b"no picture").decode(), 7, None], ids=repr)
def test_what_is_no_mask_is_refused(fake, data):
    assert json.loads(tab_of(fake).mask("", event(region="r1", data=data)))["mask"]["fault"]
    assert "mask" not in json.loads(tab_of(fake).mask("", event(region=7, data=painted())))


def test_a_visitor_without_a_token_stores_no_mask(make_fake):
    tab = tab_of(make_fake(Policy.public()))
    fault = json.loads(tab.mask("", event(region="r1", data=painted())))["mask"]["fault"]
    assert "not signed in" in fault


def test_a_workflow_that_cannot_run_here_gives_no_tab(fake):
    assert start_of(fake, "regions") is None
    start = start_of(fake, "text-to-image")
    assert start["template"] == "text-to-image" and start["panel"] and start["document"]["nodes"]

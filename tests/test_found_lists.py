"""Found schedules: where they fit, and the document that takes one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from studio import found_lists
from studio.errors import StudioError
from studio.graph.document import Edge, Graph
from studio.policy import Policy
from studio.sampling.guidance.adaptive import adaptive
from studio.sampling.guidance.cfg import cfg
from studio.sampling.search.stored import KIND, key_of
from studio.settings import Settings
from studio.studio import Studio
from studio.values import Guidance
from tests.ui.test_create import event, tab_of, value_of

SIGMAS = [1.0, 0.7, 0.3, 0.0]


def keep(studio: Studio, steps: int = 3, size: int = 64, rule: Guidance = cfg(3.0), **more: Any) -> None:
    levels = [1 - k / steps for k in range(steps + 1)]
    row = {"sigmas": levels, "found": True, "gain": 0.25} | more
    digest = studio.models.digest("tiny:sd3")
    studio.history.calibrations.put(digest, KIND, key_of(steps, size, size, rule), row)


def plain(studio: Studio) -> Graph:
    document = studio.workflow()
    for node, widget, value in (
        ("model", "model", "tiny:sd3"),
        ("prompt", "text", "a red star"),
        ("canvas", "width", 64),
        ("canvas", "height", 64),
    ):
        document = document.set(node, widget, value)
    return document


def offered(studio: Studio, document: Graph) -> list[tuple[str, int, float | None]]:
    found = found_lists.offers(document, studio.registry, studio.history.calibrations, studio.models.digest)
    return [(one["node"], one["steps"], one["gain"]) for one in found]


@pytest.fixture
def studio(settings: Settings) -> Any:
    made = Studio(replace(settings, device="cpu"), Policy.local(), serve=False)
    yield made
    made.close()


def test_a_list_is_offered_where_weights_size_and_guidance_are_those_of_the_search(studio: Studio) -> None:
    document = plain(studio)
    assert offered(studio, document) == []
    keep(studio)
    keep(studio, 5, gain=None)
    keep(studio, 4, found=False)
    keep(studio, 6, sigmas=[1, 0.5, 0.7, 0])
    assert offered(studio, document) == [("schedule", 3, 0.25), ("schedule", 5, None)]
    for node, widget, value in (
        ("canvas", "width", 128),
        ("guidance", "cfg_scale", 4.0),
        ("model", "model", "tiny:flux"),
        ("guidance", "cfg_scale", 99.0),
    ):
        assert offered(studio, document.set(node, widget, value)) == [], (widget, value)
    assert offered(studio, document.set("schedule", "steps", 50).set("prompt", "text", "a boat")) != []


def test_a_rule_built_on_another_is_known_by_its_settings(studio: Studio) -> None:
    document = plain(studio)
    rule = adaptive(cfg(3.0), 0.9)
    keep(studio, rule=rule)
    spec = studio.registry.get("adaptive_guidance")
    assert offered(studio, document) == []
    first = document.node("guidance")
    second = replace(first, id="over", kind=spec.kind, widgets={"threshold": 0.9})
    edges = [e for e in document.edges if e.target != ("sample", "guidance")]
    edges += [
        Edge(("guidance", "guidance"), ("over", "guidance")),
        Edge(("over", "guidance"), ("sample", "guidance")),
    ]
    assert offered(studio, replace(document, nodes=(*document.nodes, second), edges=tuple(edges))) != []


def test_the_chosen_list_is_what_the_run_takes_and_the_form_stays(studio: Studio) -> None:
    keep(studio)
    document = found_lists.wired(plain(studio), studio.registry, "schedule", 3)
    assert [p for p in studio.check(document) if p.level == "error"] == []
    node = document.node("schedule")
    assert (node.kind, node.widgets["steps"], node.widgets["spacing"]) == ("found_schedule", 3, "found")
    assert {e.target for e in document.edges if e.target[0] == "schedule"} == {
        ("schedule", name) for name in ("model", "latent", "guidance")
    }
    report = studio.run(document)
    assert report.status == "finished" and not report.warnings
    # another spacing is that of Schedule, and the way back needs no other graph
    assert offered(studio, document.set("schedule", "spacing", "karras")) == [("schedule", 3, 0.25)]
    assert found_lists.wired(document, studio.registry, "schedule", 3).edges == document.edges
    with pytest.raises(StudioError):
        found_lists.wired(document, studio.registry, "canvas", 3)


def test_a_list_is_stepped_along_by_the_sampler_that_it_was_searched_with(studio: Studio) -> None:
    keep(studio)
    document = plain(studio).set("sampler", "sampler", "dpmpp_2m_sde")
    assert offered(studio, document) == [("schedule", 3, 0.25)]
    assert found_lists.wired(document, studio.registry, "schedule", 3).node("sampler").widgets == {
        "sampler": "euler"
    }
    # what has settings of its own is not changed into another
    noisy = replace(document.node("sampler"), kind="noisy_sampler", widgets={})
    other = replace(document, nodes=tuple(noisy if n.id == "sampler" else n for n in document.nodes))
    assert offered(studio, other) == []
    with pytest.raises(StudioError, match="takes no found schedule"):
        found_lists.wired(other, studio.registry, "schedule", 3)
    # nor is that of another run
    second = replace(document.node("schedule"), id="second"), replace(document.node("sample"), id="again")
    fed = [replace(e, target=("again", e.target[1])) for e in document.edges if e.target[0] == "sample"]
    fed = [replace(e, source=("second", "sigmas")) if e.target[1] == "sigmas" else e for e in fed]
    shared = replace(document, nodes=(*document.nodes, *second), edges=(*document.edges, *fed))
    assert offered(studio, shared) == []


def test_a_found_list_with_another_sampler_is_warned_of(studio: Studio) -> None:
    keep(studio)
    document = found_lists.wired(plain(studio), studio.registry, "schedule", 3)
    assert not [p for p in studio.check(document) if "searched" in p.message]
    told = [p for p in studio.check(document.set("sampler", "sampler", "heun")) if p.socket == "sampler"]
    assert ["was searched with the sampler euler" in p.message for p in told] == [True]
    assert told[0].level == "warning" and told[0].hint == "Choose euler."


def test_the_page_hears_of_it_and_may_take_it(studio: Studio) -> None:
    keep(studio)
    tab, _ = tab_of(studio)
    value = value_of(plain(studio))
    assert json.loads(tab.examine(value))["found"] == [{"node": "schedule", "steps": 3, "gain": 0.25}]
    answer = json.loads(tab.found(value, event(node="schedule", steps=3)))
    spacing = next(field for field in answer["panel"] if field["widget"] == "spacing")
    assert answer["undo"] and spacing["choices"][0] == "found"
    assert "takes no found schedule" in json.loads(tab.found(value, event(node="canvas", steps=3)))["says"]

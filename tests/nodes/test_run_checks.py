"""What a check says of noise levels before a run: starts, relays, spacings, steps that a rule asks for."""

from __future__ import annotations

from typing import Any

import pytest

from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.nodes.run_checks import known_sigmas
from studio.sampling import schedules
from tests.nodes.ready import ready_workflow


def plain(**settings: Any) -> Graph:
    small = {"model.model": "tiny:sd3", "canvas.width": 64, "canvas.height": 64, "prompt.text": "a red star"}
    small["sampler.sampler"] = "euler"
    return ready_workflow("text-to-image", {**small, **settings})


def listed(levels: str, strength: float = 1.0) -> Graph:
    made = plain()
    own = Node("schedule", "schedule_from_list", {"levels": levels, "strength": strength})
    nodes = tuple(own if node.id == "schedule" else node for node in made.nodes)
    return Graph(nodes, made.edges)


def relayed(**settings: Any) -> Graph:
    made = plain(**{"schedule.steps": 4, **{k: v for k, v in settings.items() if k.startswith("schedule.")}})
    others = {k: v for k, v in settings.items() if not k.startswith("schedule.")}
    edges = [edge for edge in made.edges if edge.target != ("sample", "sigmas")]
    edges += [Edge(("schedule", "sigmas"), ("relay", "sigmas")), Edge(("few", "sigmas"), ("relay", "second"))]
    edges += [Edge(("relay", "sigmas"), ("sample", "sigmas")), Edge(("relay", "wrap"), ("sample", "wraps"))]
    more = (Node("relay", "relay", others), Node("few", "schedule", {"steps": 4}))
    return Graph((*made.nodes, *more), tuple(edges))


def told(engine: Engine, made: Graph) -> list[tuple[str, str, str | None]]:
    return [(p.level, p.node, p.socket) for p in engine.check(made)]


@pytest.mark.parametrize("spacing", list(schedules.SCHEDULES))
def test_every_spacing_begins_in_noise(engine: Engine, spacing: str) -> None:
    assert told(engine, plain(**{"schedule.spacing": spacing})) == []


@pytest.mark.parametrize(
    ("made", "level", "words"),
    [
        (plain(**{"schedule.strength": 0.3}), "warning", "begins at noise level"),
        (plain(**{"schedule.strength": 0.0}), "error", "nothing to keep"),
        (listed("0.3, 0.1, 0"), "warning", "noise level 0.3"),
        (listed("0"), "error", "nothing to keep"),
    ],
)
def test_an_empty_canvas_wants_pure_noise(engine: Engine, made: Graph, level: str, words: str) -> None:
    (problem,) = engine.check(made)
    assert (problem.level, problem.node, problem.socket) == (level, "sample", "sigmas")
    assert words in problem.message and "start from an encoded picture" in problem.hint


def test_a_relay_that_does_not_join_or_does_nothing_is_said(engine: Engine) -> None:
    assert told(engine, relayed(at=0.25)) == told(engine, relayed(at=0.0)) == []
    assert told(engine, relayed(at=0.2)) == [("warning", "relay", "at")]
    assert "One step is 0.25" in engine.check(relayed(at=0.2))[0].hint
    lower = relayed(at=0.25, **{"schedule.strength": 0.3})
    assert ("error", "relay", "sigmas") in told(engine, lower)


def test_a_shift_that_changes_nothing_is_said(engine: Engine) -> None:
    made = plain(**{"schedule.spacing": "scm", "schedule.shift": 20.0})
    assert told(engine, made) == [("warning", "schedule", "shift")]


def test_rules_and_caches_that_want_more_steps_than_there_are(engine: Engine) -> None:
    made = plain(**{"schedule.steps": 8})
    zero = tuple(Node(n.id, "cfg_zero", {"zero_steps": 8}) if n.id == "guidance" else n for n in made.nodes)
    assert told(engine, Graph(zero, made.edges)) == [("error", "sample", "guidance")]
    for full, expected in (
        ("50-60", [("error", "cache", "full_steps")]),
        ("1-3, 9", [("warning", "cache", "full_steps")]),
        ("1-3, 8", []),
    ):
        cache = Node("cache", "step_cache", {"mode": "fixed steps", "full_steps": full})
        edge = Edge(("cache", "attachment"), ("sample", "attachments"))
        assert told(engine, Graph((*made.nodes, cache), (*made.edges, edge))) == expected, full


def test_the_advised_cache_of_few_steps_really_skips(engine: Engine) -> None:
    made = plain(**{"schedule.steps": 4})
    edge = Edge(("cache", "attachment"), ("sample", "attachments"))

    def found(**settings: Any) -> Any:
        graph = Graph((*made.nodes, Node("cache", "step_cache", settings)), (*made.edges, edge))
        return engine.check(graph)

    (problem,) = found()
    assert "'delta' with warm 1" in problem.hint
    assert found(mode="delta", warm=1) == [] and "skip nothing" in found(mode="delta")[0].message


class Seen:
    """A view of one schedule node."""

    def __init__(self, kind: str, **widgets: Any) -> None:
        self.kind, self.widgets = kind, widgets

    def feeding(self, socket: str) -> tuple[Seen, ...]:
        return (self,)


def test_the_list_is_worked_out_as_the_node_makes_it() -> None:
    whole = Seen("schedule", spacing="karras", steps=6, shift=2.0, strength=0.5)
    assert known_sigmas(whole) == schedules.from_strength(schedules.karras(6, 2.0), 0.5)  # type: ignore[arg-type]
    # a setting that an edge feeds is missing
    assert known_sigmas(Seen("schedule", spacing="flow", steps=6, strength=1.0)) is None  # type: ignore[arg-type]
    assert known_sigmas(Seen("found_schedule", steps=6, strength=1.0)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "settings", "socket", "words"),
    [
        ("scenes-sd3", {"sampler.sampler": "lcm"}, "sampler", "is not one"),
        ("scenes-sd3", {"sampler.sampler": "heun"}, "", ""),
        ("scenes-sd3-turbo", {"sampler.sampler": "heun"}, "sampler", "twice a step"),
        ("scenes-sd3-turbo", {"sampler.sampler": "unipc"}, "sampler", "too few to draw on"),
        ("scenes-sd3-turbo", {"schedule.spacing": "karras"}, "sigmas", "noise levels of flow"),
        ("scenes-sd3-turbo", {"schedule.shift": 20.0}, "sigmas", "a shift of 3; 20"),
        (
            "scenes-sd3",
            {"schedule.steps": 10, "sampler.sampler": "dpmpp_2m_sde"},
            "sampler",
            "wants 16 steps or more: in 10",
        ),
        ("scenes-sd3", {"schedule.steps": 10}, "", ""),
        ("scenes-sd3", {"schedule.steps": 16, "sampler.sampler": "dpmpp_2m_sde"}, "", ""),
        ("scenes-sd3-turbo", {"sampler.sampler": "lcm", "schedule.spacing": "flow"}, "", ""),
    ],
)
def test_a_pair_that_does_not_suit_is_warned_of(
    engine: Engine, model: str, settings: dict[str, Any], socket: str, words: str
) -> None:
    few = {"guidance.cfg_scale": 1.0, "schedule.steps": 4, "sampler.sampler": "euler"}
    few = few if model.endswith("turbo") else {}
    made = plain(**{"model.model": f"embedded:{model}", **few, **settings})
    found = engine.check(made)
    assert [(p.level, p.node, p.socket) for p in found] == ([("warning", "sample", socket)] if socket else [])
    assert not words or (words in found[0].message and found[0].hint.startswith("Choose"))

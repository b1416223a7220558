"""What is made for another prompt than the one that leads the picture is refused when the graph is checked,
and what of regions does nothing is said there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from studio.graph.document import Edge, Graph, Node
from studio.graph.engine import Engine
from studio.graph.problem import Problem

OLD, NEW = "a red star and a blue house", "a green star and a blue house"
BOXES = [
    {"id": "a", "prompt": "a green star", "box": [0, 0, 0.5, 1]},
    {"id": "b", "prompt": "a blue house", "box": [0.5, 0, 1, 1]},
]
LAYOUT = {"prompt": NEW, "regions": BOXES}
Kinds = dict[str, tuple[str, dict[str, Any], dict[str, str]]]

# kind, settings, what feeds it
WEIGHT = (
    "word_weight",
    {"words": "star", "weight": 2.0},
    {"model": "model.model", "positive": "old.conditioning"},
)
WATCH = ("watch_words", {"words": "star"}, {"model": "model.model", "positive": "old.conditioning"})
EDIT = (
    "edit_by_prompt",
    {"tau": 0.4},
    {"model": "model.model", "source": "old.conditioning", "target": "old.conditioning"},
)
LOOK = ("keep_look", {}, {"model": "model.model", "source": "old.conditioning", "target": "old.conditioning"})
WORDS = (
    "change_words",
    {},
    {"model": "model.model", "prompt": "old.conditioning", "words": "new.conditioning"},
)
WEIGHTED = ("weighted_prompt", {"text": "a (red:1.4) star and a blue house"}, {"model": "model.model"})
REGIONS = ("regional_prompts", {}, {"model": "model.model", "layout": "layout.layout"})
OUT = {"edit_by_prompt": "attachments", "change_words": "control"}


def graph(*controls: tuple[str, dict[str, Any], dict[str, str]], positive: str = "new", **more: Any) -> Graph:
    """A run led by the prompt of this node; `more`: settings by "node__widget", or whole nodes."""
    made: Kinds = {
        "model": ("load_model", {"model": "tiny:sd3"}, {}),
        "old": ("encode_prompt", {"text": OLD}, {"model": "model.model"}),
        "new": ("encode_prompt", {"text": NEW}, {"model": "model.model"}),
        "layout": ("layout", dict(LAYOUT), {}),
        "canvas": ("empty_latent", {"width": 64, "height": 64}, {}),
        "schedule": ("schedule", {"steps": 5}, {}),
        "sampler": ("choose_sampler", {}, {}),
        "guidance": ("cfg", {}, {}),
        "sample": (
            "sample",
            {},
            {
                "model": "model.model", "positive": f"{positive}.conditioning",
                "negative": "new.conditioning", "latent": "canvas.latent", "sigmas": "schedule.sigmas",
                "sampler": "sampler.sampler", "guidance": "guidance.guidance",
            },
        ),
    }  # fmt: skip
    made |= {name: value for name, value in more.items() if isinstance(value, tuple)}
    socket = "first"
    for number, (kind, settings, feeds) in enumerate(controls):
        made[f"c{number}"] = (kind, dict(settings), dict(feeds))
        if number == 0:
            made["all"] = ("together", {}, {})
        made["all"][2][socket] = f"c{number}.{OUT.get(kind, 'attachment')}"
        made["sample"][2]["attachments"] = "all.attachments"
        socket = {"first": "second", "second": "third"}.get(socket, "fourth")
    for place, value in more.items():
        if not isinstance(value, tuple):
            node, _, widget = place.partition("__")
            made[node][1 if widget else 2].update({widget: value} if widget else value)
    edges = [
        Edge(tuple(source.split(".")), (id, name))  # type: ignore[arg-type]
        for id, (_, _, feeds) in made.items()
        for name, source in feeds.items()
    ]
    return Graph(tuple(Node(id, kind, given) for id, (kind, given, _) in made.items()), tuple(edges))


def problems(engine: Engine, made: Graph, level: str = "error", words: str = "") -> list[Problem]:
    return [p for p in engine.check(made, ["sample"]) if p.level == level and re.search(words, p.message)]


@pytest.mark.parametrize(
    ("control", "socket"),
    [(WEIGHT, "positive"), (WATCH, "positive"), (EDIT, "target"), (LOOK, "target"), (WORDS, "prompt")],
)
def test_a_control_of_another_prompt_is_refused_and_of_the_same_one_is_not(
    engine: Engine, control: Any, socket: str
) -> None:
    (found,) = problems(engine, graph(control))
    assert (found.node, found.socket) == ("c0", socket) and found.hint
    assert OLD in found.message and NEW in found.message
    assert not problems(engine, graph(control, positive="old"))
    # another node that says the same, and one that hands its prompt on
    twin = {"twin": ("encode_prompt", {"text": f" {OLD} "}, {"model": "model.model"})}
    assert not problems(engine, graph(control, positive="twin", **twin))
    handed = (
        "change_words",
        {},
        {"model": "model.model", "prompt": "old.conditioning", "words": "old.conditioning"},
    )
    passed = graph(control, positive="handed", handed=handed)
    passed = Graph(
        passed.nodes,
        tuple(
            Edge(("handed", "prompt"), edge.target) if edge.source == ("handed", "conditioning") else edge
            for edge in passed.edges
        ),
    )
    assert not problems(engine, passed)


def test_weighted_prompts_are_read_without_their_weights(engine: Engine) -> None:
    (found,) = problems(engine, graph(WEIGHTED))
    assert (found.node, found.socket) == ("sample", "positive") and OLD in found.message
    assert not problems(engine, graph(WEIGHTED, positive="old"))
    assert not problems(engine, graph(WEIGHTED, positive="c0"))
    assert not problems(engine, graph(WEIGHT, positive="weighed", weighed=WEIGHTED))
    assert not problems(engine, graph(WEIGHTED, c0__text="", positive="new"))
    emphasised = ("emphasised_prompt", *WEIGHTED[1:])
    assert not problems(engine, graph(WEIGHT, positive="said", said=emphasised))
    assert problems(engine, graph(WEIGHT, positive="said", said=emphasised, said__text="a (red:2) moon"))


def test_what_does_nothing_goes_with_every_prompt(engine: Engine) -> None:
    assert not problems(engine, graph(WEIGHT, c0__weight=1.0))
    assert not problems(engine, graph(EDIT, c0__tau=0.0, c0__eta=0.0))


def test_regions_go_with_their_own_prompt_or_with_the_old_one_of_an_edit(engine: Engine) -> None:
    (found,) = problems(engine, graph(REGIONS, positive="old"))
    assert (found.node, found.socket) == ("sample", "positive") and "conditioning of 'Regions'" in found.hint
    assert not problems(engine, graph(REGIONS, positive="new")) and not problems(
        engine, graph(REGIONS, positive="c0")
    )
    assert not problems(engine, graph(REGIONS, positive="old", layout__prompt=""))
    edit = (EDIT[0], EDIT[1], {**EDIT[2], "target": "new.conditioning"})
    assert not problems(engine, graph(edit, REGIONS, layout__prompt=OLD))
    assert problems(engine, graph(edit, REGIONS, layout__prompt="a green boat"))


def test_a_relay_goes_on_with_what_its_own_prompt_fits(engine: Engine) -> None:
    relay = ("relay", {"at": 0.4}, {"sigmas": "schedule.sigmas", "positive": "new.conditioning"})

    def made_with(feeds: dict[str, str], **settings: Any) -> Graph:
        base = graph(WEIGHT, positive="old", relay=(relay[0], {**relay[1], **settings}, relay[2]))
        kept = tuple(edge for edge in base.edges if edge.target not in {("sample", name) for name in feeds})
        more = tuple(Edge(tuple(at.split(".")), ("sample", name)) for name, at in feeds.items())  # type: ignore[arg-type]
        return Graph(base.nodes, (*kept, *more))

    feeds = {"wraps": "relay.wrap", "sigmas": "relay.sigmas"}
    (found,) = problems(engine, made_with(feeds))
    assert (found.node, found.socket) == ("c0", "positive")
    assert not problems(engine, made_with(feeds, keep_controls=False))
    assert not problems(engine, made_with(feeds, at=1.0))


def test_the_pooled_vector_of_other_words_needs_the_prompt_of_the_node(engine: Engine) -> None:
    given = (
        WORDS[0],
        {"pooled": "words"},
        {**WORDS[2], "prompt": "new.conditioning", "words": "old.conditioning"},
    )
    (found,) = problems(engine, graph(given), "warning", "pooled")
    assert (found.node, found.socket) == ("c0", "pooled") and not found.blocking


# regions


def warned(engine: Engine, words: str, *controls: Any, **more: Any) -> list[tuple[str, str]]:
    found = problems(engine, graph(*(controls or (REGIONS,)), **more), "warning", words)
    assert not any(problem.blocking for problem in found)
    return [(problem.node, problem.socket) for problem in found]


@pytest.mark.parametrize(
    ("settings", "socket", "mend"),
    [
        ({"c0__base_ratio": 0.9}, "base_ratio", {"c0__mode": "strict"}),
        ({"c0__mode": "strict", "c0__alone": 0.5}, "alone", {"c0__mode": "hard"}),
        ({"c0__single_every": 2}, "single_every", {"model__model": "tiny:flux"}),
    ],
)
def test_a_setting_that_does_nothing_there_is_a_warning(
    engine: Engine, settings: dict[str, Any], socket: str, mend: dict[str, Any]
) -> None:
    assert warned(engine, "does nothing", **settings) == [("c0", socket)]
    assert warned(engine, "does nothing", **{**settings, **mend}) == []
    assert warned(engine, "does nothing") == []


def test_regions_that_begin_when_borders_have_ended_have_no_place(engine: Engine) -> None:
    assert warned(engine, "none has a place", c0__start=0.6) == [("c0", "borders")]
    assert warned(engine, "none has a place", c0__start=0.4, schedule__steps=5) == []
    # a range of no step: 0.55 and 0.6 are one step of five
    assert warned(engine, "No step of .* none has", c0__start=0.5, c0__borders=0.55) == [("c0", "borders")]
    assert warned(engine, "place", c0__start=0.6, c0__borders=1.0) == []
    late = [BOXES[0], {**BOXES[1], "start": 0.8}]
    assert warned(engine, "'b' begins at 0.8.*no place", layout__regions=late) == [("layout", "regions")]
    assert warned(engine, "no place", layout__regions=[BOXES[0], {**late[1], "strength": 0}]) == []
    added = ("add_region", {"prompt": "a ring", "start": 0.7, "name": "ring"}, {"layout": "layout.layout"})
    fed = (REGIONS[0], {}, {"model": "model.model", "layout": "added.layout"})
    assert warned(engine, "'ring' begins at 0.7", fed, added=added) == [("added", "start")]


def test_what_nobody_reads_of_an_edited_layout_is_said(engine: Engine) -> None:
    edit = (EDIT[0], EDIT[1], {**EDIT[2], "target": "new.conditioning"})
    regions = (REGIONS[0], {}, {**REGIONS[2], "edited": "other.layout"})

    def said(words: str, **changed: Any) -> list[tuple[str, str]]:
        other = ("layout", {"prompt": NEW, "regions": BOXES, **changed}, {})
        return warned(engine, words, edit, regions, other=other, layout__prompt=OLD)

    assert said("edited layout") == []
    assert said("edited layout", regions=[BOXES[0], {**BOXES[1], "prompt": ""}]) == []
    assert said(
        "only the prompt is read, not its negative and strength",
        regions=[BOXES[0], {**BOXES[1], "strength": 0.2, "negative": "red"}],
    ) == [("c1", "edited")]
    assert said("not its box", regions=[BOXES[0], {**BOXES[1], "box": [0, 0, 1, 1]}]) == [("c1", "edited")]
    assert said("background", background="the sea") == [("c1", "edited")]
    assert said("says 'a boat' of the whole picture", prompt="a boat") == [("c1", "edited")]
    more = ("layout", {"prompt": NEW, "regions": [*BOXES, {**BOXES[0], "id": "c"}]}, {})
    (found,) = problems(engine, graph(edit, regions, other=more, layout__prompt=OLD), "error", "region 'c'")
    assert (found.node, found.socket) == ("c1", "edited") and found.hint.startswith("It has")


def test_an_overlap_that_differs_from_what_is_avoided_is_a_warning(engine: Engine) -> None:
    def avoid(overlap: str) -> Any:
        return ("nag", {"overlap": overlap}, {"model": "model.model", "layout": "layout.layout"})

    shared = (REGIONS[0], {"overlap": "share"}, REGIONS[2])
    assert warned(engine, "lie over each other", shared, avoid("order")) == [("c1", "overlap")]
    assert warned(engine, "lie over each other", shared, avoid("share")) == []
    assert warned(engine, "lie over each other", REGIONS, avoid("order")) == []


def test_what_ends_before_the_network_is_called_is_a_warning(engine: Engine) -> None:
    zero = {"guidance": ("cfg_zero", {"zero_steps": 1}, {})}
    same = (EDIT[0], {"tau": 0.2}, {**EDIT[2], "target": "new.conditioning"})
    assert warned(engine, "does not call the network", same, **zero) == [("c0", "tau")]
    later = (EDIT[0], {"tau": 0.4}, same[2])
    assert warned(engine, "does not call the network", later, **zero) == []
    weight = (WEIGHT[0], {**WEIGHT[1], "end": 0.2}, {**WEIGHT[2], "positive": "new.conditioning"})
    assert warned(engine, "does not call the network", weight, **zero) == [("c0", "end")]

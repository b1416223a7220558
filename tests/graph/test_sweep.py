"""sweep.py and axis_values.py: axes as people write them, and cells in an order that pays for itself."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from studio.errors import StudioError
from studio.graph.document import Edge, Exposed, Graph, Node, load
from studio.graph.engine import Engine
from studio.graph.spec import node
from studio.graph.sweep import Axis, make_axis, make_sweep, read_axis
from studio.graph.widgets import Choice, Seed


@pytest.fixture
def graph() -> Graph:
    """words -> blob-like chain: `load` feeds `use`, `number` feeds it too; `words` stands alone."""
    return Graph(
        nodes=(
            Node("m", "load", {"name": "tiny"}),
            Node("n", "number", {"value": 3}),
            Node("u", "use", {}),
            Node("w", "text", {"text": "a red star and a red house"}),
            Node("s", "drawn", {"seed": 7}),
        ),
        edges=(Edge(("m", "model"), ("u", "model")), Edge(("n", "int"), ("u", "a"))),
        exposed=(Exposed("n", "value", "How many", 1), Exposed("w", "text", "Prompt", 2)),
    )


@node
def drawn(seed: Seed = 0) -> int:
    """A number from a seed."""
    return seed


@node
def picked(way: Annotated[str, Choice("left", "right")] = "left", on: bool = True, share: float = 0.5) -> str:
    """A choice, a switch and a share."""
    return way


@pytest.fixture
def specs(lab):
    return lab.registry(drawn=drawn, picked=picked)


def values(graph, specs, text) -> tuple:
    return read_axis(graph, specs, text).values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n.value=1,2,3", (1, 2, 3)),
        ("n.value= 4:20:8 , 1", (4, 12, 20, 1)),
        ("n.value=5:1:-2", (5, 3, 1)),
        ("n.value=1:3", (1, 2, 3)),
        ("how many=1", (1,)),
        ("s.seed=*3", (7, 8, 9)),
        ("m.name=tiny | one, two", ("tiny", "one, two")),
        ('w:red->blue, "dark, green"', ("blue", "dark, green")),
        ("w.text=a: b | c", ("a: b", "c")),
        ("Prompt:red->blue", ("blue",)),
    ],
)
def test_values_are_read_as_people_write_them(graph, specs, text, expected):
    assert values(graph, specs, text) == expected


def test_decimal_ranges_hold_their_end_and_stay_decimals(graph, specs):
    graph = Graph(nodes=(Node("p", "picked", {}),))
    assert values(graph, specs, "p.share=0.1:0.5:0.1") == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert [type(v) for v in values(graph, specs, "p.share=0,1")] == [float, float]
    assert values(graph, specs, "p.on=on,off") == (True, False)
    assert values(graph, specs, "p.way=*") == ("left", "right")


@pytest.mark.parametrize(
    ("text", "words", "socket"),
    [
        ("n.value=1,x", "'x' is not a whole number", "value"),
        ("n.value=1.5", "1.5 is not a whole number", "value"),
        ("n.value=1,1", "1 is there twice", "value"),
        ("n.value=", "there are no values", "value"),
        ("n.value= , ,", "there are no values", "value"),
        ("n.value=1:5:0.5", "no range of whole numbers", "value"),
        ("n.value=5:1", "never comes to its end", "value"),
        ("n.value=1:5:0", "never comes to its end", "value"),
        ("n.value=-5000", "out of range", "value"),
        ("n.valeu=1", "has no input 'valeu'", "valeu"),
        ("u.a=1", "fed by 'n'", "a"),
        ("n:red->blue", "no input 'n'", ""),
        ("n.value:red->blue", "only words of a text", "value"),
        ('w:red->"blue', "quotation mark", "text"),
        ("nowhere=1", "no input 'nowhere'", ""),
        ("gibberish", "is no axis", ""),
        ("s.seed=*5000", "more than 1,000 values", "seed"),
        ("n.value=0:100000000", "more than 1,000 values", "value"),
    ],
)
def test_a_wrong_axis_names_its_socket(graph, specs, text, words, socket):
    with pytest.raises(StudioError, match=words) as error:
        read_axis(graph, specs, text)
    assert error.value.socket == socket


def test_cells_are_the_product_and_carry_their_values(graph, specs):
    axes = [read_axis(graph, specs, "n.value=1,2"), read_axis(graph, specs, "w:red->red,blue,green")]
    sweep = make_sweep(graph, axes)
    assert sweep.shape == (2, 3) and len(sweep.cells) == 6
    assert {cell.at for cell in sweep.cells} == {(i, j) for i in range(2) for j in range(3)}
    cell = next(cell for cell in sweep.cells if cell.at == (1, 2))
    assert cell.document.node("n").widgets["value"] == 2
    assert cell.document.node("w").widgets["text"] == "a green star and a green house"
    assert sweep.labels(cell) == ("2", "green") and sweep.name(cell) == "How many 2, red → green"
    assert graph.node("n").widgets["value"] == 3, "the document itself stays"


def test_words_change_at_once_and_as_whole_words(specs):
    graph = Graph(nodes=(Node("w", "text", {"text": "Red hundred star"}),))
    axes = [read_axis(graph, specs, "w:red->star"), read_axis(graph, specs, "w:star->red")]
    assert make_sweep(graph, axes).cells[0].document.node("w").widgets["text"] == "star hundred red"


def test_words_that_are_not_there_are_named(graph, specs):
    with pytest.raises(StudioError, match="“rad” is not in “a red star") as error:
        make_sweep(graph, [read_axis(graph, specs, "w:rad->blue")])
    assert "red" in error.value.hint and error.value.socket == "text"


def test_whole_texts_and_words_of_them_go_together(graph, specs):
    axes = [read_axis(graph, specs, "w.text=a red cat | a red dog"), read_axis(graph, specs, "w:red->blue")]
    texts = [cell.document.node("w").widgets["text"] for cell in make_sweep(graph, axes).cells]
    assert texts == ["a blue cat", "a blue dog"]


def test_the_axis_with_the_most_behind_it_varies_slowest(graph, specs):
    few, model = Axis("s", "seed", (1, 2)), Axis("m", "name", ("x", "y"))
    for axes in ([few, model], [model, few]):
        names = [cell.document.node("m").widgets["name"] for cell in make_sweep(graph, axes).cells]
        assert names == ["x", "x", "y", "y"]
    both = [Axis("m", "name", ("x", "y")), Axis("n", "value", (1, 2))]  # equally many nodes behind them
    dear = make_sweep(graph, both, seconds={"number": 9.0, "load": 1.0}.get)
    assert [cell.document.node("n").widgets["value"] for cell in dear.cells] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ([], "Nothing varies"),
        (
            [Axis("n", "value", tuple(range(11))), Axis("s", "seed", tuple(range(10)))],
            "11 × 10 = 110 pictures",
        ),
        ([Axis("n", "value", (1,)), Axis("n", "value", (2,))], "varies twice"),
        ([Axis("n", "value", (1,))] * 4, "at most 3"),
    ],
)
def test_a_table_that_cannot_be_is_refused(graph, axes, words):
    with pytest.raises(StudioError, match=words):
        make_sweep(graph, axes, most=100)


def test_a_list_of_values_is_checked_like_a_text(graph, specs):
    assert make_axis(graph, specs, "n", "value", [1, 2]).values == (1, 2)
    with pytest.raises(StudioError, match="true is not a whole number"):
        make_axis(graph, specs, "n", "value", [True])


def test_cells_share_what_they_have_in_common(lab, graph):
    engine: Engine = lab.engine()
    sweep = make_sweep(
        Graph(nodes=graph.nodes[:3], edges=graph.edges),
        [Axis("n", "value", (1, 2, 3)), Axis("m", "name", ("x", "y"))],
    )
    for cell in sweep.cells:
        made = engine.run(cell.document, ["u"])
        assert made.status == "finished", made.errors
    assert lab.calls.count("load") == 2 and lab.calls.count("number") == 3 and lab.calls.count("use") == 6
    lab.calls.clear()
    for cell in sweep.cells:
        engine.run(cell.document, ["u"])
    assert lab.calls == [], "a sweep that is made again runs nothing"


def test_a_setting_of_a_sub_graph_varies_like_any_other(lab: Any) -> None:
    inside = {
        "title": "Plus",
        "nodes": [{"id": "x", "kind": "add", "widgets": {"b": 5}}],
        "inputs": [{"name": "a", "to": [["x", "a"]]}, {"name": "by", "label": "By", "to": [["x", "b"]]}],
        "outputs": [{"name": "sum", "from": ["x", "int"]}],
    }
    document = load(
        {
            "format": "weft/graph",
            "version": 1,
            "nodes": [
                {"id": "n", "kind": "number"},
                {"id": "s", "kind": "plus"},
                {"id": "out", "kind": "show"},
            ],
            "edges": [
                {"from": ["n", "int"], "to": ["s", "a"]},
                {"from": ["s", "sum"], "to": ["out", "a"]},
            ],
            "exposed": [{"node": "s", "widget": "by", "label": "Step", "order": 1}],
            "definitions": {"plus": inside},
        }
    )
    axis = read_axis(document, lab.registry(), "Step=2,3")
    assert (axis.node, axis.widget, axis.values, axis.label) == ("s", "by", (2, 3), "Step")
    cells = make_sweep(document, [axis]).cells
    assert [lab.engine().run(cell.document).outputs["out"] for cell in cells] == [{"int": 3}, {"int": 4}]

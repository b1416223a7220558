"""forms.py: the form of Create comes from the exposed widgets and nothing else."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from studio.graph.document import Edge, Exposed
from studio.ui.forms import panel, shapes


def fields_of(fake):
    return {field["role"] or field["widget"]: field for field in panel(fake.workflow(), fake.registry)}


def test_roles_come_from_widget_kinds_and_labels(fake):
    fields = fields_of(fake)
    assert fields["prompt"]["node"] == "p" and fields["avoid"]["node"] == "a"
    assert (
        fields["seed"]["widget"] == "seed"
        and fields["width"]["node"] == "c"
        and fields["model"]["node"] == "m"
    )


def test_node_ids_do_not_matter_for_roles(fake):
    document = fake.workflow()
    renamed = replace(
        document,
        nodes=tuple(replace(node, id="x" + node.id) for node in document.nodes),
        exposed=tuple(replace(entry, node="x" + entry.node) for entry in document.exposed),
    )
    before, after = panel(document, fake.registry), panel(renamed, fake.registry)
    assert [f["role"] for f in after] == [f["role"] for f in before]


def test_limits_and_help_come_from_the_spec(fake):
    steps = fields_of(fake)["steps"]
    assert (steps["kind"], steps["min"], steps["max"], steps["whole"]) == ("slider", 1, 200, True)
    assert "longer" in steps["help"]
    assert fields_of(fake)["kind"]["choices"] == ["flow", "flow_diffusers"]


def test_fields_follow_the_order_of_the_document(fake):
    document = fake.workflow()
    turned = tuple(replace(entry, order=-entry.order) for entry in document.exposed)
    forward = [(f["node"], f["widget"]) for f in panel(document, fake.registry)]
    backward = [(f["node"], f["widget"]) for f in panel(replace(document, exposed=turned), fake.registry)]
    assert backward == forward[::-1]


def test_a_widget_fed_by_an_edge_is_not_shown(fake):
    document = fake.workflow()
    fed = replace(document, edges=(Edge(("a", "conditioning"), ("s", "steps")),))
    assert ("s", "steps") not in [(f["node"], f["widget"]) for f in panel(fed, fake.registry)]
    assert len(panel(fed, fake.registry)) == len(panel(document, fake.registry)) - 1


def test_exposed_widgets_of_missing_nodes_and_kinds_are_left_out(fake):
    document = fake.workflow()
    stray = (*document.exposed, Exposed("nowhere", "text"), Exposed("p", "no_such_widget"))
    assert len(panel(replace(document, exposed=stray), fake.registry)) == len(panel(document, fake.registry))


def test_chips_offer_the_native_size_and_turned_ratios():
    chips = {chip["label"]: (chip["width"], chip["height"]) for chip in shapes((256, 256))}
    assert chips["1:1"] == (256, 256)
    assert chips["3:2"] == chips["2:3"][::-1] and chips["4:3"] == chips["3:4"][::-1]


@given(st.integers(64, 2048), st.integers(64, 2048), st.sampled_from([8, 16, 32]))
def test_every_side_offered_is_a_multiple_and_near_the_native_area(width, height, multiple):
    for chip in shapes((width, height), multiple=multiple):
        assert chip["width"] % multiple == 0 and chip["height"] % multiple == 0
        assert 0.5 < chip["width"] * chip["height"] / (width * height) < 2

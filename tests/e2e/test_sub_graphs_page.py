"""Sub-graphs, groups and notes as people use them in Chromium; and two browsers at one server."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from e2e_graph_hands import (
    SENTENCE,
    cheap,
    document,
    edges,
    file_menu,
    kinds,
    node,
    show_graph,
    until,
)
from e2e_hands import MARKS, PHONE, state

from studio.graph.document import load, loads, to_json

pytestmark = MARKS


def head(page: Any, id: str) -> Any:
    return node(page, id).locator(".g-head strong")


def run(page: Any) -> None:
    page.locator("#weft-graph-run").click()
    state(page, "done")


def new() -> Any:
    """The cheap graph under a name that no run has seen: its picture is not in the cache."""
    return cheap().set("save", "name", uuid.uuid4().hex)


def crumbs(page: Any) -> Any:
    return page.get_by_label("Where you are in the graph")


def with_looks() -> Any:
    """A plan that is drawn twice by one sub-graph."""
    data = to_json(cheap())
    plan, draw, save = data["nodes"]
    look = {
        "title": "Look", "nodes": [draw, save], "edges": data["edges"][1:],
        "inputs": [{"name": "layout", "label": "Layout", "to": [["draw", "layout"]]},
                   {"name": "width", "label": "Width", "to": [["draw", "width"]]},
                   {"name": "name", "label": "Name", "to": [["save", "name"]]}],
        "outputs": [{"name": "image", "label": "Picture", "from": ["draw", "image"]}],
    }  # fmt: skip
    looks = [
        {
            "id": "small",
            "kind": "sub:look",
            "title": "Small",
            "widgets": {"name": uuid.uuid4().hex},
            "pos": [360, 0],
        },
        {
            "id": "wide",
            "kind": "sub:look",
            "title": "Wide",
            "widgets": {"width": 256, "name": uuid.uuid4().hex},
            "pos": [360, 420],
        },
    ]
    wires = [{"from": ["plan", "layout"], "to": [id, "layout"]} for id in ("small", "wide")]
    return load({**data, "nodes": [plan, *looks], "edges": wires, "definitions": {"sub:look": look}})


def test_chosen_nodes_become_a_sub_graph_that_runs_and_comes_apart_again(weft, open_page):
    page = show_graph(open_page(document=new()))
    before = edges(page)
    inspector = page.get_by_label("Inspector")
    head(page, "save").click(button="right")
    page.get_by_role("menuitem", name="Copy").wait_for()
    assert inspector.count() == 0, "nothing gives way beneath a menu"
    page.get_by_role("menuitem", name="Rename").click()
    until(page, "document.activeElement.ariaLabel === 'Title of the node'")
    page.keyboard.type("Best of all")
    page.keyboard.press("Enter")
    assert head(page, "save").inner_text() == "Best of all"
    head(page, "draw").click()
    clicks = (("save", "Control", 2), ("plan", "Shift", 3), ("draw", "Shift", 2), ("plan", "Meta", 1))
    for id, key, chosen in clicks:
        head(page, id).click(modifiers=[key])  # the same node again takes it away
        until(page, f"document.querySelectorAll('.react-flow__node.selected').length === {chosen}")
    node(page, "draw").focus()
    page.keyboard.press("Shift+F10")  # the menu of a node, by keys alone
    menu = page.get_by_role("menu", name="Drawing")
    assert "Run to here" in menu.locator(":focus").inner_text()
    page.keyboard.press("Escape")
    menu.wait_for(state="detached")
    until(page, "document.activeElement.dataset.id === 'draw'")
    page.keyboard.press("Shift+F10")
    page.keyboard.press("ArrowUp")  # from the first to the last
    assert "Delete" in menu.locator(":focus").inner_text()
    menu.get_by_role("menuitem", name="Duplicate").press("Enter")
    node(page, "draw_2").wait_for()
    page.keyboard.press("Control+z")
    node(page, "draw_2").wait_for(state="detached")
    head(page, "save").click()
    box = node(page, "draw").bounding_box()
    page.keyboard.down("Shift")  # a box adds, too
    page.mouse.move(box["x"] - 9, box["y"] - 9)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + 40, steps=3)
    page.mouse.move(box["x"] + box["width"] + 9, box["y"] + box["height"] + 9, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    inspector.get_by_text("2 nodes").wait_for()
    inspector.get_by_role("button", name="Make a sub-graph").click()
    sub = node(page, "sub-graph")
    sub.wait_for()
    assert edges(page) == {("plan.layout", "sub-graph.layout")}
    run(page)
    sub.locator(".g-state[data-state=done]").wait_for()
    until(page, "document.querySelector('.g-sub-node .g-picture img').naturalWidth > 32")
    assert weft.studio.history.list("local", limit=1).items[0].node == "sub-graph/save"

    head(page, "sub-graph").dblclick()
    crumbs(page).get_by_text("Sub-graph").wait_for()
    node(page, "draw").locator(".g-state:is([data-state=done], [data-state=cached])").wait_for()
    node(page, "save").locator(".g-state[data-state=done]").wait_for()
    head(page, "draw").click()
    page.get_by_label("Inspector").get_by_role("button", name="Show Width outside of the sub-graph").click()
    page.get_by_role("button", name="Inputs and outputs").click()
    page.get_by_label("Name of the sub-graph").fill("Finish")
    page.get_by_label("Name of Drawing · Width").fill("How wide")
    page.get_by_role("button", name="Out", exact=True).click()
    wide = sub.locator("[data-widget=width]")
    assert wide.inner_text().strip() == "How wide" and head(page, "sub-graph").inner_text() == "Finish"
    wide.locator("input").fill("256")
    wide.locator("input").press("Enter")
    sub.get_by_text("before the last change").wait_for()
    run(page)
    assert weft.studio.history.list("local", limit=1).items[0].width == 256

    head(page, "sub-graph").click()
    page.keyboard.press("u")
    node(page, "draw").wait_for()
    assert edges(page) == before and document(page)["definitions"] == {}
    run(page)
    page.locator(".w-dock-text").get_by_text("Nothing changed").wait_for()  # the same nodes, so the same keys
    for _ in range(2):
        page.keyboard.press("Control+z")
    until(page, "Object.keys(weft.graphView.model.whole.definitions).length === 1")
    page.keyboard.press("Control+Shift+z")


def test_a_change_inside_changes_every_place_and_errors_lead_inside(weft, open_page):
    page = show_graph(open_page(document=with_looks()))
    run(page)
    made = weft.studio.history.list("local", limit=2).items
    assert {(m.node, m.width) for m in made} == {("small/save", 128), ("wide/save", 256)}
    head(page, "wide").click()
    page.keyboard.press("m")
    node(page, "wide").get_by_text("Muted").wait_for()
    page.locator(".react-flow__pane").click(position={"x": 30, "y": 30})
    page.locator("body").press("p")
    node(page, "wide").locator(".g-plan[data-action=skipped]").wait_for()
    node(page, "small").locator(".g-plan[data-action=cached]").wait_for()
    page.locator("body").press("p")
    head(page, "small").click()
    page.keyboard.press("i")
    crumbs(page).get_by_text("Used in 2 places").wait_for()
    height = node(page, "draw").locator("[data-widget=height] input")
    height.fill("130")
    height.press("Enter")
    strip = page.locator(".g-problems")
    strip.get_by_text("2 problems").wait_for()
    page.keyboard.press("Escape")
    page.locator(".react-flow__pane").click(position={"x": 30, "y": 30})
    page.keyboard.press("o")
    for id in ("small", "wide"):
        node(page, id).locator(".g-error").get_by_text("Drawing").wait_for()
    strip.locator(".g-problem-head").click()
    strip.locator("li button").filter(has_text="Wide").click()
    crumbs(page).get_by_text("Wide").wait_for()
    until(page, "document.querySelector('.react-flow__node.selected')?.dataset.id === 'draw'")
    page.keyboard.press("Control+z")
    until(page, "weft.graphView.model.doc.nodes.find((n) => n.id === 'draw').widgets.height === 128")


def test_a_sub_graph_is_made_opened_and_unpacked_by_keyboard_in_the_list(open_page):
    page = show_graph(open_page(document=cheap()))
    page.get_by_role("radio", name="List").focus()
    page.keyboard.press("Enter")
    for title in ("Drawing", "Save picture"):
        page.get_by_label(f"Choose {title}", exact=True).focus()
        page.keyboard.press("Space")
    page.keyboard.press("Control+Shift+g")
    row = page.locator("[data-node=sub-graph]")
    row.locator(".g-row-body").wait_for()
    until(page, "document.activeElement.closest('[data-node=sub-graph]')")
    row.get_by_role("button", name="Open").focus()
    page.keyboard.press("Enter")
    until(page, "document.activeElement.classList.contains('g-root')")  # where the keys go on from
    draw = page.locator("[data-node=draw]")
    draw.locator("h3 button").focus()
    page.keyboard.press("Enter")
    for name in ("Show Height outside of the sub-graph", "Show Image outside of the sub-graph"):
        draw.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
    page.get_by_role("button", name="Inputs and outputs").focus()
    page.keyboard.press("Enter")
    field = page.get_by_label("Name of Drawing · Height")
    field.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("How high")
    page.get_by_role("button", name="Move How high up").focus()
    page.keyboard.press("Enter")
    page.locator(".g-root").focus()
    page.keyboard.press("o")
    until(page, "document.activeElement.closest('[data-node=sub-graph]')")
    row.get_by_role("textbox", name="How high").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("192")
    page.keyboard.press("Control+Enter")
    state(page, "done")
    row.locator(".g-state:is([data-state=done], [data-state=cached])").first.wait_for()
    given = document(page)["definitions"]["sub:sub-graph"]
    assert [o["label"] for o in given["inputs"]] == ["How high", "Layout"]
    assert [o["from"] for o in given["outputs"]] == [["draw", "image"]]
    row.get_by_role("button", name="Unpack").focus()
    page.keyboard.press("Enter")
    draw.wait_for()
    heights = [n["widgets"].get("height") for n in document(page)["nodes"] if n["id"] == "draw"]
    assert heights == [192] and document(page)["definitions"] == {}


def test_groups_and_notes_are_kept_in_the_list_by_keyboard(open_page):
    page = show_graph(open_page(document=cheap()))
    page.get_by_role("radio", name="List").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Add a note").focus()
    page.keyboard.press("Enter")
    until(page, "document.activeElement.closest('[data-note]')")
    page.keyboard.type("Plans are cheap.")
    for title in ("Plan from a sentence", "Drawing"):
        page.get_by_label(f"Choose {title}", exact=True).focus()
        page.keyboard.press("Space")
    page.keyboard.press("Control+g")
    title = page.get_by_label("Title of the group")
    title.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("Beginning")
    page.locator("[data-node=plan]").get_by_text("in Beginning").wait_for()
    kept = document(page)
    assert kept["notes"][0]["text"] == "Plans are cheap."
    assert [(g["title"], g["nodes"]) for g in kept["groups"]] == [("Beginning", ["plan", "draw"])]
    page.get_by_role("button", name="Choose its nodes").focus()
    page.keyboard.press("Enter")
    page.locator(".g-root").focus()
    page.keyboard.press("b")
    assert [n["mode"] for n in document(page)["nodes"]] == ["bypass", "bypass", "normal"]
    page.locator("[data-node=draw]").get_by_text("Bypassed").wait_for()
    for name in ("Ungroup", "Delete the note"):
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
    assert document(page)["groups"] == document(page)["notes"] == []
    for _ in range(2):
        page.locator(".g-root").focus()
        page.keyboard.press("Control+z")
    assert document(page)["groups"] and document(page)["notes"]


def test_sub_graphs_travel_by_clipboard_file_and_script(weft, open_page, tmp_path: Path):
    looks = with_looks()
    page = show_graph(open_page(document=looks))
    head(page, "wide").click()
    page.keyboard.press("Control+c")
    file_menu(page, "Export as Python")
    script = page.locator("dialog pre").inner_text()
    space: dict[str, Any] = {"__name__": "exported"}
    exec(compile(script, "exported.py", "exec"), space)  # noqa: S102 - our own script
    assert space["document"]().hash == looks.hash
    page.keyboard.press("Escape")
    with page.expect_download() as download:
        file_menu(page, "Save")
    saved = loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert saved.hash == looks.hash and "draw_layout" in saved.kinds

    file_menu(page, "New graph")
    page.keyboard.press("Control+v")
    node(page, "wide").wait_for()
    assert list(document(page)["definitions"]) == ["sub:look"] and kinds(page) == ["sub:look"]
    page.keyboard.press("Control+v")
    node(page, "wide_2").wait_for()
    assert list(document(page)["definitions"]) == ["sub:look"], "equal ones are shared"
    page.locator(".react-flow__pane").click(position={"x": 30, "y": 30})
    page.keyboard.press("Shift+A")
    page.keyboard.type("look")
    page.get_by_role("option", name="Look Sub-graphs").wait_for()
    page.keyboard.press("Escape")
    (tmp_path / "saved.json").write_text(json.dumps(to_json(saved)), encoding="utf-8")
    page.locator(".g-root input[type=file][accept*=json]").set_input_files(tmp_path / "saved.json")
    node(page, "small").wait_for()
    run(page)
    answer = weft.studio.run(saved)
    assert answer.status == "finished"


def test_a_sub_graph_on_a_phone_and_in_the_dark(open_page):
    page = show_graph(open_page("?__theme=dark", document=with_looks(), **PHONE))
    page.locator("[data-node=small] h3 button").tap()
    page.locator("[data-node=small] .g-row-body").get_by_role("button", name="Open").tap()
    crumbs(page).get_by_text("Small").wait_for()
    page.locator("[data-node=draw]").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Inputs and outputs").tap()
    page.get_by_label("Name of the sub-graph").fill("Sight")
    page.get_by_label("Close", exact=True).tap()
    crumbs(page).get_by_role("button", name="Graph").tap()
    page.locator("[data-node=wide]").get_by_text("Sight").wait_for(state="attached")
    small = page.evaluate(
        "() => [...document.querySelectorAll('.g-root button, .g-root select, .g-root input')].filter((e) =>"
        " e.offsetParent && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert not small, "too small to touch"


def test_two_browsers_at_once_see_their_own_runs(weft, open_page):
    words = (SENTENCE + " and a green tree", "a pink boat at the top")
    pages = [show_graph(open_page(document=new().set("plan", "sentence", text))) for text in words]
    for page in pages:
        node(page, "save").wait_for()
    before = {item.id for item in weft.studio.history.list("local", limit=50).items}
    for page in pages:
        page.locator("#weft-graph-run").click()
    for page in pages:
        state(page, "done")
        node(page, "save").locator(".g-picture img").wait_for()
    runs = [page.evaluate("weft.run.snapshot.run") for page in pages]
    assert runs[0] != runs[1]
    made = {i.run: i for i in weft.studio.history.list("local", limit=50).items if i.id not in before}
    for page, own, text in zip(pages, runs, words, strict=True):
        assert made[own].prompt == text
        assert page.evaluate("weft.run.snapshot.pictures.map((p) => p.id)") == [made[own].id]
    pages[0].evaluate("weft.graphView.cells.set('state:save', undefined)")
    pages[1].locator("#weft-graph-run").click()
    pages[1].locator(".w-dock-text").get_by_text("Nothing changed").wait_for()
    assert node(pages[0], "save").locator(".g-state").count() == 0, "the other's run is not shown here"

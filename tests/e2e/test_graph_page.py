"""The Graph tab as people use it, in Chromium; an outside request or a console error fails a test, too."""

from __future__ import annotations

import json

from e2e_graph_hands import (
    chained,
    cheap,
    document,
    drag,
    edges,
    file_menu,
    kinds,
    many,
    middle,
    node,
    show_graph,
    socket,
    until,
    zoom,
)
from e2e_hands import HOSTILE, MARKS, PHONE, reload, state

from studio.graph.document import load, loads, to_json

pytestmark = MARKS
DRAWN = {("plan_layout.layout", "draw_layout.layout"), ("draw_layout.image", "save_image.image")}


def test_a_graph_is_drawn_by_mouse_from_nothing_and_run(weft, open_page):
    page = show_graph(open_page())
    file_menu(page, "New graph")
    page.get_by_text("A graph begins with one node").wait_for()
    page.mouse.dblclick(300, 300)
    page.keyboard.type("plan from")
    page.keyboard.press("Enter")
    plan = node(page, "plan_layout")
    plan.locator("textarea").fill("a blue star on the left and a red house on the right")  # in no other test
    page.keyboard.press("Escape")

    page.locator(".react-flow__pane").click(position={"x": 30, "y": 30})  # the inspector steps aside
    drag(page, socket(page, "plan_layout", "layout", "out"), (660.0, 300.0))
    palette = page.get_by_role("dialog", name="Add a node")
    palette.get_by_text("Takes layout").wait_for()
    assert palette.locator("[data-kind=load_model]").count() == 0, "only what fits the wire is offered"
    page.keyboard.type("draw")
    page.keyboard.press("Enter")
    node(page, "draw_layout").wait_for()
    page.locator(".react-flow__pane").click(position={"x": 30, "y": 30})
    page.mouse.dblclick(1010, 420)
    page.keyboard.type("save pict")
    page.keyboard.press("Enter")
    page.locator(".react-flow__pane").click(position={"x": 30, "y": 30})
    drag(page, socket(page, "draw_layout", "image", "out"), socket(page, "save_image", "image", "in"))
    until(page, "document.querySelectorAll('.react-flow__edge').length === 2")
    assert edges(page) == DRAWN

    page.get_by_role("button", name="Run", exact=True).click()
    state(page, "done")
    for id in ("plan_layout", "draw_layout", "save_image"):
        node(page, id).locator(".g-state[data-state=done]").wait_for()
    node(page, "save_image").locator(".g-picture img").wait_for()
    until(page, "document.querySelector('.g-picture img').naturalWidth > 32")
    assert weft.studio.history.list("local", limit=1).items[0].node == "save_image"
    # after an edit the old result is marked, and the nodes behind it are no longer called done
    plan.locator("textarea").fill("a green tree")
    page.get_by_text("before the last change").wait_for()
    assert node(page, "save_image").locator(".g-state").count() == 0


def test_the_same_graph_is_made_and_run_by_keyboard_in_the_list(open_page):
    page = show_graph(open_page())
    file_menu(page, "New graph")
    page.get_by_role("radio", name="List").focus()
    page.keyboard.press("Enter")
    search = page.get_by_label("Search nodes")
    for words, id in (("plan from", "plan_layout"), ("draw", "draw_layout"), ("save pict", "save_image")):
        search.focus()
        page.keyboard.type(words)
        page.keyboard.press("Enter")
        page.locator(f"[data-node={id}] .g-row-body").wait_for()
    row = page.locator("[data-node=save_image]")
    row.get_by_label("Input Image").focus()
    page.keyboard.press("ArrowDown")
    page.locator("[data-node=draw_layout] h3 button").first.focus()
    page.keyboard.press("Enter")
    page.locator("[data-node=draw_layout]").get_by_label("Input Layout").focus()
    page.keyboard.press("ArrowDown")
    page.locator("[data-node=plan_layout] h3 button").first.focus()
    page.keyboard.press("Enter")
    page.locator("[data-node=plan_layout] textarea").focus()
    # other boxes than in any other test: an equal drawing would leave the saved picture unchanged
    words = "a green ring at the top and a pink boat at the bottom right"
    page.keyboard.type(words)
    page.keyboard.press("Control+Enter")
    state(page, "done")
    page.locator("[data-node=save_image] .g-state[data-state=done]").wait_for()
    assert edges(page) == DRAWN
    assert document(page)["nodes"][0]["widgets"] == {"sentence": words}
    page.locator("[data-node=plan_layout]").get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    assert kinds(page) == ["draw_layout", "save_image"]


def test_what_does_not_fit_is_refused_with_a_word_why(open_page):
    page = show_graph(open_page(document=chained()))
    said = page.locator(".g-said")
    drag(page, socket(page, "plan", "layout", "out"), socket(page, "save", "image", "in"))
    said.get_by_text("“Image” takes picture, not layout.").wait_for()
    drag(page, socket(page, "tidy", "layout", "out"), socket(page, "add", "layout", "in"))
    said.get_by_text("feed each other in a circle").wait_for()
    before = edges(page)
    drag(page, socket(page, "plan", "layout", "out"), socket(page, "tidy", "layout", "in"))  # replaces
    until(page, "weft.graphView.model.doc.edges.some((e) => e.from[0] === 'plan' && e.to[0] === 'tidy')")
    assert edges(page) - before == {("plan.layout", "tidy.layout")}
    assert before - edges(page) == {("add.layout", "tidy.layout")}


def test_edits_are_undone_and_nodes_copied_muted_and_grouped(open_page):
    page = show_graph(open_page(document=cheap()))
    start = document(page)
    draw = node(page, "draw")
    draw.locator(".g-head strong").click()
    inspector = page.get_by_label("Inspector")
    inspector.get_by_text("Show a layout as a picture").wait_for()

    page.keyboard.press("m")
    draw.get_by_text("Muted").wait_for()
    page.keyboard.press("b")
    draw.get_by_text("Bypassed").wait_for()
    page.keyboard.press("b")
    assert document(page)["nodes"][1]["mode"] == "normal"
    page.keyboard.press("Control+d")
    node(page, "draw_2").wait_for()
    assert ("plan.layout", "draw_2.layout") in edges(page)
    page.keyboard.press("Delete")
    node(page, "draw_2").wait_for(state="detached")
    page.keyboard.press("Control+z")
    node(page, "draw_2").wait_for()
    page.keyboard.press("Control+Shift+z")
    node(page, "draw_2").wait_for(state="detached")

    x, y = middle(draw.locator(".g-head strong"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 120, steps=5)
    page.mouse.up()
    until(page, "weft.graphView.model.node('draw').pos[1] > 40")
    page.keyboard.press("Control+z")
    assert document(page)["nodes"][1]["pos"] == start["nodes"][1]["pos"]
    page.keyboard.press("Control+a")
    inspector.get_by_text("3 nodes").wait_for()
    page.keyboard.press("Control+c")
    page.keyboard.press("Control+v")
    until(page, "weft.graphView.model.doc.nodes.length === 6")
    assert ("draw_2.image", "save_2.image") in edges(page)
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+g")
    until(page, "document.activeElement.ariaLabel === 'Title of the group'")  # no letter is a shortcut
    page.keyboard.type("My group\n")
    made = document(page)
    assert made["groups"][0]["title"] == "My group" and {n["mode"] for n in made["nodes"]} == {"normal"}
    page.keyboard.press("m")  # Enter gave the keys back
    until(page, "weft.graphView.model.doc.nodes.every((n) => n.mode === 'mute')")


def test_what_graph_edits_create_shows_and_the_other_way_round(weft, open_page):
    page = open_page(document=cheap())
    prompt = page.locator(".w-prompt textarea")
    prompt.wait_for()
    show_graph(page)
    area = node(page, "plan").locator("textarea")
    area.fill("two trees")
    width = node(page, "draw").locator("[data-widget=width] input")
    width.fill("192")
    width.press("Enter")
    node(page, "draw").locator(".g-head strong").click()
    page.get_by_label("Inspector").get_by_role("button", name="Show Width on Create").click()
    page.get_by_role("tab", name="Create").click()
    until(page, "document.querySelector('.w-prompt textarea').value === 'two trees'")
    shown = page.locator(".w-field[data-node=draw][data-widget=width] input")
    shown.wait_for(state="attached")
    until(page, "document.querySelector('.w-field[data-node=draw][data-widget=width] input').value === '192'")

    prompt.fill("a yellow boat")
    page.get_by_role("tab", name="Graph").click()
    until(page, "weft.graphView.model.node('plan').widgets.sentence === 'a yellow boat'")
    assert area.input_value() == "a yellow boat"
    page.locator(".react-flow__pane").click(position={"x": 30, "y": 30})
    page.keyboard.press("Control+z")
    until(page, "weft.graphView.model.node('plan').widgets.sentence === 'two trees'")
    file_menu(page, "Ready workflows")
    page.locator("dialog [data-template=text-to-image]").click()
    node(page, "sample").wait_for()
    page.keyboard.press("Control+z")
    node(page, "plan").wait_for()
    document(page)
    reload(page)
    page.locator(".w-field[data-node=draw][data-widget=width]").wait_for(state="attached")
    assert prompt.input_value() == "two trees"


def test_a_run_from_create_shows_in_graph_although_it_was_never_opened(open_page):
    page = open_page(document=cheap())
    page.locator(".w-prompt textarea").wait_for()
    page.locator("#weft-go").click()
    state(page, "done")
    show_graph(page)
    node(page, "save").locator(".g-picture img").wait_for()
    node(page, "save").locator(".g-head strong").click()  # what is pressed is not hidden by the inspector
    until(page, "document.querySelector('.g-selected').getBoundingClientRect().right < innerWidth - 318")
    page.evaluate("document.querySelector('.g-root').marked = true")
    page.get_by_role("tab", name="History").click()
    page.get_by_role("tab", name="Graph").click()
    assert page.evaluate("document.querySelector('.g-root').marked"), "a change of tabs keeps the editor"


def test_a_run_is_not_told_on_another_graph(open_page):
    page = open_page(document=cheap())
    page.locator("#weft-go").click()
    state(page, "done")
    own = page.evaluate("JSON.stringify(weft.doc.current)")
    page.locator("[data-template=text-to-image]").click()
    until(page, "weft.doc.template === 'text-to-image'")
    show_graph(page)
    node(page, "save").wait_for()
    said = ".g-node .g-picture, .g-node .g-state:is([data-state=done], [data-state=cached])"
    assert page.locator(said).count() == 0, "this graph never ran, whatever its nodes are called"
    page.evaluate("(text) => weft.doc.load(JSON.parse(text), weft.doc.panel)", own)
    node(page, "save").locator(".g-picture img").wait_for()
    assert page.locator(f"{said} >> visible=true").count() >= 4, "back at what ran, it is told"
    page.get_by_role("tab", name="Create").click()
    page.locator("[data-template=text-to-image]").click()
    until(page, "weft.doc.template === 'text-to-image'")
    show_graph(page)
    node(page, "decode").wait_for()
    assert page.locator(said).count() == 0


def test_problems_are_named_with_their_mend_and_the_plan_says_why(open_page):
    data = to_json(cheap())
    data["edges"] = data["edges"][1:]
    data["nodes"][0]["widgets"]["sentence"] = "three boats by the sea"  # not in the cache yet
    page = show_graph(open_page(document=load(data)))
    strip = page.locator(".g-problems")
    strip.get_by_text("1 thing to add").wait_for()  # calm, until somebody wants to run it
    error = node(page, "draw").locator(".g-error")
    assert "not connected" in error.inner_text()
    page.get_by_role("button", name="Run", exact=True).click()
    state(page, "error", timeout=30_000)
    strip.get_by_text("1 problem").wait_for()
    error.get_by_role("button", name="Add what fits").click()  # the one fitting output is taken
    strip.wait_for(state="detached")
    assert ("plan.layout", "draw.layout") in edges(page)

    page.locator("body").press("p")
    node(page, "draw").locator(".g-plan[data-action=run]").wait_for()
    assert node(page, "plan").get_attribute("class") and "to run" in page.locator(".g-bar").inner_text()
    node(page, "draw").locator(".g-head strong").click()
    page.get_by_label("Inspector").get_by_role("button", name="Run to here").click()
    state(page, "done")
    node(page, "draw").locator(".g-plan[data-action=cached]").wait_for()
    assert node(page, "save").locator(".g-state").count() == 0, "only what was asked for ran"
    steps = node(page, "draw").locator("[data-widget=width] input")
    steps.fill("130")
    steps.press("Enter")
    node(page, "draw").locator(".g-fault").wait_for()
    assert "Width: 130" in strip.inner_text()
    page.locator("#weft-create li[data-level=error]", has_text="130").wait_for(state="attached")


def test_files_go_out_and_come_in_with_missing_plugins_kept(weft, open_page, pictures):
    page = show_graph(open_page(document=cheap()))
    page.locator("#weft-graph-name", has_text="A graph of your own").click()
    page.keyboard.type("Two stars")
    page.keyboard.press("Enter")
    page.locator(".g-changed").wait_for()
    with page.expect_download() as download:
        file_menu(page, "Save")
    assert download.value.suggested_filename == "two-stars.json"
    page.locator(".g-changed").wait_for(state="detached")  # what is in a file is unchanged
    saved = json.loads(download.value.path().read_text())
    assert saved["kinds"]["draw_layout"]["outputs"] == [["image", "Image"]]
    file_menu(page, "Export as Python")
    script = page.locator("dialog pre").inner_text()
    assert "plan.layout" in script and compile(script, "x.py", "exec")
    page.keyboard.press("Escape")
    file_menu(page, "Export as an API call")
    assert f'Client("{weft.url}")' in page.locator("dialog pre").inner_text()
    page.keyboard.press("Escape")

    saved["nodes"].append({"id": "lost", "kind": "gone", "widgets": {"amount": 3}, "pos": [0, 500]})
    saved["kinds"]["gone"] = {"title": "Glitter", "origin": "package glitter", "inputs": [["image", "Image"]],
                              "outputs": [["image", "Image"]], "widgets": [["amount", "Slider"]]}  # fmt: skip
    saved["edges"].append({"from": ["draw", "image"], "to": ["lost", "image"]})
    (pictures / "lost.json").write_text(json.dumps(saved), encoding="utf-8")
    page.locator(".g-root input[type=file][accept*=json]").set_input_files(pictures / "lost.json")
    lost = node(page, "lost")
    lost.get_by_text("its plugin is not installed").wait_for()
    assert "Glitter" in lost.inner_text() and "package glitter" in lost.inner_text()
    kept = next(n for n in document(page)["nodes"] if n["id"] == "lost")
    assert kept["widgets"] == {"amount": 3} and ("draw.image", "lost.image") in edges(page)

    run = weft.studio.run(cheap())
    (pictures / "made.png").write_bytes(weft.studio.history.handed_out("local", run.outputs[0].generation))
    page.locator(".g-root input[type=file][accept*=json]").set_input_files(pictures / "made.png")
    lost.wait_for(state="detached")
    assert kinds(page) == ["draw_layout", "plan_layout", "save_image"]
    page.locator("#weft-graph-name", has_text="made").wait_for()  # the name of the file


def test_hostile_texts_stay_texts(open_page):
    data = to_json(cheap())
    data["nodes"][0]["title"] = data["nodes"][1]["title"] = HOSTILE
    data["nodes"][0]["widgets"]["sentence"] = HOSTILE
    data["nodes"].append({"id": "x", "kind": HOSTILE, "widgets": {HOSTILE: HOSTILE}, "pos": [0, 500]})
    data["nodes"] += [{"id": "constructor", "kind": "constructor", "widgets": {"toString": 1}},
                      {"id": "__proto__", "kind": "__proto__", "widgets": {}, "pos": [300, 700]}]  # fmt: skip
    data["kinds"] = {HOSTILE: {"title": HOSTILE, "origin": HOSTILE, "inputs": [[HOSTILE, HOSTILE]]}}
    data["notes"] = [{"id": "note", "text": HOSTILE, "pos": [400, 500]}, HOSTILE]
    data["groups"] = [{"id": "g", "title": HOSTILE, "nodes": ["plan"]}, 5]
    page = open_page(document=loads(json.dumps(data)))
    alarms = []
    page.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    show_graph(page)
    node(page, "x").get_by_text("its plugin is not installed").wait_for()
    node(page, "x").locator(".g-head strong").click()
    page.locator(".g-problems button").first.click()
    assert HOSTILE in page.locator(".g-problems").inner_text()
    page.get_by_role("radio", name="List").click()
    page.locator("[data-node=plan] h3 button").click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#weft-job .w-state:is([data-state=done], [data-state=error])").wait_for()
    assert not alarms and page.locator("img[src='x']").count() == 0
    kept = document(page)
    assert kept["notes"][1] == HOSTILE and kept["groups"][1] == 5


def test_dark_and_phone(open_page):
    page = show_graph(open_page("?__theme=dark", document=cheap()))
    node(page, "draw").wait_for()
    pairs = ((".g-head strong", ".g-node"), (".g-widget > label", ".g-node"), (".g-btn", ".g-bar"))
    for text, ground in pairs:
        assert page.evaluate(CONTRAST, [text, ground]) > 4.5, (text, ground)

    page = show_graph(open_page(document=cheap(), **PHONE))
    page.locator(".g-row[data-node=plan] h3 button").tap()
    page.locator(".g-row[data-node=plan] textarea").fill("a phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    small = page.evaluate(
        "() => [...document.querySelectorAll('.g-root button, .g-root select')].filter((e) => e.offsetParent"
        " && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert not small, "too small to touch"
    page.get_by_role("radio", name="Canvas").tap()
    whole = page.get_by_role("button", name="Show all 3 nodes")  # it opened at its end, readable
    whole.wait_for()
    assert zoom(page) > 0.6 and 0 < node(page, "save").bounding_box()["x"] < 390
    whole.tap()
    whole.wait_for(state="detached")
    page.evaluate("weft.graphView.model.change({...weft.graphView.model.doc, edges: []})")
    socket(page, "plan", "layout", "out").tap()  # tap, tap: joined
    socket(page, "draw", "layout", "in").tap()
    until(page, "weft.graphView.model.doc.edges.length === 1")
    page.get_by_role("button", name="Details").tap()
    page.get_by_label("Inspector").get_by_text("Show a layout as a picture").wait_for()
    page.get_by_label("Close the inspector").tap()
    page.locator("#weft-graph-run").tap()
    state(page, "error", timeout=30_000)  # the picture to save is missing now


def test_two_hundred_nodes_and_the_sheet_of_keys(open_page):
    page = show_graph(open_page(document=many(200)))
    page.locator(".react-flow__node").first.wait_for()
    assert len(document(page)["nodes"]) == 200
    took = page.evaluate(MESSAGES)
    assert took < 200, f"{took} ms for one status message"  # a fact of scale, not a measurement
    page.locator("body").press("?")
    sheet = page.locator("dialog").inner_text()
    for words in ("Shift", "Undo", "Mute", "Bypass", "Fit the view", "Save as a file", "Group"):
        assert words in sheet
    page.keyboard.press("Escape")


MESSAGES = """() => { const started = performance.now();
  for (let seq = 0; seq < 10; seq += 1) {
    weft.emit('run', {run: 'r', seq, job: {state: 'running'}, nodes: Object.fromEntries(
      weft.graphView.model.doc.nodes.map((n, i) => [n.id, {state: i < 20 * seq ? 'done' : 'queued'}]))});
  }
  const took = (performance.now() - started) / 10;
  weft.emit('run', {run: null, seq: 0, job: {state: 'idle'}, nodes: {}});
  return took; }"""
CONTRAST = """([text, ground]) => {
  const lum = (colour) => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number)
    .map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const a = lum(getComputedStyle(document.querySelector(text)).color);
  const b = lum(getComputedStyle(document.querySelector(ground)).backgroundColor);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }"""

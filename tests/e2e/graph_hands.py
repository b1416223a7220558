"""What the browser tests do in the Graph tab; `tests/e2e/conftest.py` hands it out as `e2e_graph_hands`."""

from __future__ import annotations

from typing import Any

from studio.graph.document import Graph, load, to_json

SENTENCE = "a red star on the left and a blue house on the right"


def cheap() -> Graph:
    """A graph without a model: a sentence is planned, drawn and saved."""
    return load({
        "format": "weft/graph", "version": 1,
        "nodes": [
            {"id": "plan", "kind": "plan_layout", "widgets": {"sentence": SENTENCE}, "pos": [0, 0]},
            {"id": "draw", "kind": "draw_layout", "title": "Drawing",
             "widgets": {"width": 128, "height": 128},
             "pos": [360, 0]},
            {"id": "save", "kind": "save_image", "widgets": {"name": "plan"}, "pos": [720, 0]},
        ],
        "edges": [{"from": ["plan", "layout"], "to": ["draw", "layout"]},
                  {"from": ["draw", "image"], "to": ["save", "image"]}],
        "exposed": [{"node": "plan", "widget": "sentence", "label": "Prompt", "order": 1}],
    })  # fmt: skip


def chained() -> Graph:
    data = to_json(cheap())
    data["nodes"] = [
        {"id": "plan", "kind": "plan_layout", "pos": [0, 0]},
        {"id": "add", "kind": "add_region", "pos": [340, 0]},
        {"id": "tidy", "kind": "tidy_layout", "pos": [680, 0]},
        {"id": "save", "kind": "save_image", "pos": [680, 260]},
    ]
    data["edges"] = [
        {"from": ["plan", "layout"], "to": ["add", "layout"]},
        {"from": ["add", "layout"], "to": ["tidy", "layout"]},
    ]
    return load({**data, "exposed": []})


def many(count: int) -> Graph:
    """A wide graph of `count` nodes, for what must stay quick."""
    nodes = [
        {"id": f"n{i}", "kind": "plan_layout" if i % 2 == 0 else "draw_layout",
         "pos": [(i % 20) * 330, (i // 20) * 460], "widgets": {}}
        for i in range(count)
    ]  # fmt: skip
    edges = [{"from": [f"n{i}", "layout"], "to": [f"n{i + 1}", "layout"]} for i in range(0, count - 1, 2)]
    return load({"format": "weft/graph", "version": 1, "nodes": nodes, "edges": edges})


def show_graph(page: Any) -> Any:
    page.get_by_role("tab", name="Graph").click()
    page.locator(".g-root").wait_for()
    return page


def node(page: Any, id: str) -> Any:
    return page.locator(f".react-flow__node[data-id='{id}']")


def socket(page: Any, id: str, name: str, side: str) -> Any:
    return node(page, id).locator(f".react-flow__handle[data-handleid='{name}'][data-side={side}]")


def zoom(page: Any) -> float:
    shown = "getComputedStyle(document.querySelector('.react-flow__viewport')).transform"
    return page.evaluate(f"new DOMMatrix({shown}).a")


def middle(locator: Any) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Any, start: Any, end: Any) -> None:
    """Drags from a locator to a locator or a point, in steps as a hand does."""
    x, y = middle(start)
    to_x, to_y = end if isinstance(end, tuple) else middle(end)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + to_x) / 2, (y + to_y) / 2, steps=4)
    page.mouse.move(to_x, to_y, steps=4)
    page.mouse.up()


def document(page: Any) -> dict[str, Any]:
    """The page's document once every edit of the editor is in it."""
    return page.evaluate("() => { weft.graphView.flush(); return weft.doc.current; }")


def edges(page: Any) -> set[tuple[str, str]]:
    return {(".".join(e["from"]), ".".join(e["to"])) for e in document(page)["edges"]}


def kinds(page: Any) -> list[str]:
    return sorted(n["kind"] for n in document(page)["nodes"])


def until(page: Any, script: str, timeout: float = 20_000) -> None:
    page.wait_for_function(script, timeout=timeout)


def file_menu(page: Any, entry: str) -> None:
    page.locator(".g-bar").get_by_role("button", name="File").click()
    page.get_by_role("menuitem", name=entry).click()

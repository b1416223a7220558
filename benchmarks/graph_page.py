"""How fast the graph editor takes a status message with many nodes, in a real headless Chromium.

`python benchmarks/graph_page.py [COUNT]` prints one JSON object in milliseconds: the time until the nodes are
drawn, and one status message (the snapshot of all nodes, about an eighth of them changed) until React has
drawn it, and until the next frame, which a busy machine delays. "near": the view one works in; "all":
every node on the screen.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import sync_playwright

from studio.graph.document import Graph, dumps, load
from studio.policy import Policy
from studio.settings import Settings
from studio.studio import Studio
from studio.ui.build import serve

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
MESSAGES = """async (count) => {
  const ids = weft.graphView.model.doc.nodes.map((n) => n.id), times = [], frames = [];
  for (let seq = 0; seq < count; seq += 1) {
    const here = (seq * ids.length) / count; // the run has come this far; a tenth of the nodes are in work
    const state = (i) => (i < here ? {state: 'done', seconds: 1}
      : i > here + ids.length / 10 ? {state: 'queued'}
      : {state: 'running', progress: seq / count, text: `${seq}/${count}`});
    const nodes = Object.fromEntries(ids.map((id, i) => [id, state(i)]));
    const snapshot = {run: 'r', seq, job: {state: 'running'}, nodes};
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const begun = performance.now();
    weft.emit('run', snapshot);
    for (let i = 0; i < 5; i += 1) await Promise.resolve(); // React draws in a microtask
    times.push(performance.now() - begun);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    frames.push(performance.now() - begun);
  }
  const drawn = document.querySelectorAll('.g-node[data-state=done]').length;
  if (!drawn) throw new Error('the states are not drawn');
  weft.emit('run', {run: null, seq: 0, job: {state: 'idle'}, nodes: {}});
  return [times, frames]; }"""


def wide(count: int) -> Graph:
    """Pairs of nodes with widgets and an edge between them, in rows of twenty."""
    nodes = [
        {
            "id": f"n{i}",
            "kind": "plan_layout" if i % 2 == 0 else "draw_layout",
            "pos": [(i % 20) * 330, (i // 20) * 460],
        }
        for i in range(count)
    ]
    edges = [{"from": [f"n{i}", "layout"], "to": [f"n{i + 1}", "layout"]} for i in range(0, count - 1, 2)]
    return load({"format": "weft/graph", "version": 1, "nodes": nodes, "edges": edges})


def main(count: int) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as home, sync_playwright() as started:
        studio = Studio(
            Settings(home=Path(home), port=0, device="cpu", open_browser=False), Policy.local(), serve=True
        )
        served = serve(studio)
        browser = started.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1360, "height": 860})
        start = json.dumps(dumps(wide(count)))
        page.add_init_script(
            f"localStorage['weft-document'] ||= {start}; localStorage['weft-guided'] = 'yes'"
        )
        page.goto(served.url)
        page.locator("#weft-go").wait_for()
        begun = time.perf_counter()
        page.get_by_role("tab", name="Graph").click()
        page.locator(".react-flow__node").first.wait_for()
        found: dict[str, Any] = {"nodes": count, "drawn_ms": round((time.perf_counter() - begun) * 1000)}
        page.wait_for_timeout(2000)
        found["all"] = measured(page)
        page.locator(".react-flow__node").first.locator("strong").click()
        page.evaluate("document.querySelectorAll('.react-flow__controls-zoomin').forEach((b) => b.click())")
        for _ in range(8):
            page.locator(".react-flow__controls-zoomin").click()
        page.wait_for_timeout(1000)
        found["near"] = measured(page)
        browser.close()
        served.close()
        studio.close()
    print(json.dumps(found, indent=1))


def measured(page: Any) -> dict[str, float]:
    times, frames = page.evaluate(MESSAGES, 40)
    return {
        "on_screen": page.locator(".react-flow__node").count(),
        "message_ms_median": round(statistics.median(times[3:]), 1),
        "message_ms_least": round(min(times[3:]), 1),
        "frame_ms_median": round(statistics.median(frames[3:]), 1),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

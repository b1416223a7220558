"""What is pure in the page's scripts, run by node: documents that were left, boxes, phrases, undo."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from studio.settings import ROOT

NODE = shutil.which("node")
BEGIN = """
const fs = require("fs"), assert = require("assert");
globalThis.window = globalThis;
const kept = {};
window.weft = {
  remember: { get: (k) => kept[k] ?? null, set: (k, v) => { kept[k] = v; } },
  parse: (text, other = {}) => { try { return JSON.parse(text) ?? other; } catch { return other; } },
  makers: {}, el: () => null, icon: () => null, doc: {}, field: () => null,
};
"""


def node(code: str, *scripts: str) -> None:
    """Runs code behind scripts of the page; an assertion that fails is told with its place."""
    if NODE is None:
        pytest.skip("no node on this machine")
    loads = "".join(
        f'eval(fs.readFileSync({json.dumps(str(ROOT / "assets/ui" / s))}, "utf8"));' for s in scripts
    )
    done = subprocess.run([NODE, "-"], input=BEGIN + loads + code, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]


def test_documents_that_were_left_come_back_one_of_each_template() -> None:
    node(
        """
        let text = "junk", at = 0;
        const left = weft.shelf({ read: () => text, write: (t) => { text = t; }, now: () => (at += 1) });
        const nodes = (size) => ({ nodes: [{ id: "x".repeat(size) }] });
        const one = (template, size = 1) => ({ template, panel: [], document: nodes(size) });
        assert.deepEqual(left.list(), []);
        left.put(one("regions"));
        left.put(one("edit"));
        left.put({ ...one("regions"), panel: [7] });
        assert.deepEqual(left.list().map((e) => [e.template, e.at]), [["regions", 3], ["edit", 2]]);
        assert.deepEqual(left.get("regions").panel, [7]);
        assert.equal(left.newest((e) => e.panel.length === 0).template, "edit");
        assert.equal(left.get("no such"), null);
        for (let i = 0; i < 40; i++) left.put(one("t" + i));
        assert.equal(left.list().length, 24);
        for (const big of ["a", "b", "c"]) left.put(one(big, 700000));
        assert.deepEqual(left.list().map((e) => e.template), ["c", "b"]); // the oldest go
        const odd = '[7, null, {"template": 1}, {"template": "a", "document": {}, "panel": []}]';
        for (const junk of ["null", "7", odd]) {
          text = junk;
          assert.deepEqual(left.list(), []);
        }
        """,
        "kept.js",
    )


def test_what_the_browser_does_not_store_is_held_while_the_page_is_open() -> None:
    node(
        """
        weft.remember.set = () => {};
        weft.left.put({ template: "a", panel: [], document: { nodes: [] } });
        assert.equal(weft.left.get("a").template, "a");
        """,
        "kept.js",
    )


def test_a_new_box_takes_a_free_place_and_else_covers_least() -> None:
    node(
        """
        const meet = (a, b, k) => Math.max(0, Math.min(a[k + 2], b[k + 2]) - Math.max(a[k], b[k]));
        const share = (a, b) => meet(a, b, 0) * meet(a, b, 1);
        assert.deepEqual(weft.freePlace([]), [0.25, 0.25, 0.75, 0.75]);
        const boxes = [];
        for (let i = 0; i < 16; i++) {
          const box = weft.freePlace(boxes);
          assert.ok(box.every((edge) => edge >= 0 && edge <= 1) && box[2] - box[0] >= 0.25);
          assert.ok(i > 12 || boxes.every((other) => share(box, other) < 1e-9), `box ${i} lies on another`);
          boxes.push(box);
        }
        assert.deepEqual(weft.freePlace([[0, 0, 1, 0.5]]), [0, 0.5, 0.5, 1]);
        """,
        "kept.js",
    )


def test_a_word_brings_what_is_said_of_it() -> None:
    node(
        """
        const text = "A large green star on the left, blue house and moon; two old trees";
        const said = (word) => weft.phraseOf(text, word);
        assert.deepEqual(["star", "house", "moon", "trees", "left", "on", "boat"].map(said),
          ["A large green star", "blue house", "moon", "two old trees", "left", "on", "boat"]);
        """,
        "kept.js",
        "regions.js",
    )


def test_undo_of_a_layout_takes_its_prompt_along_and_brings_back_one_that_was_swapped() -> None:
    node(
        """
        let list = [], prompt = "a";
        const words = { read: () => prompt, write: (t) => { prompt = t; } }, write = (l) => { list = l; };
        const store = weft.regionStore({ read: () => list, write, ratio: () => 1, words });
        store.add({ box: [0, 0, 0.5, 0.5] }, { focus: false });
        store.mark();
        prompt = "b";
        store.undo();
        assert.deepEqual([prompt, list.length], ["a", 1]);
        store.undo();
        assert.deepEqual([prompt, list.length], ["a", 0]);
        store.redo();
        store.redo();
        assert.deepEqual([prompt, list.length], ["b", 1]);
        store.add({}, { focus: false });
        store.add({}, { focus: false });
        assert.equal(new Set(list.map((r) => String(r.box))).size, 3);
        store.choose("r3");
        store.remove("r1"); // another than the chosen one
        assert.equal(store.chosen, "r3");
        store.saw();
        [list, prompt] = [[], "another document"];
        store.swapped();
        store.undo();
        assert.deepEqual([prompt, list.map((r) => r.id)], ["b", ["r2", "r3"]]);
        store.saw();
        store.swapped(); // the same list: no step
        store.redo();
        assert.deepEqual(list, []);
        """,
        "kept.js",
        "regions.js",
    )

// node --test src/ : the pure part of the editor.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as d from "./doc.js";
import { SHORTCUTS, shortcutOf } from "./keys.js";
import { Cells, Model, follow, outdate, receiveRun } from "./store.js";

const socket = (name, type, more = {}) => ({ name, type, label: name, required: true, many: false, ...more });
const registry = {
  types: { Model: { word: "model" }, Latent: { word: "latent picture" }, Image: { word: "picture" } },
  categories: { Model: "#111111", Image: "#222222" },
  nodes: {
    load: { kind: "load", title: "Load model", category: "Model", version: 2, help: "Weights.", inputs: [], outputs: [socket("model", "Model", { line: ["Model"] })], widgets: [socket("ref", "Text", { kind: "text", default: "a" })] },
    sample: { kind: "sample", title: "Sample", category: "Model", help: "", inputs: [socket("model", "Model"), socket("many", "Latent", { many: true, required: false })], outputs: [socket("latent", "Latent", { line: ["Latent"] }), socket("list", "Latent", { line: ["Latent"], many: true })], widgets: [socket("steps", "Int", { kind: "slider", default: 20 }), socket("scale", "Float", { kind: "slider", default: 3 })] },
    decode: { kind: "decode", title: "Decode", category: "Image", help: "To a picture.", inputs: [socket("latent", "Latent")], outputs: [socket("image", "Image", { line: ["Image"] }), socket("count", "Int", { line: ["Int"] }), socket("sub", "Special", { line: ["Special", "Latent"] })], widgets: [] },
  },
};
function chain() {
  let doc = d.emptyDocument();
  for (const kind of ["load", "sample", "decode"]) doc = d.addNode(registry, doc, kind, [0, 0]).doc;
  doc = d.connect(doc, ["load", "model"], ["sample", "model"]);
  return d.connect(doc, ["sample", "latent"], ["decode", "latent"]);
}

test("ids are free, readable, and never taken twice", () => {
  let doc = d.emptyDocument();
  for (const wish of ["load", "load", "load"]) doc = d.addNode(registry, doc, wish, [1.4, 2.6]).doc;
  assert.deepEqual(doc.nodes.map((n) => n.id), ["load", "load_2", "load_3"]);
  assert.deepEqual(doc.nodes[0], { id: "load", kind: "load", kind_version: 2, widgets: {}, pos: [1, 3], mode: "normal" });
  assert.equal(d.freeId(doc, "<img>"), "_img_");
});
test("an input that is joined again is fed anew; the old document stays", () => {
  const before = chain(), frozen = JSON.stringify(before);
  let after = d.addNode(registry, before, "load", [0, 0]).doc;
  after = d.connect(after, ["load_2", "model"], ["sample", "model"]);
  assert.equal(after.edges.filter((e) => e.to[0] === "sample").length, 1);
  assert.deepEqual(after.edges.find((e) => e.to[0] === "sample").from, ["load_2", "model"]);
  assert.equal(JSON.stringify(before), frozen);
});
test("what does not fit is refused in words", () => {
  const doc = chain();
  assert.equal(d.refusal(registry, doc, ["load", "model"], ["sample", "model"]), "");
  assert.match(d.refusal(registry, doc, ["load", "model"], ["decode", "latent"]), /takes latent picture, not model/);
  assert.match(d.refusal(registry, doc, ["decode", "sub"], ["sample", "many"]), /circle/);
  assert.match(d.refusal(registry, doc, ["sample", "latent"], ["sample", "many"]), /feed itself/);
  assert.match(d.refusal(registry, doc, ["gone", "x"], ["sample", "many"]), /gone/);
  assert.match(d.refusal(registry, doc, ["load", "other"], ["sample", "many"]), /gone/);
});
test("types: base types, whole numbers as decimals, one into a list, a list not into one", () => {
  const out = (type, more) => ({ name: "o", type, line: [type], ...more }), into = (type, more) => ({ name: "i", label: "i", type, ...more });
  assert.equal(d.misfit({ ...out("Special"), line: ["Special", "Latent"] }, into("Latent")), "");
  assert.equal(d.misfit(out("Int"), into("Float")), "");
  assert.notEqual(d.misfit(out("Float"), into("Int")), "");
  assert.equal(d.misfit(out("Latent"), into("Latent", { many: true })), "");
  assert.match(d.misfit(out("Latent", { many: true }), into("Latent")), /list/);
  assert.equal(d.misfit(out("Latent", { many: true }), into("any")), "");
  assert.equal(d.misfit(out("any"), into("Image")), "");
});
test("a circle is found over many nodes without recursion", () => {
  let doc = d.emptyDocument();
  doc = { ...doc, nodes: Array.from({ length: 5000 }, (_, i) => ({ id: `n${i}`, kind: "sample", widgets: {} })), edges: Array.from({ length: 4999 }, (_, i) => ({ from: [`n${i}`, "latent"], to: [`n${i + 1}`, "many"] })) };
  assert.equal(d.wouldCycle(doc, "n4999", "n0"), true);
  assert.equal(d.wouldCycle(doc, "n0", "n4999"), false);
});
test("removing takes edges, what Create showed, and places in groups along", () => {
  let doc = d.setExposed(registry, chain(), "sample", "steps", true);
  doc = d.addGroup(doc, ["sample", "decode"]).doc;
  const after = d.removeNodes(doc, ["sample"]);
  assert.deepEqual([after.nodes.length, after.edges.length, after.exposed.length, after.groups[0].nodes], [2, 0, 0, ["decode"]]);
  assert.equal(d.removeNodes(after, ["decode"]).groups.length, 0);
});
test("a duplicate stands beside it, is fed by the same, and has its own inner edges", () => {
  const { doc, ids } = d.duplicate(chain(), ["sample", "decode"]);
  assert.deepEqual(ids, ["sample_2", "decode_2"]);
  assert.ok(doc.edges.some((e) => e.from[0] === "load" && e.to[0] === "sample_2"));
  assert.ok(doc.edges.some((e) => e.from[0] === "sample_2" && e.to[0] === "decode_2"));
});
test("a pasted fragment of anybody is bounded to nodes and edges that make sense", () => {
  const odd = { nodes: [{ id: "a", kind: "gone", widgets: "x", pos: ["y"], future: 1 }, { id: 5 }, null], edges: [{ from: ["a", "o"], to: ["elsewhere", "i"] }, { from: 3 }], notes: [4], kinds: { gone: { title: "Gone" } } };
  const { doc, ids } = d.paste(chain(), odd, [10, 20]);
  assert.deepEqual(ids, ["a"]);
  assert.deepEqual(doc.nodes.at(-1), { id: "a", kind: "gone", widgets: {}, pos: [10, 20], future: 1 });
  assert.equal(doc.edges.length, 2);
  assert.equal(doc.kinds.gone.title, "Gone");
});
test("unknown fields of a document are kept", () => {
  const doc = { ...chain(), future: { a: 1 }, definitions: { sub: {} } };
  const after = d.setWidget(d.place(d.readable(doc), { load: [5, 5] }), "sample", "steps", 7);
  assert.deepEqual([after.future, after.definitions], [{ a: 1 }, { sub: {} }]);
});
test("a missing kind keeps its sockets from the document, else from its edges", () => {
  const doc = { ...chain(), nodes: [...chain().nodes, { id: "x", kind: "gone", widgets: { a: [1] } }], kinds: { gone: { title: "Gone", origin: "package gone", inputs: [["latent", "Latent"]], outputs: [["image", "Image"]], widgets: [["a", "Slider"]] } } };
  const spec = d.specOf(registry, doc, doc.nodes.at(-1));
  assert.deepEqual([spec.title, spec.missing, spec.inputs[0].type, spec.outputs[0].line, spec.widgets[0].kind], ["Gone", true, "Latent", ["Image"], "kept"]);
  const bare = { ...doc, kinds: {}, edges: [...doc.edges, { from: ["x", "out"], to: ["decode", "latent"] }, { from: ["load", "model"], to: ["x", "in"] }] };
  const guessed = d.specOf(registry, bare, doc.nodes.at(-1));
  assert.deepEqual([guessed.inputs[0].name, guessed.outputs[0].name, guessed.widgets[0].name], ["in", "out", "a"]);
});
test("names that every object has are names like others", () => {
  let doc = { ...d.emptyDocument(), nodes: [{ id: "constructor", kind: "constructor", widgets: {} }, { id: "__proto__", kind: "toString", widgets: {} }] };
  const model = new Model(registry);
  model.load(doc);
  assert.equal(d.specOf(model.registry, doc, doc.nodes[0]).missing, true);
  assert.equal(model.registry.types.constructor, undefined);
  doc = d.place(doc, { load: [1, 1] });
  assert.equal(doc.nodes[0].pos, undefined);
});
test("search: titles first, all words, help last", () => {
  assert.equal(d.search(registry, "deco")[0].kind, "decode");
  assert.equal(d.search(registry, "load model")[0].kind, "load");
  assert.deepEqual(d.search(registry, "picture").map((f) => f.kind), ["decode"]);
  assert.equal(d.search(registry, "zzz").length, 0);
  const also = { ...registry, nodes: { ...registry.nodes, decode: { ...registry.nodes.decode, also: "vae decode" } } };
  assert.deepEqual(d.search(also, "vae").map((f) => f.kind), ["decode"]);
  assert.equal(d.search(registry, "").length, 3);
});
test("a wire finds what fits it and the socket to join", () => {
  const out = d.fitting(registry, { out: true, socket: registry.nodes.sample.outputs[0] });
  assert.deepEqual(out.map((f) => [f.kind, f.socket]), [["decode", "latent"], ["sample", "many"]]); // by name, where nothing was counted
  const into = d.fitting(registry, { out: false, socket: socket("model", "Model") });
  assert.deepEqual(into.map((f) => [f.kind, f.socket]), [["load", "model"]]);
});
test("what is used most stands in front: at this socket, then at its type, then anywhere", () => {
  const usual = { uses: { sample: 9, load: 9, decode: 3 }, takes: { Latent: { sample: 5, decode: 4 }, "sample.latent": { decode: 4 } }, gives: {} };
  const counted = { ...registry, usual }, kinds = (list) => list.map((f) => f.kind), socketOf = registry.nodes.sample.outputs[0];
  assert.deepEqual(kinds(d.fitting(counted, { out: true, socket: socketOf })), ["sample", "decode"]);
  const here = d.fitting(counted, { out: true, socket: socketOf, kind: "sample", end: ["s", "latent"] });
  assert.deepEqual(kinds(here), ["decode", "sample"]);
  assert.ok(here.every((f) => f.usual));
  assert.deepEqual(kinds(d.search(counted, "")), ["load", "sample", "decode"]);
  assert.equal(d.search(counted, "e", null)[0].kind, "load", "of equal ones the usual one");
  assert.deepEqual(kinds(d.fitting({ ...registry, usual: { takes: { constructor: 1 } } }, { out: true, socket: { ...socketOf, type: "constructor", line: ["constructor"] } })), []);
});
test("muting twice switches on again", () => {
  let doc = d.toggleMode(chain(), ["load", "sample"], "mute");
  assert.equal(doc.nodes[0].mode, "mute");
  doc = d.toggleMode(d.setMode(doc, ["load"], "normal"), ["load", "sample"], "mute");
  assert.deepEqual(doc.nodes.map((n) => n.mode), ["mute", "mute", "normal"]);
  assert.equal(d.toggleMode(doc, ["load", "sample"], "mute").nodes[0].mode, "normal");
});
test("labels on Create stay apart", () => {
  let doc = d.duplicate(chain(), ["sample"]).doc;
  doc = d.setExposed(registry, d.setExposed(registry, doc, "sample", "steps", true), "sample_2", "steps", true);
  assert.deepEqual(doc.exposed.map((x) => x.label), ["steps", "Sample: steps"]);
  assert.ok(doc.exposed[1].order > doc.exposed[0].order);
});
test("arranging follows the edges and leaves no overlap, circles too", () => {
  let doc = chain();
  for (let i = 0; i < 40; i += 1) doc = d.duplicate(doc, ["sample", "decode"]).doc;
  const size = Object.fromEntries(doc.nodes.map((n, i) => [n.id, [264, 100 + (i % 7) * 40]]));
  const placed = d.place(doc, d.arrange(doc, size));
  assert.equal(d.overlapping(placed, size), false);
  const at = Object.fromEntries(placed.nodes.map((n) => [n.id, n.pos[0]]));
  for (const e of placed.edges) assert.ok(at[e.from[0]] < at[e.to[0]]);
  const round = { ...doc, edges: [...doc.edges, { from: ["decode", "sub"], to: ["sample", "many"] }] };
  assert.equal(Object.keys(d.arrange(round)).length, doc.nodes.length);
});
test("a new node finds a free place near the wish", () => {
  const doc = d.place(chain(), { load: [0, 0], sample: [300, 0], decode: [600, 0] });
  assert.deepEqual(d.freePlace(doc, [0, 900]), [0, 900]);
  const spot = d.freePlace(doc, [310, 10]);
  assert.equal(d.overlapping(d.addNode(registry, doc, "load", spot).doc), false);
});
test("a new node lies on no note either, and several find room for all of them", () => {
  const doc = d.addNote(d.place(chain(), { load: [0, 0], sample: [300, 0], decode: [600, 0] }), [0, 400]).doc;
  const under = d.freePlace(doc, [10, 410], { note: [220, 120] });
  assert.ok(under[0] > 220 || under[1] > 520 || under[0] + 264 < 0 || (under[1] + 180 < 400 && under[1] > 180), String(under));
  const size = d.extent(registry, doc), [x, y] = d.freePlace(doc, [0, 0], {}, size[1], size[0]);
  assert.equal(size[0], 864);
  assert.ok(doc.nodes.every((n) => x > n.pos[0] + 264 || x + size[0] < n.pos[0] || y > n.pos[1] + 180 || y + size[1] < n.pos[1]));
});
test("what feeds an input of a node never mends its sibling: a new one like it does", () => {
  const cond = (name) => socket(name, "Cond"), table = { ...registry, nodes: { ...registry.nodes,
    encode: { title: "Encode", inputs: [socket("model", "Model")], outputs: [socket("cond", "Cond", { line: ["Cond"] })], widgets: [socket("text", "Text", { kind: "prompt", default: "" })] },
    both: { title: "Both", inputs: [socket("model", "Model"), cond("positive"), cond("negative")], outputs: [], widgets: [] } } };
  let doc = d.emptyDocument();
  for (const kind of ["load", "encode", "both"]) doc = d.addNode(table, doc, kind, [0, 0]).doc;
  doc = d.connect(doc, ["load", "model"], ["encode", "model"]);
  assert.deepEqual(d.mending(table, doc, "both", "positive"), { from: ["encode", "cond"] });
  doc = d.connect(doc, ["encode", "cond"], ["both", "positive"]);
  assert.deepEqual(d.mending(table, doc, "both", "negative"), { kind: "encode", out: "cond", feeds: [{ from: ["load", "model"], name: "model" }] });
  assert.deepEqual(d.mending(table, doc, "both", "model"), { from: ["load", "model"] }, "what another node takes may be shared");
  const two = d.addNode(table, doc, "encode", [0, 0]).doc, three = d.addNode(table, two, "encode", [0, 0]).doc;
  assert.deepEqual(d.mending(table, two, "both", "negative"), { from: ["encode_2", "cond"] });
  assert.equal(d.mending(table, three, "both", "negative"), null, "of several a person chooses");
});
test("undo and redo walk whole documents; typing is one step", () => {
  const model = new Model(registry);
  model.load(chain());
  model.change(d.setWidget(model.doc, "sample", "steps", 1), { key: "w" });
  model.change(d.setWidget(model.doc, "sample", "steps", 12), { key: "w" });
  model.change(d.removeNodes(model.doc, ["decode"]));
  model.undo();
  assert.equal(model.doc.nodes.length, 3);
  model.undo();
  assert.equal(model.doc.nodes[1].widgets.steps, undefined);
  model.redo();
  assert.equal(model.doc.nodes[1].widgets.steps, 12);
  model.change(d.setTitle(model.doc, "load", "New"));
  assert.equal(model.future.length, 0);
  model.load(d.emptyDocument());
  model.undo();
  assert.equal(model.doc.nodes[0].title, "New");
});
test("a message about one node wakes that node only", () => {
  const cells = new Cells();
  let woken = 0, other = 0;
  cells.subscribe("state:a", () => { woken += 1; });
  cells.subscribe("state:b", () => { other += 1; });
  const snapshot = (progress) => ({ job: { state: "running" }, nodes: { a: { state: "running", progress }, b: { state: "queued" } } });
  receiveRun(cells, snapshot(0.1));
  receiveRun(cells, snapshot(0.2));
  receiveRun(cells, snapshot(0.2));
  assert.deepEqual([woken, other], [2, 1]);
});
test("an edit outdates what was said of the node and of those behind it", () => {
  const cells = new Cells(), before = chain(), after = d.setWidget(before, "sample", "steps", 9);
  receiveRun(cells, { job: { state: "done" }, nodes: { load: { state: "done" }, sample: { state: "done", image: "data:," }, decode: { state: "done" } } });
  outdate(cells, before, after);
  assert.deepEqual(["load", "sample", "decode"].map((id) => cells.get(`state:${id}`)?.state), ["done", undefined, undefined]);
  assert.equal(cells.get("image:sample").old, true);
  outdate(cells, after, d.place(after, { load: [3, 3] }));
  assert.equal(cells.get("state:load").state, "done");
});
test("each shortcut is found by its keys, and no two share them", () => {
  const press = (name) => { const parts = name.split("+"), key = parts.at(-1); return { key: key === "Esc" ? "Escape" : key.length === 1 ? key.toLowerCase() : key, ctrlKey: parts.includes("Ctrl"), shiftKey: parts.includes("Shift"), altKey: false, metaKey: false }; };
  for (const s of SHORTCUTS) for (const keys of s.keys) assert.equal(shortcutOf(press(keys)), s, keys);
  assert.equal(new Set(SHORTCUTS.flatMap((s) => s.keys)).size, SHORTCUTS.flatMap((s) => s.keys).length);
  assert.equal(shortcutOf({ key: "m", ctrlKey: true }), undefined);
});
test("a run is told on the document that it was made of, not on another one", () => {
  const cells = new Cells(), model = new Model({ nodes: {}, types: {}, categories: {} }), doc = chain(), here = {}, there = {};
  const run = { of: { document: structuredClone(doc), source: here }, live: false, snapshot: { job: { state: "done" }, nodes: { load: { state: "done" }, sample: { state: "done", image: "data:," }, decode: { state: "done" } }, pictures: [{ node: "decode", thumb: "t" }] } };
  const told = follow(cells, model, run), says = () => ["load", "sample", "decode"].map((id) => cells.get(`state:${id}`)?.state), shown = () => cells.get("image:decode");
  model.subscribe(told.changed);
  model.load(structuredClone(doc), here);
  told.heard();
  assert.deepEqual([says(), shown().src], [["done", "done", "done"], "t"]);
  model.load(d.setWidget(doc, "decode", "own", 1), there);
  told.heard();
  assert.deepEqual([says(), shown(), cells.get("job").state], [[undefined, undefined, undefined], undefined, "done"], "its own first nodes never ran");
  model.undo();
  assert.deepEqual([says(), shown().src], [["done", "done", "done"], "t"], "back at what ran");
  model.redo();
  assert.deepEqual([says(), shown()], [[undefined, undefined, undefined], undefined]);
  model.load(JSON.parse(JSON.stringify({ ...doc, kinds: { load: {} } })), {});
  assert.deepEqual([says(), shown().src], [["done", "done", "done"], "t"], "the same graph, opened once more");
  model.change(d.setWidget(model.doc, "sample", "steps", 9));
  told.heard();
  assert.deepEqual([says(), shown().old], [["done", undefined, undefined], true], "edits leave what they do not reach");
});
test("what was changed between the run and the first look at the graph is told as changed", () => {
  const cells = new Cells(), model = new Model({ nodes: {}, types: {}, categories: {} }), doc = chain(), source = {};
  const run = { of: { document: doc, source }, live: false, snapshot: { job: { state: "done" }, nodes: { load: { state: "done" }, sample: { state: "done", image: "data:," } } } };
  const told = follow(cells, model, run);
  model.subscribe(told.changed);
  model.load(d.setWidget(doc, "sample", "steps", 9), source);
  told.heard();
  assert.deepEqual([cells.get("state:load").state, cells.get("state:sample"), cells.get("image:sample").old], ["done", undefined, true]);
});
test("a box that adds keeps what was chosen, and only that", () => {
  const changes = [{ type: "select", id: "a", selected: false }, { type: "select", id: "b", selected: true }, { type: "select", id: "c", selected: false }, { type: "position", id: "a" }];
  assert.equal(d.stillChosen(changes, null), changes);
  assert.deepEqual(d.stillChosen(changes, new Set(["a", "b"])), changes.slice(1));
});

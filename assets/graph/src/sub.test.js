// node --test src/ : sub-graphs of the editor.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as d from "./doc.js";
import { stayed } from "./same.js";
import { Cells, Model, follow, outdate, receivePlan, receiveProblems, receiveRun } from "./store.js";

const socket = (name, type, more = {}) => ({ name, type, label: name.toUpperCase(), required: true, many: false, ...more });
const registry = {
  types: { Image: { word: "picture" } },
  categories: { Image: "#222222" },
  nodes: {
    source: { kind: "source", title: "Source", category: "Image", version: 1, help: "", inputs: [], outputs: [socket("image", "Image", { line: ["Image"] })], widgets: [socket("seed", "Int", { kind: "number", default: 0, required: false })] },
    grain: { kind: "grain", title: "Grain", category: "Image", version: 1, help: "", inputs: [socket("image", "Image")], outputs: [socket("image", "Image", { line: ["Image"] })], widgets: [socket("amount", "Float", { kind: "slider", default: 0.2, required: false })] },
    both: { kind: "both", title: "Both", category: "Image", version: 1, help: "", inputs: [socket("a", "Image"), socket("b", "Image")], outputs: [socket("image", "Image", { line: ["Image"] })], widgets: [] },
    save: { kind: "save", title: "Save", category: "Image", version: 1, help: "", output: true, inputs: [socket("image", "Image")], outputs: [], widgets: [] },
  },
};
/** source → grain → grain_2 → save; the amount of grain_2 is shown on Create. */
function line() {
  let doc = d.emptyDocument();
  for (const kind of ["source", "grain", "grain", "save"]) doc = d.addNode(registry, doc, kind, [doc.nodes.length * 300, 0]).doc;
  for (const [a, b] of [["source", "grain"], ["grain", "grain_2"], ["grain_2", "save"]]) doc = d.connect(doc, [a, "image"], [b, "image"]);
  doc = d.setWidget(doc, "grain", "amount", 0.5);
  return d.setExposed(registry, doc, "grain_2", "amount", true);
}
function model(doc = line()) {
  const made = new Model(registry);
  made.load(doc);
  return made;
}
const made = (m, ids, title) => { const done = d.makeSub(m.registry, m.doc, ids, title); assert.equal(done.refusal, undefined); m.change(done.doc); return done.id; };

test("chosen nodes become a sub-graph: cut wires and what Create shows are its sockets", () => {
  const m = model(), id = made(m, ["grain", "grain_2"], "Finish");
  assert.deepEqual(m.doc.nodes.map((n) => n.id), ["source", "save", id]);
  const spec = d.specOf(m.registry, m.doc, m.node(id));
  assert.deepEqual([spec.title, spec.inputs.map((s) => s.name), spec.outputs.map((s) => s.name), spec.widgets.map((w) => [w.name, w.default])], ["Finish", ["image"], ["image"], [["amount", 0.2]]]);
  assert.deepEqual(m.doc.edges.map((e) => [e.from.join("."), e.to.join(".")]), [["source.image", `${id}.image`], [`${id}.image`, "save.image"]]);
  assert.deepEqual(m.doc.exposed.map((x) => [x.node, x.widget]), [[id, "amount"]]);
});
test("a sub-graph says of how many nodes it is", () => {
  const help = (ids) => { const m = model(), id = made(m, ids, "Finish"); return d.specOf(m.registry, m.doc, m.node(id)).help; };
  assert.match(help(["grain"]), /^A sub-graph of one node\. /);
  assert.match(help(["grain", "grain_2"]), /^A sub-graph of 2 nodes\. /);
});
test("unpacking puts back what was there; undo and redo walk over both", () => {
  const m = model(), before = m.whole, id = made(m, ["grain", "grain_2"]);
  m.change(d.setWidget(m.doc, id, "amount", 0.9));
  const back = d.unpack(m.registry, m.doc, id);
  m.change(back.doc);
  const plain = (doc) => [[...doc.nodes].map((n) => [n.id, n.kind, n.widgets]).sort(), doc.edges.map((e) => [...e.from, ...e.to].join(" ")).sort(), doc.exposed.map((x) => [x.node, x.widget])];
  assert.deepEqual(plain(m.doc), plain(d.setWidget(before, "grain_2", "amount", 0.9)));
  assert.deepEqual(m.whole.definitions, {}, "a sub-graph that stands nowhere goes");
  m.undo(); m.undo(); m.undo();
  assert.deepEqual(m.whole, before);
  m.redo(); m.redo(); m.redo();
  assert.deepEqual(plain(m.doc)[0].map((n) => n[0]), ["grain", "grain_2", "save", "source"]);
});
test("a node that lies between the chosen ones has to come along", () => {
  assert.match(d.makeSub(registry, line(), ["source", "grain_2"], "x").refusal, /“Grain” lies between/);
  assert.match(d.makeSub(registry, line(), [], "x").refusal, /Choose/);
});
test("inside: an edit changes the definition, undo comes back to the place of the change", () => {
  const m = model(), id = made(m, ["grain", "grain_2"], "Finish");
  m.change(d.duplicate(m.doc, [id]).doc);
  assert.equal(m.places("sub:finish"), 2);
  m.enter([id]);
  assert.equal(m.prefix, `${id}/`);
  assert.deepEqual(m.doc.nodes.map((n) => n.id), ["grain", "grain_2"]);
  m.change(d.setWidget(m.doc, "grain", "amount", 0.7));
  m.enter([]);
  assert.equal(m.whole.definitions["sub:finish"].nodes[0].widgets.amount, 0.7);
  m.undo();
  assert.deepEqual([m.path, m.doc.nodes[0].widgets.amount], [[id], 0.5]);
});
test("what is hidden again takes its wires and settings off every node that stands for it", () => {
  const m = model(), id = made(m, ["grain", "grain_2"]);
  m.change(d.setWidget(m.doc, id, "amount", 0.9));
  m.enter([id]);
  m.change(d.removeOpening(m.doc, "outputs", "image"));
  m.change(d.setOpening(m.registry, m.doc, "inputs", ["grain_2", "amount"], false));
  m.enter([]);
  assert.deepEqual(m.doc.edges.map((e) => e.to[0]), [id]);
  assert.deepEqual([m.node(id).widgets, m.doc.exposed], [{}, []]);
  m.enter([id]);
  m.change(d.setOpening(m.registry, m.doc, "inputs", ["grain", "amount"], true));
  m.change(d.renameOpening(m.doc, "inputs", "amount", "How much"));
  m.change(d.moveOpening(m.doc, "inputs", "amount", -1));
  assert.deepEqual(m.doc.inputs.map((o) => o.name), ["amount", "image"]);
  m.change(d.removeNodes(m.doc, ["grain"]));
  assert.deepEqual(m.doc.inputs, [], "a node that goes takes its openings along");
});
test("a sub-graph in a sub-graph: made inside, unpacked inside, never in itself", () => {
  const m = model(), outer = made(m, ["grain", "grain_2"], "Outer");
  m.enter([outer]);
  const inner = made(m, ["grain_2"], "Inner");
  assert.deepEqual(m.doc.outputs.map((o) => o.from), [[inner, "image"]]);
  assert.deepEqual(m.doc.inputs.map((o) => [o.name, o.to]), [["image", [["grain", "image"]]], ["amount", [[inner, "amount"]]]]);
  m.enter([outer, inner]);
  assert.ok(!d.search(m.registry, "").some((f) => f.spec.sub), "neither itself nor what holds it is offered");
  m.enter([outer]);
  const clip = d.fragment(m.doc, [inner]);
  assert.deepEqual(Object.keys(clip.definitions), ["sub:inner"]);
  m.enter([outer, inner]);
  assert.match(d.paste(m.doc, clip, [0, 0]).refusal, /itself/);
  m.enter([outer]);
  m.change(d.unpack(m.registry, m.doc, inner).doc);
  assert.deepEqual(m.doc.outputs.map((o) => o.from), [["grain_2", "image"]]);
});
test("copies carry their sub-graphs: equal ones are shared, others keep apart", () => {
  const m = model(), id = made(m, ["grain", "grain_2"], "Finish"), clip = JSON.parse(JSON.stringify(d.fragment(m.doc, [id])));
  const there = d.paste(d.emptyDocument(), clip, [0, 0]).doc;
  assert.deepEqual(Object.keys(there.definitions), ["sub:finish"]);
  assert.deepEqual(Object.keys(d.paste(there, clip, [0, 0]).doc.definitions), ["sub:finish"]);
  const other = { ...there, definitions: { "sub:finish": { ...there.definitions["sub:finish"], nodes: [] } } };
  const both = d.paste(other, clip, [0, 0]).doc;
  assert.deepEqual(Object.keys(both.definitions), ["sub:finish", "sub:finish_2"]);
  assert.equal(both.nodes.at(-1).kind, "sub:finish_2");
});
test("two wires of one source come in by one socket; names and labels stay apart", () => {
  let doc = d.emptyDocument();
  for (const kind of ["source", "source", "both", "both"]) doc = d.addNode(registry, doc, kind, [0, 0]).doc;
  for (const [a, b] of [[["source", "image"], ["both", "a"]], [["source", "image"], ["both", "b"]], [["source_2", "image"], ["both_2", "a"]], [["source", "image"], ["both_2", "b"]]]) doc = d.connect(doc, a, b);
  const done = d.makeSub(registry, doc, ["both", "both_2"], "x"), given = done.doc.definitions["sub:x"];
  assert.deepEqual(given.inputs.map((o) => [o.name, o.label, o.to.length]), [["a", "A", 3], ["a_2", "A 2", 1]]);
});
test("a run, its problems and its plan are told on the outer node, too", () => {
  const cells = new Cells();
  receiveRun(cells, { job: { state: "running" }, nodes: { "s/a": { state: "done", seconds: 1 }, "s/b": { state: "running", progress: 0.5, image: "data:," }, x: { state: "queued" } }, pictures: [{ node: "s/t/a", thumb: "t", url: "u" }] });
  assert.deepEqual([cells.get("state:s").state, cells.get("state:s").progress, cells.get("state:s").text], ["running", 0.75, "1/2"]);
  assert.deepEqual([cells.get("image:s").src, cells.get("image:s/t").src], ["t", "t"]);
  receiveRun(cells, { nodes: { "s/a": { state: "done", title: "Look / Grain" }, "s/b": { state: "error" } }, error: { node: "s/b", message: "No luck." } });
  assert.equal(cells.get("state:s").state, "error");
  receiveProblems(cells, [{ node: "s/a", socket: "image", title: "Look / Grain", message: "Not connected.", level: "error" }]);
  assert.equal(cells.get("problems:s")[0].message, "Grain: Not connected.");
  receivePlan(cells, { nodes: [{ id: "s/a", action: "cached", reason: "unchanged" }, { id: "s/b", action: "run", reason: "amount changed", seconds: 2 }] });
  assert.deepEqual(cells.get("plan:s"), { id: "s", action: "run", reason: "1 of 2 nodes, amount changed", seconds: 2 });
});
test("an edit inside outdates what lies behind it, inside and outside", () => {
  const m = model(), id = made(m, ["grain", "grain_2"], "Finish"), cells = new Cells(), all = [`${id}/grain`, `${id}/grain_2`, id, "save", "source"];
  for (const at of all) cells.set(`state:${at}`, { state: "done" });
  m.subscribe((before) => outdate(cells, before, m.whole));
  m.enter([id]);
  m.change(d.setWidget(m.doc, "grain_2", "amount", 0.9));
  assert.deepEqual(all.filter((at) => cells.get(`state:${at}`)), [`${id}/grain`, "source"]);
});
test("hostile definitions are kept and harm nothing", () => {
  const odd = JSON.parse('{"definitions": {"a": 5, "b": {"nodes": 7, "inputs": [3, {"name": "x", "to": "y"}], "outputs": {}}, "__proto__": {"nodes": [{"id": "n", "kind": "__proto__"}]}, "c": {"nodes": [{"id": "n", "kind": "c"}]}}, "nodes": [{"id": "n", "kind": "b"}, {"id": "m", "kind": "c"}, {"id": "o", "kind": "__proto__"}, {"id": "p", "kind": "a"}]}');
  const m = model(odd);
  for (const n of m.doc.nodes) d.specOf(m.registry, m.doc, n);
  m.enter(["m", "n", "n", "n"]);
  m.change(d.addNode(m.registry, m.doc, "grain", [0, 0]).doc);
  m.enter(["n"]);
  m.change(d.addNode(m.registry, m.doc, "grain", [0, 0]).doc);
  assert.equal(m.whole.definitions.a, 5);
});
test("while a run waits for its turn, the nodes that it has ahead of it say so", () => {
  const m = model(), cells = new Cells(), run = { of: null, live: true, snapshot: { job: { state: "queued", ahead: 1 }, nodes: {} } };
  let targets = null;
  const told = follow(cells, m, run, () => null, () => targets), waiting = () => { run.of = { document: structuredClone(m.whole), source: m.source }; told.heard(); return [...cells.values.keys()].filter((k) => cells.get(k)?.state === "queued" && k.startsWith("state:")).map((k) => k.slice(6)).sort(); };
  assert.deepEqual(waiting(), ["grain", "grain_2", "save", "source"]);
  targets = ["grain"];
  assert.deepEqual(waiting(), ["grain", "source"], "a run to here");
  targets = null;
  m.change(d.setMode(m.doc, ["grain_2"], "bypass"));
  assert.deepEqual(waiting(), ["grain", "save", "source"], "what is switched off waits for nothing");
  const id = made(m, ["source", "grain"], "Start");
  assert.deepEqual(waiting().filter((path) => path.startsWith(id)), [id, `${id}/grain`, `${id}/source`]);
  Object.assign(run, { live: false, snapshot: { job: { state: "stopped" }, nodes: {} } });
  assert.deepEqual(waiting(), [], "stopped before its turn");
});
test("a definition that holds itself twice is compared in no time", () => {
  const twice = { nodes: [{ id: "a", kind: "c" }, { id: "b", kind: "c" }], edges: [] }, doc = (title) => d.readable({ nodes: [{ id: "n", kind: "c" }], definitions: { c: { ...twice, title } } });
  assert.equal(stayed(doc("x"), doc("y")).size, 0);
});
test("a sub-graph that is made or unpacked keeps the results of its nodes and of those behind it", () => {
  const m = model(), cells = new Cells(), run = { of: { document: structuredClone(m.whole), source: m.source }, live: false, snapshot: { job: { state: "done" }, nodes: Object.fromEntries(m.whole.nodes.map((n) => [n.id, { state: "done" }])), pictures: [{ node: "grain", thumb: "g" }, { node: "save", thumb: "s" }] } };
  const told = follow(cells, m, run), says = (...all) => all.map((id) => cells.get(`state:${id}`)?.state), shown = (id) => [cells.get(`image:${id}`)?.src, Boolean(cells.get(`image:${id}`)?.old)];
  m.subscribe(told.changed);
  told.heard();
  const id = made(m, ["grain", "grain_2"], "Finish");
  assert.deepEqual(says("source", `${id}/grain`, `${id}/grain_2`, id, "save"), ["done", "done", "done", "done", "done"]);
  assert.deepEqual([shown(`${id}/grain`), shown(id), shown("save")], [["g", false], ["g", false], ["s", false]]);
  m.enter([id]);
  m.change(d.setWidget(m.doc, "grain_2", "amount", 0.9));
  assert.deepEqual(says("source", `${id}/grain`, `${id}/grain_2`, id, "save"), ["done", "done", undefined, undefined, undefined]);
  assert.deepEqual([shown(`${id}/grain`), shown("save")], [["g", false], ["s", true]]);
  m.undo();
  m.enter([]);
  m.change(d.unpack(m.registry, m.doc, id).doc);
  assert.deepEqual([says("source", "grain", "grain_2", "save"), shown("save")], [["done", "done", "done", "done"], ["s", false]]);
});

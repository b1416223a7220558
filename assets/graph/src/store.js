// What the editor knows: the document with its undo stack, and small cells (state, problem, plan of a node) that a
// component reads one by one, so that a message about one node draws one node anew.
import { BETWEEN, alike, emptyDocument, foldIn, needed, outdated, readable, switchedOff, viewOf, withSubs } from "./doc.js";
import { specOf } from "./rules.js";
import { keeps, leaves, movable, movedRun, stayed } from "./same.js";

const DEEPEST = 200, MERGED_MS = 900;

/** `whole` is the document; `doc` is what is seen of it: all of it, or a sub-graph along `path`. */
export class Model {
  constructor(registry) {
    // Names come from documents of anybody: "constructor" must not find what every object has.
    this.base = Object.fromEntries(Object.entries(registry).map(([name, table]) => [name, Object.assign(Object.create(null), table)]));
    this.path = [];
    this.trail = [];
    this.past = [];
    this.future = [];
    this.listeners = new Set();
    this.last = { key: "", at: 0 };
    this.source = null; // where the document came from; edits leave it
    this.look(emptyDocument(), []);
  }
  subscribe = (callback) => { this.listeners.add(callback); return () => this.listeners.delete(callback); };
  /** Shows a document along a path; one that leads nowhere any more is cut. */
  look(whole, path) {
    const { view, trail } = viewOf(whole, path);
    Object.assign(this, { whole, trail, doc: view, path: trail.map((step) => step.id), prefix: trail.map((step) => step.id + BETWEEN).join("") });
  }
  /** The kinds there are, with the sub-graphs of this document. */
  get registry() {
    const { definitions } = this.whole, inside = this.doc.inside || "";
    if (this.known?.definitions !== definitions || this.known.inside !== inside) this.known = { definitions, inside, registry: withSubs(this.base, definitions, inside) };
    return this.known.registry;
  }
  get index() { // by id, made once per document
    if (this.indexed !== this.doc) {
      this.indexed = this.doc;
      this.nodes = new Map(this.doc.nodes.map((n) => [n.id, n]));
      this.feeds = new Map();
      for (const e of this.doc.edges) (this.feeds.get(e.to[0]) || this.feeds.set(e.to[0], []).get(e.to[0])).push([e.to[1], ...e.from]);
    }
    return this;
  }
  node = (id) => this.index.nodes.get(id);
  /** What feeds a node, as text: equal texts mean nothing changed. */
  fed = (id) => JSON.stringify(this.index.feeds.get(id) || []);

  /** Which sockets of a node the sub-graph shows outside, as text: "inputs image". */
  opened = (id) => {
    if (!this.doc.inside) return "";
    const ends = (o) => (Array.isArray(o.to) ? o.to : []);
    return [...this.doc.inputs.flatMap(ends).filter((e) => e?.[0] === id).map((e) => `inputs ${e[1]}`), ...this.doc.outputs.filter((o) => o.from?.[0] === id).map((o) => `outputs ${o.from[1]}`)].join("\n");
  };

  /** At how many places a sub-graph stands: in the graph and in those of its sub-graphs that are used. */
  places(name) {
    const inside = [...needed(this.whole.definitions, this.whole.nodes.map((n) => n.kind))].map((one) => this.whole.definitions[one]);
    return [this.whole, ...inside].reduce((sum, part) => sum + (Array.isArray(part.nodes) ? part.nodes.filter((n) => n?.kind === name).length : 0), 0);
  }

  /** What is seen has changed. Changes with one `key` that follow each other closely are undone together. */
  change(next, { key = "", from = "graph" } = {}) {
    if (next !== this.doc) this.changeWhole(foldIn(this.whole, next), { key: key && this.prefix + key, from });
  }
  changeWhole(next, { key = "", from = "graph" } = {}) {
    if (next === this.whole) return;
    const now = Date.now(), merged = key && key === this.last.key && now - this.last.at < MERGED_MS && this.past.length;
    if (!merged) this.push();
    this.last = { key, at: now };
    this.put(next, from);
  }
  get here() { const { whole, path, source } = this; return { whole, path, source }; }
  push() {
    this.past = [...this.past.slice(1 - DEEPEST), this.here];
    this.future = [];
  }
  put(next, from, path = this.path) {
    const before = this.whole;
    this.look(next, path);
    for (const callback of this.listeners) callback(before, from);
  }
  /** The same as seen from another place; nothing changes. */
  enter(path) { this.put(this.whole, "view", path); }
  /** A change that is no step of its own: it is undone with the one before. */
  settle(next) { this.put(foldIn(this.whole, next), "graph"); }
  /** Another document from outside (opened, a template): it can be undone as a whole, once there was one before. */
  load(given, source = {}) {
    const next = readable(given);
    if (JSON.stringify(next) === JSON.stringify(this.whole)) return;
    if (this.started) this.push();
    this.started = true;
    this.source = source;
    this.last = { key: "", at: 0 };
    this.put(next, "outside", []);
  }
  /** Another document in the place of this one, from a source of its own; Undo brings this one back. */
  begin(next, source) {
    this.push();
    this.last = { key: "", at: 0 };
    this.source = source;
    this.put(readable(next), "graph", []);
  }
  rename(title) { this.changeWhole({ ...this.whole, title }); }
  undo() { this.step(this.past, this.future); }
  redo() { this.step(this.future, this.past); }
  step(from, other) {
    if (!from.length) return;
    const there = from.pop();
    other.push(this.here);
    this.source = there.source;
    this.last = { key: "", at: 0 };
    this.put(there.whole, "graph", there.path);
  }
}

export class Cells {
  constructor() { this.values = new Map(); this.listeners = new Map(); }
  get = (key) => this.values.get(key);
  set(key, value) {
    const old = this.values.get(key);
    if (old === value || (old !== undefined && value !== undefined && JSON.stringify(old) === JSON.stringify(value))) return;
    if (value === undefined) this.values.delete(key); else this.values.set(key, value);
    for (const callback of this.listeners.get(key) || []) callback();
  }
  subscribe = (key, callback) => {
    const set = this.listeners.get(key) || this.listeners.set(key, new Set()).get(key);
    set.add(callback);
    return () => set.delete(callback);
  };
  /** All keys of one sort (`state:…`) get these values; those that are not named are forgotten. */
  fill(sort, values) {
    for (const key of [...this.values.keys()]) if (key.startsWith(sort + ":") && !(key.slice(sort.length + 1) in values)) this.set(key, undefined);
    for (const [id, value] of Object.entries(values)) this.set(`${sort}:${id}`, value);
  }
}

const RANK = ["error", "running", "queued", "stopped", "done", "cached", "skipped"];
/** The nodes along a path: "a/b/c" gives "a/b" and "a". */
function* around(path) {
  for (let at = path.lastIndexOf(BETWEEN); at > 0; at = path.lastIndexOf(BETWEEN, at - 1)) yield path.slice(0, at);
}
/** What a node that stands for a sub-graph shows of those inside: the worst state, how far they are, seconds in all. */
function gathered(inside) {
  const state = RANK.find((word) => inside.some((n) => n.state === word)) || inside[0].state, over = inside.filter((n) => !["queued", "running"].includes(n.state));
  const known = inside.filter((n) => n.seconds !== undefined), error = inside.find((n) => n.error), cached = state === "done" && inside.some((n) => n.state === "cached");
  const part = inside.reduce((sum, n) => sum + (n.state === "running" ? n.progress || 0 : n.state === "queued" ? 0 : 1), 0) / inside.length;
  return {
    state: state === "queued" && over.length ? "running" : state, progress: part, text: `${over.length}/${inside.length}`,
    seconds: known.length ? known.reduce((sum, n) => sum + n.seconds, 0) : undefined, reason: cached ? "some of it came from the cache" : state === "done" ? undefined : inside.find((n) => n.state === state)?.reason,
    error: error && `${String(error.title || "").split(" / ").at(-1)}: ${error.error}`,
  };
}

/** A run's snapshot into the cells. States of the page: idle queued running done cached skipped error stopped. */
export function receiveRun(cells, snapshot) {
  const states = {}, inside = new Map(), images = {};
  for (const [id, node] of Object.entries(snapshot.nodes || {})) {
    states[id] = { state: node.state, progress: node.progress, text: node.text, seconds: node.seconds, reason: node.reason, error: node.error };
    if (node.image) images[id] = { src: node.image, forming: ["queued", "running"].includes(node.state) };
  }
  if (snapshot.error?.node) {
    const id = snapshot.error.node;
    states[id] = { ...states[id], state: "error", error: [snapshot.error.message, snapshot.error.hint].filter(Boolean).join(" ") };
  }
  for (const [id, state] of Object.entries(states)) {
    for (const outer of around(id)) {
      (inside.get(outer) || inside.set(outer, []).get(outer)).push({ ...state, title: snapshot.nodes?.[id]?.title || id });
      if (images[id]) images[outer] = images[id];
    }
  }
  for (const [id, list] of inside) states[id] = gathered(list);
  for (const [id, image] of Object.entries(images)) cells.set(`image:${id}`, image);
  cells.fill("state", states);
  receivePictures(cells, snapshot.pictures || []);
  cells.set("job", { state: snapshot.job?.state || "idle", step: snapshot.job?.step, total: snapshot.job?.total });
}
/** Pictures onto the nodes that made them, and onto the sub-graphs that hold these. */
function receivePictures(cells, pictures) {
  const made = {};
  for (const picture of pictures) if (picture.node) for (const id of [picture.node, ...around(picture.node)]) (made[id] ||= []).push(picture);
  for (const [id, list] of Object.entries(made)) cells.set(`image:${id}`, { src: list[0].thumb, whole: list[0].url, alt: list[0].prompt || list[0].title, count: list.length });
}
/** The problems by node; those inside of a sub-graph are told on the node that stands for it, too. */
export function receiveProblems(cells, problems) {
  const byNode = Object.create(null);
  for (const p of problems) {
    if (!p.node) continue;
    (byNode[p.node] ||= []).push(p);
    for (const outer of around(p.node)) (byNode[outer] ||= []).push({ ...p, socket: "", stage: "inside", message: `${String(p.title || "").split(" / ").at(-1)}: ${p.message}` });
  }
  cells.fill("problems", byNode);
  cells.set("problems", problems);
}
const ACTIONS = ["failed", "run", "cached", "skipped"];
/** The plan by node; of a sub-graph how much of it would run. Nodes that are switched off are told, too. */
export function receivePlan(cells, plan, whole = emptyDocument()) {
  const found = Object.fromEntries((plan.nodes || []).map((n) => [n.id, n])), inside = new Map();
  for (const n of plan.nodes || []) for (const outer of around(n.id)) (inside.get(outer) || inside.set(outer, []).get(outer)).push(n);
  for (const [id, list] of inside) {
    const action = ACTIONS.find((word) => list.some((n) => n.action === word)) || list[0].action, same = list.filter((n) => n.action === action), runs = list.filter((n) => n.action === "run");
    const reasons = [...new Set(same.map((n) => n.reason))];
    found[id] = { id, action, reason: [same.length < list.length ? `${same.length} of ${list.length} nodes` : "", reasons.length === 1 ? reasons[0] : ""].filter(Boolean).join(", "), seconds: runs.reduce((sum, n) => sum + (n.seconds || 0), 0) };
  }
  for (const [path, mode] of switchedOff(whole)) found[path] ??= mode === "mute" ? { id: path, action: "skipped", reason: "muted" } : { id: path, action: "passed", reason: "what comes in goes on as it is" };
  cells.fill("plan", found);
}
/** After an edit: what was said of the changed nodes and of those behind them holds no more. What makes the same keeps it,
 *  wherever it stands: `from`, of `stayed`. */
export function outdate(cells, before, after, from = movable(before, after) ? stayed(before, after) : new Map()) {
  const differs = outdated(before, after), old = (path) => differs(path) && !keeps(from, path);
  for (const key of [...cells.values.keys()]) {
    const at = key.indexOf(":"), sort = key.slice(0, at), path = key.slice(at + 1);
    if ((sort !== "state" && sort !== "image") || !old(path)) continue;
    const value = cells.get(key);
    if (sort === "image") { if (!value.old) cells.set(key, { ...value, old: true }); }
    else if (!["queued", "running"].includes(value.state)) cells.set(key, undefined);
  }
}

/** What a run has ahead of it in a document, as paths: the nodes that lead to what it is to make, also those inside of sub-graphs.
 *  `targets`: paths, or null for all outputs. */
export function ahead(registry, doc, targets = null) {
  const ends = new Set(targets?.map((path) => path.split(BETWEEN)[0])), found = new Set();
  const way = doc.nodes.filter((n) => (targets ? ends.has(n.id) : specOf(registry, doc, n).output)).map((n) => n.id);
  while (way.length) {
    const id = way.pop();
    if (found.has(id)) continue;
    found.add(id);
    way.push(...doc.edges.filter((e) => e.to[0] === id).map((e) => e.from[0]));
  }
  return [...leaves(doc)].filter(([path, leaf]) => leaf.mode === "normal" && found.has(path.split(BETWEEN)[0])).map(([path]) => path);
}

/** Tells the newest run on the document that it was made of and on what edits made of that since, never on another one.
 *  `run`: the page's newest run, {of: {document, source} or null where nobody knows, snapshot, live}.
 *  `madeBy`: the picture that a document from a source made before, or null: it shows until an edit or a run. */
export function follow(cells, model, run, madeBy = () => null, targets = () => null) {
  let of, base = null, { source } = model, before = null; // `before`: {picture, base} of what a document made earlier
  function find() {
    ({ of } = run);
    if (!of || alike(of.document, model.whole)) base = model.whole;
    else base = of.source === model.source ? readable(of.document) : null;
  }
  function tell() {
    const places = (was) => (was && movable(was, model.whole) ? stayed(was, model.whole) : new Map());
    if (before) {
      const from = places(before.base);
      receivePictures(cells, movedRun({ pictures: [before.picture] }, from).pictures);
      outdate(cells, before.base, model.whole, from);
    }
    const from = places(base);
    const waits = base && run.snapshot.job?.state === "queued" && Object.fromEntries(ahead(model.registry, base, targets()).map((id) => [id, { state: "queued" }]));
    receiveRun(cells, base ? movedRun(waits ? { ...run.snapshot, nodes: { ...waits, ...run.snapshot.nodes } } : run.snapshot, from) : { job: run.snapshot.job });
    if (base && !run.live) outdate(cells, base, model.whole, from);
  }
  return {
    heard() {
      if (of !== run.of) find();
      tell();
    },
    changed(last) {
      if (source === model.source) return run.live || !(base || before) ? outdate(cells, last, model.whole) : tell(); // back at what ran, it is told again
      ({ source } = model);
      cells.fill("image", {});
      const picture = madeBy(source);
      before = picture && { picture, base: model.whole };
      find();
      tell();
    },
  };
}

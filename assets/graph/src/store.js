// What the editor knows: the document with its undo stack, and small cells (state, problem, plan of a node) that a
// component reads one by one, so that a message about one node draws one node anew.
import { changedNodes, downstream, emptyDocument, readable } from "./doc.js";

const DEEPEST = 200, MERGED_MS = 900;

export class Model {
  constructor(registry) {
    // Names come from documents of anybody: "constructor" must not find what every object has.
    this.registry = Object.fromEntries(Object.entries(registry).map(([name, table]) => [name, Object.assign(Object.create(null), table)]));
    this.doc = emptyDocument();
    this.past = [];
    this.future = [];
    this.listeners = new Set();
    this.last = { key: "", at: 0 };
  }
  subscribe = (callback) => { this.listeners.add(callback); return () => this.listeners.delete(callback); };
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

  /** A new document. Changes with one `key` that follow each other closely are undone together. */
  change(next, { key = "", from = "graph" } = {}) {
    if (next === this.doc) return;
    const now = Date.now(), merged = key && key === this.last.key && now - this.last.at < MERGED_MS && this.past.length;
    if (!merged) this.push();
    this.last = { key, at: now };
    this.put(next, from);
  }
  push() {
    this.past = [...this.past.slice(1 - DEEPEST), this.doc];
    this.future = [];
  }
  put(next, from) {
    const before = this.doc;
    this.doc = next;
    for (const callback of this.listeners) callback(before, from);
  }
  /** Another document from outside (opened, a template): it can be undone as a whole, once there was one before. */
  load(given, from = "outside") {
    const next = readable(given);
    if (JSON.stringify(next) === JSON.stringify(this.doc)) return;
    if (this.started) this.push();
    this.started = true;
    this.last = { key: "", at: 0 };
    this.put(next, from);
  }
  undo() { this.step(this.past, this.future); }
  redo() { this.step(this.future, this.past); }
  step(source, other) {
    if (!source.length) return;
    const next = source.pop();
    other.push(this.doc);
    this.last = { key: "", at: 0 };
    this.put(next, "graph");
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

/** A run's snapshot into the cells. States of the page: idle queued running done cached skipped error stopped. */
export function receiveRun(cells, snapshot) {
  const states = {};
  for (const [id, node] of Object.entries(snapshot.nodes || {})) {
    states[id] = { state: node.state, progress: node.progress, text: node.text, seconds: node.seconds, reason: node.reason, error: node.error };
    if (node.image) cells.set(`image:${id}`, { src: node.image, forming: ["queued", "running"].includes(node.state) });
  }
  if (snapshot.error?.node) {
    const id = snapshot.error.node;
    states[id] = { ...states[id], state: "error", error: [snapshot.error.message, snapshot.error.hint].filter(Boolean).join(" ") };
  }
  cells.fill("state", states);
  const made = {};
  for (const picture of snapshot.pictures || []) if (picture.node) (made[picture.node] ||= []).push(picture);
  for (const [id, list] of Object.entries(made)) cells.set(`image:${id}`, { src: list[0].thumb, whole: list[0].url, alt: list[0].prompt || list[0].title, count: list.length });
  cells.set("job", { state: snapshot.job?.state || "idle", step: snapshot.job?.step, total: snapshot.job?.total });
}
/** After an edit: what was said of the changed nodes and of those behind them holds no more. */
export function outdate(cells, before, after) {
  for (const id of downstream(after, changedNodes(before, after))) {
    const state = cells.get(`state:${id}`);
    if (state && !["queued", "running"].includes(state.state)) cells.set(`state:${id}`, undefined);
    const image = cells.get(`image:${id}`);
    if (image && !image.old) cells.set(`image:${id}`, { ...image, old: true });
  }
}

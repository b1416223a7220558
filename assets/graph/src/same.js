// Which nodes of two documents make the same, wherever they stand: also inside of a sub-graph that one of them has not.
import { isEnd, isObject, list } from "./rules.js";
import { BETWEEN, isSub } from "./sub.js";

const DEEPEST = 32, MOST = 4000; // nodes: a definition of somebody may hold itself, twice

/** All nodes that do something, by their whole path: `{kind, mode, widgets, feeds}`; `feeds` tells the source of each input as [path, output]. */
export function leaves(whole) {
  const found = new Map();
  const openings = (given, side) => new Map(list(given[side]).filter((o) => typeof o.name === "string").map((o) => [o.name, o]));
  function level(part, prefix, deep, set, outer) {
    if (found.size > MOST) return;
    const nodes = list(part.nodes, (n) => isObject(n) && typeof n.id === "string"), inner = new Map();
    for (const n of nodes) if (deep < DEEPEST && isSub(whole, n.kind) && (n.mode || "normal") === "normal") inner.set(n.id, whole.definitions[n.kind]);
    const edges = list(part.edges, (e) => isObject(e) && isEnd(e.from) && isEnd(e.to)), source = ([id, out]) => {
      if (!inner.has(id)) return [prefix + id, out];
      const from = openings(inner.get(id), "outputs").get(out)?.from;
      return isEnd(from) ? deeper(inner.get(id), `${prefix}${id}${BETWEEN}`, from, deep + 1) : null;
    };
    for (const n of nodes) {
      const fed = new Map(edges.filter((e) => e.to[0] === n.id).map((e) => [e.to[1], source(e.from)]));
      for (const [end, from] of outer) if (end[0] === n.id) fed.set(end[1], from);
      const widgets = { ...(isObject(n.widgets) ? n.widgets : {}) };
      for (const [end, value] of set) if (end[0] === n.id) widgets[end[1]] = value;
      if (!inner.has(n.id)) { found.set(prefix + n.id, { kind: isSub(whole, n.kind) ? JSON.stringify(whole.definitions[n.kind]) : n.kind, mode: n.mode || "normal", widgets, feeds: fed }); continue; }
      const ins = openings(inner.get(n.id), "inputs"), ends = (name) => list(ins.get(name)?.to, isEnd);
      level(inner.get(n.id), `${prefix}${n.id}${BETWEEN}`, deep + 1, Object.entries(widgets).flatMap(([name, value]) => ends(name).map((end) => [end, value])), [...fed].flatMap(([name, from]) => ends(name).map((end) => [end, from])));
    }
  }
  /** What an output of a node inside comes from, through sub-graphs in sub-graphs. */
  function deeper(part, prefix, [id, out], deep) {
    const n = list(part.nodes, isObject).find((one) => one.id === id);
    if (!n || deep >= DEEPEST || !isSub(whole, n.kind) || (n.mode || "normal") !== "normal") return [prefix + id, out];
    const from = openings(whole.definitions[n.kind], "outputs").get(out)?.from;
    return isEnd(from) ? deeper(whole.definitions[n.kind], `${prefix}${id}${BETWEEN}`, from, deep + 1) : null;
  }
  level(whole, "", 0, [], []);
  return found;
}

/** A number for each path: equal ones make the same of the same. `known`: shared by the documents that are compared. */
function marks(whole, known) {
  const all = leaves(whole), found = new Map(), open = new Set();
  function mark(path) {
    if (found.has(path)) return found.get(path);
    const leaf = all.get(path);
    if (!leaf || open.has(path)) return -1; // gone, or a circle
    open.add(path);
    const sorted = (entries) => [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
    const text = JSON.stringify([leaf.kind, leaf.mode, sorted(Object.entries(leaf.widgets)), sorted(leaf.feeds).map(([name, from]) => [name, from?.[1], from ? mark(from[0]) : -1])]);
    open.delete(path);
    if (!known.has(text)) known.set(text, known.size);
    found.set(path, known.get(text));
    return found.get(path);
  }
  for (const path of all.keys()) mark(path);
  return found;
}

/** Where each node of `after` stood in `before`, undefined for those that make something else: a map of paths. */
export function stayed(before, after) {
  const known = new Map(), was = marks(before, known), now = marks(after, known), from = new Map(), free = new Map();
  if (was.size > MOST || now.size > MOST) return from;
  const name = (path) => path.slice(path.lastIndexOf(BETWEEN) + 1);
  for (const [path, mark] of was) if (now.get(path) !== mark) (free.get(mark) || free.set(mark, []).get(mark)).push(path);
  for (const [path, mark] of now) {
    if (was.get(path) === mark) { from.set(path, path); continue; }
    const there = free.get(mark) || [], at = Math.max(0, there.findIndex((one) => name(one) === name(path)));
    from.set(path, there.splice(at, 1)[0]);
  }
  return from;
}
/** Whether a node, or all that is inside of it, makes the same as before. */
export function keeps(from, path) {
  if (from.has(path)) return from.get(path) !== undefined;
  const inside = [...from.keys()].filter((one) => one.startsWith(path + BETWEEN));
  return inside.length > 0 && inside.every((one) => from.get(one) !== undefined);
}
/** Whether nodes may stand elsewhere now: sub-graphs were made, unpacked or changed. */
export const movable = (before, after) => before.definitions !== after.definitions && JSON.stringify(before.definitions) !== JSON.stringify(after.definitions);

/** A run's snapshot with its nodes where they stand now; `from`: of `stayed`. */
export function movedRun(snapshot, from) {
  const moved = [...from].filter(([path, old]) => old !== undefined && path !== old);
  if (!moved.length) return snapshot;
  const to = new Map(moved.map(([path, old]) => [old, path])), at = (id) => to.get(id) ?? id;
  return {
    ...snapshot, nodes: Object.fromEntries(Object.entries(snapshot.nodes || {}).map(([id, node]) => [at(id), node])),
    pictures: (snapshot.pictures || []).map((p) => (p.node ? { ...p, node: at(p.node) } : p)), ...(snapshot.error ? { error: { ...snapshot.error, node: at(snapshot.error.node) } } : {}),
  };
}

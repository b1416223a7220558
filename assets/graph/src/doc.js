// The graph document as a value: every function gives a new document and leaves the old one as it is.
import { isEnd, isObject, list, specOf, words } from "./rules.js";
import { adopt, needed, outdated } from "./sub.js";
export * from "./rules.js";
export * from "./arrange.js";
export * from "./sub.js";

export const FORMAT = "weft/graph";
export const emptyDocument = () => ({ format: FORMAT, version: 1, nodes: [], edges: [], exposed: [], definitions: {}, groups: [], notes: [], kinds: {} });

/** A document that this page can draw, whatever came: lists are lists, nodes have ids; what we do not know stays. */
export function readable(given) {
  const doc = { ...emptyDocument(), ...(isObject(given) ? given : {}) };
  doc.nodes = list(doc.nodes, (n) => isObject(n) && typeof n.id === "string" && typeof n.kind === "string").map((n) => ({ ...n, widgets: isObject(n.widgets) ? n.widgets : {} }));
  doc.edges = list(doc.edges, (e) => isObject(e) && isEnd(e.from) && isEnd(e.to));
  doc.exposed = list(doc.exposed, isObject);
  doc.groups = list(doc.groups, () => true);
  doc.notes = list(doc.notes, () => true);
  if (!isObject(doc.definitions)) doc.definitions = {};
  return doc;
}

/** An id that nobody has: the wish itself, else with a number. */
export function freeId(doc, wish) {
  const taken = new Set([...doc.nodes, ...doc.notes.filter(isObject), ...doc.groups.filter(isObject)].map((n) => n.id));
  const base = String(wish).replace(/[^A-Za-z0-9_-]+/g, "_").slice(0, 40) || "node";
  if (!taken.has(base)) return base;
  let number = 2;
  while (taken.has(`${base}_${number}`)) number += 1;
  return `${base}_${number}`;
}
export const posOf = (node) => (Array.isArray(node.pos) && node.pos.length >= 2 && node.pos.every(Number.isFinite) ? [node.pos[0], node.pos[1]] : null);
const round = (pos) => pos.map((v) => Math.round(v));
const changeNode = (doc, id, change) => ({ ...doc, nodes: doc.nodes.map((n) => (n.id === id ? change(n) : n)) });

export function addNode(registry, doc, kind, pos) {
  const id = freeId(doc, kind), spec = registry.nodes[kind];
  const node = { id, kind, kind_version: spec?.version ?? 1, widgets: {}, pos: round(pos), mode: "normal" };
  return { doc: { ...doc, nodes: [...doc.nodes, node] }, id };
}
export function removeNodes(doc, ids) {
  const gone = new Set(ids);
  if (!gone.size) return doc;
  const groups = doc.groups.filter((g) => !gone.has(g?.id)).map((g) => (isObject(g) && Array.isArray(g.nodes) ? { ...g, nodes: g.nodes.filter((id) => !gone.has(id)) } : g));
  return {
    ...doc, nodes: doc.nodes.filter((n) => !gone.has(n.id)), edges: doc.edges.filter((e) => !gone.has(e.from[0]) && !gone.has(e.to[0])),
    exposed: doc.exposed.filter((x) => !gone.has(x.node)), notes: doc.notes.filter((n) => !gone.has(n?.id)), groups: groups.filter((g) => !Array.isArray(g?.nodes) || g.nodes.length),
  };
}
/** Joins two ends; an input that was fed is fed anew. */
export const connect = (doc, from, to) => ({ ...doc, edges: [...doc.edges.filter((e) => e.to[0] !== to[0] || e.to[1] !== to[1]), { from: [...from], to: [...to] }] });
export const disconnect = (doc, to) => ({ ...doc, edges: doc.edges.filter((e) => e.to[0] !== to[0] || e.to[1] !== to[1]) });
export const edgeId = (e) => JSON.stringify([e.from, e.to]);
export function removeEdges(doc, ids) {
  const gone = new Set(ids);
  return { ...doc, edges: doc.edges.filter((e) => !gone.has(edgeId(e))) };
}

export const setWidget = (doc, id, name, value) => changeNode(doc, id, (n) => ({ ...n, widgets: { ...n.widgets, [name]: value } }));
export function resetWidget(doc, id, name) {
  return changeNode(doc, id, (n) => { const { [name]: _, ...rest } = n.widgets; return { ...n, widgets: rest }; });
}
export const widgetValue = (node, widget) => (node.widgets?.[widget.name] === undefined ? widget.default : node.widgets[widget.name]);
export const setTitle = (doc, id, title) => changeNode(doc, id, (n) => ({ ...n, title }));
export function setMode(doc, ids, mode) {
  const of = new Set(ids);
  return { ...doc, nodes: doc.nodes.map((n) => (of.has(n.id) ? { ...n, mode } : n)) };
}
/** Mute or bypass the nodes; if all of them are that already, switch them on again. */
export function toggleMode(doc, ids, mode) {
  const all = doc.nodes.filter((n) => ids.includes(n.id)).every((n) => n.mode === mode);
  return setMode(doc, ids, all ? "normal" : mode);
}
export function place(doc, positions) {
  const moved = (n) => (isObject(n) && Object.hasOwn(positions, n.id) ? { ...n, pos: round(positions[n.id]) } : n);
  return { ...doc, nodes: doc.nodes.map(moved), notes: doc.notes.map(moved) };
}

/** The chosen nodes with the edges among them, as a document of its own: what the clipboard holds. */
export function fragment(doc, ids) {
  const of = new Set(ids), nodes = doc.nodes.filter((n) => of.has(n.id));
  const kinds = Object.fromEntries(nodes.filter((n) => doc.kinds?.[n.kind]).map((n) => [n.kind, doc.kinds[n.kind]]));
  const definitions = Object.fromEntries([...needed(doc.definitions, nodes.map((n) => n.kind))].map((name) => [name, doc.definitions[name]]));
  return {
    ...emptyDocument(), nodes: structuredClone(nodes), edges: doc.edges.filter((e) => of.has(e.from[0]) && of.has(e.to[0])).map((e) => structuredClone(e)),
    notes: structuredClone(doc.notes.filter((n) => of.has(n?.id))), kinds: structuredClone(kinds), definitions: structuredClone(definitions),
  };
}
/** Puts a fragment in under fresh ids. `at`: where its upper left corner goes; `from`: its ids stay fed from outside. */
export function paste(doc, piece, at, { fed = null } = {}) {
  const taken = adopt(doc, readable(piece)), names = new Map();
  if (taken.refusal) return { doc, ids: [], refusal: taken.refusal };
  const given = taken.piece;
  let next = taken.definitions === doc.definitions ? doc : { ...doc, definitions: taken.definitions };
  const corners = [...given.nodes, ...given.notes.filter(isObject)].map((n) => posOf(n) || [0, 0]);
  const corner = [0, 1].map((axis) => Math.min(...corners.map((pos) => pos[axis])));
  const put = (n) => { const pos = posOf(n) || [0, 0]; return round([0, 1].map((axis) => at[axis] + pos[axis] - corner[axis])); };
  for (const node of given.nodes) {
    const id = freeId(next, node.id.replace(/_\d+$/, ""));
    names.set(node.id, id);
    next = { ...next, nodes: [...next.nodes, { ...node, id, pos: put(node) }] };
  }
  for (const note of given.notes.filter(isObject)) {
    const id = freeId(next, "note");
    names.set(note.id, id);
    next = { ...next, notes: [...next.notes, { ...note, id, pos: put(note) }] };
  }
  const inner = given.edges.filter((e) => names.has(e.from[0]) && names.has(e.to[0])).map((e) => ({ ...e, from: [names.get(e.from[0]), e.from[1]], to: [names.get(e.to[0]), e.to[1]] }));
  const outer = fed ? doc.edges.filter((e) => names.has(e.to[0]) && !names.has(e.from[0])).map((e) => ({ ...e, to: [names.get(e.to[0]), e.to[1]] })) : [];
  const kinds = { ...given.kinds, ...doc.kinds };
  return { doc: { ...next, edges: [...next.edges, ...inner, ...outer], kinds }, ids: [...names.values()] };
}
/** A copy of the chosen nodes beside them, fed by what feeds them. */
export function duplicate(doc, ids) {
  const piece = fragment(doc, ids), corners = [...piece.nodes, ...piece.notes].map((n) => posOf(n) || [0, 0]);
  const corner = [0, 1].map((axis) => Math.min(...corners.map((pos) => pos[axis])));
  return paste(doc, piece, [corner[0] + 40, corner[1] + 40], { fed: ids });
}

// What Create shows.
export const isExposed = (doc, id, widget) => doc.exposed.some((x) => x.node === id && x.widget === widget);
export function setExposed(registry, doc, id, widget, on) {
  const rest = doc.exposed.filter((x) => x.node !== id || x.widget !== widget);
  if (!on) return { ...doc, exposed: rest };
  const node = doc.nodes.find((n) => n.id === id), spec = specOf(registry, doc, node);
  const label = spec.widgets.find((w) => w.name === widget)?.label || words(widget);
  const twice = rest.some((x) => (x.label || "").toLowerCase() === label.toLowerCase());
  const order = Math.max(0, ...rest.map((x) => (Number.isFinite(x.order) ? x.order : 0))) + 1;
  return { ...doc, exposed: [...rest, { node: id, widget, label: twice ? `${node.title || spec.title}: ${label}` : label, order }] };
}

// Notes and groups: presentation only.
export function addNote(doc, pos, text = "") {
  const id = freeId(doc, "note");
  return { doc: { ...doc, notes: [...doc.notes, { id, text, pos: round(pos), size: [220, 120] }] }, id };
}
export const changeNote = (doc, id, change) => ({ ...doc, notes: doc.notes.map((n) => (n?.id === id ? { ...n, ...change } : n)) });
export function addGroup(doc, ids, title = "Group") {
  const of = new Set(ids), id = freeId(doc, "group");
  const rest = doc.groups.map((g) => (isObject(g) && Array.isArray(g.nodes) ? { ...g, nodes: g.nodes.filter((n) => !of.has(n)) } : g)).filter((g) => !Array.isArray(g?.nodes) || g.nodes.length);
  return { doc: { ...doc, groups: [...rest, { id, title, nodes: doc.nodes.filter((n) => of.has(n.id)).map((n) => n.id) }] }, id };
}
export const changeGroup = (doc, id, change) => ({ ...doc, groups: doc.groups.map((g) => (g?.id === id ? { ...g, ...change } : g)) });
export const removeGroup = (doc, id) => ({ ...doc, groups: doc.groups.filter((g) => g?.id !== id) });

/** Whether two documents have the same nodes, set and joined in the same way, also inside of sub-graphs. */
export function alike(a, b) {
  const given = readable(a), differs = outdated(given, b);
  return given.nodes.length === b.nodes.length && !b.nodes.some((n) => differs(n.id));
}
/** What of two documents differs, as ids of nodes whose result may differ. Presentation does not count. */
export function changedNodes(before, after) {
  const old = new Map(before.nodes.map((n) => [n.id, n])), found = new Set();
  for (const node of after.nodes) {
    const was = old.get(node.id);
    if (!was || (was !== node && (was.kind !== node.kind || was.mode !== node.mode || (was.widgets !== node.widgets && JSON.stringify(was.widgets) !== JSON.stringify(node.widgets))))) found.add(node.id);
  }
  if (before.edges !== after.edges) {
    const a = new Set(before.edges.map(edgeId)), b = new Set(after.edges.map(edgeId));
    for (const e of before.edges) if (!b.has(edgeId(e))) found.add(e.to[0]);
    for (const e of after.edges) if (!a.has(edgeId(e))) found.add(e.to[0]);
  }
  return found;
}

/** Changes that the canvas tells, without those that would give up what is `kept` (ids; null: nothing is kept). */
export const stillChosen = (changes, kept) => (kept?.size ? changes.filter((c) => c.type !== "select" || c.selected || !kept.has(c.id)) : changes);

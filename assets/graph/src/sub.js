// Sub-graphs: what they look like from outside, going in, making and unpacking. Pure functions over documents.
// Inside of one, the editor works on a view: a document of its nodes with `inside` (its name), `inputs` and `outputs`.
import { changedNodes, emptyDocument, freeId, posOf, readable } from "./doc.js";
import { downstream, inputOf, isEnd, isObject, list, outputOf, specOf, titleOf, words } from "./rules.js";

export const SUBS = "Sub-graphs", SUB_COLOUR = "#5d7186", BETWEEN = "/";
export const isSub = (doc, kind) => isObject(doc.definitions) && Object.hasOwn(doc.definitions, kind) && isObject(doc.definitions[kind]);
const same = (a, b) => a[0] === b[0] && a[1] === b[1];
/** The openings of a definition that can be read: `{name, label, ends}`. */
const inputsOf = (given) => list(given.inputs).filter((o) => typeof o.name === "string").map((o) => ({ name: o.name, label: String(o.label || ""), ends: list(o.to, isEnd) }));
const outputsOf = (given) => list(given.outputs).filter((o) => typeof o.name === "string" && isEnd(o.from)).map((o) => ({ name: o.name, label: String(o.label || ""), ends: [o.from] }));
const kindsIn = (given) => list(given.nodes).map((n) => n.kind);
export const subTitle = (doc, name) => String(doc.definitions?.[name]?.title || name);

/** The names of all definitions that these kinds need, their own included. */
export function needed(definitions, kinds) {
  const found = new Set(), stack = [...kinds];
  while (stack.length) {
    const kind = stack.pop();
    if (found.has(kind) || !isObject(definitions) || !Object.hasOwn(definitions, kind) || !isObject(definitions[kind])) continue;
    found.add(kind);
    stack.push(...kindsIn(definitions[kind]));
  }
  return found;
}
const uses = (doc) => needed(doc.definitions, doc.nodes.map((n) => n.kind));

/** The registry with the sub-graphs of a document. Inside of `inside`, those that hold it are not offered. */
export function withSubs(registry, definitions, inside = "") {
  const names = isObject(definitions) ? Object.keys(definitions).filter((n) => isObject(definitions[n])) : [];
  if (!names.length) return registry;
  const nodes = Object.assign(Object.create(null), registry.nodes), made = new Set(), whole = { ...registry, nodes };
  for (const name of names) delete nodes[name];
  const make = (name, way) => {
    if (made.has(name) || way.includes(name) || way.length > 32) return;
    for (const kind of new Set(kindsIn(definitions[name]))) if (names.includes(kind)) make(kind, [...way, name]);
    nodes[name] = subSpec(whole, definitions, name);
    made.add(name);
  };
  for (const name of names) make(name, []);
  for (const name of names) if (nodes[name] && inside && (name === inside || needed(definitions, [name]).has(inside))) nodes[name] = { ...nodes[name], hidden: true };
  return { ...whole, categories: Object.assign(Object.create(null), registry.categories, { [SUBS]: SUB_COLOUR }) };
}
function subSpec(registry, definitions, name) {
  const given = definitions[name], doc = { ...emptyDocument(), nodes: list(given.nodes).map((n) => ({ ...n, widgets: isObject(n.widgets) ? n.widgets : {} })), edges: list(given.edges, (e) => isObject(e) && isEnd(e.from) && isEnd(e.to)) };
  const byId = new Map([...doc.nodes].reverse().map((n) => [n.id, n])), fed = new Set(doc.edges.map((e) => JSON.stringify(e.to)));
  const find = (end, side) => { const node = byId.get(end[0]); const spec = node && specOf(registry, doc, node); const socket = spec && side(spec, end[1]); return socket ? { node, socket, widget: spec.widgets.includes(socket) } : null; };
  const anything = (o) => ({ name: o.name, label: o.label || words(o.name), type: "any", line: ["any"], many: false, required: false, help: "" });
  const inputs = [], widgets = [], outputs = [];
  for (const o of inputsOf(given)) {
    const inside = o.ends.map((end) => find(end, inputOf)).filter(Boolean), first = inside[0];
    if (!first) inputs.push(anything(o));
    else if (first.widget) {
      const value = first.node.widgets[first.socket.name];
      widgets.push({ ...first.socket, name: o.name, label: o.label || first.socket.label, default: value === undefined ? first.socket.default : value, required: first.socket.required && value === undefined });
    } else inputs.push({ ...first.socket, name: o.name, label: o.label || first.socket.label, required: inside.some((i) => i.socket.required && !fed.has(JSON.stringify([i.node.id, i.socket.name]))) });
  }
  for (const o of outputsOf(given)) {
    const found = find(o.ends[0], outputOf);
    outputs.push(found ? { ...found.socket, name: o.name, label: o.label || found.socket.label } : anything(o));
  }
  const output = doc.nodes.some((n) => registry.nodes[n.kind]?.output);
  return { kind: name, title: String(given.title || name), category: SUBS, help: String(given.help || `A sub-graph of ${doc.nodes.length === 1 ? "one node" : `${doc.nodes.length} nodes`}. What is changed inside changes everywhere it stands.`), origin: "this graph", version: 1, sub: true, output, inputs, outputs, widgets };
}

// Going in and out.

/** The document as seen along a path of node ids; a path that leads nowhere is cut. `trail`: where one is. */
export function viewOf(whole, path) {
  let view = whole;
  const trail = [];
  for (const id of path) {
    const node = view.nodes.find((n) => n.id === id);
    if (!node || !isSub(whole, node.kind) || trail.length > 40) break;
    trail.push({ id, name: node.kind, title: node.title || subTitle(whole, node.kind) });
    const given = whole.definitions[node.kind];
    view = { ...readable({ nodes: given.nodes, edges: given.edges, groups: given.groups, notes: given.notes }), inputs: list(given.inputs), outputs: list(given.outputs), title: subTitle(whole, node.kind), inside: node.kind, definitions: whole.definitions, kinds: whole.kinds };
  }
  return { view, trail };
}
/** The whole document with a changed view of it; what a sub-graph no longer shows is taken off the nodes that stand for it. */
export function foldIn(whole, view) {
  if (!view.inside) return tidy(whole, view);
  const { inside, nodes, edges, groups, notes, title, definitions, kinds } = view, has = new Set(nodes.map((n) => n.id));
  const inputs = view.inputs.map((o) => { const to = list(o.to, isEnd).filter((end) => has.has(end[0])); return to.length === o.to?.length ? o : { ...o, to }; }).filter((o) => o.to?.length);
  const outputs = view.outputs.filter((o) => isEnd(o.from) && has.has(o.from[0]));
  const next = { ...definitions[inside], title, nodes, edges, groups, notes, inputs, outputs };
  return tidy(whole, { ...whole, kinds, definitions: { ...definitions, [inside]: next } });
}
function tidy(before, after) {
  if (before.definitions === after.definitions && before.nodes === after.nodes) return after;
  let next = after;
  const names = (given, side) => new Set(list(given[side]).map((o) => o.name)), gone = new Map();
  for (const [name, given] of Object.entries(after.definitions || {})) {
    const old = before.definitions?.[name];
    if (!isObject(old) || !isObject(given) || (old.inputs === given.inputs && old.outputs === given.outputs)) continue;
    const lost = ["inputs", "outputs"].map((side) => { const now = names(given, side); return new Set([...names(old, side)].filter((n) => !now.has(n))); });
    if (lost[0].size || lost[1].size) gone.set(name, lost);
  }
  if (gone.size) {
    const clean = (part) => {
      const by = new Map(list(part.nodes).filter((n) => gone.has(n.kind)).map((n) => [n.id, gone.get(n.kind)]));
      if (!by.size) return part;
      const nodes = part.nodes.map((n) => (by.has(n.id) && isObject(n.widgets) ? { ...n, widgets: Object.fromEntries(Object.entries(n.widgets).filter(([k]) => !by.get(n.id)[0].has(k))) } : n));
      return { ...part, nodes, edges: list(part.edges).filter((e) => !by.get(e.to?.[0])?.[0].has(e.to[1]) && !by.get(e.from?.[0])?.[1].has(e.from[1])), ...(part.exposed ? { exposed: part.exposed.filter((x) => !by.get(x.node)?.[0].has(x.widget)) } : {}) };
    };
    next = { ...clean(next), definitions: Object.fromEntries(Object.entries(next.definitions).map(([name, given]) => [name, isObject(given) ? clean(given) : given])) };
  }
  // A sub-graph whose last node has gone goes, too; one that was never used stays.
  const now = uses(next), left = [...uses(before)].filter((name) => !now.has(name) && Object.hasOwn(next.definitions, name));
  if (left.length) next = { ...next, definitions: Object.fromEntries(Object.entries(next.definitions).filter(([name]) => !left.includes(name))) };
  return next;
}

// What is shown outside.

const freeName = (taken, wish) => { let name = wish, n = 2; while (taken.includes(name)) name = `${wish}_${n++}`; return name; };
export const openingOf = (view, side, end) => (view[side] || []).find((o) => (side === "inputs" ? list(o.to, isEnd).some((e) => same(e, end)) : same(o.from, end)));
/** Shows a socket or a setting of a node inside to the outside, or hides it. */
export function setOpening(registry, view, side, end, on) {
  if (!on) {
    const next = view[side].map((o) => (side === "inputs" ? { ...o, to: list(o.to, isEnd).filter((e) => !same(e, end)) } : o));
    return { ...view, [side]: next.filter((o) => (side === "inputs" ? o.to.length : !same(o.from, end))) };
  }
  if (openingOf(view, side, end)) return view;
  const node = view.nodes.find((n) => n.id === end[0]), spec = specOf(registry, view, node), socket = (side === "inputs" ? inputOf : outputOf)(spec, end[1]);
  const twice = view[side].some((o) => o.label === socket.label), label = twice ? `${titleOf(spec, node)}: ${socket.label || words(end[1])}` : socket.label || words(end[1]);
  const name = freeName(view[side].map((o) => o.name), end[1]);
  return { ...view, [side]: [...view[side], side === "inputs" ? { name, label, to: [[...end]] } : { name, label, from: [...end] }] };
}
export const renameOpening = (view, side, name, label) => ({ ...view, [side]: view[side].map((o) => (o.name === name ? { ...o, label } : o)) });
export const removeOpening = (view, side, name) => ({ ...view, [side]: view[side].filter((o) => o.name !== name) });
export function moveOpening(view, side, name, by) {
  const all = [...view[side]], at = all.findIndex((o) => o.name === name), to = at + by;
  if (at < 0 || to < 0 || to >= all.length) return view;
  [all[at], all[to]] = [all[to], all[at]];
  return { ...view, [side]: all };
}

// Making and unpacking.

const centre = (nodes) => [0, 1].map((axis) => Math.round(nodes.reduce((sum, n) => sum + (posOf(n) || [0, 0])[axis], 0) / Math.max(1, nodes.length)));
/** A name for a definition that no kind and no other definition has. */
export function freeSub(registry, doc, title) {
  const base = `sub:${title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "graph"}`;
  return freeName([...Object.keys(doc.definitions || {}), ...Object.keys(registry.nodes)], base);
}
/** A node on the way from the chosen nodes out and back in again, or undefined. */
function between(view, of) {
  const next = new Map(), into = new Map();
  for (const { from, to } of view.edges) { (next.get(from[0]) || next.set(from[0], []).get(from[0])).push(to[0]); (into.get(to[0]) || into.set(to[0], []).get(to[0])).push(from[0]); }
  const reach = (ways) => { const seen = new Set(), stack = [...of]; while (stack.length) for (const id of ways.get(stack.pop()) || []) if (!seen.has(id) && !of.has(id)) { seen.add(id); stack.push(id); } return seen; };
  const behind = reach(next), before = reach(into);
  return [...behind].find((id) => before.has(id));
}
/** Puts the chosen nodes into a sub-graph: `{doc, id}`, or `{refusal}` in words. Cut wires become its sockets. */
export function makeSub(registry, view, ids, title = "Sub-graph") {
  const of = new Set(ids), nodes = view.nodes.filter((n) => of.has(n.id));
  if (!nodes.length) return { refusal: "Choose the nodes first." };
  const lost = between(view, of);
  if (lost !== undefined) { const node = view.nodes.find((n) => n.id === lost); return { refusal: `“${titleOf(specOf(registry, view, node), node)}” lies between the chosen nodes. Choose it as well.` }; }
  const node = (id) => view.nodes.find((n) => n.id === id), label = (side, end) => (side(specOf(registry, view, node(end[0])), end[1])?.label) || words(end[1]);
  const inside = view.edges.filter((e) => of.has(e.from[0]) && of.has(e.to[0]));
  const cutIn = view.edges.filter((e) => !of.has(e.from[0]) && of.has(e.to[0])), cutOut = view.edges.filter((e) => of.has(e.from[0]) && !of.has(e.to[0]));
  const inputs = [], outputs = [], edges = view.edges.filter((e) => !of.has(e.from[0]) && !of.has(e.to[0]));
  const id = freeId({ ...view, nodes: view.nodes.filter((n) => !of.has(n.id)) }, title.toLowerCase());
  const openIn = (ends, wish, text) => { const name = freeName(inputs.map((o) => o.name), wish); inputs.push({ name, label: inputs.some((o) => o.label === text) ? `${text} ${inputs.length + 1}` : text, to: ends.map((e) => [...e]) }); return name; };
  const openOut = (end, wish, text) => { const known = outputs.find((o) => same(o.from, end)); if (known) return known.name; const name = freeName(outputs.map((o) => o.name), wish); outputs.push({ name, label: outputs.some((o) => o.label === text) ? `${text} ${outputs.length + 1}` : text, from: [...end] }); return name; };
  for (const from of new Map(cutIn.map((e) => [JSON.stringify(e.from), e.from])).values()) {
    const ends = cutIn.filter((e) => same(e.from, from)).map((e) => e.to);
    edges.push({ from: [...from], to: [id, openIn(ends, ends[0][1], label(inputOf, ends[0]))] });
  }
  for (const e of cutOut) edges.push({ ...e, from: [id, openOut(e.from, e.from[1], label(outputOf, e.from))] });
  const exposed = (view.exposed || []).map((x) => {
    if (!of.has(x.node)) return x;
    const end = [x.node, x.widget], known = inputs.find((o) => o.to.some((e) => same(e, end)));
    return { ...x, node: id, widget: known ? known.name : openIn([end], x.widget, x.label || label(inputOf, end)) };
  });
  const more = {};
  if (view.inside) {
    more.inputs = view.inputs.map((o) => {
      const ends = list(o.to, isEnd), mine = ends.filter((e) => of.has(e[0]));
      if (!mine.length) return o;
      const known = inputs.find((i) => mine.every((end) => i.to.some((e) => same(e, end))));
      return { ...o, to: [...ends.filter((e) => !of.has(e[0])), [id, known ? known.name : openIn(mine, o.name, o.label || label(inputOf, mine[0]))]] };
    });
    more.outputs = view.outputs.map((o) => (isEnd(o.from) && of.has(o.from[0]) ? { ...o, from: [id, openOut(o.from, o.from[1], o.label || label(outputOf, o.from))] } : o));
  }
  const whole = (g) => isObject(g) && Array.isArray(g.nodes) && g.nodes.length && g.nodes.every((n) => of.has(n));
  const groups = view.groups.filter((g) => !whole(g)).map((g) => (isObject(g) && Array.isArray(g.nodes) ? { ...g, nodes: g.nodes.filter((n) => !of.has(n)) } : g));
  const name = freeSub(registry, view, title), definition = { title, nodes, edges: inside, inputs, outputs, groups: view.groups.filter(whole), notes: [] };
  const made = { id, kind: name, kind_version: 1, widgets: {}, pos: centre(nodes), mode: "normal" };
  return { id, doc: { ...view, ...more, nodes: [...view.nodes.filter((n) => !of.has(n.id)), made], edges, exposed, groups, definitions: { ...view.definitions, [name]: definition } } };
}

/** Puts the nodes of a sub-graph back in the place of the node that stands for it: `{doc, ids}` or `{refusal}`. */
export function unpack(registry, view, id) {
  const node = view.nodes.find((n) => n.id === id);
  if (!node || !isSub(view, node.kind)) return { refusal: "This node is no sub-graph." };
  if (node.mode === "bypass") return { refusal: "It is bypassed. Switch it on before you unpack it." };
  const given = view.definitions[node.kind], inner = readable({ nodes: given.nodes, edges: given.edges, groups: given.groups, notes: given.notes });
  const inputs = inputsOf(given), outputs = outputsOf(given), names = new Map();
  let next = { ...view, nodes: view.nodes.filter((n) => n.id !== id) };
  const middle = centre(inner.nodes), at = posOf(node) || [0, 0], put = (n) => (posOf(n) || middle).map((v, axis) => Math.round(v + at[axis] - middle[axis]));
  for (const one of inner.nodes) {
    const free = freeId(next, one.id);
    names.set(one.id, free);
    const widgets = { ...one.widgets };
    for (const o of inputs) if (node.widgets?.[o.name] !== undefined) for (const end of o.ends) if (end[0] === one.id) widgets[end[1]] = node.widgets[o.name];
    next = { ...next, nodes: [...next.nodes, { ...one, id: free, widgets, pos: put(one), mode: node.mode === "mute" ? "mute" : one.mode || "normal" }] };
  }
  const groups = inner.groups.filter(isObject).map((g) => { const free = freeId(next, g.id || "group"); const made = { ...g, id: free, nodes: list(g.nodes, (n) => names.has(n)).map((n) => names.get(n)) }; next = { ...next, groups: [...next.groups, made] }; return made; });
  for (const n of inner.notes.filter(isObject)) next = { ...next, notes: [...next.notes, { ...n, id: freeId(next, "note"), pos: put(n) }] };
  const moved = ([a, b]) => [names.get(a), b], known = (end) => names.has(end[0]);
  const outEnd = (name) => { const o = outputs.find((one) => one.name === name); return o && known(o.ends[0]) ? moved(o.ends[0]) : null; };
  const inEnds = (name) => (inputs.find((one) => one.name === name)?.ends || []).filter(known).map(moved);
  const edges = [...inner.edges.filter((e) => known(e.from) && known(e.to)).map((e) => ({ ...e, from: moved(e.from), to: moved(e.to) }))];
  for (const e of view.edges) {
    const from = e.from[0] === id ? outEnd(e.from[1]) : e.from;
    if (from) for (const to of e.to[0] === id ? inEnds(e.to[1]) : [e.to]) edges.push({ ...e, from, to });
  }
  const exposed = (view.exposed || []).flatMap((x) => (x.node === id ? inEnds(x.widget).slice(0, 1).map((end) => ({ ...x, node: end[0], widget: end[1] })) : [x]));
  const more = view.inside ? {
    inputs: view.inputs.map((o) => ({ ...o, to: list(o.to, isEnd).flatMap((e) => (e[0] === id ? inEnds(e[1]) : [e])) })).filter((o) => o.to.length),
    outputs: view.outputs.map((o) => (o.from?.[0] === id ? { ...o, from: outEnd(o.from[1]) } : o)).filter((o) => o.from),
  } : {};
  const outside = next.groups.filter((g) => !groups.includes(g)).map((g) => (isObject(g) && Array.isArray(g.nodes) ? { ...g, nodes: g.nodes.flatMap((n) => (n === id ? [...names.values()] : [n])) } : g));
  return { ids: [...names.values()], doc: { ...next, ...more, edges, exposed, groups: [...outside, ...groups] } };
}

/** A pasted piece whose definitions are known here: equal ones are shared, others get names of their own. */
export function adopt(view, piece) {
  const brought = needed(piece.definitions, piece.nodes.map((n) => n.kind)), definitions = { ...view.definitions }, names = new Map();
  if (!brought.size) return { piece, definitions: view.definitions };
  for (const name of brought) {
    const other = Object.hasOwn(definitions, name) && JSON.stringify(definitions[name]) !== JSON.stringify(piece.definitions[name]);
    names.set(name, other ? freeName([...Object.keys(definitions), ...names.values()], name) : name);
  }
  const renamed = (n) => (names.has(n.kind) ? { ...n, kind: names.get(n.kind) } : n);
  for (const name of brought) {
    const given = piece.definitions[name];
    definitions[names.get(name)] = { ...structuredClone(given), nodes: list(given.nodes).map(renamed) };
  }
  if (view.inside && [...brought].some((name) => names.get(name) === view.inside || needed(definitions, [names.get(name)]).has(view.inside))) return { refusal: "A sub-graph cannot hold itself." };
  return { piece: { ...piece, nodes: piece.nodes.map(renamed) }, definitions };
}

/** The nodes that are muted or bypassed, by their whole path: `[path, mode]`. */
export function switchedOff(whole) {
  const found = [], stack = [["", whole, 0]];
  while (stack.length && found.length < 2000) {
    const [prefix, part, deep] = stack.pop();
    for (const n of list(part.nodes)) {
      if (n.mode === "mute" || n.mode === "bypass") found.push([prefix + n.id, n.mode]);
      else if (deep < 8 && isSub(whole, n.kind)) stack.push([`${prefix}${n.id}${BETWEEN}`, whole.definitions[n.kind], deep + 1]);
    }
  }
  return found;
}

/** Nodes, by their whole path, whose result may differ after a change. */
export function outdated(before, after) {
  const found = new Set(), wholes = new Set();
  const level = (a, b, prefix, deep) => {
    const own = changedNodes(a, b), inside = new Set();
    for (const node of b.nodes) {
      if (own.has(node.id) || deep > 32 || !isSub(after, node.kind) || !isSub(before, node.kind)) continue;
      if (![...needed(after.definitions, [node.kind])].some((name) => before.definitions[name] !== after.definitions[name])) continue;
      const part = (doc) => readable({ nodes: doc.definitions[node.kind].nodes, edges: doc.definitions[node.kind].edges });
      if (level(part(before), part(after), `${prefix}${node.id}${BETWEEN}`, deep + 1)) inside.add(node.id);
    }
    for (const id of downstream(b, [...own, ...inside])) { found.add(prefix + id); if (!inside.has(id)) wholes.add(prefix + id + BETWEEN); }
    return own.size + inside.size > 0;
  };
  level(before, after, "", 0);
  return (path) => found.has(path) || (path.includes(BETWEEN) && [...wholes].some((start) => path.startsWith(start)));
}

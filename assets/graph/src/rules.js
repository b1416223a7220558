// What may be joined, and what a node of a document looks like: pure functions over the document and the registry.

/** The sockets and widgets of a node, from the registry; of a missing kind from the document's own copy and its edges. */
export function specOf(registry, doc, node) {
  if (Object.hasOwn(registry.nodes, node.kind)) return registry.nodes[node.kind];
  const kept = isObject(doc.kinds?.[node.kind]) ? doc.kinds[node.kind] : {};
  const pairs = (list) => (Array.isArray(list) ? list : []).filter((p) => Array.isArray(p) && typeof p[0] === "string").map(([name, type]) => ({ name, type: String(type ?? "any") }));
  const inputs = pairs(kept.inputs), outputs = pairs(kept.outputs), widgets = pairs(kept.widgets).map((w) => ({ ...w, kind: "kept" }));
  const have = (list, name) => list.some((s) => s.name === name);
  for (const { from, to } of doc.edges) {
    if (to[0] === node.id && !have(inputs, to[1]) && !have(widgets, to[1])) inputs.push({ name: to[1], type: "any" });
    if (from[0] === node.id && !have(outputs, from[1])) outputs.push({ name: from[1], type: "any" });
  }
  for (const name of Object.keys(node.widgets || {})) if (!have(widgets, name)) widgets.push({ name, kind: "kept", type: "any" });
  return {
    kind: node.kind, title: String(kept.title || node.kind), category: "", help: "", origin: String(kept.origin || ""), missing: true, output: false,
    inputs: inputs.map(socket), outputs: outputs.map((s) => ({ ...socket(s), line: [s.type] })), widgets: widgets.map((w) => ({ ...socket(w), kind: "kept" })),
  };
}
const socket = ({ name, type }) => ({ name, type, many: false, required: false, label: words(name), help: "" });
export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
export const isEnd = (value) => Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === "string");
/** The items of a list that are fine; none of anything else. */
export const list = (value, fine = isObject) => (Array.isArray(value) ? value.filter(fine) : []);
export const words = (name) => { const plain = String(name).replaceAll("_", " "); return plain.charAt(0).toUpperCase() + plain.slice(1); };
export const titleOf = (spec, node) => node.title || spec.title || node.kind;

/** An input by name: a socket or a widget, which an edge may feed too. */
export const inputOf = (spec, name) => spec.inputs.find((s) => s.name === name) || spec.widgets.find((s) => s.name === name);
export const outputOf = (spec, name) => spec.outputs.find((s) => s.name === name);

/** Why an output does not fit an input, in words; "" if it does. The same rules as studio/graph/types.py. */
export function misfit(out, into, types = {}) {
  const say = (type) => types[type]?.word || type;
  const line = out.line?.length ? out.line : [out.type], target = into.type, first = line[0];
  if (out.many && !into.many && target !== "any") return `A list (${say(first)}) does not fit here: “${into.label || into.name}” takes one ${say(target)}.`;
  if (target === "any" || first === "any" || line.includes(target) || (target === "Float" && first === "Int")) return "";
  return `“${into.label || into.name}” takes ${say(target)}, not ${say(first)}.`;
}

/** Whether an edge from `source` to `target` would close a circle. */
export function wouldCycle(doc, source, target) {
  if (source === target) return true;
  const next = followers(doc), seen = new Set(), stack = [target];
  while (stack.length) {
    const id = stack.pop();
    if (id === source) return true;
    if (seen.has(id)) continue;
    seen.add(id);
    stack.push(...(next.get(id) || []));
  }
  return false;
}
function followers(doc) {
  const next = new Map();
  for (const { from, to } of doc.edges) (next.get(from[0]) || next.set(from[0], []).get(from[0])).push(to[0]);
  return next;
}
/** The nodes behind these in the direction of the edges, these included. */
export function downstream(doc, ids) {
  const next = followers(doc), seen = new Set(), stack = [...ids];
  while (stack.length) {
    const id = stack.pop();
    if (seen.has(id)) continue;
    seen.add(id);
    stack.push(...(next.get(id) || []));
  }
  return seen;
}

/** Why these two ends cannot be joined, in words; "" if they can. */
export function refusal(registry, doc, from, to) {
  const [source, target] = [from[0], to[0]].map((id) => doc.nodes.find((n) => n.id === id));
  if (!source || !target) return "One of the two nodes is gone.";
  const out = outputOf(specOf(registry, doc, source), from[1]), into = inputOf(specOf(registry, doc, target), to[1]);
  if (!out || !into) return "One of the two sockets is gone.";
  if (from[0] === to[0]) return "A node cannot feed itself.";
  const wrong = misfit(out, into, registry.types);
  if (wrong) return wrong;
  if (wouldCycle(doc, from[0], to[0])) return "These nodes would feed each other in a circle.";
  return "";
}

/** In how many ready workflows a kind is joined to such an end of a wire: first at this very socket, then at its type. */
function joined(registry, wire, kind) {
  const table = registry.usual?.[wire.out ? "takes" : "gives"] || {}, at = (name) => (Object.hasOwn(table, name) && Object.hasOwn(table[name], kind) ? table[name][kind] : 0);
  return [wire.kind ? at(`${wire.kind}.${wire.end[1]}`) : 0, at(wire.socket.type)];
}
const used = (registry, kind, spec) => { const uses = registry.usual?.uses || {}; return Object.hasOwn(uses, kind) ? uses[kind] : spec.sub ? 1 : 0; };
const byName = (said) => (a, b) => said(a.spec.title).localeCompare(said(b.spec.title));

/** What an end of a wire may be joined to: `{kind, spec, socket, usual}`, what is joined there most in front.
 *  `usual`: in how many ready workflows. `wire`: {out, socket, end, kind of its node}. */
export function fitting(registry, wire, said = (word) => word) {
  const found = [];
  for (const [kind, spec] of Object.entries(registry.nodes)) {
    if (spec.hidden) continue;
    const sockets = wire.out ? [...spec.inputs, ...spec.widgets] : spec.outputs;
    const fits = sockets.filter((s) => !(wire.out ? misfit(wire.socket, s) : misfit(s, wire.socket)));
    const best = fits.find((s) => s.type === wire.socket.type && s.required) || fits.find((s) => s.type === wire.socket.type) || fits.find((s) => s.type !== "any") || fits[0];
    const [here, type] = joined(registry, wire, kind);
    if (best) found.push({ kind, spec, socket: best.name, exact: best.type === wire.socket.type, here, type, usual: here + type });
  }
  return found.sort((a, b) => b.here - a.here || b.type - a.type || b.exact - a.exact || byName(said)(a, b));
}

/** Kinds for words: title first, then kind, what others call it, group and help; of equal ones, and without words, those that are used most
 *  in front. `among` keeps its order. `said` puts a title or a group into the language of the page; both are searched. */
export function search(registry, text, among = null, said = (word) => word) {
  const asked = text.toLowerCase().split(/\s+/).filter(Boolean);
  const all = () => Object.entries(registry.nodes).filter(([, spec]) => !spec.hidden).map(([kind, spec]) => ({ kind, spec, usual: used(registry, kind, spec) })).sort((a, b) => b.usual - a.usual || byName(said)(a, b));
  const list = among || all();
  if (!asked.length) return list;
  const score = ({ kind, spec }) => {
    let total = 0;
    const both = (word) => [word, said(word)].map((one) => one.toLowerCase()), titles = both(spec.title), groups = both(spec.category);
    for (const word of asked) {
      const points = titles.some((t) => t.startsWith(word)) ? 8 : titles.some((t) => t.includes(word)) ? 5 : kind.includes(word) ? 4 : (spec.also || "").includes(word) ? 3 : groups.some((g) => g.includes(word)) ? 2 : (spec.help || "").toLowerCase().includes(word) ? 1 : 0;
      if (!points) return 0;
      total += points;
    }
    return total;
  };
  return list.map((entry) => [score(entry), entry]).filter(([points]) => points).sort((a, b) => b[0] - a[0]).map(([, entry]) => entry);
}

/** Outputs of the document that an input may take: `{id, name, title, label}`. */
export function sourcesFor(registry, doc, id, name) {
  const found = [];
  for (const node of doc.nodes) {
    if (node.id === id) continue;
    const spec = specOf(registry, doc, node);
    for (const out of spec.outputs) {
      if (!refusal(registry, doc, [node.id, out.name], [id, name])) found.push({ id: node.id, name: out.name, title: titleOf(spec, node), label: out.label || words(out.name), spec });
    }
  }
  return found;
}

/** What an input that is needed is best joined to: `{from}`, an end that is there, or `{kind, out, feeds}`, a new node like the one that
 *  feeds a sibling input of the type, itself fed by the same ends; null where a person has to choose. An output that feeds
 *  a sibling already is none to take: positive and negative would be one. */
export function mending(registry, doc, id, name) {
  const spec = specOf(registry, doc, doc.nodes.find((n) => n.id === id)), { type } = inputOf(spec, name);
  const fits = sourcesFor(registry, doc, id, name).filter((s) => outputOf(s.spec, s.name).type === type);
  const beside = doc.edges.filter((e) => e.to[0] === id && e.to[1] !== name && inputOf(spec, e.to[1])?.type === type).map((e) => e.from);
  const free = fits.filter((s) => !beside.some((from) => from[0] === s.id && from[1] === s.name));
  if (free.length === 1) return { from: [free[0].id, free[0].name] };
  const twin = free.length ? null : fits.find((s) => !s.spec.missing && s.spec.widgets.length); // without settings it would say the same once more
  if (!twin) return null;
  const { kind } = doc.nodes.find((n) => n.id === twin.id), feeds = doc.edges.filter((e) => e.to[0] === twin.id && twin.spec.inputs.some((s) => s.name === e.to[1])).map((e) => ({ from: e.from, name: e.to[1] }));
  return { kind, out: twin.name, feeds };
}

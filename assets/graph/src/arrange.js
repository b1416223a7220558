// Auto-arrange: columns along the edges, few crossings, nothing overlapping. Pure.
import { posOf } from "./doc.js";

const GAP_X = 72, GAP_Y = 28, WIDTH = 264, HEIGHT = 180;
const sizeOf = (sizes, id) => [sizes?.[id]?.[0] || WIDTH, sizes?.[id]?.[1] || HEIGHT];

/** New positions by id. `sizes`: width and height in pixels by id, as measured. */
export function arrange(doc, sizes = {}) {
  const ids = doc.nodes.map((n) => n.id), has = new Set(ids);
  const edges = doc.edges.filter((e) => has.has(e.from[0]) && has.has(e.to[0]) && e.from[0] !== e.to[0]);
  const into = new Map(ids.map((id) => [id, []])), out = new Map(ids.map((id) => [id, []]));
  for (const e of edges) { into.get(e.to[0]).push(e.from[0]); out.get(e.from[0]).push(e.to[0]); }
  const rank = balanced(ranks(ids, into, out), ids, into, sizes);
  const columns = [];
  for (const id of ids) (columns[rank.get(id)] ||= []).push(id);
  const rows = columns.map((c) => c || []);
  order(rows, into, out);
  return coordinates(rows, into, out, sizes);
}

/** Longest way from a start; a node without inputs stands right before the first that needs it. Circles are cut. */
function ranks(ids, into, out) {
  const waiting = new Map(ids.map((id) => [id, into.get(id).length])), rank = new Map(ids.map((id) => [id, 0]));
  const ready = ids.filter((id) => !waiting.get(id)), done = new Set();
  while (done.size < ids.length) {
    const id = ready.length ? ready.shift() : ids.find((one) => !done.has(one));
    if (done.has(id)) continue;
    done.add(id);
    for (const next of out.get(id)) {
      if (done.has(next)) continue;
      rank.set(next, Math.max(rank.get(next), rank.get(id) + 1));
      waiting.set(next, waiting.get(next) - 1);
      if (waiting.get(next) <= 0) ready.push(next);
    }
  }
  for (const id of ids) {
    const users = out.get(id).map((next) => rank.get(next));
    if (!into.get(id).length && users.length) rank.set(id, Math.max(0, Math.min(...users) - 1));
  }
  return rank;
}

/** Starts move one column to the left, as long as that makes the tall column shorter than the other. */
function balanced(rank, ids, into, sizes) {
  const tall = [];
  for (const id of ids) tall[rank.get(id)] = (tall[rank.get(id)] || 0) + sizeOf(sizes, id)[1] + GAP_Y;
  for (const id of [...ids].reverse()) {
    const at = rank.get(id), high = sizeOf(sizes, id)[1] + GAP_Y;
    if (into.get(id).length || at < 1 || (tall[at - 1] || 0) + high > tall[at] - high / 4) continue;
    rank.set(id, at - 1);
    tall[at] -= high;
    tall[at - 1] = (tall[at - 1] || 0) + high;
  }
  return rank;
}

/** Fewer crossings: each column sorted by the middle of its neighbours, back and forth. */
function order(rows, into, out) {
  for (let sweep = 0; sweep < 6; sweep += 1) {
    const near = sweep % 2 ? out : into, place = new Map();
    rows.forEach((row) => row.forEach((id, i) => place.set(id, row.length > 1 ? i / (row.length - 1) : 0.5)));
    for (const row of sweep % 2 ? [...rows].reverse() : rows) {
      const middle = (id) => { const spots = near.get(id).map((n) => place.get(n)); return spots.length ? spots.reduce((a, b) => a + b, 0) / spots.length : place.get(id); };
      const keys = new Map(row.map((id) => [id, middle(id)]));
      row.sort((a, b) => keys.get(a) - keys.get(b));
      row.forEach((id, i) => place.set(id, row.length > 1 ? i / (row.length - 1) : 0.5));
    }
  }
}

function coordinates(rows, into, out, sizes) {
  const found = {}, height = (row) => row.reduce((sum, id) => sum + sizeOf(sizes, id)[1] + GAP_Y, -GAP_Y);
  const tallest = Math.max(0, ...rows.map(height)), centre = new Map();
  let x = 0;
  for (const row of rows) {
    let y = (tallest - height(row)) / 2;
    const wide = Math.max(WIDTH, ...row.map((id) => sizeOf(sizes, id)[0]));
    for (const id of row) {
      const high = sizeOf(sizes, id)[1], feeds = into.get(id).map((n) => centre.get(n)).filter((v) => v !== undefined);
      const wish = feeds.length && row.length < 3 ? feeds.reduce((a, b) => a + b, 0) / feeds.length - high / 2 : y;
      const top = Math.max(y, Math.min(wish, tallest - high));
      found[id] = [x, Math.round(top / 8) * 8];
      centre.set(id, top + high / 2);
      y = top + high + GAP_Y;
    }
    x += Math.round((wide + GAP_X) / 8) * 8;
  }
  return found;
}

/** About how high a node of a kind is drawn, before it is measured; one that needs an input says so first. */
export const heightOf = (spec) => (spec ? 62 + 24 * Math.max(spec.inputs.length, spec.outputs.length) + 31 * Math.min(8, spec.widgets.length) + (spec.inputs.some((s) => s.required) ? 90 : 0) + (spec.widgets.some((w) => w.kind === "prompt") ? 60 : 0) : HEIGHT);
/** The place nearest to `wish` where a node of this height, or several in a box of this size, lies on no other and on no note. */
export function freePlace(doc, wish, sizes = {}, high = HEIGHT, wide = WIDTH) {
  const boxes = [...doc.nodes, ...doc.notes.filter((n) => n?.id)].map((n) => [...(posOf(n) || [0, 0]), ...sizeOf(sizes, n.id)]);
  const free = ([x, y]) => boxes.every(([u, v, w, h]) => x + wide + 16 < u || u + w + 16 < x || y + high + 16 < v || v + h + 16 < y);
  for (let ring = 0; ring < 40; ring += 1) {
    for (let i = 0; i < Math.max(1, ring * 8); i += 1) {
      const turn = (2 * Math.PI * i) / Math.max(1, ring * 8), spot = [wish[0] + ring * 56 * Math.cos(turn), wish[1] + ring * 44 * Math.sin(turn)];
      if (free(spot)) return spot;
    }
  }
  return [wish[0] + 32, wish[1] + 32];
}

/** Width and height of the box around the nodes and notes of a fragment, before they are measured. */
export function extent(registry, piece) {
  const boxes = [...piece.nodes, ...(Array.isArray(piece.notes) ? piece.notes : [])].filter(Boolean).map((n) => [...(posOf(n) || [0, 0]), heightOf(registry.nodes[n.kind])]);
  const span = (axis, more) => Math.max(...boxes.map((b) => b[axis] + more(b))) - Math.min(...boxes.map((b) => b[axis]));
  return [span(0, () => WIDTH), span(1, (b) => b[2])];
}

/** Whether nodes lie on each other, or so close that it looks like one. */
export function overlapping(doc, sizes) {
  const boxes = doc.nodes.map((n) => [...(posOf(n) || [0, 0]), ...sizeOf(sizes, n.id)]).sort((a, b) => a[0] - b[0]);
  for (let i = 0; i < boxes.length; i += 1) {
    const [x, y, w, h] = boxes[i];
    for (let j = i + 1; j < boxes.length && boxes[j][0] < x + w + 8; j += 1) {
      const [u, v, ww, hh] = boxes[j];
      const across = Math.min(x + w, u + ww) - Math.max(x, u), down = Math.min(y + h, v + hh) - Math.max(y, v);
      if (across > -8 && down > -8) return true;
    }
  }
  return false;
}

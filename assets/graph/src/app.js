// The one editor of the page: its model, cells and the page around it; set once by graph.jsx. And the hooks on them.
import { useRef, useSyncExternalStore } from "react";
import { Cells } from "./store.js";
import { specOf } from "./doc.js";

export const app = { model: null, cells: new Cells(), weft: null, actions: {}, naming: null, views: new Map() }; // `naming`: the new group whose title is to take the focus; `views`: how each place was last seen

export const useCell = (key) => useSyncExternalStore((cb) => app.cells.subscribe(key, cb), () => app.cells.get(key));
/** A cell of one node as it is seen now: inside of a sub-graph its key is the whole path. */
export const useOf = (sort, id) => useCell(`${sort}:${app.model.prefix}${id}`);
export const useDoc = () => useSyncExternalStore(app.model.subscribe, () => app.model.doc);
export const useNode = (id) => useSyncExternalStore(app.model.subscribe, () => app.model.node(id));
export const useFed = (id) => useSyncExternalStore(app.model.subscribe, () => app.model.fed(id));

/** `open(side, name)`: "" where the sub-graph that one is in shows this socket outside, else undefined. */
export function useOpen(id) {
  const text = useSyncExternalStore(app.model.subscribe, () => app.model.opened(id)), names = text.split("\n");
  return (side, name) => (text && names.includes(`${side} ${name}`) ? "" : undefined);
}
/** The sockets and widgets of a node. A known kind's are constant; a missing one's depend on its edges. */
export function useSpec(node) {
  const kept = useRef({});
  const found = node && specOf(app.model.registry, app.model.doc, node);
  if (!found?.missing) return found;
  const text = JSON.stringify(found);
  if (kept.current.text !== text) kept.current = { text, spec: found };
  return kept.current.spec;
}
export const WORDS = { idle: "Ready", queued: "Waiting", running: "Working", done: "Done", cached: "Unchanged", skipped: "Skipped", error: "Failed", stopped: "Stopped" };
export const PLANNED = { run: "Will run", cached: "From the cache", skipped: "Skipped", failed: "Cannot run", passed: "Passed by" };
export const seconds = (value) => (value === undefined || value === null ? "" : value < 0.095 ? "under 0.1 s" : value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`);
/** Whether a problem is no more than what is still to be added to a graph in the making: until a run is asked for. */
export const calm = (problem, asked) => !asked && problem.level === "error" && problem.stage === "required";

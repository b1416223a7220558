// The menu of a node: a right click, the menu key or Shift+F10 opens it.
import { useEffect, useRef } from "react";
import { app } from "./app.js";
import { specOf } from "./doc.js";

const WIDE = 218, HIGH = 338; // px, as drawn

/** `at`: {x, y, ids} in pixels of the window; `room`: the box that it stays in. */
export function NodeMenu({ at, room, onClose }) {
  const root = useRef(null), { actions, model } = app, { ids } = at;
  const nodes = ids.map((id) => model.node(id)).filter(Boolean), single = nodes.length === 1, sub = single && specOf(model.registry, model.doc, nodes[0]).sub;
  const all = (mode) => nodes.every((n) => n.mode === mode);
  const items = [
    ...(single ? [["Run to here", () => actions.run(ids)]] : []), ...(sub ? [["Open", () => actions.enter(ids[0])]] : []),
    [all("mute") ? "Switch on" : "Mute", () => actions.mode(ids, "mute")], [all("bypass") ? "Switch on" : "Bypass", () => actions.mode(ids, "bypass")],
    ...(single ? [["Rename", () => actions.rename(ids[0])]] : []), ["Copy", () => actions.copyOut(ids)], ["Duplicate", () => actions.duplicate(ids)], ["Group", () => actions.group(ids)],
    sub ? ["Unpack", () => actions.unpack(ids[0])] : ["Make a sub-graph", () => actions.makeSub(ids)], ["Delete", () => actions.remove(ids)],
  ];
  useEffect(() => {
    root.current?.querySelector("button")?.focus({ preventScroll: true });
    const away = (e) => { if (!root.current?.contains(e.target)) onClose(); };
    document.addEventListener("pointerdown", away, true);
    return () => document.removeEventListener("pointerdown", away, true);
  }, [at]);
  const onKeyDown = (e) => {
    const list = [...root.current.querySelectorAll("button")], now = list.indexOf(document.activeElement);
    const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: list.length - 1 }[e.key];
    e.stopPropagation(); // no letter is a shortcut in here
    if (next !== undefined) { e.preventDefault(); list[(next + list.length) % list.length].focus(); }
    if (e.key === "Escape" || e.key === "Tab") { e.preventDefault(); onClose(true); }
  };
  const x = Math.max(8, Math.min(at.x - room.left, room.width - WIDE - 8)), y = Math.max(8, Math.min(at.y - room.top, room.height - HIGH - 8));
  return (
    <div className="g-menu g-node-menu" style={{ left: x, top: y }} ref={root} onKeyDown={onKeyDown}>
      <div role="menu" aria-label={single ? actions.title(ids[0]) : `${nodes.length} nodes`}>{items.map(([word, act], i) => <button key={i} type="button" role="menuitem" tabIndex={-1} onClick={() => { onClose(word !== "Rename"); act(); }}><b>{word}</b></button>)}</div>
    </div>
  );
}

// The canvas: React Flow shows the document; what is moved, joined or chosen there goes back into the document.
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { applyEdgeChanges, applyNodeChanges, Background, ConnectionLineType, ReactFlow, useReactFlow } from "@xyflow/react";
import { app, useDoc } from "./app.js";
import { BETWEEN, arrange, connect, edgeId, inputOf, isObject, misfit, outputOf, overlapping, place, posOf, refusal, specOf, stillChosen } from "./doc.js";
import { GroupNode, NoteNode, WeftNode } from "./node.jsx";
import { FIT, Overview, intoView, opening } from "./overview.jsx";

const NODE_TYPES = { weft: WeftNode, note: NoteNode, frame: GroupNode };
const ADD_KEYS = ["Shift", "Control", "Meta"]; // with one of these a click adds to what is chosen, or takes away from it
const MANY = 80, FAR = 0.42, PAD = 18, HEAD = 34, GRID = 8;
const sizes = (nodes) => Object.fromEntries(nodes.filter((n) => n.measured?.width).map((n) => [n.id, [n.measured.width, n.measured.height]]));

/** Nodes as React Flow wants them; those that did not change stay the same objects, measured and chosen as before. */
function drawn(doc, before) {
  const old = new Map(before.map((n) => [n.id, n]));
  const keep = (id, type, position, data, more = {}) => {
    const was = old.get(id);
    const same = was && was.type === type && was.position.x === position.x && was.position.y === position.y && was.ariaLabel === more.ariaLabel && JSON.stringify(was.data) === JSON.stringify(data);
    return same ? was : { ...was, id, type, position, data, ...more };
  };
  const first = new Map([...doc.nodes].reverse().map((n) => [n.id, n])); // of two with one id, which Python names, the first
  const nodes = doc.nodes.filter((n) => first.get(n.id) === n).map((n, i) => {
    const pos = posOf(n) || [60 + (i % 5) * 300, 60 + Math.floor(i / 5) * 220];
    return keep(n.id, "weft", { x: pos[0], y: pos[1] }, {}, { dragHandle: ".g-head", ariaLabel: `Node ${String(n.title || n.kind || n.id).replaceAll("_", " ")}` });
  });
  const notes = doc.notes.filter((n) => isObject(n) && n.id).map((n) => { const pos = posOf(n) || [0, 0]; return keep(n.id, "note", { x: pos[0], y: pos[1] }, { text: String(n.text ?? "") }, { dragHandle: ".g-head", ariaLabel: "A note" }); });
  const box = new Map(nodes.map((n) => [n.id, n]));
  const groups = doc.groups.filter((g) => isObject(g) && g.id && Array.isArray(g.nodes)).map((g) => {
    const inside = g.nodes.map((id) => box.get(id)).filter(Boolean);
    if (!inside.length) return null;
    const left = Math.min(...inside.map((n) => n.position.x)) - PAD, top = Math.min(...inside.map((n) => n.position.y)) - PAD - HEAD;
    const right = Math.max(...inside.map((n) => n.position.x + (n.measured?.width || 264))) + PAD, bottom = Math.max(...inside.map((n) => n.position.y + (n.measured?.height || 160))) + PAD;
    return keep(g.id, "frame", { x: left, y: top }, { title: String(g.title ?? ""), width: right - left, height: bottom - top }, { zIndex: -1, initialWidth: right - left, initialHeight: bottom - top, dragHandle: ".g-group-head", ariaLabel: `Group ${g.title || ""}`.trim() });
  }).filter(Boolean);
  return [...groups, ...nodes, ...notes];
}
function drawnEdges(registry, doc, before) {
  const old = new Map(before.map((e) => [e.id, e])), ids = new Map(doc.nodes.map((n) => [n.id, n]));
  return doc.edges.filter((e) => ids.has(e.from[0]) && ids.has(e.to[0])).map((e) => {
    const id = edgeId(e);
    if (old.has(id)) return old.get(id);
    const type = outputOf(specOf(registry, doc, ids.get(e.from[0])), e.from[1])?.type;
    const label = `Connection from ${e.from.join(" ")} to ${e.to.join(" ")}`;
    return { id, source: e.from[0], sourceHandle: e.from[1], target: e.to[0], targetHandle: e.to[1], interactionWidth: 20, className: "nokey", style: { stroke: registry.types[type]?.color || "#7d7d7d" }, ariaLabel: label };
  });
}

export function Canvas({ onSelection, onAsk, onMenu, dark, api }) {
  const doc = useDoc(), { model } = app, flow = useReactFlow();
  const [nodes, setNodes] = useState(() => drawn(doc, [])), [edges, setEdges] = useState(() => drawnEdges(model.registry, doc, []));
  const [foot, setFoot] = useState(null), [far, setFar] = useState(false), fresh = useRef(true), start = useRef(null), joined = useRef(false), touched = useRef(false);
  const wiring = useRef(null), kept = useRef(null), ground = useRef(null), where = model.path.join(BETWEEN);

  useEffect(() => { setNodes((before) => drawn(doc, before)); setEdges((before) => drawnEdges(model.registry, doc, before)); }, [doc, model]);
  const chosen = useMemo(() => nodes.filter((n) => n.selected && n.type === "weft").map((n) => n.id), [nodes]);
  useEffect(() => { onSelection(chosen); }, [chosen.join("\n")]);

  // A document that comes in with nodes on top of each other is arranged once they are measured.
  const measured = nodes.length > 0 && nodes.every((n) => n.measured?.width);
  useEffect(() => model.subscribe((before, from) => { if (from === "outside") { fresh.current = true; app.views.clear(); } }), [model]);
  useEffect(() => {
    if (!fresh.current || (!measured && model.doc.nodes.length <= MANY)) return;
    fresh.current = false;
    if (overlapping(model.doc, sizes(nodes))) model.settle(place(model.doc, arrange(model.doc, sizes(nodes))));
    requestAnimationFrame(() => {
      if (!ground.current) return;
      const kept = app.views.get(where), room = ground.current.getBoundingClientRect();
      const view = kept || opening(model, flow.getNodes(), room.width, room.height), from = kept ? null : view.at;
      flow.setViewport({ x: view.x, y: view.y, zoom: view.zoom });
      ground.current.removeAttribute("data-opening");
      if (from) { api.current.select([from]); setTimeout(() => api.current?.present(from), 120); }
    });
  }, [measured, nodes]);

  const onNodesChange = useCallback((told) => {
    const changes = stillChosen(told, kept.current);
    const groups = changes.filter((c) => c.type === "position" && model.doc.groups.some((g) => g?.id === c.id));
    setNodes((before) => {
      let all = changes;
      for (const c of groups) { // a group takes its nodes along
        const was = before.find((n) => n.id === c.id), members = new Set(model.doc.groups.find((g) => g.id === c.id).nodes);
        if (!was || !c.position) continue;
        const [dx, dy] = ["x", "y"].map((axis) => GRID * Math.round((c.position[axis] - was.position[axis]) / GRID)); // its nodes stay on the grid
        all = [...all.map((one) => (one === c ? { ...c, position: { x: was.position.x + dx, y: was.position.y + dy } } : one)), ...before.filter((n) => members.has(n.id)).map((n) => ({ type: "position", id: n.id, position: { x: n.position.x + dx, y: n.position.y + dy } }))];
      }
      const next = applyNodeChanges(all.filter((c) => c.type !== "remove"), before);
      if (changes.some((c) => c.type === "position" && c.dragging === false)) queueMicrotask(() => settle(next));
      return changes.some((c) => c.type === "dimensions") ? drawn(model.doc, next) : next;
    });
  }, [model]);
  const settle = (list) => {
    const at = Object.fromEntries(list.filter((n) => n.type !== "frame").map((n) => [n.id, [n.position.x, n.position.y]]));
    const moved = [...model.doc.nodes, ...model.doc.notes].filter((n) => isObject(n) && at[n.id] && JSON.stringify(posOf(n)) !== JSON.stringify(at[n.id].map((v) => Math.round(v))));
    if (moved.length) model.change(place(model.doc, Object.fromEntries(moved.map((n) => [n.id, at[n.id]]))), { key: "move" });
  };
  const onEdgesChange = useCallback((told) => { const changes = stillChosen(told, kept.current); setEdges((before) => applyEdgeChanges(changes.filter((c) => c.type !== "remove"), before)); }, []);
  // A box that is drawn with Shift adds to what was chosen when it began.
  const boxBegins = (e) => { kept.current = e.shiftKey && !e.target.closest(".nokey") ? new Set([...nodes, ...edges].filter((one) => one.selected).map((one) => one.id)) : null; };
  const boxEnds = () => setTimeout(() => { kept.current = null; });

  const ends = (c) => [[c.source, c.sourceHandle], [c.target, c.targetHandle]];
  const isValid = useCallback((c) => !refusal(model.registry, model.doc, ...ends(c)), [model]);
  const onConnect = useCallback((c) => {
    joined.current = true;
    const [from, to] = ends(c);
    if (refusal(model.registry, model.doc, from, to)) return;
    model.change(connect(model.doc, from, to));
    app.actions.say("Connected.");
  }, [model]);
  /** One end of a wire as the rules see it. */
  const wireOf = (nodeId, handleId, type) => {
    const node = model.node(nodeId), spec = node && specOf(model.registry, model.doc, node), out = type === "source";
    const socket = spec && (out ? outputOf(spec, handleId) : inputOf(spec, handleId));
    return socket ? { out, socket, end: [nodeId, handleId], kind: node.kind } : null;
  };
  const glow = (wire) => { // sockets that fit stay bright; one style sheet instead of a message to every socket
    const types = wire ? Object.keys(model.registry.types).filter((t) => !(wire.out ? misfit(wire.socket, { type: t, many: true }) : misfit({ type: t, line: [t] }, wire.socket))) : [];
    const side = wire?.out ? "in" : "out";
    wiring.current.textContent = wire ? `.g-canvas .g-socket{opacity:.18}${types.map((t) => `.g-canvas .g-socket[data-side="${side}"][data-type="${CSS.escape(t)}"]`).join(",") || ".g-no"}{opacity:1}` : "";
  };
  const onConnectStart = useCallback((event, { nodeId, handleId, handleType }) => { joined.current = false; start.current = wireOf(nodeId, handleId, handleType); glow(start.current); }, []);
  const onConnectEnd = useCallback((event, state) => {
    glow(null);
    const wire = start.current, touch = event.changedTouches?.[0] || event;
    if (!wire || joined.current) return;
    if (state.toHandle && !state.isValid) {
      const other = [state.toHandle.nodeId, state.toHandle.id];
      const same = (state.toHandle.type === "source") === wire.out;
      if (other[0] !== wire.end[0] || other[1] !== wire.end[1]) app.actions.refuse(same ? "Two outputs or two inputs cannot be joined." : refusal(model.registry, model.doc, ...(wire.out ? [wire.end, other] : [other, wire.end])));
    } else if (!state.toHandle && event.target?.closest?.(".react-flow__pane") !== null && !state.toNode) {
      const from = state.from && state.to ? Math.hypot(state.from.x - state.to.x, state.from.y - state.to.y) : 99;
      if (from > 30) onAsk({ x: touch.clientX, y: touch.clientY, wire });
    }
  }, [onAsk]);

  useEffect(() => {
    api.current = {
      flow,
      select: (ids, { pan = false } = {}) => {
        const of = new Set(ids);
        setNodes((before) => before.map((n) => (Boolean(n.selected) === of.has(n.id) ? n : { ...n, selected: of.has(n.id) })));
        setEdges((before) => before.map((e) => (e.selected ? { ...e, selected: false } : e)));
        if (pan && ids.length) requestAnimationFrame(() => flow.fitView({ nodes: ids.map((id) => ({ id })), padding: 0.6, maxZoom: Math.max(0.8, flow.getZoom()), minZoom: flow.getZoom(), duration: reduced() ? 0 : 200 }));
      },
      chosenEdges: () => edges.filter((e) => e.selected).map((e) => e.id),
      chosen: () => nodes.filter((n) => n.selected).map((n) => n.id),
      sizes: () => sizes(nodes),
      present, keepInView,
      fit: () => flow.fitView({ ...FIT, duration: reduced() ? 0 : 200 }),
    };
  });
  /** A node that was pressed stays in view when the inspector takes room beside it; a new one (`whole`) comes in from all sides. */
  const keepInView = (id, whole = false, tries = 8) => {
    const n = flow.getInternalNode(id), { x, y, zoom } = flow.getViewport(), { clientWidth: wide, clientHeight: high } = ground.current || {};
    if (whole && n && !n.measured?.width && tries) return void setTimeout(() => keepInView(id, true, tries - 1), 60); // it is being drawn
    if (!n?.measured?.width || !wide) return; // gone meanwhile, or the way into a sub-graph was taken
    const at = n.internals.positionAbsolute, [dx, dy] = intoView([at.x * zoom + x, at.y * zoom + y], [n.measured.width * zoom, n.measured.height * zoom], [wide, high], whole);
    if (dx || dy) flow.setViewport({ x: x + dx, y: y + dy, zoom }, { duration: reduced() ? 0 : 160, interpolate: "linear" });
  };
  /** A new node in view; again when the inspector opens beside it or its problems make it higher, unless somebody moved on meanwhile. */
  const present = (id, until = performance.now() + 2000, seen = "") => {
    const { clientWidth: wide, clientHeight: high } = ground.current || {}, now = [wide, high, flow.getNode(id)?.measured?.height].join();
    if (!wide || performance.now() > until || (seen && (touched.current || !flow.getNode(id)?.selected))) return;
    if (!seen) touched.current = false;
    if (now !== seen) keepInView(id, true);
    setTimeout(() => present(id, until, now), 100);
  };
  /** The menu of a node, or of all that are chosen with it; a field of text keeps the menu of the browser. */
  const menuOf = (e, id, x, y) => {
    if (!model.node(id) || e.target.closest?.("input, textarea, select")) return;
    e.preventDefault();
    const known = chosen.includes(id), ids = known ? [id, ...chosen.filter((one) => one !== id)] : [id];
    onMenu({ x, y, ids, known });
    if (!known) api.current.select([id]);
  };
  const menuKey = (e) => {
    const node = (/^ContextMenu$/.test(e.key) || (e.key === "F10" && e.shiftKey)) && e.target.closest?.(".react-flow__node"), box = node && node.getBoundingClientRect();
    if (node) menuOf(e, node.dataset.id, box.left + 24, box.top + 36);
  };
  /** A node that the keys reach comes into view by the shortest way. */
  const reached = (e) => { if (e.target.matches?.(".react-flow__node:focus-visible")) keepInView(e.target.dataset.id, true); };
  const drop = (e) => {
    const kind = e.dataTransfer.getData("application/x-weft-kind");
    if (!kind) return;
    e.preventDefault();
    app.actions.add(kind, { x: e.clientX, y: e.clientY });
  };
  return (<>
    <div className={`g-canvas ${far ? "g-far" : ""}`} ref={ground} onKeyDown={menuKey} onFocus={reached} data-opening={fresh.current && nodes.length > 0 ? "" : undefined} onWheelCapture={() => { touched.current = true; }} onPointerDownCapture={(e) => { touched.current = true; boxBegins(e); }} onPointerUp={boxEnds} onPointerCancel={boxEnds} onDoubleClick={(e) => { if (e.target.classList?.contains("react-flow__pane")) onAsk({ x: e.clientX, y: e.clientY }); }} onDragOver={(e) => { if ([...e.dataTransfer.types].includes("application/x-weft-kind")) e.preventDefault(); }} onDrop={drop}>
      <style ref={wiring} />
      <ReactFlow aria-label="Canvas of the graph" nodes={nodes} edges={edges} nodeTypes={NODE_TYPES} onNodesChange={onNodesChange} onEdgesChange={onEdgesChange} onNodeContextMenu={(e, n) => menuOf(e, n.id, e.clientX, e.clientY)} onNodeClick={(e, n) => { if (e.target.closest(".g-head") && chosen.includes(n.id)) onSelection(chosen); setTimeout(() => keepInView(n.id), 80); }} onConnect={onConnect} onConnectStart={onConnectStart} onConnectEnd={onConnectEnd}
        isValidConnection={isValid} onMove={(_, view) => { setFar(view.zoom < FAR); if (!fresh.current) app.views.set(where, view); }} colorMode={dark ? "dark" : "light"} connectionRadius={30} connectionLineType={ConnectionLineType.Bezier} minZoom={0.1} maxZoom={2} snapToGrid snapGrid={[GRID, GRID]}
        deleteKeyCode={null} multiSelectionKeyCode={ADD_KEYS} zoomOnDoubleClick={false} autoPanOnNodeFocus={false} onlyRenderVisibleElements={doc.nodes.length > MANY} elevateNodesOnSelect proOptions={{ hideAttribution: false }}
        ariaLabelConfig={{ "node.a11yDescription.default": "Press Enter or Space to choose this node, arrows to move it, Delete to remove it." }}>
        <Background gap={24} size={1.4} />
        <Overview foot={foot} count={doc.nodes.length} onAll={() => app.actions.fit()} colour={(n) => (n.type === "weft" ? model.registry.categories[model.registry.nodes[model.node(n.id)?.kind]?.category] || "#999" : "transparent")} />
      </ReactFlow>
    </div>
    <div className="g-foot" ref={setFoot} />
  </>);
}
const reduced = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

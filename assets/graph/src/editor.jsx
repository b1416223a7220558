// The editor as a whole: bar, canvas or list, inspector, problems; and what its actions do.
import { useCallback, useEffect, useRef, useState } from "react";
import { ReactFlowProvider } from "@xyflow/react";
import { app, useDoc } from "./app.js";
import * as d from "./doc.js";
import { Canvas } from "./canvas.jsx";
import { Icon } from "./icons.jsx";
import { Inspector } from "./inspector.jsx";
import { ListView } from "./list.jsx";
import { Crumbs, Openings } from "./openings.jsx";
import { NodeMenu } from "./menu.jsx";
import { Palette, Shelf } from "./palette.jsx";
import { Empty, Problems, Toolbar } from "./toolbar.jsx";

const NARROW = 700;

export function Editor({ page }) {
  const doc = useDoc(), { model } = app;
  const [view, setView] = useState(() => (innerWidth < NARROW ? "list" : page.remember.get("graph-view") || "canvas"));
  const [dark, setDark] = useState(document.body.classList.contains("dark")), [asked, setAsked] = useState(null), [chosen, setChosen] = useState([]);
  const [shelf, setShelf] = useState(() => innerWidth >= 1500), [opened, setOpened] = useState(null), [said, setSaid] = useState(null), [planning, setPlanning] = useState(false), [hidden, setHidden] = useState(false), [picked, setPicked] = useState([]), [openings, setOpenings] = useState(false), [menu, setMenu] = useState(null);
  const api = useRef(null), root = useRef(null), body = useRef(null), picker = useRef(null), mouse = useRef(null), quiet = useRef(false), meant = useRef(null);

  useEffect(() => {
    const watch = new MutationObserver(() => setDark(document.body.classList.contains("dark")));
    watch.observe(document.body, { attributeFilter: ["class"] });
    return () => watch.disconnect();
  }, []);
  const timer = useRef(0);
  const say = useCallback((text, level = "note") => {
    setSaid({ text, level, at: Date.now() });
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setSaid(null), level === "bad" ? 6000 : 3500);
  }, []);
  const onView = (name) => { setView(name); page.remember.set("graph-view", name); };
  const onSelection = useCallback((ids) => { meant.current = null; setChosen(ids); setHidden(quiet.current); quiet.current = false; if (ids.length) setOpenings(false); }, []);

  /** A place for a new node: where asked, else the middle of what is seen, moved on until it is free. `beside`: left of this node,
   *  which it feeds; `feeds`: its right edge lies at the point. `size`: of several nodes together. */
  const spot = (point, kind = "", { beside = null, feeds = false, size = [264, d.heightOf(model.registry.nodes[kind])] } = {}) => {
    const flow = api.current?.flow, box = body.current.getBoundingClientRect();
    if (!flow || view !== "canvas") {
      const right = Math.max(-300, ...model.doc.nodes.map((n) => (d.posOf(n) || [0])[0]));
      return [right + 336, (d.posOf(model.doc.nodes.at(-1) || {}) || [0, 0])[1]];
    }
    const at = flow.screenToFlowPosition(point || { x: box.left + box.width / 2 - 130, y: box.top + box.height / 3 });
    const [x, y] = (beside && d.posOf(model.node(beside))) || [at.x, at.y];
    return d.freePlace(model.doc, [beside ? x - 336 : feeds ? x - 290 : x, y], api.current.sizes(), size[1], size[0]);
  };
  /** What was just added is chosen, and lies in view beside the inspector that opens with it. */
  const present = (ids) => { select(ids); if (view === "canvas") setTimeout(() => api.current?.present(ids[0]), 120); };
  const select = (ids) => { if (view === "canvas") { meant.current = { ids, until: performance.now() + 1500 }; setTimeout(() => api.current?.select(ids)); } else if (ids.length === 1) setOpened(ids[0]); else setPicked(ids); };
  /** What a menu chooses opens no inspector: the canvas would give way beneath the menu. */
  const onMenu = (at) => { quiet.current = !at.known && (hidden || !chosen.length || openings); setMenu(at); };
  const ask = useCallback((point) => setAsked(point), []);
  const picks = picked.filter((id) => model.node(id) || doc.notes.some((n) => n?.id === id));
  /** The keys may be quicker than the drawing: until what was added is drawn as chosen, it is meant. */
  const soon = () => (meant.current && performance.now() < meant.current.until ? meant.current.ids : null);
  const targets = () => (view === "canvas" ? soon() || api.current?.chosen() || [] : picks.length ? picks : opened && model.node(opened) ? [opened] : []);
  const where = model.path.join(d.BETWEEN);
  useEffect(() => { setChosen([]); setOpened(null); setPicked([]); setOpenings(false); setAsked(null); setMenu(null); }, [where]);
  const focusNode = (id) => setTimeout(() => (view === "canvas" ? root.current?.querySelector(`.react-flow__node[data-id="${CSS.escape(id)}"]`) : root.current?.querySelector(`[data-node="${CSS.escape(id)}"] h3 button`))?.focus({ preventScroll: view === "canvas" }), 80);
  const title = (id) => { const node = model.node(id); return node ? d.titleOf(d.specOf(model.registry, model.doc, node), node) : id; };

  const choose = ({ kind, socket }) => {
    const { wire, x, y } = asked;
    let { doc: next, id } = d.addNode(model.registry, model.doc, kind, spot(asked.anywhere ? null : { x, y }, kind, { beside: asked.beside, feeds: wire && !wire.out }));
    if (wire && socket) next = wire.out ? d.connect(next, wire.end, [id, socket]) : d.connect(next, [id, socket], wire.end);
    model.change(next);
    setAsked(null);
    present([id]);
    say(`${title(id)} added.`);
    focusNode(id);
  };
  const clip = (ids) => JSON.stringify(d.fragment(model.doc, ids));
  const actions = {
    say, title, select,
    refuse: (why) => { if (why) say(why, "bad"); },
    order: (of) => { const at = d.arrange(of); return of.nodes.map((n) => n.id).sort((a, b) => at[a][0] - at[b][0] || at[a][1] - at[b][1]); },
    add: (kind, point) => { const { doc: next, id } = d.addNode(model.registry, model.doc, kind, spot(point, kind)); model.change(next); present([id]); say(`${title(id)} added.`); return id; },
    show: (id) => {
      const way = model.node(id) ? [] : String(id).split(d.BETWEEN);
      if (!way.length) return actions.reveal(id);
      const last = way.pop();
      actions.go(way);
      setTimeout(() => actions.reveal(last), 60);
    },
    reveal: (id) => { if (view === "canvas") { api.current?.select([id], { pan: true }); setHidden(false); } else { setOpened(id); setTimeout(() => root.current.querySelector(`[data-node="${CSS.escape(id)}"] h3 button`)?.focus()); } },
    palette: (point) => { const m = mouse.current, box = body.current.getBoundingClientRect(); const over = m && m.x > box.left && m.x < box.right && m.y > box.top && m.y < box.bottom; ask(point || (over ? { x: m.x, y: m.y } : { x: box.left + Math.min(box.width / 2 - 150, 400), y: box.top + 40, anywhere: true })); },
    mend: (id, socket, event) => {
      const node = model.node(id), into = d.inputOf(d.specOf(model.registry, model.doc, node), socket), way = d.mending(model.registry, model.doc, id, socket);
      if (way?.from) { model.change(d.connect(model.doc, way.from, [id, socket])); say(`Connected to ${title(way.from[0])}.`); return; }
      if (way) {
        const made = d.addNode(model.registry, model.doc, way.kind, spot(null, way.kind, { beside: id })), ends = way.feeds.map((f) => [f.from, [made.id, f.name]]);
        model.change([...ends, [[made.id, way.out], [id, socket]]].reduce((doc, [from, to]) => d.connect(doc, from, to), made.doc));
        present([made.id]);
        say(`${title(made.id)} added.`);
        focusNode(made.id);
        return;
      }
      const box = event.currentTarget.getBoundingClientRect();
      ask({ x: box.left, y: box.bottom + 4, beside: id, wire: { out: false, socket: into, end: [id, socket], kind: node.kind } });
    },
    remove: (ids = targets()) => {
      const wires = view === "canvas" ? api.current?.chosenEdges() || [] : [];
      if (!ids.length && !wires.length) return;
      let next = d.removeEdges(d.removeNodes(model.doc, ids), wires);
      for (const id of ids) if (model.doc.groups.some((g) => g?.id === id)) next = d.removeGroup(next, id);
      model.change(next);
      say(!ids.length ? "Connection removed." : ids.length === 1 ? "One node removed. Undo brings it back." : `${ids.length} nodes removed. Undo brings them back.`);
      setTimeout(() => root.current?.focus({ preventScroll: true }));
    },
    duplicate: (ids = targets()) => { if (!ids.length) return; const made = d.duplicate(model.doc, ids); model.change(made.doc); select(made.ids); },
    copy: (ids = targets()) => { if (!ids.length) return ""; page.clip = clip(ids); say(`${ids.length} copied.`); return page.clip; },
    copyOut: (ids) => { navigator.clipboard?.writeText(actions.copy(ids)).catch(() => {}); }, // where the browser says no, it stays within the page
    rename: (id) => app.cells.set(`rename:${model.prefix}${id}`, true),
    paste: (text = page.clip) => {
      let piece = null;
      try { piece = text && text.length < 1e6 ? JSON.parse(text) : null; } catch { /* some other text */ }
      if (piece?.format !== d.FORMAT || !Array.isArray(piece.nodes) || !piece.nodes.length) return false;
      const made = d.paste(model.doc, piece, spot(mouse.current, "", { size: d.extent(model.registry, piece) }));
      if (made.refusal) { actions.refuse(made.refusal); return true; }
      model.change(made.doc);
      select(made.ids);
      return true;
    },
    mode: (ids, mode) => { if (ids.length) model.change(d.toggleMode(model.doc, ids, mode)); },
    mute: () => actions.mode(targets(), "mute"), bypass: () => actions.mode(targets(), "bypass"),
    go: (path) => { model.enter(path); say(model.trail.length ? `Inside of ${model.trail.at(-1).title}.` : "Back in the graph."); setTimeout(() => root.current?.focus({ preventScroll: true })); },
    enter: (id = targets()[0]) => {
      const node = model.node(id);
      if (node && d.isSub(model.whole, node.kind)) actions.go([...model.path, id]); else if (node) say("This node is no sub-graph.");
    },
    leave: () => { if (!model.path.length) return; const from = model.path.at(-1); actions.go(model.path.slice(0, -1)); setTimeout(() => { if (view === "canvas") api.current?.select([from]); else setOpened(from); focusNode(from); }, 60); },
    makeSub: (ids = targets()) => {
      const of = ids.filter((id) => model.node(id)), taken = Object.values(model.whole.definitions).map((one) => one?.title);
      let title = "Sub-graph";
      for (let n = 2; taken.includes(title); n += 1) title = `Sub-graph ${n}`;
      const made = d.makeSub(model.registry, model.doc, of, title);
      if (made.refusal) return actions.refuse(made.refusal);
      model.change(made.doc);
      setPicked([]);
      select([made.id]);
      say(`${of.length === 1 ? "One node is" : `${of.length} nodes are`} now a sub-graph. Open it to name what it shows outside.`);
      focusNode(made.id);
    },
    unpack: (id = targets()[0]) => {
      if (id === undefined) return;
      const made = d.unpack(model.registry, model.doc, id);
      if (made.refusal) return actions.refuse(made.refusal);
      model.change(made.doc);
      select(made.ids);
      say(`Unpacked: ${made.ids.length === 1 ? "one node" : `${made.ids.length} nodes`}.`);
      setTimeout(() => root.current?.focus({ preventScroll: true }));
    },
    ungroup: (id) => { model.change(d.removeGroup(model.doc, id)); say("The group is gone; its nodes stay."); },
    group: (ids = targets()) => { const of = ids.filter((id) => model.node(id)); 
      if (!of.length) return;
      const made = d.addGroup(model.doc, of);
      if (view === "list") { setPicked([]); say("Grouped."); } else {
        app.naming = made.id;
        setTimeout(() => { if (app.naming === made.id) app.naming = null; api.current?.keepInView(made.id, true); }, 250);
      }
      model.change(made.doc);
    },
    note: () => { const made = d.addNote(model.doc, spot()); model.change(made.doc); say("A note was added."); if (view === "list") setTimeout(() => root.current?.querySelector(`[data-note="${CSS.escape(made.id)}"] textarea`)?.focus(), 60); },
    all: () => { const ids = model.doc.nodes.map((n) => n.id); if (view === "canvas") api.current?.select(ids); else setPicked(ids); },
    undo: () => { model.undo(); say("Undone."); }, redo: () => { model.redo(); say("Done again."); },
    arrange: () => { model.change(d.place(model.doc, d.arrange(model.doc, api.current?.sizes()))); setTimeout(() => api.current?.fit(), 30); },
    fit: () => api.current?.fit(),
    plan: () => setPlanning((on) => { page.plan(!on); return !on; }),
    run: (ids) => page.run(ids), stop: () => page.weft.stop(),
    escape: () => { if (asked) setAsked(null); else if (view === "list" && picks.length) setPicked([]); else if (chosen.length) api.current?.select([]); },
    fresh: () => { page.fresh(); say("A new graph. Undo brings the old one back."); },
    workflows: () => page.workflows(), template: (name) => page.template(name), open: () => picker.current.click(), save: (what = "json") => page.save(typeof what === "string" ? what : "json"),
    bring: page.bring, editRegions: page.editRegions,
  };
  app.actions = actions;
  const inner = asked && (() => {
    const box = body.current.getBoundingClientRect();
    return { x: Math.max(8, Math.min(asked.x - box.left, box.width - 308)), y: Math.max(8, Math.min(asked.y - box.top, box.height - 380)) };
  })();

  return (
    <ReactFlowProvider>
      <div className="weft g-root" ref={root} tabIndex={-1} data-view={view} onPointerMove={(e) => { mouse.current = { x: e.clientX, y: e.clientY }; }}>
        <Toolbar view={view} onView={onView} planning={planning} shelf={shelf} onShelf={setShelf} />
        <Crumbs shown={openings} onOpenings={() => { setOpenings(!openings); setHidden(!openings); }} />
        <div className="g-body" ref={body}>
          {view === "canvas" && shelf && <Shelf onAdd={(kind) => actions.add(kind)} onClose={() => setShelf(false)} />}
          {view === "canvas" ? <div className="g-main"><Canvas key={where} api={api} dark={dark} onSelection={onSelection} onAsk={ask} onMenu={onMenu} />{doc.nodes.length === 0 && !asked && !doc.inside && <Empty />}</div> : <ListView key={where} opened={opened} onOpened={setOpened} picked={picks} onPicked={setPicked} />}
          {openings && doc.inside && <aside className="g-inspector" aria-label="Inputs and outputs of the sub-graph"><div className="g-side-head"><h2>Sub-graph</h2><button type="button" className="g-mini" aria-label="Close" onClick={() => setOpenings(false)}><Icon name="close" /></button></div><div className="g-scroll"><Openings /></div></aside>}
          {view === "canvas" && !openings && chosen.length > 0 && !hidden && <Inspector key={innerWidth < 900 ? chosen.join() : ""} ids={chosen} onClose={() => setHidden(true)} />}
          {asked && <Palette at={inner} wire={asked.wire} onClose={() => setAsked(null)} onChoose={choose} />}
          {menu && view === "canvas" && <NodeMenu at={menu} room={body.current.getBoundingClientRect()} onClose={(back) => { setMenu(null); if (back === true) focusNode(menu.ids[0]); }} />}
          {said && !asked && !menu && <p className="g-said" data-level={said.level} aria-hidden="true">{said.text}</p>}
        </div>
        <Problems />
        <div className="w-sr" role={said?.level === "bad" ? "alert" : "status"} aria-live="polite">{said?.text || ""}</div>
        <input ref={picker} type="file" hidden accept=".json,.png,application/json,image/png" onChange={(e) => { if (e.target.files[0]) page.open(e.target.files[0]); e.target.value = ""; }} />
      </div>
    </ReactFlowProvider>
  );
}

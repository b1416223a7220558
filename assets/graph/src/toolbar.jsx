// The bar above the graph, the strip of problems below it, and what an empty graph says.
import { useEffect, useMemo, useRef, useState } from "react";
import { app, calm, seconds, useCell, useDoc } from "./app.js";
import { Button, Icon } from "./icons.jsx";

/** A button with a menu below it; arrows move, Escape closes. */
function Menu({ icon, label, items }) {
  const [open, setOpen] = useState(false), root = useRef(null);
  useEffect(() => {
    if (!open) return undefined;
    root.current.querySelector("[role=menuitem]")?.focus();
    const away = (e) => { if (!root.current.contains(e.target)) setOpen(false); };
    document.addEventListener("pointerdown", away, true);
    return () => document.removeEventListener("pointerdown", away, true);
  }, [open]);
  const onKeyDown = (e) => {
    if (!open) return;
    const all = [...root.current.querySelectorAll("[role=menuitem]")], at = all.indexOf(document.activeElement);
    const way = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (way) { e.preventDefault(); all[(at + way + all.length) % all.length].focus(); }
    if (e.key === "Escape") { e.preventDefault(); e.stopPropagation(); setOpen(false); root.current.querySelector("button").focus(); }
    if (e.key === "Tab") setOpen(false);
  };
  return (
    <div className="g-menu" ref={root} onKeyDown={onKeyDown}>
      <Button icon={icon} aria-haspopup="menu" aria-expanded={open} onClick={() => setOpen(!open)}>{label}</Button>
      {open && <div role="menu" aria-label={label}>{items.map(([word, act, help]) => <button key={word} type="button" role="menuitem" tabIndex={-1} onClick={() => { setOpen(false); act(); }}><b>{word}</b>{help && <span>{help}</span>}</button>)}</div>}
    </div>
  );
}

/** What the open document is called, to press and to name anew; and whether it was changed since it came or was saved. */
function Title({ naming, onNaming }) {
  useDoc();
  const { model, weft } = app, saved = useCell("saved");
  const { title, own, changed } = useMemo(() => weft.documentOf(model.whole, model.source), [model.whole, model.source, saved]);
  const shown = own ? title : weft.said(title);
  return (
    <div className="g-name">
      {naming ? <NameField given={shown} onDone={(name) => { onNaming(false); if (name && name !== shown) model.rename(name); }} />
        : <button type="button" id="weft-graph-name" title="Name this graph" onClick={() => onNaming(true)}><b translate={own ? "no" : undefined}>{title}</b></button>}
      {changed && <span className="g-changed" title="Changed since it was opened. This browser keeps it; Save puts it into a file.">changed</span>}
    </div>
  );
}
function NameField({ given, onDone }) {
  const [text, setText] = useState(given);
  return <input autoFocus className="g-in" aria-label="Name of the graph" maxLength={120} value={text} onChange={(e) => setText(e.target.value)} onFocus={(e) => e.target.select()} onBlur={() => onDone(text.trim())}
    onKeyDown={(e) => { if (e.key === "Enter") e.target.blur(); if (e.key === "Escape") { e.stopPropagation(); onDone(""); } }} />;
}

export function Toolbar({ view, onView, planning, shelf, onShelf }) {
  const { actions } = app, job = useCell("job"), live = app.weft.run.live, steps = useCell("steps") || {};
  const [naming, setNaming] = useState(false);
  useDoc();
  const total = useCell("plan-total");
  return (
    <div className="g-bar" role="toolbar" aria-label="Graph">
      <Button icon="add" className="g-add-node" onClick={(e) => actions.palette({ x: e.currentTarget.getBoundingClientRect().left, y: e.currentTarget.getBoundingClientRect().bottom + 14, anywhere: true })} title="Add a node (Shift+A)">Add node</Button>
      {view === "canvas" && <Button icon="list" bare className="g-roomy" aria-pressed={shelf} onClick={() => onShelf(!shelf)}>All nodes</Button>}
      <span className="g-gap" />
      <Button icon="undo" bare disabled={!app.model.past.length} onClick={actions.undo} data-steps={steps.n}>Undo</Button>
      <Button icon="redo" bare disabled={!app.model.future.length} onClick={actions.redo}>Redo</Button>
      {view === "canvas" && <><span className="g-gap" /><Button icon="arrange" className="g-folding" title="Arrange" onClick={actions.arrange}>Arrange</Button><Button icon="fit" bare onClick={actions.fit}>Fit the view</Button></>}<Button icon="note" bare className={view === "canvas" ? "g-roomy" : ""} onClick={actions.note}>Add a note</Button>
      <span className="g-gap" />
      <Menu icon="open" label="File" items={[
        ["New graph", actions.fresh, "an empty one; Undo brings this one back"], ["Ready workflows …", actions.workflows, "graphs to start from"],
        ["Open …", actions.open, "a JSON file, or a picture with its graph inside"], ["Save", () => actions.save("json"), "as a JSON file"], ["Name …", () => setNaming(true), "what it is called, also in its file"],
        ["Export as Python", () => actions.save("python"), "a script that runs this graph"], ["Export as an API call", () => actions.save("api"), "for programs that ask a running studio"],
      ]} />
      <Title naming={naming} onNaming={setNaming} />
      <div className="g-views" role="radiogroup" aria-label="View">
        {[["canvas", "Canvas"], ["list", "List"]].map(([name, word]) => <button key={name} type="button" role="radio" aria-checked={view === name} aria-label={word} onClick={() => onView(name)}><Icon name={name} /><span>{word}</span></button>)}
      </div>
      <Button icon="plan" aria-pressed={planning} onClick={actions.plan} title="Show what a run would do, and why (P)">{planning && total ? total : "Plan"}</Button>
      <button type="button" className={`g-btn g-run ${live ? "g-stop" : ""}`} data-state={job?.state} id="weft-graph-run" onClick={() => (live ? actions.stop() : actions.run())}><Icon name={live ? "stop" : "run"} /><span>{live ? "Stop" : "Run"}</span></button>
    </div>
  );
}
export const planWords = (plan) => {
  if (plan.fault) return "Nothing to run";
  const runs = plan.nodes.filter((n) => n.action === "run").length, kept = plan.nodes.filter((n) => n.action === "cached").length;
  return `${runs} to run${plan.seconds >= 0.1 ? `, about ${seconds(plan.seconds)}` : ""}${kept ? `, ${kept} kept` : ""}`;
};

/** A problem with the name of its setting: here nothing else says which. */
const inFull = ({ message, hint }) => app.weft.errorText({ message, hint });

export function Problems() {
  const told = useCell("problems"), asked = useCell("asked"), [open, setOpen] = useState(false);
  const { nodes } = useDoc();
  if (!told || !nodes.length) return null; // an empty graph has its own words
  const wrong = told.filter((p) => p.level === "error"), lacking = wrong.filter((p) => calm(p, asked)), errors = wrong.filter((p) => !lacking.includes(p)), hints = told.length - wrong.length;
  if (!told.length) return null;
  const words = [errors.length && (errors.length > 1 ? `${errors.length} problems` : "1 problem"), lacking.length && (lacking.length > 1 ? `${lacking.length} things to add` : "1 thing to add"), hints && (hints > 1 ? `${hints} hints` : "1 hint")].filter(Boolean).join(", ");
  return (
    <section className={`g-problems ${errors.length ? "g-bad" : lacking.length && !hints ? "g-calm" : ""}`} aria-label="Problems">
      <button type="button" className="g-problem-head" aria-expanded={open} onClick={() => setOpen(!open)}><Icon name={errors.length || hints ? "error" : "add"} /><b>{words}</b>{!open && <span>{told[0].title && <>{told[0].title}{" · "}</>}{inFull(told[0])}</span>}<Icon name="chevron" /></button>
      {open && <ul>{told.map((p, i) => <li key={i} data-level={p.level}><button type="button" disabled={!p.node} onClick={() => app.actions.show(p.node)}><b>{p.title || "Graph"}</b><span>{inFull(p)}</span></button></li>)}</ul>}
    </section>
  );
}

export function Empty() {
  const cards = (app.weft.facts.templates || []).slice(0, 6);
  return (
    <div className="g-empty">
      <h2>A graph begins with one node</h2>
      <p>Double-click the ground or press <kbd>Shift</kbd> <kbd>A</kbd> to add the first one, or start from a ready workflow.</p>
      <div className="g-cards">{cards.map((c) => <button key={c.name} type="button" className="g-card" onClick={() => app.actions.template(c.name)}><strong>{c.title}</strong><span>{c.help}</span></button>)}</div>
    </div>
  );
}

// One node on the canvas. It reads its own cells only, so that a message about one node draws one node.
import { memo, useEffect, useRef, useState } from "react";
import { Handle, Position } from "@xyflow/react";
import { PLANNED, WORDS, app, calm, seconds, useCell, useFed, useNode, useOf, useOpen, useSpec } from "./app.js";
import { changeGroup, changeNote, setTitle, titleOf } from "./doc.js";
import { Icon } from "./icons.jsx";
import { Widget } from "./widgets.jsx";

// `nokey`: pressing with Shift here adds to what is chosen; React Flow would begin a box, as it does on the ground.
const SHOWN = 7; // widgets on a node before the rest is folded

export function Socket({ side, socket }) {
  const sign = app.model.registry.types[socket.type] || { color: "#7d7d7d", shape: "circle", word: socket.type };
  const text = `${socket.label || socket.name}: ${socket.many ? "a list of " : ""}${sign.word}${socket.required && side === "in" ? ", needed" : ""}`;
  return (
    <Handle type={side === "in" ? "target" : "source"} position={side === "in" ? Position.Left : Position.Right} id={socket.name} className={`g-socket g-${sign.shape}`}
      style={{ "--g-type": sign.color }} role="img" data-side={side} data-type={socket.type} data-many={socket.many || undefined} title={text} aria-label={`${side === "in" ? "Input" : "Output"} ${text}`} />
  );
}

export function StateWord({ state, small = false }) {
  const word = state?.state || "idle";
  if (word === "idle" && small) return null;
  return <span className="g-state" data-state={word} title={state?.reason || undefined}><Icon name={word} />{word === "running" && state.text ? state.text.replace("/", " of ") : WORDS[word] || word}</span>;
}

/** Whether a person gave the node its title: such a one is never translated. */
const ownTitle = (node) => Boolean(node.title) && !(node.title in app.model.base.titles);

function Header({ node, spec, state }) {
  const [text, setText] = useState(null), asked = useOf("rename", node.id), shown = app.weft.said(titleOf(spec, node));
  useEffect(() => { if (asked) { app.cells.fill("rename", {}); setText(shown); } }, [asked]);
  const commit = () => { if (text !== null && text.trim() !== shown) app.model.change(setTitle(app.model.doc, node.id, text.trim())); setText(null); };
  const onKeyDown = (e) => {
    if (e.key !== "Enter" && e.key !== "Escape") return;
    if (e.key === "Enter") commit(); else { e.stopPropagation(); setText(null); }
    e.target.closest(".g-root").focus({ preventScroll: true });
  };
  return (
    <header className="g-head" onDoubleClick={(e) => { e.stopPropagation(); if (spec.sub) app.actions.enter(node.id); else setText(shown); }}>
      {text === null ? <strong title={spec.title} translate={ownTitle(node) ? "no" : undefined}>{titleOf(spec, node)}</strong>
        : <input className="g-in nodrag" aria-label="Title of the node" autoFocus value={text} onFocus={(e) => e.target.select()} onChange={(e) => setText(e.target.value)} onBlur={commit} onKeyDown={onKeyDown} />}
      {node.mode === "mute" && <span className="g-mode"><Icon name="mute" />Muted</span>}
      {node.mode === "bypass" && <span className="g-mode"><Icon name="bypass" />Bypassed</span>}
      <StateWord state={state} small />
      {spec.sub && <button type="button" className="g-mini g-in-btn nodrag" aria-label={`Open the sub-graph ${titleOf(spec, node)}`} title="Open this sub-graph (I, or double-click)" onClick={() => app.actions.enter(node.id)}><Icon name="into" /></button>}
    </header>
  );
}

export function Picture({ id, title, whole = false }) {
  const image = useOf("image", id);
  if (!image) return null;
  const words = image.forming ? `${title}: the picture in the making` : `${title}: ${image.old ? "the picture before the last change" : "its picture"}`;
  return <figure className={`g-picture ${image.forming ? "g-forming" : ""} ${image.old ? "g-old" : ""}`}><img src={whole ? image.whole || image.src : image.src} alt={words} draggable={false} />{image.old && <figcaption>before the last change</figcaption>}</figure>;
}

function Plan({ id }) {
  const plan = useOf("plan", id);
  if (!plan) return null;
  return <p className="g-plan" data-action={plan.action}><Icon name={{ run: "running", passed: "bypass" }[plan.action] || plan.action} /><b>{PLANNED[plan.action] || plan.action}</b><span>{[plan.reason, plan.action === "run" && plan.seconds >= 0.1 ? `about ${seconds(plan.seconds)}` : ""].filter(Boolean).join(", ")}</span></p>;
}

/** Sockets and widgets: what a status message never changes. */
const Body = memo(function Body({ node, spec }) {
  const fed = JSON.parse(useFed(node.id)), open = useOpen(node.id), [unfolded, setUnfolded] = useState(false);
  const from = new Map(fed.map((f) => [f[0], f])), folds = spec.widgets.length > SHOWN + 1;
  const widgets = folds && !unfolded ? spec.widgets.filter((w, i) => i < SHOWN || from.has(w.name)) : spec.widgets;
  return (
    <>
      {(spec.inputs.length > 0 || spec.outputs.length > 0) && (
        <div className="g-sockets">
          <ul>{spec.inputs.map((s) => <li key={s.name} data-open={open("inputs", s.name)} className={from.has(s.name) || open("inputs", s.name) === "" ? "g-fed" : s.required ? "g-needed" : ""}><Socket side="in" socket={s} />{s.label || s.name}{s.required && !from.has(s.name) && open("inputs", s.name) !== "" && <em>needed</em>}</li>)}</ul>
          <ul>{spec.outputs.map((s) => <li key={s.name} data-open={open("outputs", s.name)}><Socket side="out" socket={s} />{s.label || s.name}</li>)}</ul>
        </div>
      )}
      {widgets.length > 0 && (
        <div className="g-widgets nodrag nowheel nopan">
          {widgets.map((w) => <div key={w.name} className="g-line" data-open={open("inputs", w.name)}><Socket side="in" socket={w} /><Widget node={node} w={w} fed={from.get(w.name)} /></div>)}
        </div>
      )}
      {folds && <button type="button" className="g-fold nodrag" aria-expanded={unfolded} onClick={() => setUnfolded(!unfolded)}>{unfolded ? "Fewer settings" : `${spec.widgets.length - widgets.length} more settings`}</button>}
    </>
  );
});

export const WeftNode = memo(function WeftNode({ id, selected }) {
  const node = useNode(id), state = useOf("state", id), plan = useOf("plan", id), problems = useOf("problems", id) || [], asked = useCell("asked");
  const spec = useSpec(node);
  if (!node) return null;
  const colour = app.model.registry.categories[spec.category] || "#7d7d7d";
  const told = problems.filter((p) => !spec.widgets.some((w) => w.name === p.socket));
  const word = problems.some((p) => p.level === "error" && !calm(p, asked)) ? "error" : state?.state || "idle";
  return (
    <article className={`g-node nokey ${spec.missing ? "g-missing" : ""} ${spec.sub ? "g-sub-node" : ""} ${selected ? "g-selected" : ""}`} style={{ "--g-category": colour }} data-mode={node.mode} data-state={word} data-plan={plan?.action} aria-label={titleOf(spec, node)}>
      <Header node={node} spec={spec} state={state} />
      <div className="g-progress" aria-hidden="true"><i style={{ transform: `scaleX(${state?.state === "running" ? state.progress || 0.02 : 0})` }} /></div>
      <Body node={node} spec={spec} />
      {spec.missing && <p className="g-lost">{`Missing node type “${node.kind}”${spec.origin ? `, from ${spec.origin}` : ""}: its plugin is not installed. The node is kept as it is.`}</p>}
      {state?.error && !problems.some((p) => state.error.startsWith(p.message)) && <p className="g-error" role="alert">{state.error}</p>}
      {!spec.missing && told.slice(0, 2).map((p, i) => (
        <p key={i} className="g-error" data-level={p.level} data-calm={calm(p, asked) || undefined} role={calm(p, asked) ? "note" : "alert"}>{app.weft.errorText(p)}
          {p.stage === "required" && p.socket && <button type="button" className="g-text nodrag" onClick={(e) => app.actions.mend(node.id, p.socket, e)}>Add what fits</button>}
        </p>
      ))}
      <Plan id={id} />
      <Picture id={id} title={titleOf(spec, node)} />
    </article>
  );
});

export const NoteNode = memo(function NoteNode({ id, data, selected }) {
  return (
    <article className={`g-note nokey ${selected ? "g-selected" : ""}`} aria-label="Note">
      <header className="g-head"><Icon name="note" /><strong>Note</strong></header>
      <textarea className="nodrag nowheel" aria-label="Text of the note" value={data.text} rows={4} placeholder="Write something down" onChange={(e) => { app.model.change(changeNote(app.model.doc, id, { text: e.target.value }), { key: `note ${id}` }); }} />
    </article>
  );
});
/** A new group asks for its name at once; Escape brings back the name that it had. */
export const GroupNode = memo(function GroupNode({ id, data, selected }) {
  const field = useRef(null), had = useRef(data.title);
  const set = (title) => app.model.change(changeGroup(app.model.doc, id, { title }), { key: `group ${id}` });
  useEffect(() => {
    if (app.naming !== id) return;
    app.naming = null;
    field.current.focus({ preventScroll: true });
    field.current.select();
  }, []);
  const onKeyDown = (e) => {
    if (e.key !== "Enter" && e.key !== "Escape") return;
    e.stopPropagation(); // neither stops a run nor gives up what is chosen
    if (e.key === "Escape" && data.title !== had.current) set(had.current);
    e.target.closest(".g-root").focus({ preventScroll: true });
  };
  return (
    <div className={`g-group ${selected ? "g-selected" : ""}`} style={{ width: data.width, height: data.height }}>
      <div className="g-group-head nokey"><input className="nodrag" aria-label="Title of the group" ref={field} value={data.title} onFocus={() => { had.current = data.title; }} onChange={(e) => set(e.target.value)} onKeyDown={onKeyDown} /></div>
    </div>
  );
});

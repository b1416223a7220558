// Everything about what is chosen: help, all widgets, modes, connections, timing, its picture.
import { useEffect, useState } from "react";
import { PLANNED, app, calm, seconds, useCell, useDoc, useOf, useOpen, useSpec } from "./app.js";
import { connect, disconnect, setMode, setTitle, sourcesFor, titleOf, specOf, words } from "./doc.js";
import { Button, Icon } from "./icons.jsx";
import { Picture, StateWord } from "./node.jsx";
import { OpenSwitch } from "./openings.jsx";
import { Widget } from "./widgets.jsx";

const MODES = [["normal", "On", "run"], ["mute", "Mute", "mute"], ["bypass", "Bypass", "bypass"]];

export function ModeSwitch({ node }) {
  return (
    <div className="g-modes" role="radiogroup" aria-label="Mode">
      {MODES.map(([mode, word, icon]) => (
        <button key={mode} type="button" role="radio" aria-checked={(node.mode || "normal") === mode} onClick={() => app.model.change(setMode(app.model.doc, [node.id], mode))}><Icon name={icon} />{word}</button>
      ))}
    </div>
  );
}

/** A menu of everything that fits an input; the way to connect without a mouse. */
export function InputField({ node, socket }) {
  const { model } = app, edge = model.doc.edges.find((e) => e.to[0] === node.id && e.to[1] === socket.name), open = useOpen(node.id)("inputs", socket.name) === "";
  const sources = sourcesFor(model.registry, model.doc, node.id, socket.name), now = edge ? JSON.stringify(edge.from) : "";
  const known = sources.some((s) => JSON.stringify([s.id, s.name]) === now), sign = model.registry.types[socket.type];
  const set = (text) => model.change(text ? connect(model.doc, JSON.parse(text), [node.id, socket.name]) : disconnect(model.doc, [node.id, socket.name]));
  return (
    <div className="g-feed-row"><label className="g-feed">
      <span><i className={`g-dot g-${sign?.shape || "circle"}`} style={{ "--g-type": sign?.color }} />{socket.label || words(socket.name)}{socket.required && !edge && !open ? <em>needed</em> : null}</span>
      <select className="g-in" value={now} onChange={(e) => set(e.target.value)} aria-label={`Input ${socket.label || socket.name}, takes ${socket.many ? "a list of " : ""}${sign?.word || socket.type}`}>
        <option value="">{open ? "from outside" : "not connected"}</option>
        {edge && !known && <option value={now}>{edge.from.join(" · ")}</option>}
        {sources.map((s) => <option key={`${s.id} ${s.name}`} value={JSON.stringify([s.id, s.name])}>{s.spec.outputs.length > 1 ? `${s.title} · ${s.label}` : s.title}</option>)}
      </select>
    </label>
    {!edge && <OpenSwitch node={node} side="inputs" name={socket.name} label={socket.label || words(socket.name)} />}
    </div>
  );
}

export function Timing({ id }) {
  const state = useOf("state", id), plan = useOf("plan", id);
  const rows = [];
  if (state?.state) rows.push(["State", <StateWord key="s" state={state} />]);
  if (state?.seconds !== undefined) rows.push(["Took", seconds(state.seconds)]);
  if (state?.reason) rows.push(["Because", state.reason]);
  if (plan) rows.push(["Next run", [PLANNED[plan.action], plan.reason].filter(Boolean).join(": ")], ...(plan.seconds >= 0.1 && plan.action === "run" ? [["About", seconds(plan.seconds)]] : []));
  if (!rows.length) return null;
  return <dl className="g-facts">{rows.map(([k, v]) => [<dt key={k}>{k}</dt>, <dd key={`${k}v`}>{v}</dd>])}</dl>;
}

export function NodeActions({ ids, single }) {
  const { actions, model } = app, node = single && model.node(ids[0]), sub = node && specOf(model.registry, model.doc, node).sub;
  return (
    <div className="g-actions">
      {sub && <Button icon="into" onClick={() => actions.enter(ids[0])}>Open</Button>}
      {single && <Button icon="here" onClick={() => actions.run(ids)}>Run to here</Button>}
      {sub ? <Button icon="unpack" onClick={() => actions.unpack(ids[0])}>Unpack</Button> : <Button icon="sub" onClick={() => actions.makeSub(ids)}>Make a sub-graph</Button>}
      <Button icon="copy" onClick={() => actions.duplicate(ids)}>Duplicate</Button>
      <Button icon="bin" onClick={() => actions.remove(ids)}>Delete</Button>
    </div>
  );
}

/** The body of one node: used by the inspector and by the list view. */
export function NodeDetails({ node, withPicture = true }) {
  const spec = useSpec(node), all = useOf("problems", node.id) || [], problems = all.filter((p) => !spec.widgets.some((w) => w.name === p.socket) && !spec.missing), state = useOf("state", node.id), asked = useCell("asked");
  const fed = new Map(app.model.doc.edges.filter((e) => e.to[0] === node.id).map((e) => [e.to[1], [e.to[1], ...e.from]]));
  const goes = app.model.doc.edges.filter((e) => e.from[0] === node.id);
  const paragraphs = String(spec.help || "").split("\n\n").filter((p) => p && !spec.widgets.some((w) => p.startsWith(`${w.name}:`)) && !spec.inputs.some((s) => p.startsWith(`${s.name}:`)));
  return (
    <>
      {spec.missing && <p className="g-lost">{`Its plugin${spec.origin ? ` (${spec.origin})` : ""} is not installed. Settings and connections are kept as they are.`}</p>}
      {paragraphs.length > 0 && <p className="g-help g-lead">{paragraphs[0]}</p>}
      {state?.error && !all.some((p) => state.error.startsWith(p.message)) && <p className="g-error" role="alert">{state.error}</p>}
      {problems.map((p, i) => <p key={i} className="g-error" data-level={p.level} data-calm={calm(p, asked) || undefined}>{app.weft.errorText(p)}{p.stage === "required" && p.socket && <button type="button" className="g-text" onClick={(e) => app.actions.mend(node.id, p.socket, e)}>Add what fits</button>}</p>)}
      {withPicture && <Picture id={node.id} title={titleOf(spec, node)} whole />}
      {spec.inputs.length > 0 && <section><h3>Inputs</h3>{spec.inputs.map((s) => <InputField key={s.name} node={node} socket={s} />)}</section>}
      {spec.widgets.length > 0 && <section><h3>Settings</h3>{spec.widgets.map((w) => <Widget key={w.name} node={node} w={w} fed={fed.get(w.name)} full />)}</section>}
      {spec.outputs.length > 0 && <section><h3>Outputs</h3><ul className="g-outs">{spec.outputs.map((s) => <li key={s.name}><span><i className={`g-dot g-${app.model.registry.types[s.type]?.shape || "circle"}`} style={{ "--g-type": app.model.registry.types[s.type]?.color }} />{s.label || words(s.name)}</span><span>{goes.filter((e) => e.from[1] === s.name).map((e) => <Goes key={e.to.join(" ")} to={e.to} />)}{!goes.some((e) => e.from[1] === s.name) && <em>goes nowhere</em>}<OpenSwitch node={node} side="outputs" name={s.name} label={s.label || words(s.name)} /></span></li>)}</ul></section>}
      <Timing id={node.id} />
      {paragraphs.length > 1 && <details className="g-more"><summary>More about this node</summary>{paragraphs.slice(1).map((p, i) => <p key={i} className="g-help">{p}</p>)}</details>}
    </>
  );
}
function Goes({ to }) {
  const node = app.model.node(to[0]);
  if (!node) return null;
  const spec = specOf(app.model.registry, app.model.doc, node);
  return <button type="button" className="g-text" onClick={() => app.actions.show(to[0])}>{`${titleOf(spec, node)} · ${words(to[1])}`}</button>;
}
export function TitleField({ node }) {
  const spec = useSpec(node), [text, setText] = useState(null);
  useEffect(() => setText(null), [node.id]);
  const commit = () => { if (text !== null && text.trim() !== (node.title || "")) app.model.change(setTitle(app.model.doc, node.id, text.trim())); setText(null); };
  return <input className="g-title" aria-label="Title of the node" value={text ?? app.weft.said(titleOf(spec, node))} onChange={(e) => setText(e.target.value)} onBlur={commit} onKeyDown={(e) => { if (e.key === "Enter") e.target.blur(); }} />;
}

/** Where there is little room it begins as one line, so that what lies below it can still be tapped. */
export function Inspector({ ids, onClose }) {
  const [folded, setFolded] = useState(() => innerWidth < 900);
  const doc = useDoc(), nodes = ids.map((id) => app.model.node(id)).filter(Boolean);
  const close = <>{folded && <Button icon="more" onClick={() => setFolded(false)}>Details</Button>}<button type="button" className="g-mini" aria-label="Close the inspector" onClick={onClose}><Icon name="close" /></button></>;
  if (nodes.length === 1) {
    const [node] = nodes, spec = specOf(app.model.registry, doc, node);
    return (
      <aside className="g-inspector" aria-label="Inspector" data-folded={folded || undefined}>
        <div className="g-side-head"><TitleField node={node} />{close}</div>
        <p className="g-kind" style={{ "--g-category": app.model.registry.categories[spec.category] }}>{spec.sub ? "Sub-graph of this graph" : [spec.title, spec.category, spec.origin && spec.origin !== "built-in" ? spec.origin : ""].filter(Boolean).join(" · ")}</p>
        <div className="g-scroll" key={node.id}>
          <NodeActions ids={[node.id]} single />
          <ModeSwitch node={node} />
          <NodeDetails node={node} />
        </div>
      </aside>
    );
  }
  return (
    <aside className="g-inspector" aria-label="Inspector" data-folded={folded || undefined}>
      <div className="g-side-head"><h2>{`${nodes.length} nodes`}</h2>{close}</div>
      <div className="g-scroll">
        <NodeActions ids={ids} />
        <div className="g-actions">
          <Button icon="mute" onClick={() => app.actions.mode(ids, "mute")}>Mute</Button>
          <Button icon="bypass" onClick={() => app.actions.mode(ids, "bypass")}>Bypass</Button>
          <Button icon="group" onClick={() => app.actions.group(ids)}>Group</Button>
        </div>
        <ul className="g-outs">{nodes.map((node) => <li key={node.id}><button type="button" className="g-text" onClick={() => app.actions.show(node.id)}>{titleOf(specOf(app.model.registry, doc, node), node)}</button></li>)}</ul>
      </div>
    </aside>
  );
}

// The graph as a list: the same document, made for keyboard, screen reader and phone. It can do what the canvas can.
import { useState } from "react";
import { app, PLANNED, useCell, useDoc, useNode, useSpec } from "./app.js";
import { search, titleOf } from "./doc.js";
import { Icon } from "./icons.jsx";
import { ModeSwitch, NodeActions, NodeDetails, TitleField } from "./inspector.jsx";
import { Picture, StateWord } from "./node.jsx";

export function ListView({ opened, onOpened }) {
  const doc = useDoc();
  const order = app.actions.order(doc);
  return (
    <div className="g-list" role="region" aria-label="The graph as a list">
      <AddField onAdded={(id) => onOpened(id)} />
      {doc.nodes.length === 0 && <p className="g-none">This graph is empty. Choose a node above to begin, or open a ready workflow.</p>}
      <ol aria-label="Nodes, in the order of their making">
        {order.map((id) => <Row key={id} id={id} open={opened === id} onOpen={(on) => onOpened(on ? id : null)} />)}
      </ol>
    </div>
  );
}

/** Search and add without a canvas: one field, one menu of what was found. */
function AddField({ onAdded }) {
  const [text, setText] = useState(""), found = search(app.model.registry, text).slice(0, text ? 24 : 200);
  const groups = Object.keys(app.model.registry.categories).filter((g) => found.some((f) => f.spec.category === g));
  const first = text ? found[0] : null;
  const [kind, setKind] = useState(""), chosen = found.some((f) => f.kind === kind) ? kind : first?.kind || "";
  const add = () => { if (chosen) { onAdded(app.actions.add(chosen)); setText(""); setKind(""); } };
  return (
    <form className="g-add" onSubmit={(e) => { e.preventDefault(); add(); }}>
      <label><span>Search nodes</span><input className="g-in" type="search" value={text} placeholder="for example: prompt" onChange={(e) => setText(e.target.value)} /></label>
      <label><span>Node to add</span>
        <select className="g-in" value={chosen} onChange={(e) => setKind(e.target.value)}>
          {!chosen && <option value="">{found.length ? "choose one" : "nothing is called that"}</option>}
          {groups.map((g) => <optgroup key={g} label={g}>{found.filter((f) => f.spec.category === g).map((f) => <option key={f.kind} value={f.kind}>{f.spec.title}</option>)}</optgroup>)}
        </select>
      </label>
      <button type="submit" className="g-btn g-strong" disabled={!chosen}><Icon name="add" /><span>Add</span></button>
    </form>
  );
}

function Row({ id, open, onOpen }) {
  const node = useNode(id), spec = useSpec(node), state = useCell(`state:${id}`), plan = useCell(`plan:${id}`), problems = useCell(`problems:${id}`) || [];
  if (!node) return null;
  const title = titleOf(spec, node), wrong = problems.filter((p) => p.level === "error").length;
  const feeds = app.model.doc.edges.filter((e) => e.to[0] === id).map((e) => app.actions.title(e.from[0]));
  return (
    <li className="g-row" data-node={id} data-state={wrong ? "error" : state?.state} data-mode={node.mode} style={{ "--g-category": app.model.registry.categories[spec.category] || "#7d7d7d" }}>
      <h3>
        <button type="button" aria-expanded={open} onClick={() => onOpen(!open)}>
          <Icon name="chevron" /><b>{title}</b>
          <span className="g-sub">{[title === spec.title ? "" : spec.title, node.mode === "mute" ? "muted" : node.mode === "bypass" ? "bypassed" : "", feeds.length ? `from ${[...new Set(feeds)].join(", ")}` : ""].filter(Boolean).join(" · ")}</span>
          {plan && <span className="g-plan" data-action={plan.action}>{PLANNED[plan.action]}</span>}
          {wrong > 0 ? <span className="g-state" data-state="error"><Icon name="error" />{wrong === 1 ? "1 problem" : `${wrong} problems`}</span> : <StateWord state={state} small />}
        </button>
      </h3>
      {!open && <Picture id={id} title={title} />}
      {open && (
        <div className="g-row-body">
          <div className="g-row-top"><TitleField node={node} /><ModeSwitch node={node} /></div>
          <NodeActions ids={[id]} single />
          <NodeDetails node={node} />
        </div>
      )}
    </li>
  );
}

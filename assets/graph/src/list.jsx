// The graph as a list: the same document, made for keyboard, screen reader and phone. It can do what the canvas can.
import { useState } from "react";
import { PLANNED, app, calm, useCell, useDoc, useNode, useOf, useSpec } from "./app.js";
import { changeGroup, changeNote, isObject, search, titleOf } from "./doc.js";
import { Button, Icon } from "./icons.jsx";
import { ModeSwitch, NodeActions, NodeDetails, TitleField } from "./inspector.jsx";
import { Picture, StateWord } from "./node.jsx";

export function ListView({ opened, onOpened, picked, onPicked }) {
  const doc = useDoc();
  const order = app.actions.order(doc), pick = (id, on) => onPicked(on ? [...picked, id] : picked.filter((one) => one !== id));
  const groups = doc.groups.filter((g) => isObject(g) && g.id && Array.isArray(g.nodes)), notes = doc.notes.filter((n) => isObject(n) && n.id);
  return (
    <div className="g-list" role="region" aria-label="The graph as a list">
      <AddField onAdded={(id) => onOpened(id)} />
      {doc.nodes.length === 0 && <p className="g-none">{doc.inside ? "This sub-graph is empty. Choose a node above to begin." : "This graph is empty. Choose a node above to begin, or open a ready workflow."}</p>}
      {picked.length > 0 && <Picked ids={picked} onDone={() => onPicked([])} />}
      <ol aria-label="Nodes, in the order of their making">
        {order.map((id) => <Row key={id} id={id} open={opened === id} onOpen={(on) => onOpened(on ? id : null)} picked={picked.includes(id)} onPick={(on) => pick(id, on)} group={groups.find((g) => g.nodes.includes(id))} />)}
      </ol>
      {groups.length > 0 && (
        <section className="g-extra" aria-label="Groups"><h2>Groups</h2>
          <ul>{groups.map((g) => (
            <li key={g.id} data-group={g.id}>
              <input className="g-in" aria-label="Title of the group" value={String(g.title ?? "")} onChange={(e) => app.model.change(changeGroup(app.model.doc, g.id, { title: e.target.value }), { key: `group ${g.id}` })} />
              <span className="g-sub">{g.nodes.map((id) => app.actions.title(id)).join(", ")}</span>
              <Button icon="list" onClick={() => onPicked(g.nodes.filter((id) => app.model.node(id)))}>Choose its nodes</Button>
              <Button icon="close" onClick={() => app.actions.ungroup(g.id)}>Ungroup</Button>
            </li>
          ))}</ul>
        </section>
      )}
      {notes.length > 0 && (
        <section className="g-extra" aria-label="Notes"><h2>Notes</h2>
          <ul>{notes.map((n) => (
            <li key={n.id} data-note={n.id} className="g-list-note">
              <textarea className="g-in" aria-label="Text of the note" rows={3} placeholder="Write something down" value={String(n.text ?? "")} onChange={(e) => app.model.change(changeNote(app.model.doc, n.id, { text: e.target.value }), { key: `note ${n.id}` })} />
              <Button icon="bin" onClick={() => app.actions.remove([n.id])}>Delete the note</Button>
            </li>
          ))}</ul>
        </section>
      )}
    </div>
  );
}

/** What can be done with the rows that are ticked. */
function Picked({ ids, onDone }) {
  const { actions } = app, nodes = ids.filter((id) => app.model.node(id));
  return (
    <div className="g-picked g-actions" role="toolbar" aria-label="The chosen nodes">
      <b>{ids.length === 1 ? "1 chosen" : `${ids.length} chosen`}</b>
      <Button icon="sub" onClick={() => actions.makeSub(nodes)}>Make a sub-graph</Button>
      <Button icon="group" onClick={() => actions.group(nodes)}>Group</Button>
      <Button icon="mute" onClick={() => actions.mode(nodes, "mute")}>Mute</Button>
      <Button icon="bypass" onClick={() => actions.mode(nodes, "bypass")}>Bypass</Button>
      <Button icon="copy" onClick={() => actions.duplicate(ids)}>Duplicate</Button>
      <Button icon="here" onClick={() => actions.run(nodes)}>Run to here</Button>
      <Button icon="bin" onClick={() => actions.remove(ids)}>Delete</Button>
      <Button icon="close" onClick={onDone}>None</Button>
    </div>
  );
}

/** Search and add without a canvas: one field, one menu of what was found. */
function AddField({ onAdded }) {
  const [text, setText] = useState(""), found = search(app.model.registry, text, null, app.weft.said).slice(0, text ? 24 : 200);
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

function Row({ id, open, onOpen, picked, onPick, group }) {
  const node = useNode(id), spec = useSpec(node), state = useOf("state", id), plan = useOf("plan", id), problems = useOf("problems", id) || [], asked = useCell("asked");
  if (!node) return null;
  const title = titleOf(spec, node), wrong = problems.filter((p) => p.level === "error" && !calm(p, asked)).length;
  const feeds = app.model.doc.edges.filter((e) => e.to[0] === id).map((e) => app.actions.title(e.from[0]));
  return (
    <li className={`g-row ${spec.sub ? "g-sub-row" : ""}`} data-node={id} data-picked={picked || undefined} data-state={wrong ? "error" : state?.state} data-mode={node.mode} style={{ "--g-category": app.model.registry.categories[spec.category] || "#7d7d7d" }}>
      <input type="checkbox" className="g-pick" aria-label={`Choose ${title}`} checked={picked} onChange={(e) => onPick(e.target.checked)} />
      <h3>
        <button type="button" aria-expanded={open} onClick={() => onOpen(!open)}>
          <Icon name="chevron" /><b>{title}</b>
          <span className="g-sub">{[title === spec.title ? "" : spec.title, spec.sub ? "sub-graph" : "", group ? `in ${group.title || "a group"}` : "", feeds.length ? `from ${[...new Set(feeds)].join(", ")}` : ""].filter(Boolean).join(" · ")}</span>
          {node.mode === "mute" && <span className="g-mode"><Icon name="mute" />Muted</span>}
          {node.mode === "bypass" && <span className="g-mode"><Icon name="bypass" />Bypassed</span>}
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

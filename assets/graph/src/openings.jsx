// Where one is inside of a sub-graph, and what it shows outside.
import { app, useDoc, useOpen } from "./app.js";
import { inputOf, moveOpening, outputOf, removeOpening, renameOpening, setOpening, specOf, words } from "./doc.js";
import { Button, Icon } from "./icons.jsx";

/** The way from the graph to what is seen; each step goes back there. */
export function Crumbs({ onOpenings, shown }) {
  useDoc();
  const { model, actions } = app, { trail } = model;
  if (!trail.length) return null;
  const places = model.places(trail.at(-1).name);
  return (
    <nav className="g-crumbs" aria-label="Where you are in the graph">
      <ol>
        <li><button type="button" className="g-text" onClick={() => actions.go([])}>Graph</button></li>
        {trail.map((step, i) => <li key={i}><Icon name="chevron" />{i < trail.length - 1 ? <button type="button" className="g-text" onClick={() => actions.go(model.path.slice(0, i + 1))}>{step.title}</button> : <b aria-current="page">{step.title}</b>}</li>)}
      </ol>
      <span className="g-help">{places > 1 ? `Used in ${places} places; a change here changes all of them.` : ""}</span>
      <Button icon="sub" aria-pressed={shown} onClick={onOpenings} title="Name, inputs and outputs of this sub-graph">Inputs and outputs</Button>
      <Button icon="up" onClick={() => actions.leave()} title="Out of this sub-graph (O)">Out</Button>
    </nav>
  );
}

/** Inside of a sub-graph: whether it shows this socket outside. */
export function OpenSwitch({ node, side, name, label }) {
  const open = useOpen(node.id)(side, name) === "", { model } = app;
  if (!model.doc.inside) return null;
  return <button type="button" className="g-mini g-eye" aria-pressed={open} aria-label={`Show ${label} outside of the sub-graph`} title={open ? "Shown outside" : "Show outside"} onClick={() => model.change(setOpening(model.registry, model.doc, side, [node.id, name], !open))}><Icon name="sub" /></button>;
}

/** What a sub-graph is called and what it shows outside: names, order, and away with it. */
export function Openings() {
  const doc = useDoc(), { model, actions } = app;
  const where = (side, o) => { const [id, name] = side === "inputs" ? o.to[0] || [] : o.from || [], node = model.node(id); return node ? `${actions.title(id)} · ${(side === "inputs" ? inputOf : outputOf)(specOf(model.registry, doc, node), name)?.label || words(name)}` : "nothing"; };
  const set = (next, key) => model.change(next, { key });
  return (
    <div className="g-openings">
      <label className="g-open-title"><span>Name of the sub-graph</span><input className="g-in" value={doc.title} onChange={(e) => set({ ...doc, title: e.target.value }, "sub-title")} /></label>
      {[["inputs", "Inputs and settings"], ["outputs", "Outputs"]].map(([side, word]) => (
        <section key={side}><h3>{word}</h3>
          {doc[side].length === 0 && <p className="g-help">{side === "inputs" ? "None yet. Choose a node in here, and show one of its inputs or settings outside." : "None yet. Choose a node in here, and show one of its outputs outside."}</p>}
          <ol>{doc[side].map((o, i) => (
            <li key={o.name}>
              <input className="g-in" aria-label={`Name of ${where(side, o)}`} value={o.label ?? ""} placeholder={words(o.name)} onChange={(e) => set(renameOpening(doc, side, o.name, e.target.value), `open ${side} ${o.name}`)} />
              <button type="button" className="g-mini" aria-label={`Move ${o.label || o.name} up`} disabled={!i} onClick={() => set(moveOpening(doc, side, o.name, -1))}><Icon name="up" /></button>
              <button type="button" className="g-mini" aria-label={`Move ${o.label || o.name} down`} disabled={i === doc[side].length - 1} onClick={() => set(moveOpening(doc, side, o.name, 1))}><Icon name="down" /></button>
              <button type="button" className="g-mini" aria-label={`Do not show ${o.label || o.name} outside`} onClick={() => set(removeOpening(doc, side, o.name))}><Icon name="close" /></button>
              <span>{where(side, o)}</span>
            </li>
          ))}</ol>
        </section>
      ))}
    </div>
  );
}

// The search palette, and the shelf of all nodes by group.
import { useEffect, useId, useRef, useState } from "react";
import { app } from "./app.js";
import { fitting, search, words } from "./doc.js";
import { Icon } from "./icons.jsx";

const firstLine = (help) => String(help || "").split("\n")[0];

/** Plugin files that do not load, with what to mend: their nodes are missing here. */
const Broken = () => Object.keys(app.model.registry.broken || {}).length > 0 && <div className="g-broken">{Object.values(app.model.registry.broken).map(({ file, line, message, hint }) => (
  <p key={file + line}><b translate="no">{line ? `${file}:${line}` : file}</b> <span>does not load.</span> <span translate="no">{`${message} ${hint}`.trim()}</span></p>
))}</div>;

/** Opens at a point of the screen. `wire`: only what fits it, and the choice is joined to it. */
export function Palette({ at, wire, onChoose, onClose }) {
  const [text, setText] = useState(""), [chosen, setChosen] = useState(0);
  const root = useRef(null), list = useRef(null), id = useId();
  const among = wire ? fitting(app.model.registry, wire, app.weft.said) : null;
  const found = search(app.model.registry, text, among, app.weft.said);
  const rare = text ? 0 : found.findIndex((entry) => entry.usual < 3), heads = rare > 0 ? { 0: wire ? "Usual here" : "Used most", [rare]: wire ? "Fits, too" : "All others" } : {};
  const sign = wire && app.model.registry.types[wire.socket.type];
  useEffect(() => {
    const away = (e) => { if (!root.current?.contains(e.target)) onClose(); };
    document.addEventListener("pointerdown", away, true);
    return () => document.removeEventListener("pointerdown", away, true);
  }, [onClose]);
  useEffect(() => { list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }); }, [chosen, text]);
  const onKeyDown = (e) => {
    const next = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, Home: 0, End: found.length - 1 }[e.key];
    if (next !== undefined && found.length) { e.preventDefault(); setChosen((next + found.length) % found.length); }
    if (e.key === "Enter" && found[chosen]) { e.preventDefault(); e.stopPropagation(); onChoose(found[chosen]); }
    if (e.key === "Escape") { e.preventDefault(); e.stopPropagation(); onClose(); }
    if (e.key === "Tab") { e.preventDefault(); onClose(); }
  };
  return (
    <div className="g-palette nowheel nopan" ref={root} style={at ? { left: at.x, top: at.y } : undefined} role="dialog" aria-label="Add a node">
      <div className="g-find"><Icon name="search" />
        <input autoFocus type="text" role="combobox" aria-expanded="true" aria-controls={id} aria-activedescendant={found[chosen] ? `${id}-${chosen}` : undefined} aria-label="Search nodes" placeholder="Search nodes" value={text}
          onChange={(e) => { setText(e.target.value); setChosen(0); }} onKeyDown={onKeyDown} />
      </div>
      {wire && <p className="g-filter">{wire.out ? "Takes" : "Gives"} <i className={`g-dot g-${sign?.shape}`} style={{ "--g-type": sign?.color }} /> {sign?.word || wire.socket.type}</p>}
      <ul role="listbox" id={id} ref={list} aria-label="Nodes">
        {found.map((entry, i) => [
          heads[i] && <li key={`head ${i}`} role="presentation" className="g-palette-head">{heads[i]}</li>,
          <li key={entry.kind} id={`${id}-${i}`} role="option" aria-selected={i === chosen} data-kind={entry.kind} onPointerMove={() => setChosen(i)} onClick={() => onChoose(entry)}>
            <b style={{ "--g-category": app.model.registry.categories[entry.spec.category] }}>{entry.spec.title}</b>
            <span>{entry.socket && wire ? `${entry.spec.category} · ${words(entry.socket)}` : entry.spec.category}</span>
          </li>,
        ])}
      </ul>
      {found.length === 0 && <p className="g-none">{wire ? "Nothing here is called that and fits." : "Nothing here is called that."}</p>}
      {found[chosen] && <p className="g-about">{firstLine(found[chosen].spec.help)}</p>}
      <Broken />
    </div>
  );
}

/** All nodes by group, to press or to drag onto the ground. */
export function Shelf({ onAdd, onClose }) {
  const [text, setText] = useState("");
  const found = search(app.model.registry, text, null, app.weft.said);
  const groups = Object.keys(app.model.registry.categories).map((name) => [name, found.filter((f) => f.spec.category === name)]).filter(([, list]) => list.length);
  return (
    <aside className="g-shelf" aria-label="Nodes">
      <div className="g-side-head"><h2>Nodes</h2><button type="button" className="g-mini" aria-label="Close the list of nodes" onClick={onClose}><Icon name="close" /></button></div>
      <div className="g-find"><Icon name="search" /><input type="search" aria-label="Search the list of nodes" placeholder="Search" value={text} onChange={(e) => setText(e.target.value)} /></div>
      <div className="g-scroll">
        {groups.map(([name, list]) => (
          <section key={name} style={{ "--g-category": app.model.registry.categories[name] }}>
            <h3>{name}</h3>
            {list.map(({ kind, spec }) => (
              <button key={kind} type="button" className="g-item" title={firstLine(spec.help)} draggable onDragStart={(e) => { e.dataTransfer.setData("application/x-weft-kind", kind); e.dataTransfer.effectAllowed = "copy"; }} onClick={() => onAdd(kind)}>{spec.title}</button>
            ))}
          </section>
        ))}
        {!groups.length && <p className="g-none">Nothing here is called that.</p>}
        <Broken />
      </div>
    </aside>
  );
}

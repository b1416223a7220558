// Controls for every kind of value. What the registry does not know is shown and kept.
import { useEffect, useId, useRef, useState } from "react";
import { app, useCell, useOf } from "./app.js";
import { isExposed, resetWidget, setExposed, setWidget, titleOf, specOf, widgetValue, words } from "./doc.js";
import { Icon } from "./icons.jsx";
import { OpenSwitch } from "./openings.jsx";

const put = (id, widget, value) => app.model.change(setWidget(app.model.doc, id, widget.name, value), { key: `widget ${id} ${widget.name}` });

/** A number as text while it is typed; what is no number goes back to what was. `lowest`: the word for the lowest one,
 * which comes back where nothing, or the word, is left. */
function NumberField({ value, onValue, whole, lowest = "", ...rest }) {
  const [text, setText] = useState(null), low = rest["data-min"], word = lowest && app.weft.said(lowest);
  const shown = text ?? (value === null || value === undefined ? "" : word && value === low ? word : String(value));
  const commit = (event) => {
    const given = event.target.value.trim(), number = word && ["", word].includes(given) ? low : Number(given);
    setText(null);
    if ((given !== "" || word) && Number.isFinite(number) && number !== value) onValue(number);
  };
  const beside = (number) => (word && low < 0 && number < 0 ? (number > value ? 0 : low) : number); // nothing lies between the word and 0
  return (
    <input {...rest} className="g-in g-num" type="text" inputMode={whole ? "numeric" : "decimal"} value={shown} onChange={(e) => setText(e.target.value)} onBlur={commit}
      onKeyDown={(e) => {
        if (e.key === "Enter" && !e.ctrlKey && !e.metaKey) commit(e);
        if ((e.key === "Enter" && (e.ctrlKey || e.metaKey))) commit(e);
        if (e.key === "Escape" && text !== null) { e.stopPropagation(); setText(null); }
        const way = { ArrowUp: 1, ArrowDown: -1 }[e.key], step = rest["data-step"];
        if (way && step && typeof value === "number") { e.preventDefault(); setText(null); onValue(beside(clamp(tidy(value + way * step), low, rest["data-max"]))); }
      }} onFocus={word ? (e) => e.target.select() : undefined} />
  );
}
const hue = (index) => `hsl(${(index * 67) % 360} 55% 50%)`;
const addresses = new WeakMap(); // of painted masks, by their canvas
function maskAddress(canvas) {
  if (!addresses.has(canvas)) addresses.set(canvas, canvas.toDataURL());
  return addresses.get(canvas);
}
const tidy = (value) => Math.round(value * 1e6) / 1e6;
const clamp = (value, low, high) => Math.min(high ?? Infinity, Math.max(low ?? -Infinity, value));
const stepOf = (w) => w.step ?? (w.whole || w.type === "Int" ? 1 : (w.max ?? 0) - (w.min ?? 0) > 20 ? 0.5 : 0.05);

const CONTROLS = {
  number({ w, value, set, id }) {
    return <NumberField id={id} value={value} onValue={set} whole={w.whole} lowest={w.lowest} data-step={stepOf(w)} data-min={w.min} data-max={w.max} />;
  },
  slider({ w, value, set, id }) {
    const [dragged, setDragged] = useState(null);
    const shown = dragged ?? value;
    return (
      <span className="g-slider">
        <input type="range" tabIndex={-1} aria-label={`${w.label}, slider`} min={w.min} max={w.max} step={w.step ?? (w.whole ? 1 : "any")} value={Number.isFinite(shown) ? shown : w.min}
          onChange={(e) => { const v = w.whole ? Number(e.target.value) : Math.round(Number(e.target.value) * 1000) / 1000; setDragged(v); set(v); }} onPointerUp={() => setDragged(null)} onBlur={() => setDragged(null)} />
        <NumberField id={id} value={value} onValue={set} whole={w.whole} lowest={w.lowest} data-step={stepOf(w)} data-min={w.min} data-max={w.max} />
      </span>
    );
  },
  seed({ w, value, set, id }) {
    return (
      <span className="g-both">
        <NumberField id={id} value={value} onValue={set} whole data-step={1} data-min={w.min} data-max={w.max} />
        <button type="button" className="g-mini" aria-label={`Draw a new ${w.label.toLowerCase()}`} title="Draw a new one" onClick={() => set(crypto.getRandomValues(new Uint32Array(1))[0] % (2 ** 32 - 1))}><Icon name="dice" /></button>
      </span>
    );
  },
  bool({ value, set, id }) {
    return <input id={id} className="g-switch" type="checkbox" role="switch" checked={value === true} onChange={(e) => set(e.target.checked)} />;
  },
  choice({ w, value, set, id }) {
    const choices = w.choices || [], at = choices.indexOf(value);
    return (
      <select id={id} className="g-in" value={at} onChange={(e) => set(choices[Number(e.target.value)])}>
        {at < 0 && <option value={-1}>{value === undefined || value === null ? "choose …" : `${value} (unknown)`}</option>}
        {choices.map((c, i) => <option key={c} value={i}>{String(c).replaceAll("_", " ")}</option>)}
      </select>
    );
  },
  text({ w, value, set, id, block }) {
    const given = { id, value: value ?? "", onChange: (e) => set(e.target.value), spellCheck: w.kind === "prompt", className: "g-in" };
    return block ? <textarea {...given} rows={Math.min(8, w.lines || 3)} /> : <input {...given} type="text" />;
  },
  model({ value, set, id }) {
    const models = app.weft.facts.models || [], [own, setOwn] = useState(false), known = models.some((m) => m.ref === value);
    if (own) return <input id={id} className="g-in" type="text" autoFocus value={value ?? ""} placeholder="folder or hub:owner/name" onChange={(e) => set(e.target.value)} onBlur={() => setOwn(false)} />;
    return (
      <select id={id} className="g-in" value={value ?? ""} onChange={(e) => (e.target.value === "\n" ? setOwn(true) : set(e.target.value))}>
        {!known && <option value={value ?? ""}>{value || "choose …"}</option>}
        {models.map((m) => <option key={m.ref} value={m.ref}>{m.title || m.ref}</option>)}
        <option value={"\n"}>Another one …</option>
      </select>
    );
  },
  colour({ value, set, id, w }) {
    return (
      <span className="g-both">
        <input className="g-colour" type="color" aria-label={`${w.label}, picker`} value={/^#[0-9a-f]{6}$/i.test(value) ? value : "#000000"} onChange={(e) => set(e.target.value)} />
        <input id={id} className="g-in" type="text" value={value ?? ""} onChange={(e) => set(e.target.value)} />
      </span>
    );
  },
  picture({ w, value, node, id }) {
    const pick = useRef(null), told = useCell(`bring:${app.model.prefix}${node.id} ${w.name}`), thumb = value && app.weft.thumbs[value.file];
    useCell("thumbs");
    return (
      <span className="g-pick">
        {thumb && <img src={thumb} alt={value.name || "chosen picture"} />}
        <button type="button" id={id} className="g-in g-file" onClick={() => pick.current.click()}>{told?.busy ? "Bringing it in …" : value?.name || "Choose a picture"}</button>
        <input ref={pick} type="file" hidden accept="image/png,image/jpeg,image/webp" onChange={(e) => { if (e.target.files[0]) app.actions.bring(node.id, w, e.target.files[0]); e.target.value = ""; }} />
        {told?.fault && <span className="g-fault" role="alert">{told.fault}</span>}
      </span>
    );
  },
  regions({ w, value, node, id }) {
    const list = Array.isArray(value) ? value.filter((r) => r && typeof r === "object") : [];
    const [, again] = useState(0), painted = list.map((r) => (r.shape === "mask" && r.mask?.file) || "").join(" ");
    useEffect(() => { window.weft?.needMasks?.(list, () => again((n) => n + 1)); }, [painted]);
    const maskOf = (r) => (r.shape === "mask" && window.weft?.masks?.[r.mask?.file]) || null;
    return (
      <span className="g-regions">
        <span className="g-map" aria-hidden="true">
          {list.map((r, i) => maskOf(r) && <b key={`m${i}`} style={{ maskImage: `url(${maskAddress(maskOf(r))})`, "--g-hue": hue(i) }} />)}
          {list.map((r, i) => Array.isArray(r.box) && r.box.length === 4 && r.box.every(Number.isFinite) && (
            <i key={i} className={maskOf(r) ? "g-painted" : undefined} style={{ left: `${100 * r.box[0]}%`, top: `${100 * r.box[1]}%`, width: `${100 * (r.box[2] - r.box[0])}%`, height: `${100 * (r.box[3] - r.box[1])}%`, "--g-hue": hue(i) }}>{i + 1}</i>
          ))}
        </span>
        <button type="button" id={id} className="g-in g-file" onClick={() => app.actions.editRegions(node.id, w)}>{list.length === 1 ? "Edit 1 region" : `Edit ${list.length} regions`}</button>
      </span>
    );
  },
  kept({ value }) {
    return <output className="g-kept">{value === undefined ? "" : JSON.stringify(value)}</output>;
  },
};
CONTROLS.prompt = CONTROLS.text;
const BLOCKS = new Set(["prompt", "regions", "picture", "kept"]);
export const isBlock = (w) => BLOCKS.has(w.kind) || (w.kind === "text" && w.lines > 1);

/** One widget with its label: on a node a single line, in the inspector with help and what can be done with it. */
export function Widget({ node, w, fed, full = false }) {
  const id = useId(), value = widgetValue(node, w), Control = CONTROLS[w.kind] || CONTROLS.kept;
  const unset = w.optional && value === null, label = w.label || words(w.name), block = isBlock(w);
  const faults = (useOf("problems", node.id) || []).filter((p) => p.socket === w.name);
  let control;
  if (fed) control = <button type="button" className="g-from" id={id} onClick={() => app.actions.show(fed[1])}>{`from ${sourceTitle(fed[1])}`}</button>;
  else if (unset) control = <button type="button" id={id} className="g-in g-unset" title="Give it a value" onClick={() => put(node.id, w, w.default ?? firstValue(w))}>not set</button>;
  else control = <Control w={{ ...w, label }} value={value} node={node} id={id} block={block} set={(v) => put(node.id, w, v)} />;
  return (
    <div className={`g-widget ${block && !fed && !unset ? "g-block" : ""} ${faults.length ? "g-wrong" : ""}`} data-widget={w.name}>
      <label htmlFor={id} title={full ? undefined : w.help || label}>{label}</label>
      {control}
      {full && <Extras node={node} w={w} value={value} fed={fed} />}
      {full && w.help && <p className="g-help">{w.help}</p>}
      {faults.map((p, i) => <p key={i} className="g-fault" role="alert">{app.weft.errorText(p)}</p>)}
    </div>
  );
}
const firstValue = (w) => (w.choices ? w.choices[0] : { bool: false, text: "", prompt: "", model: "", colour: "#808080", regions: [] }[w.kind] ?? w.min ?? 0);
const sourceTitle = (id) => { const node = app.model.node(id); return node ? titleOf(specOf(app.model.registry, app.model.doc, node), node) : id; };

function Extras({ node, w, value, fed }) {
  if (w.kind === "kept") return null;
  const { model } = app, on = isExposed(model.doc, node.id, w.name), given = node.widgets?.[w.name] !== undefined;
  const differs = given && JSON.stringify(value) !== JSON.stringify(w.default) && w.default !== null && w.default !== undefined && w.default !== "";
  return (
    <span className="g-extras">
      {differs && !fed && <button type="button" className="g-text" onClick={() => model.change(resetWidget(model.doc, node.id, w.name))} title={`Back to ${w.lowest && w.default === w.min ? app.weft.said(w.lowest) : JSON.stringify(w.default)}`}>Reset</button>}
      {w.optional && value !== null && !fed && <button type="button" className="g-text" onClick={() => put(node.id, w, null)}>Clear</button>}
      {model.doc.inside ? !fed && <OpenSwitch node={node} side="inputs" name={w.name} label={w.label} /> : <button type="button" className="g-mini g-eye" aria-pressed={on} aria-label={`Show ${w.label} on Create`} title={on ? "Shown on Create" : "Show on Create"} onClick={() => model.change(setExposed(model.registry, model.doc, node.id, w.name, !on))}><Icon name="eye" /></button>}
    </span>
  );
}

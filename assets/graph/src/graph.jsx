// The door of the editor: mounts it into its gr.HTML component and keeps it in step with the page's one document.
import { createRoot } from "react-dom/client";
import "@xyflow/react/dist/style.css";
import "./graph.css";
import { app } from "./app.js";
import { BETWEEN, emptyDocument, foldIn, setWidget, viewOf } from "./doc.js";
import { Editor } from "./editor.jsx";
import { BY_EVENT, SHORTCUTS, shortcutOf } from "./keys.js";
import { Model, follow, receivePlan, receiveProblems } from "./store.js";
import { planWords } from "./toolbar.jsx";

/** A name as a file's: letters of any language, digits, dashes. */
const fileName = (title) => title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60).toLowerCase() || "weft-graph";
const PUBLISH_MS = 150, LOOK_MS = 350;
const weft = window.weft;

weft.graph = async (at, { props, trigger, watch }) => {
  const { doc: shared, run, remember, parse } = weft, { cells } = app;
  const answer = await fetch("weft/registry.json").then((got) => (got.ok ? got.json() : null)).catch(() => null);
  if (!answer) return void at.append(weft.el("p", { class: "weft g-lost", role: "alert" }, "The list of nodes could not be read. Reload the page; if that does not help, start Weft again."));
  const model = new Model(answer), told = follow(cells, model, run, weft.pictureOf, () => targets);
  Object.assign(app, { model, weft });
  const visible = () => at.offsetParent !== null;

  // The document: what is edited here goes to the page at once, what is edited elsewhere comes in.
  let publishing = 0, looking = 0, asked = 0, stale = true, planning = false, targets = null;
  function flush() {
    if (!publishing) return;
    clearTimeout(publishing);
    publishing = 0;
    shared.current = structuredClone(model.whole);
    shared.flush();
    weft.emit("edited", {});
  }
  model.subscribe((before, from) => {
    told.changed(before);
    if (from === "outside") cells.set("asked", undefined);
    if (from === "graph") { clearTimeout(publishing); publishing = setTimeout(flush, PUBLISH_MS); }
    if (from !== "view") look();
  });
  /** A setting of a node anywhere in the document, by its path. */
  function setAt(path, widget, value, options) {
    const way = model.whole.nodes.some((n) => n.id === path) ? [path] : path.split(BETWEEN), id = way.pop(), { view, trail } = viewOf(model.whole, way), node = view.nodes.find((n) => n.id === id);
    if (!node || trail.length < way.length || JSON.stringify(node.widgets?.[widget]) === JSON.stringify(value)) return;
    model.changeWhole(foldIn(model.whole, setWidget(view, id, widget, value)), options);
  }
  weft.on("document", ({ current }) => { if (current) model.load(structuredClone(current), shared.source); });
  weft.on("widget", ({ field, value }) => {
    setAt(field.node, field.widget, structuredClone(value), { key: `create ${field.node} ${field.widget}`, from: "create" });
  });
  weft.on("brought", ({ node, widget, value, thumb, fault }) => {
    cells.set(`bring:${node} ${widget}`, fault ? { fault } : undefined);
    if (!value) return;
    weft.thumbs[value.file] = thumb;
    cells.set("thumbs", Object.keys(weft.thumbs).length);
    setAt(node, widget, value, { key: `bring ${node} ${widget}` });
  });
  weft.on("run", () => {
    told.heard();
    if (planning && !run.live) look();
  });

  // What Python says about it: problems, the form of Create, the plan.
  function look() {
    stale = true;
    clearTimeout(looking);
    if (visible()) looking = setTimeout(lookNow, LOOK_MS);
  }
  function lookNow() {
    stale = false;
    flush();
    props.value = JSON.stringify(model.whole);
    trigger("look", { n: (asked += 1), plan: planning, targets });
  }
  watch("value", () => {
    const said = parse(props.value);
    if (said.handed) return hand(said.handed);
    if (said.fault) return app.actions.refuse(said.fault);
    if (said.n !== asked) return;
    Object.assign(weft.thumbs, said.thumbs);
    cells.set("thumbs", Object.keys(weft.thumbs).length);
    receiveProblems(cells, said.problems || []);
    if (!said.problems?.some((p) => p.level === "error")) cells.set("asked", undefined);
    weft.emit("problems", { problems: said.problems }); // Create says the same
    if (said.plan) showPlan(said.plan);
    if (said.panel && JSON.stringify([said.panel, said.template]) !== JSON.stringify([shared.panel, shared.template])) {
      Object.assign(shared, { panel: said.panel, template: said.template });
      weft.emit("panel", {});
    }
  });
  function showPlan(plan) {
    if (!planning) return;
    receivePlan(cells, plan, model.whole);
    cells.set("plan-total", planWords(plan));
  }

  function hand({ what, text }) {
    const name = { json: `${fileName(weft.documentOf(model.whole, model.source).title)}.json`, python: "weft_graph.py", api: "weft_graph_call.py" }[what];
    const save = () => {
      const link = weft.el("a", { href: URL.createObjectURL(new Blob([text], { type: what === "json" ? "application/json" : "text/x-python" })), download: name });
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    };
    if (what === "json") {
      save();
      weft.savedDocument(model.source, model.whole);
      cells.set("saved", (cells.get("saved") || 0) + 1);
      return app.actions.say(`Saved as ${name}.`);
    }
    const copy = weft.el("button", { type: "button", class: "w-btn", onclick: async () => { await navigator.clipboard?.writeText(text).then(() => { copy.textContent = "Copied"; }, () => { copy.textContent = "Select and copy by hand"; }); } }, "Copy");
    const box = weft.dialog(what === "python" ? "This graph as Python" : "This graph as an API call",
      weft.el("pre", { class: "g-source", tabindex: 0 }, text), weft.el("div", { class: "w-row" }, copy, weft.el("button", { type: "button", class: "w-btn", onclick: save }, `Save as ${name}`)));
    box.classList.add("w-large");
    return box;
  }

  const put = shared.set; // what lies inside of a sub-graph is set here: the page knows the outermost nodes only
  shared.set = (field, value) => (shared.current?.nodes?.some((n) => n.id === field.node) ? put(field, value) : setAt(String(field.node), field.widget, value, { key: `set ${field.node} ${field.widget}` }));

  const generate = weft.generate;
  weft.generate = (options) => {
    if (visible() && !options) return page.run();
    targets = options?.targets ?? null;
    cells.set("asked", true);
    generate(options);
  };
  const page = {
    weft, remember, clip: "",
    run(ids = null) { // exactly the document that is shown: no new seed is drawn here
      flush();
      cells.set("asked", true);
      targets = ids && ids.map((id) => model.prefix + id);
      generate({ targets, seeds: false });
    },
    plan(on) {
      planning = on;
      if (on) return lookNow();
      targets = null;
      cells.fill("plan", {});
      cells.set("plan-total", undefined);
    },
    save(what) {
      flush();
      props.value = JSON.stringify(model.whole);
      trigger("hand_out", { what, url: location.origin + location.pathname });
    },
    open: (file) => { weft.opening = { name: file.name.replace(/\.(json|png)$/i, ""), at: Date.now() }; weft.openFile(file); },
    fresh() {
      const source = {}, document = emptyDocument();
      weft.beginDocument(source, document, "new");
      cells.set("asked", undefined);
      model.begin(document, source);
    },
    template: (name) => weft.useTemplate(name),
    workflows() {
      const cards = weft.facts.templates || [];
      const box = weft.dialog("Ready workflows", ...[...new Set(cards.map((c) => c.group))].map((group) => weft.el("section", { class: "w-group" }, weft.el("h3", {}, group),
        weft.el("div", { class: "w-template-grid" }, ...cards.filter((c) => c.group === group).map((c) => weft.el("button", { type: "button", class: "w-template", "data-template": c.name, onclick: () => { box.close(); page.template(c.name); } }, weft.el("strong", {}, c.title), weft.el("span", {}, c.help)))))));
      box.classList.add("w-large");
    },
    bring(node, widget, file) {
      flush();
      const at = model.prefix + node;
      cells.set(`bring:${at} ${widget.name}`, { busy: true });
      weft.bring({ node: at, widget: widget.name }, file);
    },
    editRegions(node, widget) {
      flush();
      const shown = shared.panel.find((f) => f.kind === "regions"); // the Regions tab edits the one that Create shows
      const at = model.prefix + node;
      if (shown?.node === at && shown.widget === widget.name && weft.regionsTab) return weft.openTab("Regions");
      const maker = weft.makers.regions({ node: at, widget: widget.name, label: widget.label, help: "" });
      maker.show(model.node(node)?.widgets?.[widget.name] ?? []);
      const box = weft.dialog(widget.label, maker.box);
      maker.resize?.();
      return box;
    },
  };
  weft.on("says", (text) => { if (text && visible()) app.actions.say?.(text); });

  // Keys: on the document, because the focus falls to the body when a node goes; only while the editor is seen.
  const ours = (target) => visible() && !document.querySelector("dialog[open]") && (at.contains(target) || !typing(target));
  const typing = (target) => target.closest?.("input:not([type=range]):not([type=checkbox]):not([type=color]):not([type=file]), textarea, select, [contenteditable]");
  document.addEventListener("keydown", (event) => {
    if (!ours(event.target)) return;
    const found = shortcutOf(event);
    if (!found || BY_EVENT.has(found.action) || found.action === "run" || (typing(event.target) && !found.typing)) return;
    if (found.action === "escape" && run.live) return; // the page stops the run
    if (event.defaultPrevented) return;
    event.preventDefault();
    if (app.naming && found.keys[0].length === 1) return; // the first letter of a name whose field is not drawn yet
    app.actions[found.action]?.();
  });
  const marked = () => String(getSelection()).length > 0;
  for (const kind of ["copy", "cut"]) {
    document.addEventListener(kind, (event) => {
      if (!ours(event.target) || typing(event.target) || marked()) return;
      const text = app.actions.copy();
      if (!text) return;
      event.clipboardData.setData("text/plain", text);
      event.preventDefault();
      if (kind === "cut") app.actions.remove();
    });
  }
  document.addEventListener("paste", (event) => {
    if (!ours(event.target) || typing(event.target)) return;
    if (app.actions.paste(event.clipboardData.getData("text/plain")) || app.actions.paste()) event.preventDefault();
  });
  weft.shortcuts = () => (visible() ? SHORTCUTS.map((s) => [s.keys.join(" or "), s.what]) : null);

  const root = weft.el("div", { class: "g-mount" });
  at.append(root);
  createRoot(root).render(<Editor page={page} />);
  new IntersectionObserver(() => { if (visible()) { if (stale) look(); } else flush(); }).observe(root);
  addEventListener("pagehide", flush);
  weft.graphView = { flush, model, cells };
  look();
};

// Regions: the layout of the page's document on a large canvas, with its list beside it and the result underneath.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, doc, run, remember, parse } = weft;
  const SETTINGS = ["mode", "base_ratio", "steps", "cfg_scale", "width", "height"];

  weft.regionsTab = (root, { props, trigger, watch }) => {
    const field = (panel) => panel.find((f) => f.kind === "regions");
    const desk = weft.desk(props.desk, (d) => Boolean(field(d.panel)));
    const spec = () => field(desk.panel);
    const prompt = () => { const at = spec(); return desk.panel.find((f) => f.node === at.node && f.widget === "prompt") || desk.field("prompt"); };
    const size = () => ["width", "height"].map((role) => Number(desk.get(desk.field(role), 256)) || 256);
    const ratio = () => size()[0] / size()[1];

    // the canvas and its tools
    const store = weft.regionStore({ read: () => desk.get(spec()) ?? [], write: (list) => { desk.set(spec(), list); }, ratio,
      words: { read: () => String(desk.get(prompt()) ?? ""), write: (text) => { desk.set(prompt(), text); words.show(text); } } });
    const { stage, paint: sketch, tool, picture } = weft.regionCanvas(store, { label: "Regions" });
    const tools = [["box", "box", "Boxes"], ["paint", "brush", "Paint"], ["erase", "eraser", "Erase"]].map(([name, glyph, label]) =>
      el("button", { type: "button", class: "w-tool", "data-tool": name, "aria-label": label, "aria-pressed": String(name === "box"), onclick: () => use(name) }, icon(glyph), el("span", { class: "w-tool-word" }, label)));
    const wide = el("input", { type: "range", min: 2, max: 40, step: 1, value: 12, "aria-label": "Width of the brush", oninput: () => { tool.size = wide.valueAsNumber / 100; } });
    tool.onsize = () => { wide.value = Math.round(100 * tool.size); };
    const widths = el("label", { class: "w-tool-width", hidden: true, title: "Width of the brush" }, el("span", { class: "w-tool-short" }, "Width"), wide);
    const undo = el("button", { type: "button", class: "w-tool", id: "weft-regions-undo", "aria-label": "Undo", title: "Undo", onclick: () => store.undo() }, icon("undo"));
    const redo = el("button", { type: "button", class: "w-tool", id: "weft-regions-redo", "aria-label": "Redo", title: "Redo", onclick: () => store.redo() }, icon("redo"));
    const wholes = el("div", { class: "w-tool-group", role: "group", "aria-label": "The whole mask", hidden: true }, ...[["fill", "fill", "Fill"], ["invert", "invert", "Invert"], ["clear", "bin", "Clear"]].map(([name, glyph, word]) =>
      el("button", { type: "button", class: "w-tool", "data-act": name, "aria-label": word, title: word, onclick: () => store.chosen && store.whole(store.chosen, name) }, icon(glyph))));
    const another = el("button", { type: "button", class: "w-tool", id: "weft-another", onclick: () => { store.choose(null); stage.focus({ preventScroll: true }); } }, "New region");
    const aim = el("span", { class: "w-help", id: "weft-aim" });
    const brushes = el("div", { class: "w-tools w-aim", hidden: true }, aim, another);
    const boxes = el("button", { type: "button", class: "w-tool", "aria-pressed": "true", id: "weft-show-boxes", "aria-label": "Show boxes", title: "Show boxes", onclick: () => {
      const shown = boxes.getAttribute("aria-pressed") !== "true";
      boxes.setAttribute("aria-pressed", String(shown));
      stage.classList.toggle("w-bare", !shown);
    } }, icon("eye"), el("span", { class: "w-tool-short" }, "Show boxes"));
    const bar = el("div", { class: "w-tools", role: "toolbar", "aria-label": "Tools of the canvas" }, el("div", { class: "w-tool-group", role: "group", "aria-label": "Tool" }, ...tools), widths, wholes, el("span", { class: "w-spread" }), undo, redo, boxes);
    const mat = el("div", { class: "w-mat w-region-mat" }, stage);
    const fit = weft.fitInto(mat, stage, ratio);
    const caption = el("div", { class: "w-caption" });
    const looks = weft.regionLooks({ stage, trigger, picture: () => shown, regions: () => store.list(), say: (text) => say(text) });

    // the list
    const words = weft.promptBox({ label: "The whole picture", placeholder: "A red star on the left and a blue house on the right, at night", oninput: (text) => { if (!typing) store.mark(); typing = true; desk.set(prompt(), text); store.saw(); lint(); },
      extra: el("button", { type: "button", class: "w-link", id: "weft-lay-out", onclick: () => layOut() }, "Turn into boxes") });
    const { rows, paint: fill, focus } = weft.regionRows(store, { full: true });
    const none = el("p", { class: "w-help w-none", id: "weft-no-regions" }, "No regions yet. Drag on the canvas to draw the first, or write a sentence above and press “Turn into boxes”.");
    const add = el("button", { type: "button", class: "w-btn w-add-region", onclick: () => { use("box"); store.add({}); } }, icon("box"), "Add a region");
    let typing = false; // one step back per visit of the prompt, not per letter
    words.input.addEventListener("change", () => { typing = false; });
    const found = el("ul", { class: "w-findings", id: "weft-findings", "aria-live": "polite", hidden: true });
    const brief = el("button", { type: "button", class: "w-brief", id: "weft-brief", hidden: true, onclick: () => found.scrollIntoView({ block: "center", behavior: "smooth" }) });
    const returned = el("p", { class: "w-notice w-returned", id: "weft-returned", role: "status", hidden: true }, el("span", {}, "Your layout, as you left it."), el("button", { type: "button", class: "w-link", id: "weft-begin-anew", onclick: () => beginAnew() }, "Begin anew"));
    const said = el("p", { class: "w-unknown", role: "status", hidden: true });
    const go = weft.goButton("weft-try", "Try", () => act());
    const more = el("details", { class: "w-more" }, el("summary", {}, icon("chevron"), "More settings"));
    const rest = el("input", { class: "w-text", type: "text", placeholder: "The prompt of the whole picture", "aria-label": "Behind the regions", oninput: () => desk.set({ node: spec().node, widget: "background" }, rest.value) });
    const form = el("section", { class: "w-form", "aria-label": "Regions" }, returned, words.box,
      el("div", { class: "w-field" }, el("div", { class: "w-label" }, el("span", {}, "Regions"), el("span", { class: "w-help" }, "later ones lie on top")), none, rows, found, el("div", { class: "w-row" }, add)),
      el("div", { class: "w-run" }, brief, said, go), more);
    root.append(el("div", { class: "weft w-create w-regions-tab" }, el("section", { class: "w-stage", "aria-label": "Canvas" }, bar, mat, brushes, looks.panel, caption), form));

    let settings = [], settingsOf = null, wait = 0, lastPicture = null, shown = null, told = [], every = false, laid = 0, passed = 0;
    function use(name) {
      tool.name = name;
      for (const button of tools) button.setAttribute("aria-pressed", String(button.dataset.tool === name));
      widths.hidden = wholes.hidden = brushes.hidden = name === "box";
      sketch();
      takeAim();
    }
    /** What the next stroke of the brush will do. */
    function takeAim() {
      const at = store.list().findIndex((r) => r.id === store.chosen), region = store.list()[at], number = at + 1;
      another.hidden = !region || tool.name !== "paint";
      if (tool.name === "erase") aim.textContent = region ? `Takes away from region ${number}.` : "Takes away from the region that you paint over.";
      else aim.textContent = !region ? "Paints a new region." : region.locked ? `Region ${number} is locked.` : store.mask(region) ? `Paints on region ${number}.` : `On box ${number} it changes its shape; beside it, it paints a new region.`;
    }
    function say(text) { said.textContent = text; said.hidden = !text; }

    store.onchange = (done) => { paint(); if (done) lint(); };
    store.onchoose = () => paint();
    store.onask = (id) => { paint(); focus(id); };
    const keepers = {};
    weft.keepMask = (owner, id, mask) => { // of this list, or that of Create
      const name = id.slice(0, 90);
      keepers[name] = [owner, id];
      trigger("mask", { region: name, data: mask.data });
    };
    store.keep = (id, mask) => weft.keepMask(store, id, mask);

    function paint() {
      const list = store.list();
      if (store.chosen && !store.get(store.chosen)) store.chosen = null;
      none.hidden = Boolean(list.length);
      undo.disabled = !store.undoable;
      redo.disabled = !store.redoable;
      for (const button of wholes.children) button.disabled = !store.chosen || Boolean(store.get(store.chosen)?.locked);
      returned.hidden = desk.own || !laid;
      fill();
      sketch();
      takeAim();
      store.saw();
    }
    function lint() {
      clearTimeout(wait);
      wait = setTimeout(() => {
        const [width, height] = size();
        trigger("lint", { prompt: String(desk.get(prompt()) ?? ""), regions: desk.get(spec()) ?? [], width, height });
      }, 350);
    }
    // what is being written is not missed yet
    const writing = (f) => f.about === "prompt" && (f.regions.length ? f.regions[0] === store.chosen && rows.contains(document.activeElement) : document.activeElement === words.input);
    function findings(list) {
      told = list;
      const levels = {};
      for (const f of [...list].reverse()) for (const id of f.regions) if (f.level !== "note" && f.about !== "prompt") levels[id] = f.level;
      store.tell(levels);
      tellFindings();
      paint();
    }
    const AT_ONCE = 3;
    function tellFindings() {
      const list = told.filter((f) => !writing(f)), shown = list.filter((f) => f.level !== "note" || list.length < 3), some = every ? shown : shown.slice(0, AT_ONCE);
      found.hidden = !shown.length;
      found.replaceChildren(...some.map((f) => el("li", { "data-level": f.level }, el("span", {}, el("b", {}, f.level === "error" ? "Will not show: " : f.level === "note" ? "Note: " : "Mind: "), `${f.message} ${f.hint}`),
        f.regions.length ? el("button", { type: "button", class: "w-link", onclick: () => { store.choose(f.regions[0]); stage.focus(); } }, "Show") : null)),
      ...(shown.length > AT_ONCE ? [el("li", { class: "w-rest" }, el("button", { type: "button", class: "w-link", "aria-expanded": String(every), onclick: () => { every = !every; tellFindings(); } }, every ? "Show fewer" : `Show all ${shown.length}`))] : []));
      const count = (level) => shown.filter((f) => f.level === level).length, [errors, warnings] = [count("error"), count("warning")];
      brief.dataset.level = errors ? "error" : "warning";
      brief.textContent = [errors && `${errors} will not show`, warnings && `${warnings} to mind`].filter(Boolean).join(" · ");
      brief.hidden = inView || !brief.textContent;
    }
    let inView = false; // the list itself, so that its sum need not stand beside it
    new IntersectionObserver((entries) => { inView = entries.at(-1).isIntersecting; brief.hidden = inView || !brief.textContent; }, { rootMargin: "0px 0px -150px 0px" }).observe(found);
    for (const part of [rows, words.input]) part.addEventListener("focusout", () => setTimeout(tellFindings));
    function layOut() {
      const text = String(desk.get(prompt()) ?? "").trim();
      if (!text) { say("Write first what the picture shows."); return words.input.focus(); }
      const [width, height] = size();
      trigger("plan", { prompt: text, width, height });
    }
    function planned({ regions, background, passed, notes = [] }) {
      if (!regions.length) return say("The sentence names no thing that could get a box.");
      store.chosen = null;
      const ground = background && !/^(in|at|by|on|under)/.test(background) ? `with ${background}` : background;
      store.put(regions.map((r) => ({ ...r, prompt: ground ? `${r.prompt} ${ground}`.trim() : r.prompt })));
      say([...notes, ...(passed.length ? [`No box for: ${passed.join(", ")}. It stays in the prompt of the whole picture.`] : [])].join(" "));
    }

    /** The layout that the page left for another document lies here again, as it was. */
    function layBack() {
      if (desk.own) { laid = 0; return true; }
      const start = props.desk.document.nodes.find((n) => n.kind === "layout")?.widgets.regions;
      const drawn = ({ document: kept, panel }) => { const at = field(panel), list = at && kept.nodes.find((n) => n.id === at.node)?.widgets?.[at.widget]; return Array.isArray(list) && list.length && JSON.stringify(list) !== JSON.stringify(start); };
      const kept = weft.left.newest((e) => e.at > passed && drawn(e));
      if (kept && kept.at !== laid) desk.lay(kept.document, kept.panel, kept.template);
      else if (!kept && laid) desk.lay(props.desk.document);
      laid = kept ? kept.at : 0;
      return Boolean(kept);
    }
    function beginAnew() {
      store.mark();
      passed = laid;
      layBack();
      desk.carry();
      adapt();
      lastPicture = null;
      remember.set("regions-picture", "");
      store.choose(null);
      store.saw();
      show(false);
    }
    function show(fresh) {
      if (!layBack()) { desk.carry(); if (fresh) adapt(); }
      store.swapped();
      words.show(desk.get(prompt()));
      rest.value = desk.get({ node: spec().node, widget: "background" }) ?? "";
      setUp();
      weft.needMasks(desk.get(spec()), paint);
      fit();
      paint();
      under();
      lint();
    }
    // A prompt of one's own comes along from Create; the ready boxes belong to another sentence then.
    function adapt() {
      const start = props.desk.document.nodes.find((n) => n.id === spec().node).widgets;
      const node = desk.node(spec().node), asked = doc.field("prompt");
      if (!asked || !String(doc.widget(asked)).trim()) node.widgets.prompt = ""; // the ready words belong to the ready boxes
      if (node.widgets.prompt !== start.prompt) node.widgets[spec().widget] = [];
    }
    function setUp() {
      const specs = desk.panel.filter((f) => SETTINGS.includes(f.widget) || f.role === "avoid" || f.role === "seed"), key = JSON.stringify(specs.map((f) => [f.node, f.widget]));
      if (settingsOf !== key) {
        settingsOf = key;
        settings = specs.map((f) => ({ spec: f, ...(weft.makers[f.kind] || weft.makers.shown)(f) }));
        const body = el("div", { class: "w-more-body" }, el("label", { class: "w-field w-wide" }, el("span", { class: "w-label" }, "Behind the regions"), rest), ...settings.map((s) => s.box));
        for (const kind of ["pointerdown", "focusin"]) body.addEventListener(kind, () => desk.take(), true);
        more.replaceChildren(more.firstElementChild, body);
      }
      for (const s of settings) s.show(desk.get(s.spec));
      weft.presets.show(more, { panel: desk.panel, widget: (f) => desk.get(f), template: desk.template, current: desk.document });
    }
    on("widget", ({ field: changed }) => {
      if (!root.offsetParent) return;
      if (changed.role === "width" || changed.role === "height") { fit(); paint(); under(); }
    });

    // what lies under the boxes
    const fits = (p) => Math.abs(p.width / p.height - ratio()) < 0.02;
    function under() {
      lastPicture ||= weft.pictures.list.find((q) => q.id === remember.get("regions-picture")) || null;
      const p = lastPicture && !lastPicture.missing && fits(lastPicture) ? lastPicture : weft.pictures.list.find((q) => weft.plainly(q) && fits(q));
      if (!run.live || looks.painting) picture(p?.url || null);
      shown = p || null;
      looks.changed();
      caption.replaceChildren(...(p ? [el("div", { class: "w-caption-text" }, el("p", { translate: "no" }, weft.named(p)), el("p", { class: "w-facts" }, weft.facts_of(p))),
        el("div", { class: "w-actions" }, looks.button, weft.editThis ? el("button", { type: "button", class: "w-btn", onclick: () => weft.editThis(p) }, "Edit this") : null, ...weft.saveLinks(p))] : [el("p", { class: "w-help" }, "Your picture will lie under the boxes.")]));
    }
    on("run", (snapshot) => {
      if (!run.live || !desk.own || looks.painting) return void (root.offsetParent && under());
      const image = Object.values(snapshot.nodes).map((n) => n.image).filter(Boolean).pop();
      if (image) picture(image, true);
    });
    on("pictures", () => { if (root.offsetParent) under(); });
    on("made", () => {
      const own = weft.pictures.made.find((p) => desk.own && weft.plainly(p) && fits(p));
      if (own) { lastPicture = own; remember.set("regions-picture", own.id); }
      if (root.offsetParent) under();
    });

    function act(tries = 40) {
      if (store.bare) { store.choose(store.bare.id); return say("The mask of this region is empty. Paint where it is, or remove the region."); }
      if (store.waiting && tries) return void setTimeout(() => act(tries - 1), 100); // a mask is on its way
      const mute = store.list().flatMap((r, i) => (`${r.prompt ?? ""}${r.negative ?? ""}`.trim() || r.strength === 0 ? [] : [i + 1]));
      say(!store.list().length ? "No region is drawn, so the prompt of the whole picture paints it all."
        : mute.length > 1 ? `Regions ${mute.join(", ")} say nothing: the prompt of the whole picture paints there.` : mute.length ? `Region ${mute[0]} says nothing: the prompt of the whole picture paints there.` : "");
      desk.take();
      weft.generate();
    }
    weft.regionFrom = (part, prompts) => { // another tab sends a mask
      if (!layBack() || (!desk.own && prompts && desk.get(prompt()) !== prompts)) { // of another picture than the layout that was left
        if (laid) { store.mark(); passed = laid; layBack(); }
        lastPicture = weft.pictures.list.find((q) => weft.plainly(q) && fits(q) && q.prompt.trim() === (prompts || "").trim()) || null;
        remember.set("regions-picture", lastPicture?.id || "");
        desk.carry();
        adapt();
        if (prompts && desk.get(prompt()) !== prompts) { desk.write(prompt(), prompts); desk.write(spec(), []); }
      }
      weft.openTab("Regions");
      const id = store.add({ ...part, prompt: weft.phraseOf(prompts || "", part.prompt || "") }, { focus: false });
      store.choose(id);
      show(false);
    };

    watch("value", () => {
      const message = parse(props.value);
      if (message.says) say(message.says);
      looks.heard(message);
      if (message.findings) findings(message.findings);
      if (message.planned) planned(message.planned);
      if (message.mask) {
        const [owner, id] = keepers[message.mask.region] || [];
        if (message.mask.fault) say(message.mask.fault);
        else owner?.stored(id, message.mask.value);
      }
    });
    weft.onDesk(root, { show, run: act });
  };
})();

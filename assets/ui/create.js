// Create: a form over the exposed widgets of the graph document. It keeps no settings of its own.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, doc, run, remember, parse, makers, field, fresh } = weft;
  const MAX_DRAWN = 2 ** 32 - 1; // drawn seeds stay short enough to read aloud; typed ones may go to 2^53 - 1

  const draw = () => crypto.getRandomValues(new Uint32Array(1))[0] % MAX_DRAWN;
  const sizeOf = () => [doc.field("width"), doc.field("height")].map((f) => (f ? doc.widget(f) : 0));

  function promptField(spec) {
    const input = el("textarea", { class: "w-text", rows: 4, spellcheck: "true", placeholder: "A red star on the left and a blue house on the right, at night" });
    const unknown = el("div", { class: "w-unknown", hidden: true, role: "status" });
    const knows = el("button", { type: "button", class: "w-link", id: "weft-knows", onclick: () => weft.knows() }, "What this model knows");
    const box = field({ ...spec, help: "" }, input, { extra: knows });
    input.setAttribute("aria-describedby", (unknown.id = "weft-unknown"));
    box.classList.add("w-prompt");
    box.append(unknown);
    let wait = 0;
    const check = () => {
      const found = weft.vocabulary.size ? weft.unknownWords(doc.unweighted(spec, input.value), weft.vocabulary) : [];
      const length = [...input.value].length, longest = Math.min(spec.max ?? Infinity, weft.facts.maxPrompt);
      unknown.hidden = !found.length && length <= longest;
      unknown.classList.toggle("w-long", length > longest); // a refused run says it at the field
      if (length > longest) return void unknown.replaceChildren(`This prompt has ${length.toLocaleString("en")} characters; at most ${longest.toLocaleString("en")} fit. Nothing was cut off.`);
      unknown.replaceChildren(...(found.length ? ["This model does not know "] : []), ...found.flatMap(({ word, near }, i) => [
        i ? (i === found.length - 1 && !found.more ? " or " : ", ") : null, el("strong", {}, word), near.length ? " (perhaps " : null,
        ...near.flatMap((n, j) => [j ? ", " : null, el("button", { type: "button", "aria-label": `Replace ${word} by ${n}`, onclick: () => swap(word, n) }, n)]),
        near.length ? "?)" : null]).filter((part) => part !== null), found.more ? ` and ${found.more} more` : "", ". It paints from the other words.",
        ...(found.some(({ near }) => !near.length) ? [" It knows ", el("span", { translate: "no" }, examples().join(", ")), " ", el("button", { type: "button", onclick: () => weft.knows() }, "and more"), "."] : []));
    };
    const examples = () => (Object.values(weft.modelOf(doc)?.vocabulary || {})[0] || []).slice(0, 8);
    const put = (text) => { input.value = text; doc.set(spec, text); check(); };
    const swap = (word, by) => put(input.value.replace(new RegExp(`(?<![\\p{L}\\p{N}])${word}(?![\\p{L}\\p{N}])`, "giu"), by));
    input.addEventListener("input", () => { doc.set(spec, input.value); clearTimeout(wait); wait = setTimeout(check, 350); });
    return { input, box, put, show: (value) => { input.value = value ?? ""; check(); } };
  }

  function shapeField() {
    const name = fresh("w-shape");
    const inputs = weft.facts.sizes.map(({ label, width, height }) => {
      const longest = Math.max(width, height), input = el("input", { type: "radio", name, "aria-label": `${label}, ${width} by ${height} pixels` });
      input.addEventListener("change", () => { doc.set(doc.field("width"), width); doc.set(doc.field("height"), height); });
      const frame = el("i", { class: "w-frame", style: `width:${(15 * width) / longest}px;height:${(15 * height) / longest}px` });
      return { width, height, input, chip: el("label", { class: "w-chip", title: `${width} × ${height}` }, input, frame, label) };
    });
    const size = el("span", { class: "w-help w-number" }), hint = el("p", { class: "w-help", hidden: true });
    const box = el("fieldset", { class: "w-field" }, el("legend", { class: "w-label", style: "margin-bottom:6px;width:100%" }, "Shape", size),
      el("div", { class: "w-chips" }, ...inputs.map((i) => i.chip)), hint);
    const show = () => {
      const [width, height] = sizeOf(), trained = weft.modelOf(doc)?.sizes || [];
      hint.hidden = !trained.length || trained.some(([w, h]) => w === width && h === height);
      hint.textContent = `This model was trained at ${trained.map((s) => s.join(" × ")).join(", ")}; other shapes work less well.`;
      size.textContent = `${width} × ${height}`;
      for (const i of inputs) i.input.checked = i.width === width && i.height === height;
    };
    return { box, show };
  }

  function seedField(spec) {
    const input = el("input", { class: "w-text w-number", type: "text", inputmode: "numeric", autocomplete: "off" });
    const dice = el("button", { type: "button", class: "w-square", "aria-label": "Draw a new seed", title: "Draw a new seed", onclick: () => put(draw()) }, icon("dice"));
    const lock = el("button", { type: "button", class: "w-square", id: "weft-seed-lock" });
    const paint = () => {
      const locked = remember.get("seed-lock") === "on";
      lock.replaceChildren(icon(locked ? "lock" : "unlock"));
      lock.setAttribute("aria-pressed", String(locked));
      lock.setAttribute("aria-label", "Keep this seed");
      lock.title = locked ? "The seed stays. Press for a new one each time." : "Each picture draws a new seed. Press to keep this one.";
    };
    const put = (value) => { input.value = value; doc.set(spec, value); };
    lock.addEventListener("click", () => { remember.set("seed-lock", remember.get("seed-lock") === "on" ? "off" : "on"); paint(); });
    input.addEventListener("change", () => {
      const value = Number(input.value.trim());
      if (/^\d+$/.test(input.value.trim()) && Number.isSafeInteger(value)) { put(value); remember.set("seed-lock", "on"); paint(); }
      else input.value = doc.widget(spec);
    });
    paint();
    el("div", { class: "w-row" }, input, dice, lock);
    const box = field({ ...spec, help: "" }, input);
    return { box, put, show: (value) => { input.value = value; } };
  }

  weft.create = (root, { props, trigger, watch }) => {
    const form = el("section", { class: "w-form", "aria-label": "Picture settings" });
    const stage = el("section", { class: "w-stage", "aria-label": "Picture" });
    let renewed = null; // what was left aside for the untouched template
    /** Opens a template as it was left, or `anew`; "" is the graph of one's own. */
    weft.useTemplate = (name, anew = false) => {
      renewed = anew ? { document: doc.current, panel: doc.panel, template: doc.template } : null;
      const kept = anew ? null : name && name === doc.template ? doc.current : weft.left.get(name)?.document;
      if (!name && (!kept || !doc.template)) return;
      weft.origin = null;
      doc.flush();
      if (name) trigger("choose", { name, text: kept ? JSON.stringify(kept) : "" });
      else trigger("open", { text: JSON.stringify(kept), name: "" });
    };
    const cards = weft.templates(weft.useTemplate);
    root.append(el("div", { class: "weft w-create" }, cards.box, form, stage));
    let prompt = null, seed = null, shown = [], told = [], failed = null, wait = 0, turn = 0, opening = false; // `opening`: Python is asked for the page's document

    const go = el("button", { type: "button", class: "w-go", id: "weft-go", onclick: () => (run.live ? weft.stop() : weft.generate()) });
    const notice = el("div", { class: "w-notice", hidden: true, role: "status" });
    const list = el("ul", { class: "w-faults", id: "weft-faults", hidden: true, "aria-live": "polite" });
    const start = el("div", { class: "w-run" }, go, list);
    const pick = el("input", { type: "file", accept: ".png,.json,image/png,application/json", class: "w-sr", tabindex: -1, "aria-hidden": "true" });
    pick.addEventListener("change", () => { if (pick.files[0]) openFile(pick.files[0]); pick.value = ""; });
    const open = el("button", { type: "button", class: "w-btn", onclick: () => pick.click() }, icon("open"), "Open a picture or workflow");

    function build() {
      const byRole = Object.fromEntries(doc.panel.map((f) => [f.role, f]));
      const rest = doc.panel.filter((f) => !["prompt", "avoid", "seed"].includes(f.role));
      prompt = byRole.prompt ? promptField({ ...byRole.prompt, label: byRole.prompt.label || "Prompt" }) : null;
      const avoid = byRole.avoid ? makers.text({ ...byRole.avoid, lines: 2, help: "" }) : null;
      if (avoid) { avoid.input.placeholder = "What should not be in the picture"; }
      const shape = byRole.width && byRole.height ? shapeField() : null;
      seed = byRole.seed ? seedField(byRole.seed) : null;
      const made = rest.map((f) => ({ spec: f, ...(makers[f.kind] || makers.shown)(f) }));
      const own = made.filter((m) => !m.spec.more), common = made.filter((m) => m.spec.more);
      shown = [[byRole.prompt, prompt], [byRole.avoid, avoid], [byRole.seed, seed], ...made.map((m) => [m.spec, m])].filter(([spec, m]) => spec && m);
      const more = el("details", { class: "w-more", id: "weft-more", open: remember.get("more") === "open", ontoggle: () => remember.set("more", more.open ? "open" : "folded") },
        el("summary", {}, icon("chevron"), "More settings"), el("div", { class: "w-more-body" }, ...common.map((m) => m.box), el("div", { class: "w-wide" }, open, pick)));
      const special = own.length ? el("div", { class: "w-own" }, ...own.map((m) => m.box)) : null;
      const bare = doc.panel.length ? null : el("p", { class: "w-help", id: "weft-bare" }, "This graph shows no settings here. In Graph, choose a node and press the eye beside a setting.");
      form.replaceChildren(...[notice, bare, prompt?.box, special, start, avoid?.box, shape?.box, seed?.box, more].filter(Boolean));
      weft.emit("shape", shape);
      show();
      weft.presets.show(form);
      examine();
    }
    function show() {
      for (const [spec, part] of shown) part.show(doc.widget(spec));
      weft.last.shape?.show();
    }
    on("widget", ({ field: changed }) => {
      if (failed && (!failed.socket || failed.socket === changed.widget)) failed = null; // it may be mended now
      if (changed.role !== "seed") examine();
      if (changed.role !== "width" && changed.role !== "height") return;
      weft.last.shape?.show();
      for (const [, part] of shown) part.resize?.();
      for (const [spec, part] of shown) if (spec === changed || spec.role === changed.role) part.show(doc.widget(spec));
    });
    function paintGo() {
      go.classList.toggle("w-stop", run.live);
      go.replaceChildren(icon(run.live ? "stop" : "go"), run.live ? "Stop" : "Generate", el("kbd", { "aria-hidden": "true" }, run.live ? "Esc" : "Ctrl ↵"));
    }
    function say(text, undo = null, word = "Undo") {
      weft.emit("says", text);
      notice.hidden = !text;
      notice.replaceChildren(el("span", {}, text || ""), undo ? el("button", { type: "button", class: "w-link", onclick: () => { undo(); say(""); } }, word) : "");
    }
    // What is wrong, before the run (Python's check) and after it: at its field where that shows, else under the button.
    function examine() {
      clearTimeout(wait);
      wait = setTimeout(() => { doc.flush(); trigger("examine", {}); }, 500);
    }
    const labelled = (p) => doc.panel.find((f) => f.node === p.node && f.widget === p.socket)?.label;
    function faults() {
      const known = new Set(told.map((p) => p.message));
      const all = [...told, ...(failed && !known.has(failed.message) ? [failed] : [])], elsewhere = new Set(all);
      for (const box of form.querySelectorAll(".w-field[data-node]")) {
        const here = all.filter((p) => p.node === box.dataset.node && p.socket === box.dataset.widget && p.level !== "warning");
        const folded = box.closest("details"), line = box.querySelector(".w-fault");
        if (here.includes(failed) && folded) folded.open = true;
        const seen = here.length && !(folded && !folded.open);
        const above = !failed && box.querySelector(".w-long:not([hidden])"); // the prompt's own line says it already
        box.classList.toggle("w-wrong", Boolean(here.length && !above));
        line.hidden = !here.length || Boolean(above);
        line.textContent = here.map((p) => weft.errorText(p)).join(" ");
        if (seen) here.forEach((p) => elsewhere.delete(p));
      }
      list.hidden = !elsewhere.size;
      list.replaceChildren(...[...elsewhere].map((p) => el("li", { "data-level": p.level || "error" }, weft.errorText(p, labelled(p) || p.title))));
    }
    on("problems", (message) => { told = message.problems || []; faults(); });

    /** Another tab's document becomes the page's; `left` keeps what it takes the place of. */
    weft.adopt = (document, panel, template) => {
      const before = doc.current, beforePanel = doc.panel, own = before && !doc.template;
      weft.origin = null;
      told = [];
      failed = null;
      doc.load(document, panel, template);
      weft.vocabulary = weft.vocabularyOf(doc);
      build();
      say(own ? "Another tab has taken this place." : "", own ? () => { doc.load(before, beforePanel, ""); build(); doc.flush(); } : null);
      doc.flush();
    };
    new IntersectionObserver((entries) => { if (entries.some((e) => e.isIntersecting) && shown.length) show(); }).observe(form);
    // `seeds`: the Graph tab draws none; `parents`: the pictures that this one comes from, as [id, role];
    // `document`: made in place of the page's own, which stays as it is
    // `series`: documents that are queued all at once and made one after the other
    weft.generate = ({ targets = null, seeds = true, parents = weft.origin ? [weft.origin] : [], document = null, series = null } = {}) => {
      if (run.live || !doc.current) return;
      if (series) {
        run.begin({ document: series[0], source: doc.source });
        return trigger("run", { page: run.page, targets, parents, series: series.map((one) => JSON.stringify({ document: one })) });
      }
      if (document) {
        run.begin({ document, source: {} });
        return trigger("run", { page: run.page, targets, parents, document: JSON.stringify({ document }) });
      }
      if (seeds && seed && remember.get("seed-lock") !== "on") seed.put(draw());
      failed = null;
      faults();
      const asked = doc.field("prompt");
      say(asked && !String(doc.widget(asked)).trim() ? "The prompt is empty, so the model paints what it likes. Describe something to steer it." : "");
      doc.flush();
      run.begin();
      run.plain = true;
      trigger("run", { page: run.page, targets, parents });
    };
    /** Stops the run at work; `all`: those that wait behind it, too. */
    weft.stop = (all = false) => {
      if (!run.live) return;
      trigger("stop", { run: run.snapshot.run, all: all === true });
      run.settle();
    };
    weft.askShelf = () => trigger("shelf", {});
    weft.useFound = (node, steps) => { doc.flush(); trigger("found", { node, steps }); };
    weft.cancel = (id) => trigger("stop", { run: id });
    weft.keepThis = () => { // the run ends here, and what it shows is made into a picture
      const id = run.snapshot.run;
      run.begin(run.of);
      trigger("keep", { run: id });
    };
    const masks = weft.maskFetcher((files) => trigger("masks", { files })); // for every tab: this one is always there
    weft.needMasks = masks.need;
    const FAR = { subtle: 0.7, medium: 0.85, strong: 0.95 };
    weft.varyFar = () => (remember.get("vary") in FAR ? remember.get("vary") : "medium");
    /** Four pictures near a picture: it is painted again with other seeds; the page's document stays as it is. */
    weft.vary = (picture) => {
      if (run.live) return;
      trigger("vary", { generation: picture.id, seeds: [draw(), draw(), draw(), draw()], strength: FAR[weft.varyFar()], turn: (turn += 1) }); // two equal answers would be heard once
    };
    weft.parked = (id, choice) => trigger("parked", { run: id, choice });
    weft.reuse = (picture, what) => {
      if (what === "all") { weft.origin = [picture.id, "reuse"]; return trigger("reuse", { generation: picture.id }); }
      const spec = doc.field(what), before = spec && doc.widget(spec);
      if (!spec) return say("This graph shows no such setting.");
      doc.set(spec, picture[what]);
      if (what === "seed") remember.set("seed-lock", "on");
      build();
      say(what === "seed" ? "Seed taken over and locked." : "Prompt taken over.", () => { doc.set(spec, before); show(); });
    };
    weft.setPrompt = (text) => { prompt?.put(text); prompt?.input.focus(); };
    weft.addWord = (word) => { if (prompt) prompt.put((prompt.input.value.trimEnd() + " " + word).trimStart()); };

    async function openFile(file) {
      weft.origin = null;
      try {
        if (file.size > weft.facts.maxUpload) throw new Error(`${file.name} is larger than this studio takes.`);
        const json = file.name.toLowerCase().endsWith(".json");
        const text = json ? await file.text() : await weft.pngText(file, "weft_graph");
        if (!text) throw new Error(`${file.name} carries no Weft workflow. Pictures saved by Weft do; copies from other programs often lose it.`);
        trigger("open", { text, name: file.name });
      } catch (error) { say(error.message); }
    }
    weft.openFile = openFile;
    weft.dropZone(root, "Drop a Weft picture to restore its settings", { seen: () => root.offsetParent !== null || document.querySelector("#weft-graph")?.offsetParent, take: openFile });

    weft.bring = (spec, file) => weft.readFile(file, { fault: (fault) => brought({ ...spec, fault }),
      then: (data) => trigger("bring", { node: spec.node, widget: spec.widget, name: file.name, data }) });
    function brought({ node, widget, value, thumb, fault }) {
      const found = shown.find(([spec]) => spec.node === node && spec.widget === widget);
      if (!found) return void weft.emit("brought", { node, widget, value, thumb, fault });
      if (value) { weft.thumbs[value.file] = thumb; doc.set(found[0], value); }
      found[1].show(doc.widget(found[0]));
      weft.emit("brought", { node, widget, value, thumb, fault });
      if (fault) { failed = { node, socket: widget, message: fault, hint: "" }; faults(); }
    }

    function receive() {
      const message = parse(props.value);
      if (message.brought) return brought(message.brought);
      if (message.masks) return void masks.take(message.masks);
      if (message.vary) return void weft.generate({ ...message.vary, seeds: false, parents: [[message.vary.of, "variation"]] });
      if (message.document) {
        opening = false;
        const before = doc.current, panel = doc.panel, template = doc.template;
        Object.assign(weft.thumbs, message.thumbs);
        told = [];
        failed = null;
        doc.load(message.document, message.panel, message.template);
        weft.vocabulary = weft.vocabularyOf(doc);
        build();
        if (message.restored && message.restored.seed) { remember.set("seed-lock", "on"); build(); }
        const aside = renewed;
        renewed = null;
        if (aside && message.template === aside.template) say("This is the template as it comes.", () => { doc.load(aside.document, aside.panel, aside.template); build(); doc.flush(); });
        else if (message.anew) say(message.says, () => weft.useTemplate(message.template, true), "Begin anew");
        else say(message.says, before && message.undo ? () => { doc.load(before, panel, template); build(); doc.flush(); } : null);
        if (before) doc.flush();
      } else if (message.says) say(message.says);
    }
    weft.vocabulary = new Set();
    doc.publish = (document) => { props.value = JSON.stringify({ document }); };
    watch("value", receive);
    on("document", () => cards.show(doc.template));
    on("edited", () => { weft.vocabulary = weft.vocabularyOf(doc); show(); }); // values changed in Graph
    on("panel", () => { cards.show(doc.template); build(); }); // what is shown here changed in Graph
    weft.stage(stage);
    receive();
    on("run", (snapshot) => { paintGo(); failed = snapshot.error || null; faults(); });
    on("filled", ({ name, labels }) => say(`Set for ${name}: ${labels.join(", ")}.`));
    on("lora", show);
    on("model", () => { weft.vocabulary = weft.vocabularyOf(doc); show(); });
    paintGo();
    // What was pressed while the studio was away is offered by the reloaded page, or sent, as soon as it has its document.
    let unsent = remember.here("send") || "", fresh = false;
    opening = restore();
    const send = () => {
      if (!unsent || opening || !weft.last.pictures) return;
      const at = unsent;
      unsent = "";
      fresh = true;
      if (at === "yes") return void setTimeout(weft.generate, 300);
      run.unsent = true;
      if (!run.live) weft.emit("run", (run.snapshot = { ...run.snapshot, job: { state: "error" }, error: run.back }));
    };
    weft.sendAgain = () => {
      if (fresh) return weft.generate();
      remember.here("send", "yes");
      location.reload();
    };
    on("pictures", send);
    on("document", send);

    // What this browser kept comes back at once when the form fits it; any other graph goes through Python first.
    function restore() {
      const text = remember.get("document"), kept = text && text.length < 1000000 ? parse(text, null) : null;
      if (!kept) return false;
      const shape = (d) => JSON.stringify([d.nodes?.map((n) => [n.id, n.kind, n.mode]), d.edges, d.exposed]);
      if (shape(kept) !== shape(doc.current) || doc.panel.some((f) => f.kind === "picture")) {
        trigger("open", { text, name: "" });
        return true;
      }
      doc.load(kept, doc.panel, doc.template);
      build();
      return false;
    }
  };

  weft.modelOf = (document) => {
    const spec = document.panel.find((f) => f.role === "model");
    return weft.facts.models.find((m) => m.ref === (spec && document.widget(spec))) || weft.facts.models.find((m) => !spec);
  };
  weft.vocabularyOf = (document) => new Set(Object.values(weft.modelOf(document)?.vocabulary || {}).flat());
})();

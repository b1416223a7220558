// How a model wants to be sampled: choosing one fills the settings that nobody changed, and what does not suit it is
// locked, with the reason. The presets come from Python (studio/models/presets.py).
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, doc, remember, fresh, spoken } = weft;

  const known = (list, ref) => list.find((m) => m.ref === ref)?.preset || null;
  /** The preset of what a document paints with: that of its LoRA, where it has one, else that of its model. */
  function presetOf(document) {
    const lora = document.panel.find((f) => f.kind === "lora"), model = document.panel.find((f) => f.role === "model");
    return (lora && known(weft.facts.loras || [], document.widget(lora))) || (model && known(weft.facts.models, document.widget(model)));
  }

  const place = (f) => `${f.node}.${f.widget}`;
  const touched = new Set((remember.get("touched") || "").split("\n").filter(Boolean));
  const before = new Map(); // what stood in a setting that is locked now
  const forms = new Map(); // box of fields -> the document that they show, which is the page's or a tab's
  const firm = new Map(); // by workflow and field: what is not as the model asks for it, for the workflow's sake; `of` which model
  const chosen = (f) => `${doc.template} ${place(f)}`;
  let filling = false, last = null, shown = null;

  function put(field, value) {
    filling = true;
    doc.set(field, value);
    filling = false;
  }
  const turns = () => Boolean(doc.current?.nodes?.some((n) => n.kind === "relay")); // models take turns: settings are for both
  /** What a person sets past the most that does any good is set back to that; the reason stands beside it. */
  function hold(field, value) {
    const preset = presetOf(doc);
    if (turns() || field.widget !== "steps" || !meant(doc, field) || !preset?.locks?.steps || !(value > preset.most)) return;
    put(field, preset.most);
    for (const [form] of forms) {
      const line = form.querySelector(`.w-field[data-node="${CSS.escape(field.node)}"][data-widget=steps] .w-lock`);
      line?.animate?.([{ background: "var(--w-warn-tint)" }, { background: "transparent" }], { duration: 1800 });
    }
  }
  on("widget", ({ field, value }) => {
    if (filling || !field?.widget) return;
    hold(field, value);
    touched.add(place(field));
    firm.delete(chosen(field));
    remember.set("touched", [...touched].join("\n"));
    if (field.role === "width" || field.role === "height") resize();
    if (field.role === "avoid" || field.widget === "sampler" || field.widget === "spacing") paint();
  });

  /** A preset's settings for a picture of so many pixels: where the size decides the shift, by its lines over the image
   * tokens of 16 pixels a side (studio/models/size_shift.py). */
  function sized(preset, width, height) {
    const settings = { ...(preset?.settings || {}) }, tokens = Math.floor(width / 16) * Math.floor(height / 16);
    const line = tokens > 0 && preset?.lines?.find((l) => tokens <= l.tokens);
    if (line) settings.shift = Math.round(1000 * Math.min(30, Math.max(0.1, Math.exp(line.start + line.slope * tokens)))) / 1000;
    return settings;
  }
  const sides = () => ["width", "height"].map((role) => { const f = doc.field(role); return f ? doc.widget(f) : 0; });
  /** Another size of the picture: the shift that goes with it, unless a person set one. */
  function resize() {
    const preset = presetOf(doc), shift = preset?.lines?.length ? sized(preset, ...sides()).shift : undefined;
    if (shift === undefined || turns()) return;
    for (const field of doc.panel) if (field.widget === "shift" && !touched.has(place(field)) && doc.widget(field) !== shift) put(field, shift);
  }

  /** Where a document has what a model asks for, with a form or without (studio/ui/fitted.py). */
  function places(document, panel) {
    const sets = weft.facts.sets || {}, fed = new Set(document.edges.map(({ to }) => to.join(" "))), found = [];
    for (const node of document.nodes) {
      for (const widget of sets[node.kind] || []) {
        if (widget !== "guidance" && widget in (node.widgets || {}) && !fed.has(`${node.id} ${widget}`)) found.push(panel.find((f) => f.node === node.id && f.widget === widget) || { node: node.id, widget });
      }
    }
    const kinds = new Map(document.nodes.map((n) => [n.id, n.kind]));
    return [...found, ...panel.filter((f) => { const own = sets[kinds.get(f.node)]; return !own || (f.widget === "guidance" && own.includes("guidance")); })];
  }
  /** What becomes of a workflow's own value with another model: guidance of two passes ends where a model has it in its
   * network, and steps where more do no good. */
  function stays(widget, value, settings, preset) {
    if (widget === "cfg_scale" && settings.cfg_scale === 1) return 1;
    return widget === "steps" && preset && value > preset.most ? settings.steps : value;
  }

  /** Another model: its settings take the place of those that nobody set by hand. */
  function fill() {
    if (turns()) return;
    const preset = presetOf(doc), told = new Set(), settings = sized(preset, ...sides()), old = last && sized(last, ...sides());
    for (const field of places(doc.current, doc.panel)) {
      // a number for the network goes with a network that takes one
      const numbered = field.widget === "guidance" && field.default < 0, needless = numbered && preset?.guidance === null;
      const own = place(field), now = doc.widget(field), locked = needless || Boolean(preset?.locks?.[field.widget]);
      if (!locked && before.has(own)) { put(field, before.get(own)); before.delete(own); continue; }
      const id = chosen(field), sampler = field.widget === "sampler";
      if (firm.get(id)?.at !== now) firm.delete(id); // written anew since
      // another than its model asks for: the workflow wants it, or a person wants that sampler, whatever model comes
      const wanted = !numbered && old?.[field.widget] !== undefined && now !== old[field.widget] && (sampler || !touched.has(own));
      if (wanted && !firm.has(id)) firm.set(id, { of: last.name, value: now, at: now });
      const wish = firm.get(id);
      if (wish && (preset || sampler)) {
        wish.at = preset?.name === wish.of ? wish.value : stays(field.widget, wish.value, settings, preset);
        if (wish.at === now) continue;
        put(field, wish.at);
        if (field.label) told.add(field.label);
        continue;
      }
      const value = needless || (sampler && !preset) ? field.default ?? "euler" : settings[field.widget];
      if (value === undefined || value === now) continue;
      const free = !touched.has(own) || now === old?.[field.widget];
      const fits = field.widget !== "steps" || now <= preset.most;
      if (!free && !(locked && (field.widget !== "steps" || !fits))) continue;
      if (locked && !free) before.set(own, now);
      put(field, value);
      if (!needless && field.label) told.add(field.label);
    }
    last = preset;
    if (told.size && preset) weft.emit("filled", { name: preset.name, labels: [...told] });
  }

  /** Under every field that the model rules out: why. */
  function paint() {
    for (const [form, view] of forms) {
      if (form.isConnected) lock(form, view);
      else forms.delete(form);
    }
  }
  function lock(form, view) {
    const preset = presetOf(view);
    for (const box of form.querySelectorAll(".w-field[data-node]")) {
      const field = view.panel.find((f) => f.node === box.dataset.node && f.widget === box.dataset.widget);
      if (!field) continue;
      if (field.widget === "guidance" && field.default < 0) box.hidden = preset ? preset.guidance === null : view.widget(field) < 0;
      if (unread(view, field)) { box.hidden = true; continue; } // it would do nothing
      if (needless(view, field)) box.hidden = false;
      const plain = field.role === "avoid" && field.sort === "prompt" && view.template !== "avoid-without-cfg" && !needless(view, field);
      const reason = (meant(view, field) && preset?.locks?.[field.role === "avoid" ? (plain ? "avoid" : "") : field.widget]) || "";
      const bad = preset?.unsuited?.[field.widget] || {}, warned = !reason && bad[view.widget(field)];
      const shut = Boolean(reason) && (field.role === "avoid" ? !String(view.widget(field)).trim() : field.widget !== "steps");
      for (const input of box.querySelectorAll("input, select, textarea")) {
        input.disabled = shut;
        if (field.widget === "steps") input.max = reason ? Math.min(preset.most, field.max ?? Infinity) : field.max;
      }
      box.classList.toggle("w-locked", shut);
      for (const [i, option] of [...(field.choices ? box.querySelectorAll("select option, input[type=radio]") : [])].entries()) {
        const why = bad[field.choices[i]];
        option.disabled = shut || (Boolean(why) && field.choices[i] !== view.widget(field));
        (option.closest("label") || option).title = why || "";
      }
      advise(box, field, preset, shut, Boolean(reason));
      const ruled = (reason ? [] : preset?.reasons?.[field.widget] || []).map(([why, all]) => [why, all.filter((c) => field.choices?.includes(c))]).filter(([, all]) => all.length);
      let line = box.querySelector(".w-lock");
      if (!line && (reason || warned || ruled.length)) box.append((line = el("div", { class: "w-lock", id: fresh("w-lock") })));
      if (line) describe(box, line.id, Boolean(reason || warned || ruled.length));
      if (!reason && !warned && !ruled.length) { line?.remove(); continue; }
      line.replaceChildren(...(reason || warned ? [icon(warned ? "error" : "lock"), el("p", {}, reason || warned)] : []),
        ...(ruled.length ? [icon("lock"), ...ruled.map(([why, all]) => el("p", {}, el("span", {}, why), " ", el("span", { translate: "no" }, all.join(", ").replaceAll("_", " "))))] : []),
        field.role === "avoid" ? el("button", { type: "button", class: "w-link", onclick: nag }, "Avoid without a second pass") : "");
    }
  }
  /** A field's help, as far as the model can follow it: nothing where the field is shut, its preset's words where the node's would recommend what it rules out. */
  function advise(box, field, preset, shut, locked) {
    const hint = box.querySelector(":scope > .w-help[id]"), own = field.choices ? field.choices.includes(preset?.settings?.[field.widget]) : locked;
    const said = shut ? "" : spoken((own && preset?.advice?.[field.widget]) || field.help || "");
    if (!hint || (hint.dataset.said ?? spoken(field.help)) === said) return;
    hint.dataset.said = hint.textContent = said;
    hint.hidden = !said;
  }
  /** Screen readers say what stands in the line `id` with every control of a field. */
  function describe(box, id, on) {
    for (const control of box.querySelectorAll("input, select, textarea, [role=radiogroup]")) {
      const ids = (control.getAttribute("aria-describedby") || "").split(" ").filter((one) => one && one !== id);
      if (on) ids.push(id);
      if (ids.length) control.setAttribute("aria-describedby", ids.join(" ")); else control.removeAttribute("aria-describedby");
    }
  }
  // a field of a node that needs no second pass, such as Avoid (NAG), is not the negative prompt of guidance
  const inNode = (view, field) => view.current?.nodes?.find((n) => n.id === field.node);
  /** Whether a setting is one that a model asks for, and no other of the same name. */
  const meant = (view, field) => weft.facts.sets?.[inNode(view, field)?.kind]?.includes(field.widget) ?? true;
  const needless = (view, field) => ["nag", "nasa"].includes(inNode(view, field)?.kind);
  /** Whether it says how that node avoids, and there is nothing to avoid. */
  function unread(view, field) {
    const words = needless(view, field) && view.panel.find((f) => f.node === field.node && f.widget === "avoid");
    return Boolean(words) && words.widget !== field.widget && !String(view.widget(words) ?? "").trim();
  }
  const nag = () => { weft.openTab("Create"); document.querySelector('[data-template="avoid-without-cfg"]')?.click(); };

  weft.presets = {
    of: presetOf,
    /** A form was built anew. `view`: {panel, widget(field), template, current} of the document that it shows. */
    show(box, view = doc) { forms.set(box, view); if (!last || shown !== doc.template) { shown = doc.template; last = presetOf(doc); } paint(); },
    /** The settings that a model asks for, by widget; none where nothing is known of it. */
    settings: (ref, width = 0, height = 0) => sized(known(weft.facts.models, ref), width, height),
    /** The same for a tab's own workflow, made for the model `before`, in its place. */
    suit(document, panel, before, model, width, height) {
      if (document.nodes.some((n) => n.kind === "relay")) return;
      const [own, settings] = [before, model].map((ref) => weft.presets.settings(ref, width, height)), preset = known(weft.facts.models, model);
      for (const f of places(document, panel)) {
        const widgets = document.nodes.find((n) => n.id === f.node)?.widgets, now = widgets?.[f.widget];
        if (!(f.widget in settings) || now === undefined) continue;
        widgets[f.widget] = own[f.widget] !== undefined && own[f.widget] !== now ? stays(f.widget, now, settings, preset) : settings[f.widget];
      }
    },
  };
  on("model", () => { fill(); paint(); });
  on("lora", () => { fill(); paint(); });
})();

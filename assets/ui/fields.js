// Fields of the Create form: one maker per kind of widget. Each gives {input, box, show}.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, doc } = weft;

  let ids = 0;
  const fresh = (prefix) => prefix + ++ids;

  const spoken = (text) => text.replace(/\b[a-z]\w*_\w+\b(?!\.\w)/g, (name) => name.replaceAll("_", " ")); // as choices are written

  function field(spec, input, { wide = false, extra = null, help = spec.help } = {}) {
    const id = fresh("w-f");
    input.id ||= id;
    const said = help && spoken(help);
    const hint = said ? el("p", { class: "w-help", id: id + "h" }, said) : null;
    if (hint) input.setAttribute("aria-describedby", id + "h");
    const fault = el("p", { class: "w-fault", hidden: true });
    // a long help text would run down a narrow column
    const box = el("div", { class: "w-field" + (wide || (help || "").length > 60 ? " w-wide" : ""), "data-node": spec.node, "data-widget": spec.widget },
      el("div", { class: "w-label" }, input.matches("div") ? el("span", {}, spec.label) : el("label", { for: input.id }, spec.label), extra), input.closest(".w-slider, .w-row") || input, hint, fault);
    return box;
  }

  /** A field for a number. Where the lowest one has a word (`spec.lowest`), the word stands for it, and comes back where
   * nothing is left. */
  function exactly(spec, { inputmode, ...limits }, take) {
    const word = spec.lowest, input = el("input", { class: "w-text w-number", type: word ? "text" : "number", inputmode, ...(word ? { autocomplete: "off" } : limits) });
    input.show = (value) => { input.value = word && value === spec.min ? weft.said(word) : value; };
    input.addEventListener("change", () => {
      const given = input.value.trim(), number = word && ["", word, weft.said(word)].includes(given) ? spec.min : given === "" ? NaN : Number(given);
      if (Number.isFinite(number)) take(number);
      input.show(doc.widget(spec));
    });
    if (word) input.addEventListener("focus", () => input.select());
    return input;
  }

  // one maker per widget kind; an unknown kind stays readable and keeps its value
  const makers = {
    number(spec) {
      const input = exactly(spec, { min: spec.min, max: spec.max, step: spec.step ?? "any", inputmode: spec.whole ? "numeric" : "decimal" }, (value) => { doc.set(spec, value); });
      return { input, box: field(spec, input), show: input.show };
    },
    slider(spec) {
      const attributes = { min: spec.min, max: spec.max, step: spec.step ?? (spec.whole ? 1 : 0.1) };
      const exact = exactly(spec, { inputmode: "decimal", ...attributes }, (value) => take(value));
      const range = el("input", { type: "range", "aria-label": spec.label, tabindex: -1, ...attributes });
      el("div", { class: "w-slider" }, range, exact);
      const show = (value) => { range.value = value; exact.show(value); };
      const take = (value) => { doc.set(spec, value); show(doc.widget(spec)); }; // it may be held
      range.addEventListener("input", () => take(range.valueAsNumber));
      return { input: exact, box: field(spec, exact, { wide: true }), show };
    },
    choice(spec) {
      if (spec.choices.length <= 4) return makers.few(spec);
      const input = el("select", { class: "w-text", onchange: () => doc.set(spec, spec.choices[input.selectedIndex]) },
        ...spec.choices.map((c) => el("option", {}, String(c).replaceAll("_", " "))));
      return { input, box: field(spec, input), show: (value) => { input.selectedIndex = spec.choices.indexOf(value); } };
    },
    few(spec) {
      const name = fresh("w-few");
      const inputs = spec.choices.map((c) => el("input", { type: "radio", name, onchange: () => doc.set(spec, c) }));
      const row = el("div", { class: "w-row w-chips" }, ...inputs.map((input, i) => el("label", { class: "w-chip" }, input, String(spec.choices[i]).replaceAll("_", " "))));
      const box = field(spec, row, { wide: true });
      row.setAttribute("role", "radiogroup");
      row.setAttribute("aria-label", spec.label);
      return { input: inputs[0], box, show: (value) => inputs.forEach((input, i) => { input.checked = spec.choices[i] === value; }) };
    },
    model(spec) {
      const names = weft.facts.models;
      const input = el("select", { class: "w-text", onchange: () => { doc.set(spec, input.value); weft.emit("model", input.value); } });
      const show = (value) => {
        const known = names.some((m) => m.ref === value) ? names : [...names, { ref: value, title: value }];
        input.replaceChildren(...known.map((m) => el("option", { value: m.ref }, m.title || m.ref)));
        input.value = value;
      };
      return { input, box: field(spec, input, { wide: true }), show };
    },
    lora(spec) { // those that are found here; another one is named in the graph
      const names = weft.facts.loras || [];
      const input = el("select", { class: "w-text", onchange: () => { doc.set(spec, input.value); weft.emit("lora", input.value); } });
      const show = (value) => {
        const known = names.some((l) => l.ref === value) ? names : [...names, { ref: value, title: value }];
        input.replaceChildren(...known.map((l) => el("option", { value: l.ref }, l.title || l.ref)));
        input.value = value;
      };
      return { input, box: field(spec, input, { wide: true }), show };
    },
    bool(spec) {
      const input = el("input", { type: "checkbox", onchange: () => doc.set(spec, input.checked) });
      return { input, box: field(spec, input), show: (value) => { input.checked = value === true; } };
    },
    text(spec) {
      const input = spec.lines > 1 ? el("textarea", { class: "w-text", rows: spec.lines }) : el("input", { class: "w-text", type: "text" });
      input.addEventListener("input", () => doc.set(spec, input.value));
      return { input, box: field(spec, input, { wide: true }), show: (value) => { input.value = value ?? ""; } };
    },
    colour(spec) {
      const input = el("input", { class: "w-colour", type: "color", oninput: () => doc.set(spec, input.value) });
      return { input, box: field(spec, input), show: (value) => { input.value = value; } };
    },
    picture(spec) {
      const pick = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", class: "w-sr", tabindex: -1, "aria-hidden": "true" });
      const thumb = el("img", { class: "w-brought", alt: "", hidden: true });
      const words = el("span", { class: "w-help" });
      const button = el("button", { type: "button", class: "w-btn", onclick: () => pick.click() }, icon("open"), "Choose a picture");
      const row = el("div", { class: "w-row w-picture", role: "group", "aria-label": spec.label }, thumb, el("div", { class: "w-picture-text" }, button, words), pick);
      const box = field(spec, row, { wide: true });
      pick.addEventListener("change", () => { if (pick.files[0]) { words.textContent = "Bringing it in …"; weft.bring(spec, pick.files[0]); } pick.value = ""; });
      const show = (value) => {
        const small = value && weft.thumbs[value.file];
        thumb.hidden = !small;
        if (small) thumb.src = small;
        words.textContent = value?.name || "PNG, JPEG or WEBP";
      };
      return { input: button, box, show };
    },
    shown(spec) {
      const input = el("output", { class: "w-help" });
      return { input, box: field(spec, input), show: (value) => { input.textContent = JSON.stringify(value); } };
    },
  };

  weft.thumbs = {}; // data addresses of uploaded pictures by hash, from Python
  Object.assign(weft, { makers, field, fresh, spoken });
})();

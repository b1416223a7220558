// Compare, what varies: a card for each axis with its input, its values as a person writes them, and what they come to.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, doc } = weft;
  const KINDS = ["slider", "number", "bool", "choice", "text", "model"];
  const FILL = new Set("a an the on in at of to by with and".split(" "));
  const PLACES = ["Across", "Down", "A table for each"];
  const MOST = 3;
  const quoted = (value) => (/[,"]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const wordsOf = (text) => [...new Set((text.toLowerCase().match(/[\p{L}\p{N}'-]+/gu) || []).filter((w) => !FILL.has(w)))];

  /** `changed()` is called for every change; gives {box, axes(), tell(lines), look()}. */
  weft.axisList = (changed) => {
    let axes = [], parts = [];
    const list = el("div", { class: "w-axes" });
    const more = el("button", { type: "button", class: "w-btn w-wide-btn", id: "weft-axis-more", onclick: () => { axes.push(fresh()); build(); changed(); list.lastElementChild.querySelector("select").focus(); } }, "Vary another setting"); // or the first, where none of the suggestions is it
    const starters = el("div", { class: "w-starters", role: "group", "aria-label": "What could vary" });
    const also = el("div", { class: "w-chips w-also", role: "group", "aria-label": "What could vary as well", hidden: true });
    const box = el("div", { class: "w-axis-list" }, starters, list, also, more);

    const inputs = () => doc.panel.filter((f) => KINDS.includes(f.kind) && f.widget !== "name");
    const spec = (axis) => inputs().find((f) => f.node === axis.node && f.widget === axis.widget);
    const isSeed = (f) => f?.role === "seed" || f?.sort === "seed";
    const isText = (f) => f?.sort === "prompt" || f?.sort === "text";
    const free = () => inputs().filter((f) => isText(f) || !axes.some((a) => a.node === f.node && a.widget === f.widget));
    const SORTS = [["prompt", (f) => f.role === "prompt"], ["guidance", (f) => /guidance|cfg_scale/i.test(`${f.label} ${f.widget}`)], ["strength", (f) => /strength|eta\b|how far/i.test(`${f.label} ${f.widget}`)], ["steps", (f) => f.widget === "steps"], ["sampler", (f) => f.widget === "sampler"], ["seed", isSeed]];
    const sort = (f) => SORTS.find(([, fits]) => fits(f))?.[0];
    /** What tells most beside what varies already: settings beside words, words beside anything else; chance comes last. */
    function beside() {
      const there = new Set(axes.map((a) => sort(spec(a)))), order = there.has("prompt") ? ["guidance", "strength", "steps", "sampler", "seed"] : ["prompt", "guidance", "strength", "steps", "sampler", "seed"];
      const found = free().filter((f) => order.includes(sort(f)) && !there.has(sort(f))).sort((x, y) => order.indexOf(sort(x)) - order.indexOf(sort(y)));
      return found.filter((f, i) => found.findIndex((g) => sort(g) === sort(f)) === i); // one of each sort
    }
    const fresh = () => starting(beside()[0] || free()[0]);
    /** An axis over an input with values to begin with. */
    function starting(f) {
      const axis = { node: f.node, widget: f.widget, words: isText(f), find: "", text: "", own: false }; // `own`: a person wrote the values
      if (isText(f)) find(axis, wordsOf(String(doc.widget(f) ?? "")).find((word) => group(word, "colour")) || wordsOf(String(doc.widget(f) ?? ""))[0] || "");
      else axis.text = offers(f)[0]?.[1] || "";
      if (isText(f) && !axis.find) axis.words = false;
      return axis;
    }
    const group = (word, name = null) => Object.entries(weft.modelOf(doc)?.vocabulary || {}).find(([key, words]) => (!name || key === name) && !["words", "other"].includes(key) && words.includes(word))?.[1];
    function find(axis, word) {
      axis.find = word;
      if (axis.own) return;
      const text = String(doc.widget(spec(axis) || {}) ?? ""), there = wordsOf(text), vowel = (w) => /^[aeiou]/i.test(w);
      const article = new RegExp(`(?<![\\p{L}\\p{N}])an?\\s+${word.replace(/[^\p{L}\p{N}\s]/gu, "\\$&")}(?![\\p{L}\\p{N}])`, "iu").test(text); // "a" stays in the text and "an" does not fit it
      const others = (group(word) || []).filter((w) => w !== word && !there.includes(w) && !(article && vowel(w) !== vowel(word))).slice(0, 2);
      axis.text = [word, ...others].map(quoted).join(", ");
    }
    /** Values worth a press: [label, text]. */
    function offers(f) {
      if (isSeed(f)) return [["3 seeds", "*3"]];
      if (f.kind === "slider" || f.kind === "number") {
        const low = f.min ?? -Infinity, high = f.max ?? Infinity, now = Number(doc.widget(f)) || 0, step = f.step || (f.whole ? 1 : 0.01);
        const fit = (v) => { const on = f.whole ? Math.round((v - (f.min || 0)) / step) * step + (f.min || 0) : Math.round(v * 100) / 100; return Math.min(high, Math.max(low, on)); };
        const around = now ? [now / 2, now, now * 2] : [f.min ?? 0, ((f.min ?? 0) + (f.max ?? 1)) / 2, f.max ?? 1];
        const values = [...new Set(around.map(fit))].sort((x, y) => x - y);
        return [[values.join(", "), values.join(", ")]];
      }
      return [];
    }

    /** What people compare first, with the values that a press would begin with. */
    function suggest() {
      const rank = ["seed", "prompt", "guidance", "steps", "sampler"], role = (f) => (isSeed(f) ? "seed" : f.role === "prompt" ? "prompt" : f.label.toLowerCase());
      const told = (f) => {
        const axis = starting(f);
        if (isSeed(f)) return ["Other seeds", "The same words, three times by chance."];
        if (isText(f)) return axis.find ? ["Other words", `${axis.find} → ${axis.text.split(", ").filter((word) => word !== axis.find).join(", ")}`] : null;
        return axis.text ? [f.label, axis.text] : null;
      };
      const found = inputs().filter((f) => rank.includes(role(f))).sort((x, y) => rank.indexOf(role(x)) - rank.indexOf(role(y))).map((f) => [f, told(f)]).filter(([, words]) => words);
      const lead = found.length ? "Nothing yet. Begin with one of these:" : inputs().length ? "Nothing yet." : "This graph shows no settings yet, so nothing can vary. In Graph, choose a node and press the eye beside a setting.";
      starters.replaceChildren(el("p", { class: "w-help w-starters-lead" }, lead), inputs().length ? "" : el("button", { type: "button", class: "w-btn", onclick: () => weft.openTab("Graph") }, "Open Graph"), ...found.slice(0, 4).map(([f, [title, help]]) => el("button", { type: "button", class: "w-template", "data-starter": role(f), onclick: () => { axes.push(starting(f)); build(); changed(); list.querySelector("select")?.focus(); } }, el("strong", {}, title), el("span", { translate: isSeed(f) ? null : "no" }, help))));
    }

    function card(axis, place) {
      const f = spec(axis), chosen = el("select", { class: "w-text", "aria-label": `${PLACES[place]}: what varies`, onchange: () => { axes[place] = starting(options[chosen.selectedIndex]); build(); changed(); list.children[place].querySelector("select").focus(); } });
      const options = inputs().filter((o) => o === f || isText(o) || !axes.some((a) => a.node === o.node && a.widget === o.widget));
      chosen.replaceChildren(...options.map((o, i) => el("option", { value: i }, o.label))); // with a value it is translated
      chosen.selectedIndex = options.indexOf(f);
      const tool = (name, label, act) => el("button", { type: "button", class: "w-square w-small", "aria-label": label, title: label, onclick: act }, icon(name));
      const head = el("div", { class: "w-axis-head" }, el("span", { class: "w-axis-place" }, PLACES[place]), chosen,
        place ? tool("up", `Change places with “${spec(axes[place - 1])?.label || ""}”`, () => { axes.splice(place - 1, 2, axes[place], axes[place - 1]); build(); changed(); list.children[place - 1].querySelector("select").focus(); }) : null,
        tool("close", `Do not vary ${f.label}`, () => { axes.splice(place, 1); build(); changed(); (list.children[Math.max(0, place - 1)]?.querySelector("select") || starters.querySelector("button") || more).focus(); }));
      const tags = el("div", { class: "w-tags", role: "group", "aria-label": "Values", translate: "no" }), fault = el("p", { class: "w-fault", role: "status", hidden: true });
      const input = el(isText(f) && !axis.words ? "textarea" : "input", { class: "w-text", value: axis.text, spellcheck: "false", autocomplete: "off", "aria-label": `Values of ${f.label}`, oninput: () => write(input.value) });
      const suggested = el("p", { class: "w-help w-suggested", hidden: axis.own }, "Suggested values. Put your own in their place.");
      const write = (text) => { axis.text = text; axis.own = suggested.hidden = true; changed(); };
      if (input.matches("textarea")) input.rows = 3;
      input.placeholder = axis.words ? "red, blue, green" : isText(f) ? "one text on each line" : f.whole ? "8, 12, 20 or 4:20:4" : "1, 2.5, 4 or 1:5:0.5";
      const body = [];
      if (isText(f)) {
        const text = String(doc.widget(f) ?? ""), known = wordsOf(text);
        const mode = (words, label) => el("button", { type: "button", class: "w-tool", "aria-pressed": String(axis.words === words), onclick: () => { Object.assign(axis, { words, own: false, text: "", find: "" }); if (words) find(axis, known[0] || ""); else axis.text = text; build(); changed(); } }, label);
        body.push(el("div", { class: "w-tool-group w-axis-mode", role: "group", "aria-label": "How it varies" }, mode(true, "Words"), mode(false, "Whole texts")));
        if (axis.words) {
          const word = el("input", { class: "w-text", value: axis.find, spellcheck: "false", "aria-label": "Words to replace", oninput: () => { find(axis, word.value); input.value = axis.text; press(); changed(); } });
          const chips = el("div", { class: "w-chips", role: "group", "aria-label": "Words of the prompt" }, ...known.slice(0, 16).map((w) => el("button", { type: "button", class: "w-chip", translate: "no", "data-word": w, onclick: () => { find(axis, w); word.value = w; input.value = axis.text; press(); changed(); } }, w)));
          const press = () => { for (const c of chips.children) c.setAttribute("aria-pressed", String(c.dataset.word === axis.find.trim().toLowerCase())); };
          press();
          body.push(known.length ? chips : null, el("label", { class: "w-axis-line" }, el("span", { class: "w-help" }, "Replace"), word), el("label", { class: "w-axis-line" }, el("span", { class: "w-help" }, "by"), input));
        } else body.push(input);
      } else if (["choice", "bool", "model"].includes(f.kind)) {
        const all = f.kind === "bool" ? [["on", "On"], ["off", "Off"]] : f.kind === "model" ? weft.facts.models.map((m) => [m.ref, m.title || m.ref]) : f.choices.map((c) => [c, String(c).replaceAll("_", " ")]);
        const on = new Set(axis.text.split(",").map((t) => t.trim()).filter((t) => all.some(([v]) => v === t)));
        if (!on.size) for (const [value] of all.slice(0, 3)) on.add(value);
        axis.text = [...on].map(quoted).join(", ");
        body.push(el("div", { class: "w-chips", role: "group", "aria-label": `Values of ${f.label}` }, ...all.map(([value, label]) => {
          const chip = el("button", { type: "button", class: "w-chip", "aria-pressed": String(on.has(value)), translate: f.kind === "bool" ? null : "no", onclick: () => { on[on.has(value) ? "delete" : "add"](value); chip.setAttribute("aria-pressed", String(on.has(value))); axis.text = all.map(([v]) => v).filter((v) => on.has(v)).map(quoted).join(", "); changed(); } }, label);
          return chip;
        })));
        tags.hidden = true;
      } else if (isSeed(f)) {
        const many = /^\*(\d+)$/.exec(axis.text.trim()), now = Number(doc.widget(f)) || 0;
        const mode = (text, label, on) => el("button", { type: "button", class: "w-tool", "aria-pressed": String(on), onclick: () => { axis.text = text; axis.own = true; build(); changed(); } }, label);
        body.push(el("div", { class: "w-tool-group w-axis-mode", role: "group", "aria-label": "How it varies" }, mode("*3", "How many", Boolean(many)), mode(`${now}, ${now + 1}, ${now + 2}`, "Which ones", !many)));
        if (many) {
          const count = el("input", { class: "w-text w-count-field", type: "number", min: 1, max: 100, step: 1, value: many[1], "aria-label": "How many seeds", oninput: () => { if (count.valueAsNumber >= 1) write(`*${Math.round(count.valueAsNumber)}`); } });
          body.push(el("label", { class: "w-axis-line w-count-line" }, count, el("span", { class: "w-help" }, "seeds: that of Create and those after it")));
        } else body.push(input, el("p", { class: "w-help" }, "Numbers with commas between them."));
      } else body.push(input, el("p", { class: "w-help" }, f.whole ? "Commas between them. 4:20:4 goes from 4 to 20 in steps of 4." : "Commas between them. 1:5:0.5 goes from 1 to 5 in steps of 0.5."));
      if (!axis.own && !["choice", "bool", "model"].includes(f.kind)) body.push(suggested);
      const unknown = el("p", { class: "w-unknown", role: "status", hidden: true });
      parts[place] = { tags, fault, input, unknown };
      return el("section", { class: "w-axis", "aria-label": `${PLACES[place]}: ${f.label}` }, head, ...body.filter(Boolean), tags, unknown, fault);
    }
    function build() {
      axes = axes.filter((a) => spec(a));
      starters.hidden = axes.length > 0;
      if (!axes.length) suggest();
      more.textContent = axes.length ? "Vary another setting" : "Another setting …";
      parts = [];
      list.replaceChildren(...axes.map(card));
      const next = axes.length && axes.length < MOST ? beside().slice(0, 3) : [];
      also.hidden = !next.length;
      also.replaceChildren(el("span", { class: "w-help" }, "As well:"), ...next.map((f) => el("button", { type: "button", class: "w-chip", "data-also": sort(f), onclick: () => { axes.push(starting(f)); build(); changed(); list.lastElementChild.querySelector("select").focus(); } }, isSeed(f) ? "Other seeds" : f.role === "prompt" ? "Other words" : f.label)));
      more.hidden = axes.length >= MOST || !free().length;
    }
    return {
      box,
      axes: () => axes.map(({ node, widget, words, find: word, text }) => ({ node, widget, text, find: words ? word.trim() || " " : "" })),
      covers: (role) => axes.some((a) => spec(a)?.role === role),
      kept: () => axes,
      load(kept) { axes = Array.isArray(kept) ? kept.filter((a) => a && typeof a.text === "string" && typeof a.find === "string") : []; build(); },
      /** What Python made of the values: a line for each axis. */
      tell(lines) {
        lines.forEach(({ labels, fault }, i) => {
          const part = parts[i];
          if (!part) return;
          part.fault.hidden = !fault;
          part.fault.textContent = fault;
          part.input.closest(".w-axis")?.classList.toggle("w-wrong", Boolean(fault));
          const known = isText(spec(axes[i])) && !fault ? weft.vocabularyOf(doc) : new Set(), strange = new Map();
          if (known.size) for (const label of labels) for (const { word, near } of weft.unknownWords(doc.unweighted(spec(axes[i]), label), known)) strange.set(word, word + (near.length ? ` (perhaps ${near[0]}?)` : ""));
          part.unknown.hidden = !strange.size;
          part.unknown.textContent = strange.size ? `Not known to this model: ${[...strange.values()].slice(0, 6).join(", ")}.` : "";
          const plain = labels.join(", ") === part.input.value.trim() || labels.length < 2;
          part.tags.replaceChildren(...(plain ? [] : [...labels.slice(0, 24).map((label) => el("span", { class: "w-tag" }, label)), labels.length > 24 ? el("span", { class: "w-help" }, `and ${labels.length - 24} more`) : ""]));
        });
      },
      /** The document changed: inputs that are gone fall away, labels follow. */
      look() { if (!list.contains(document.activeElement)) build(); },
    };
  };
})();

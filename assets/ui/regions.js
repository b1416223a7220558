// The list of regions: what may be done with it, its rows, and the field of Create; the canvas is region_canvas.js.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, doc, makers, field } = weft;
  const EDGES = ["Left", "Top", "Right", "Bottom"];
  const START = [0.25, 0.25, 0.75, 0.75], LEAST = 2; // percent
  const plain = (value) => Array.isArray(value) && value.every((r) => r && typeof r === "object" && !Array.isArray(r));
  const boxed = (region) => Array.isArray(region.box) && region.box.length === 4 && region.shape !== "mask";

  weft.hue = (index) => `hsl(${(index * 67) % 360} 55% 50%)`;
  weft.masks = weft.masks || {}; // painted masks by the hash of their picture, as canvases

  const FILL = new Set("and or on in at of to by with over under above below behind beside near next from is are left right top bottom middle".split(" "));
  const ARTICLES = new Set(["a", "an", "the", "two", "three"]);
  /** The thing that a word means in a sentence, with what is said of it: "star" is "a green star". */
  weft.phraseOf = (text, word) => {
    const words = [...text.matchAll(/[\p{L}\p{N}'-]+/gu)], at = words.findIndex((w) => w[0].toLowerCase() === word.toLowerCase());
    if (at < 0 || FILL.has(word.toLowerCase())) return word;
    let from = at;
    while (from > 0 && at - from < 4 && !ARTICLES.has(words[from][0].toLowerCase()) && !FILL.has(words[from - 1][0].toLowerCase())
      && /^\s+$/.test(text.slice(words[from - 1].index + words[from - 1][0].length, words[from].index))) from -= 1;
    return text.slice(words[from].index, words[at].index + words[at][0].length);
  };

  /** The list behind canvas and rows. `read`, `write(list)`: where it is kept; `ratio()`: width to height; `words`: the
   *  prompt that goes with it, {read, write(text)}, which undo takes along. */
  weft.regionStore = ({ read, write, ratio, words = null }) => {
    const past = [], future = [], drawn = {}, levels = {};
    const now = () => JSON.stringify({ list: store.list(), words: words?.read() ?? "" });
    function back(from, to) {
      if (!from.length) return;
      to.push(now());
      const was = JSON.parse(from.pop());
      write(was.list);
      if (words && words.read() !== was.words) words.write(was.words);
      store.onchange(true);
    }
    const store = {
      chosen: null, asked: null, boxed, plain, onchange: () => {}, onchoose: () => {}, onask: () => {}, keep: null,
      list: () => (plain(read()) ? read() : []),
      get: (id) => store.list().find((r) => r.id === id),
      level: (id) => levels[id],
      tell(found) { for (const id of Object.keys(levels)) delete levels[id]; Object.assign(levels, found); },
      mark(was = now()) { past.push(was); future.length = 0; if (past.length > 100) past.shift(); },
      /** Another list lies here than the one that was seen last: undo brings that one back. */
      swapped() {
        const seen = store.seen && JSON.parse(store.seen).list;
        if (seen?.length && JSON.stringify(seen) !== JSON.stringify(store.list())) store.mark(store.seen);
        store.saw();
      },
      saw() { store.seen = now(); },
      put(next) { // the first change makes the tab's document the page's, which draws the old list once more
        const { chosen } = store;
        store.mark();
        write(next);
        store.chosen = chosen;
        store.onchange(true);
      },
      live(id, part) { write(store.list().map((r) => (r.id === id ? { ...r, ...part } : r))); store.onchange(false); },
      settle: () => store.onchange(true),
      change(id, part) { store.put(store.list().map((r) => (r.id === id ? { ...r, ...part } : r))); },
      choose(id) { if (store.chosen === id) return; store.chosen = id; store.onchoose(); },
      ask(id) { store.onask(id); },
      next(way) {
        const ids = store.list().map((r) => r.id), at = ids.indexOf(store.chosen);
        if (ids.length) store.choose(ids[(at + way + ids.length) % ids.length]);
      },
      name() {
        const taken = new Set(store.list().map((r) => r.id));
        let number = taken.size + 1;
        while (taken.has(`r${number}`)) number += 1;
        return `r${number}`;
      },
      add(part, { focus = true } = {}) {
        const id = store.name(), box = part.box || weft.freePlace(store.list().map((r) => r.box).filter((b) => Array.isArray(b) && b.length === 4));
        store.chosen = id;
        store.put([...store.list(), { id, prompt: "", ...part, box }]);
        if (focus) store.ask(id);
        return id;
      },
      remove(id) {
        const at = store.list().findIndex((r) => r.id === id), rest = store.list().filter((r) => r.id !== id);
        if (store.chosen === id || !store.get(store.chosen)) store.chosen = rest[Math.min(at, rest.length - 1)]?.id ?? null;
        store.put(rest);
      },
      copy(id) {
        const from = store.get(id), at = store.list().indexOf(from), b = from.box || START, way = b[2] <= 0.96 && b[3] <= 0.96 ? 0.04 : b[0] >= 0.04 && b[1] >= 0.04 ? -0.04 : 0;
        const copy = { ...from, id: store.name(), locked: false, ...(boxed(from) ? { box: b.map((edge) => Math.round((edge + way) * 10000) / 10000) } : {}) };
        store.chosen = copy.id;
        store.put([...store.list().slice(0, at + 1), copy, ...store.list().slice(at + 1)]);
      },
      order(id, way) {
        const next = [...store.list()], at = next.findIndex((r) => r.id === id), to = at + way;
        if (to < 0 || to >= next.length) return;
        [next[at], next[to]] = [next[to], next[at]];
        store.put(next);
      },
      undo: () => back(past, future),
      redo: () => back(future, past),
      get undoable() { return past.length > 0; },
      get redoable() { return future.length > 0; },
      // painted masks
      mask: (region) => drawn[region.id]?.mask || (region.shape === "mask" && weft.masks[region.mask?.file]) || null,
      emptyMask: (id) => (drawn[id] = { mask: weft.maskCanvas(ratio()) }).mask,
      maskOf(id) { // what is there of a region, to paint on: its mask, or its box filled
        const region = store.get(id), shown = store.mask(region), mask = store.emptyMask(id), pen = mask.getContext("2d", { willReadFrequently: true });
        const b = region.box || START;
        if (shown) pen.drawImage(shown, 0, 0, mask.width, mask.height);
        else { pen.fillStyle = "#fff"; pen.fillRect(b[0] * mask.width, b[1] * mask.height, (b[2] - b[0]) * mask.width, (b[3] - b[1]) * mask.height); }
        return mask;
      },
      painted(id, mask) {
        const found = weft.maskData(mask);
        drawn[id] = { mask, wanted: found };
        if (!found) { delete drawn[id]; return store.get(id) && store.remove(id); }
        store.keep?.(id, found);
        store.onchange(true);
      },
      /** The whole mask of a region at once: "fill", "invert", or "clear", after which it waits for paint. */
      whole(id, what) {
        const region = store.get(id);
        if (!region || region.locked) return;
        const mask = store.maskOf(id);
        ({ fill: weft.maskFill, invert: weft.maskInvert, clear: weft.maskClear })[what](mask);
        if (weft.maskData(mask)) return store.painted(id, mask);
        drawn[id] = { mask, bare: true };
        store.onchange(false);
      },
      /** A region whose mask was cleared and not painted since. */
      get bare() { return store.list().find((r) => drawn[r.id]?.bare) || null; },
      stored(id, value) { // the studio has kept the mask of a region under its hash
        const was = drawn[id];
        if (!was || !store.get(id)) return;
        weft.masks[value.file] = was.mask;
        delete drawn[id];
        store.change(id, { shape: "mask", mask: value, box: was.wanted.box });
      },
      get waiting() { return Object.values(drawn).some((d) => d.wanted); },
    };
    return store;
  };

  /** The rows of a list. `full`: with every setting of the chosen region; else prompt and edges. */
  weft.regionRows = (store, { full = false } = {}) => {
    const rows = el("ol", { class: "w-regions" + (full ? " w-regions-full" : "") });
    let built = "";
    const place = (region) => store.list().findIndex((r) => r.id === region.id);

    /** A value within its bounds, and a line that says so where it was held. */
    function held(input, label, value, low, high, unit = "") {
      const kept = Math.round(Math.min(Math.max(value, low), Math.max(low, high)) * 100) / 100, note = input.closest("li")?.querySelector(".w-held");
      input.value = kept;
      if (note) {
        note.hidden = kept === value;
        note.textContent = note.hidden ? "" : `${label} may be ${Math.round(low * 10) / 10} to ${Math.round(high * 10) / 10}${unit}; it is ${kept} now.`;
      }
      return kept;
    }
    function edge(region, index, at) {
      const name = `${EDGES[at]} of region ${index + 1}, percent`;
      const input = el("input", { class: "w-text w-number", type: "number", min: 0, max: 100, step: 1, "aria-label": name, "data-key": "edge" + at });
      input.addEventListener("change", () => {
        if (!Number.isFinite(input.valueAsNumber)) return;
        const now = store.get(region.id), other = 100 * now.box[(at + 2) % 4], [low, high] = at < 2 ? [0, Math.max(0, other - LEAST)] : [Math.min(100, other + LEAST), 100];
        const value = held(input, EDGES[at], input.valueAsNumber, low, high, " %");
        store.change(region.id, { box: now.box.map((old, i) => (i === at ? Math.round(value * 100) / 10000 : old)) });
      });
      input.sync = (now) => { input.value = Math.round(now.box[at] * 1000) / 10; };
      return [el("label", { class: "w-edge" }, el("span", { class: "w-help" }, EDGES[at]), input), input];
    }
    function text(region, key, label, aria, placeholder, most) {
      const input = el("input", { class: "w-text", type: "text", placeholder, "aria-label": aria, "data-key": key, maxlength: most });
      let begun = false; // one step back per visit of a field, not per letter
      input.addEventListener("input", () => { if (!begun) store.mark(); begun = true; store.live(region.id, { [key]: input.value }); });
      input.addEventListener("change", () => { begun = false; store.settle(); });
      input.sync = (now) => { input.value = String(now[key] ?? ""); };
      return [label ? el("label", { class: "w-edge" }, el("span", { class: "w-help" }, label), input) : input, input];
    }
    function number(region, index, key, label, usual, bounds, scale) {
      const [low, high] = [0, scale === 1 ? 2 : 100];
      const input = el("input", { class: "w-text w-number", type: "number", min: low, max: high, step: scale === 1 ? 0.1 : 5, "aria-label": `${label} of region ${index + 1}`, "data-key": key });
      input.addEventListener("change", () => {
        if (!Number.isFinite(input.valueAsNumber)) return;
        store.change(region.id, { [key]: held(input, label.replace(", %", ""), input.valueAsNumber, ...bounds(store.get(region.id)), scale === 1 ? "" : " %") / scale });
      });
      input.sync = (now) => { input.value = Math.round((now[key] ?? usual) * scale * 100) / 100; };
      return [el("label", { class: "w-edge" }, el("span", { class: "w-help" }, label), input), input];
    }
    const press = (glyph, name, title, does, more = {}) => el("button", { type: "button", class: "w-square w-small", "aria-label": name, title, onclick: does, ...more }, icon(glyph));

    function row(region, index, count) {
      const parts = [], take = ([box, input]) => { parts.push(input); return box; };
      const number_ = index + 1, chosen = region.id === store.chosen;
      const prompt = take(text(region, "prompt", "", `Prompt of region ${number_}`, "What shows there"));
      const remove = press("bin", `Remove region ${number_}`, "Remove", () => { const list = rows; store.remove(region.id); (list.querySelector("[data-chosen] [data-key=prompt]") || rows.parentElement?.querySelector(".w-add-region"))?.focus(); });
      const pick = el("button", { type: "button", class: "w-region-number", style: `--w-hue:${weft.hue(index)}`, "aria-label": `Choose region ${number_}`, "aria-pressed": String(chosen), onclick: () => store.choose(region.id) }, String(number_));
      const edges = boxed(region) ? el("div", { class: "w-edges" }, ...EDGES.map((_, at) => take(edge(region, index, at))))
        : el("p", { class: "w-help w-region-note" }, "A painted mask. ", full ? el("button", { type: "button", class: "w-link", onclick: () => store.change(region.id, { shape: "box", mask: null }) }, "Use the box around it") : "");
      const lock = press(region.locked ? "lock" : "unlock", `Lock region ${number_}`, region.locked ? "Locked: it stays where it is" : "Lock its place", () => store.change(region.id, { locked: !region.locked }), { "aria-pressed": String(Boolean(region.locked)), "data-key": "lock" });
      const detail = full && chosen ? el("div", { class: "w-region-detail" },
        el("div", { class: "w-two" }, take(text(region, "name", "Name", `Name of region ${number_}`, "optional", 100)), take(text(region, "negative", "Avoid there", `Avoid in region ${number_}`, "nothing"))),
        el("div", { class: "w-three" }, take(number(region, index, "strength", "Strength", 1, () => [0, 2], 1)), take(number(region, index, "start", "From step, %", 0, (r) => [0, 100 * (r.end ?? 1) - 1], 100)), take(number(region, index, "end", "Until, %", 1, (r) => [100 * (r.start ?? 0) + 1, 100], 100))),
        edges,
        el("div", { class: "w-row w-region-tools" }, press("up", `Bring region ${number_} to the front`, "Nearer: drawn over the others", () => store.order(region.id, 1), { disabled: index === count - 1, "data-key": "up" }),
          press("down", `Send region ${number_} behind`, "Farther: drawn under the others", () => store.order(region.id, -1), { disabled: index === 0, "data-key": "down" }),
          press("copy", `Copy region ${number_}`, "Copy", () => store.copy(region.id)), lock)) : null;
      const item = el("li", { "data-id": region.id, "data-chosen": chosen ? "" : null, onfocusin: (event) => { // a row that is chosen grows: a button that is pressed would slip away, and the caret is where it was clicked only afterwards
        if (!event.target.closest("button")) setTimeout(() => { if (item.contains(document.activeElement)) store.choose(region.id); });
      } },
        el("div", { class: "w-row" }, pick, prompt, !full || !chosen ? (region.locked ? lock : null) : null, remove), full ? detail : edges, el("p", { class: "w-help w-held", role: "status", hidden: true }));
      item.sync = (now) => parts.forEach((input) => { if (input !== document.activeElement) input.sync(now); });
      return item;
    }
    function paint() {
      const list = store.list(), key = JSON.stringify(list.map((r) => [r.id, boxed(r), Boolean(r.locked)])) + (full ? store.chosen : "");
      if (key !== built) {
        const focused = document.activeElement, had = rows.contains(focused) ? [focused.closest("li")?.dataset.id, focused.dataset.key] : null;
        const caret = had?.[1] && focused.selectionStart;
        built = key;
        rows.replaceChildren(...list.map((region, index) => row(region, index, list.length)));
        list.forEach((region, index) => rows.children[index].sync(region));
        if (had) { // the row that is chosen now, which may be a copy
          const again = [...rows.children].find((li) => li.dataset.id === (full ? store.chosen : had[0]))?.querySelector(`[data-key="${had[1] || "prompt"}"]`);
          again?.focus({ preventScroll: true });
          if (typeof caret === "number" && again?.type === "text") again.setSelectionRange(caret, caret);
        }
      }
      list.forEach((region, index) => {
        const item = rows.children[index];
        item.toggleAttribute("data-chosen", region.id === store.chosen);
        item.querySelector(".w-region-number").setAttribute("aria-pressed", String(region.id === store.chosen));
        item.dataset.level = store.level(region.id) || "";
        item.sync(region);
      });
    }
    const focus = (id) => [...rows.children].find((li) => li.dataset.id === id)?.querySelector("[data-key=prompt]")?.focus();
    return { rows, paint, place, focus };
  };

  makers.regions = (spec) => {
    let list = [];
    const ratio = () => {
      const width = doc.field("width"), height = doc.field("height");
      return width && height ? doc.widget(width) / doc.widget(height) || 1 : 1;
    };
    const store = weft.regionStore({ read: () => list, write: (next) => { list = next; doc.set(spec, next); write(); }, ratio });
    store.keep = (id, found) => weft.keepMask?.(store, id, found);
    const { stage: map, paint: sketch } = weft.regionCanvas(store, { label: spec.label });
    const { rows, paint: fill, focus } = weft.regionRows(store);
    const add = el("button", { type: "button", class: "w-btn w-add-region", onclick: () => store.add({}) }, "Add a region");
    const large = el("button", { type: "button", class: "w-btn w-quiet", onclick: () => weft.openTab("Regions") }, "Open large");
    const text = el("textarea", { class: "w-text w-code", rows: 8, spellcheck: "false", "aria-label": `${spec.label} as JSON` });
    const wrong = el("p", { class: "w-fault-own", role: "alert", hidden: true });
    const body = el("div", { class: "w-region-body", role: "group", "aria-label": spec.label }, map, rows, el("div", { class: "w-row" }, add, large),
      el("details", {}, el("summary", { class: "w-link" }, "As text (strength, start, end, avoid)"), text, wrong));
    const box = field(spec, body, { wide: true });

    const tell = (fault) => { wrong.textContent = fault; wrong.hidden = !fault; };
    const write = () => { if (text !== document.activeElement) text.value = JSON.stringify(list, null, 1); tell(""); };
    text.addEventListener("change", () => {
      try { list = JSON.parse(text.value); doc.set(spec, list); tell(""); paint(); } catch (error) { tell(`This is not JSON: ${error.message}`); }
    });
    function paint() {
      map.style.aspectRatio = String(ratio());
      map.style.width = `min(100%, ${Math.round(260 * ratio())}px)`;
      fill();
      sketch();
    }
    store.onchange = store.onchoose = paint;
    store.onask = focus;
    return { input: add, box, resize: paint, show: (value) => { list = value ?? []; weft.needMasks?.(list, paint); paint(); write(); } };
  };
})();

// Edit: a source picture, its old and its new words, how far the change may go, and both pictures under one slider.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, doc, run, parse } = weft;
  const split = (text) => text.match(/[\p{L}\p{N}'-]+|[^\s\p{L}\p{N}]/gu) || [];
  const isWord = (text) => /[\p{L}\p{N}]/u.test(text);
  const copy = (value) => JSON.parse(JSON.stringify(value));

  /** What changed from one list of words to another, in order: [["same"|"gone"|"new", word], …]. */
  weft.wordDiff = (before, after) => {
    const a = split(before), b = split(after), same = (x, y) => x.toLowerCase() === y.toLowerCase();
    const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
    for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--) table[i][j] = same(a[i], b[j]) ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    const found = [];
    let [i, j] = [0, 0];
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && same(a[i], b[j])) { found.push(["same", b[j]]); i++; j++; }
      else if (i < a.length && (j >= b.length || table[i + 1][j] >= table[i][j + 1])) found.push(["gone", a[i++]]);
      else found.push(["new", b[j++]]);
    }
    return found;
  };

  /** Where across two pictures of one size most has changed, 0..1: the middle of what differs; 0.5 where nothing does. */
  weft.changeCentre = (before, after, side = 48) => {
    const pixels = (image) => {
      const canvas = el("canvas", { width: side, height: side }), pen = canvas.getContext("2d", { willReadFrequently: true });
      pen.drawImage(image, 0, 0, side, side);
      return pen.getImageData(0, 0, side, side).data;
    };
    const [a, b] = [pixels(before), pixels(after)], differ = new Float32Array(side * side);
    for (let i = 0; i < differ.length; i++) differ[i] = Math.abs(a[4 * i] - b[4 * i]) + Math.abs(a[4 * i + 1] - b[4 * i + 1]) + Math.abs(a[4 * i + 2] - b[4 * i + 2]);
    const least = 0.35 * differ.reduce((x, y) => Math.max(x, y), 0); // the small changes that are everywhere do not count
    let [sum, weight] = [0, 0];
    differ.forEach((d, i) => { if (least > 8 && d > least) { sum += d * ((i % side) + 0.5); weight += d; } });
    return weight ? sum / weight / side : 0.5;
  };

  /** Two pictures of one size under a slider; the arrow keys move it. `centred`: it starts across what has changed. */
  weft.beforeAfter = ({ centred = false } = {}) => {
    const before = el("img", { alt: "Before", draggable: "false" }), after = el("img", { alt: "After", draggable: "false" });
    const top = el("div", { class: "w-ba-after" }, after);
    const range = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Before and after: how much of the picture before is shown", oninput: () => paint() });
    const box = el("figure", { class: "w-ba" }, before, top, el("i", { class: "w-ba-line" }), el("span", { class: "w-ba-word w-left" }, "Before"), el("span", { class: "w-ba-word w-right" }, "After"), range);
    const paint = () => box.style.setProperty("--at", `${range.value}%`);
    let pair = "";
    async function centre() {
      const now = before.src + after.src;
      if (pair === now) return;
      pair = now;
      await Promise.all([before.decode(), after.decode()]).catch(() => {});
      if (pair !== before.src + after.src || !before.naturalWidth || !after.naturalWidth) return;
      range.value = Math.round(100 * Math.min(Math.max(weft.changeCentre(before, after), 0.12), 0.88));
      paint();
    }
    paint();
    return { box, show(from, to, forming = false) {
      if (from && before.getAttribute("src") !== from) before.src = from;
      if (to && after.getAttribute("src") !== to) after.src = to;
      box.classList.toggle("w-ba-one", !to);
      box.classList.toggle("w-forming", forming);
      if (centred && to && !forming) centre();
    } };
  };

  weft.editTab = (root, { props, trigger, watch }) => {
    let source = null, way = "together", results = [], shown = null, batch = 0, waiting = false, marked = new Set(), side = false;
    const ways = () => source?.ways || {};
    const draft = () => ways()[way];
    // The page's document is meant once this tab has handed it over; its widgets are then the truth.
    const live = () => Boolean(source?.taken && doc.current && doc.current.nodes.some((n) => n.id === "before") && source.taken === doc.template + way);
    const node = (id) => (live() ? doc.current : draft()?.document)?.nodes.find((n) => n.id === id);
    const after = () => (node("after") ? "after" : "prompt");
    const get = (id, widget) => node(id)?.widgets?.[widget];
    function set(id, widget, value) {
      const at = draft()?.document.nodes.find((n) => n.id === id);
      if (at) at.widgets[widget] = value;
      if (live()) doc.set(doc.panel.find((f) => f.node === id && f.widget === widget) || { node: id, widget }, value);
    }

    // source
    const pick = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", class: "w-sr", tabindex: -1, "aria-hidden": "true", onchange: () => { if (pick.files[0]) bring(pick.files[0]); pick.value = ""; } });
    const strip = el("ul", { class: "w-strip", "aria-label": "Pictures to edit, newest first" });
    const empty = el("div", { class: "w-empty" }, el("h2", {}, "Which picture shall change?"), el("p", {}, "Choose one below, or bring your own. Then change its words."),
      el("div", { class: "w-examples" }, el("button", { type: "button", class: "w-btn", onclick: () => pick.click() }, icon("open"), "Bring a picture"), el("button", { type: "button", class: "w-btn", onclick: () => weft.openTab("Create") }, "Make one in Create")));
    const pair = weft.beforeAfter({ centred: true });
    const mat = el("div", { class: "w-mat" }, empty);
    const ratio = () => (source?.width && source?.height ? source.width / source.height : 1);
    const fit = weft.fitInto(mat, pair.box, ratio);
    const place = weft.editPlace({ trigger, ratio, say: (text) => say(text),
      picture: () => source?.id || null, draft: () => ways().picture || null, words: () => [...new Set(split(old.input.value.toLowerCase()).filter((w) => isWord(w) && !FILL.has(w) && !SIDES.has(w)))],
      onchange: () => painted(), ontool: (name) => { side = false; if (source) { bound(name); show(); } } });
    const { painter } = place;
    pair.box.append(painter.layer);
    const bar = el("div", { class: "w-tools w-edit-bar", role: "toolbar", "aria-label": "Tools of the picture", hidden: true }, ...painter.bar);
    const grid = el("div", { class: "w-side", role: "group", "aria-label": "All edits side by side" });
    function fitGrid() { // the columns that leave the pictures largest
      const count = results.length + 1, style = getComputedStyle(mat), wide = mat.clientWidth - 2 * parseFloat(style.paddingLeft) - 6;
      const high = (matchMedia("(max-width: 900px)").matches ? weft.roomHigh() : mat.clientHeight - 2 * parseFloat(style.paddingTop)) - 6;
      const cell = (columns) => Math.min((wide - 14 * (columns - 1)) / columns, ((high - 14 * (Math.ceil(count / columns) - 1)) / Math.ceil(count / columns) - 26) * ratio());
      const columns = Array.from({ length: count }, (_, i) => i + 1).reduce((a, b) => (cell(b) > cell(a) ? b : a));
      grid.style.gridTemplateColumns = `repeat(${columns}, ${Math.max(80, Math.floor(cell(columns)))}px)`;
    }
    new ResizeObserver(() => { if (side) fitGrid(); }).observe(mat);
    const beside = el("button", { type: "button", class: "w-tool", "aria-pressed": "false", hidden: true, id: "weft-beside", onclick: () => { side = !side; show(); } }, icon("box"), el("span", { class: "w-tool-word" }, "Side by side"));
    painter.bar[0].append(beside);
    const variants = el("div", { class: "w-outputs", role: "group", "aria-label": "Edits of this picture", hidden: true });
    const caption = el("div", { class: "w-caption" });

    // words
    const old = weft.promptBox({ label: "What it shows", rows: 2, placeholder: "a red star on the left, at night", oninput: (text) => { set("before", "text", text); diff(); } });
    const fresh = weft.promptBox({ label: "What it shall show", rows: 2, placeholder: "the same words, with the change", oninput: (text) => { set(after(), "text", text); diff(); } });
    const words = el("p", { class: "w-diff", id: "weft-diff", "aria-label": "The difference of the words" });
    const picks = el("div", { class: "w-chips", role: "group", "aria-label": "Which words may move in the picture" });
    const where = el("span", { class: "w-help", id: "weft-where" }), clear = el("button", { type: "button", class: "w-link", hidden: true, onclick: () => { painter.reset(); show(); } }, "Anywhere again");
    const paintIt = el("button", { type: "button", class: "w-chip", id: "weft-paint-place", onclick: () => { painter.use("paint"); painter.layer.focus({ preventScroll: false }); } }, icon("brush"), "Paint it");
    const pickBox = el("div", { class: "w-field" }, el("div", { class: "w-label" }, el("span", {}, "Where it may change"), clear), el("div", { class: "w-place-row" }, paintIt, picks), where, place.cut);
    // how
    const far = el("input", { type: "range", min: 0, max: 100, value: 60, "aria-label": "How far the change may go, from local to global", oninput: () => { setFar(far.valueAsNumber / 100); tellFar(); } });
    const farWords = el("span", { class: "w-help w-number" });
    const farBox = el("div", { class: "w-field" }, el("div", { class: "w-label" }, el("span", {}, "How far"), farWords), far, el("div", { class: "w-ends w-help" }, el("span", {}, "local: keeps most"), el("span", {}, "global: paints anew")));
    const steps = el("input", { class: "w-text w-number", type: "number", min: 1, max: 200, "aria-label": "Steps", onchange: () => set("schedule", "steps", Math.max(1, steps.valueAsNumber || 20)) });
    const chips = el("div", { class: "w-chips", role: "radiogroup", "aria-label": "How it is done" });
    const more = el("details", { class: "w-more" }, el("summary", {}, icon("chevron"), "More settings"), el("div", { class: "w-more-body" },
      el("div", { class: "w-field w-wide" }, el("div", { class: "w-label" }, "How it is done"), chips), el("label", { class: "w-field" }, el("span", { class: "w-label" }, "Steps"), steps)));
    const said = el("p", { class: "w-unknown", role: "status", hidden: true });
    const go = weft.goButton("weft-edit-go", "Change it", () => act());
    const several = el("button", { type: "button", class: "w-btn w-wide-btn", id: "weft-edit-several", onclick: () => { if (run.live) return say("Something is painted now: wait until it is done, or stop it."); act([0.25, 0.5, 0.75, 1]); } }, "Try four strengths");
    const form = el("section", { class: "w-form", "aria-label": "Edit" }, old.box, fresh.box, words, pickBox, farBox, el("div", { class: "w-run" }, said, go, several), more);
    root.append(el("div", { class: "weft w-create w-regions-tab w-edit-tab" }, el("section", { class: "w-stage", "aria-label": "Picture" }, bar, mat, variants, caption, el("div", { class: "w-source-row" }, el("button", { type: "button", class: "w-square", "aria-label": "Bring a picture", title: "Bring a picture", onclick: () => pick.click() }, icon("open")), strip, pick)), form));

    const say = (text) => { said.textContent = text; said.hidden = !text; };
    const bring = (file) => weft.readFile(file, { fault: say, then: (data) => { say("Bringing it in …"); trigger("bring", { name: file.name, data }); } });
    let again = false; // the studio is asked for edits of the source that is there
    function choose(p) {
      waiting = p;
      again = false;
      trigger("source", { generation: p.id });
    }
    let wish = null;
    /** Another tab hands over a picture, and where it may change: a stored mask. */
    weft.editThis = (p, mask = null) => { wish = mask; weft.openTab("Edit"); choose(p); };

    /** What was done to a picture whose size is not the model's; empty where it is as it was. */
    function fitted() {
      const [wide, high] = source?.of || [], { width, height } = source || {}, now = `${width} × ${height}, the size that this model works at: it was ${wide} × ${high}.`;
      return !wide || (wide === width && high === height) ? "" : wide * height === high * width ? `Scaled to ${now}` : `Cut from its middle to ${now}`;
    }
    function begin(message) {
      if (waiting && message.id && message.id !== waiting.id) return; // another one was chosen since
      if (again && message.id && message.id === source?.id) { again = false; return found(message.edits); }
      const p = waiting && waiting.id === message.id ? waiting : null;
      source = { ...message, url: p?.url || message.url, of: p ? [p.width, p.height] : message.of, taken: "" };
      way = ways().together ? "together" : "picture";
      results = [];
      shown = null;
      marked = new Set();
      side = lent = false;
      place.reset();
      if (wish && ways().picture) { way = "picture"; place.take(wish); }
      wish = null;
      say("");
      show();
      if (back && back.of === source.id) restore(back, message.edits);
      else fresh.input.focus({ preventScroll: true });
      back = null;
    }
    function restore(kept, edits) {
      if (ways()[kept.way]) way = kept.way;
      set("before", "text", kept.old);
      set(after(), "text", kept.words);
      batch = kept.batch || 0;
      found(edits);
    }
    /** Edits of this source with these words that were made while this page was not there to see them. */
    function found(edits) {
      const before = get("before", "text"), now = get(after(), "text"), known = new Set(results.map((r) => r.id));
      const more = edits.filter((e) => !known.has(e.id) && e.old === before && e.words === now).flatMap((e) =>
        weft.pictures.list.filter((p) => p.id === e.id).map((p) => ({ ...p, share: farOf(e.far), words: now })));
      results = [...more, ...results].slice(-8);
      shown = results.at(-1) || null;
      side = Boolean(batch) && results.length > 1;
      show();
    }
    // a part of the run: nothing, or at least one whole step of it
    const part = (share, steps = get("schedule", "steps") || 20) => { const s = Math.round(share * 20) / 20; return s * steps >= 1 ? s : s * steps < 0.5 ? 0 : Math.ceil(20 / steps) / 20; };
    const farAs = (share) => (way === "picture" ? { strength: Math.round(share * 100) / 100 }
      : { eta: part(1 - share), tau: part((1 - share) * 0.5) }); // how long the rest is put back, and the layout kept
    function setFar(share) { for (const [widget, value] of Object.entries(farAs(share))) set("edit", widget, value); }
    /** The settings of an edit in a document; null where it is none. */
    const editOf = (document) => document?.nodes.some((n) => n.id === "before") && document.nodes.find((n) => n.id === "edit")?.widgets;
    const farOf = ({ strength, eta }) => strength ?? 1 - (eta ?? 0.5);
    const getFar = () => (way === "picture" ? get("edit", "strength") ?? 0.66 : 1 - (get("edit", "eta") ?? 0.5));
    function tellFar() { farWords.textContent = `${Math.round(far.value)} %`; }

    function diff() {
      const found = weft.wordDiff(old.input.value, fresh.input.value);
      words.replaceChildren(...(found.some(([kind]) => kind !== "same") ? found.flatMap(([kind, word], i) => {
        const part = kind === "gone" ? el("del", {}, word) : kind === "new" ? el("ins", {}, word) : word;
        return i && isWord(word) ? [" ", part] : [part];
      }) : [el("span", { class: "w-help" }, "Change a word: what is added and removed is marked here.")]));
      paintPicks(found);
    }
    // With "together", words whose place may change; with "picture", things of the old words that can be picked.
    function paintPicks(found) {
      const list = (way === "picture" ? split(old.input.value) : found.filter(([kind]) => kind !== "gone").map(([, word]) => word)).filter((w) => isWord(w) && !FILL.has(w.toLowerCase()) && !(way === "picture" && SIDES.has(w.toLowerCase())));
      const known = [...new Set(list.map((w) => w.toLowerCase()))], picture = way === "picture";
      pickBox.hidden = !source;
      picks.hidden = !known.length || (picture && !source?.painted);
      marked = new Set([...marked].filter((w) => known.includes(w)));
      picks.setAttribute("aria-label", picture ? "Things that can be picked by their word" : "Which words may move in the picture");
      picks.replaceChildren(...known.map((word) => el("button", { type: "button", class: "w-chip", translate: "no", "aria-pressed": picture ? null : String(marked.has(word)), onclick: (event) => {
        event.stopPropagation();
        if (picture) return place.pick({ word });
        marked[marked.has(word) ? "delete" : "add"](word);
        set("edit", "words", [...marked].join(", "));
        const at = known.indexOf(word);
        paintPicks(found);
        picks.children[at]?.focus();
      } }, word)));
      tellWhere();
    }
    function tellWhere() {
      const share = Math.round(100 * painter.share);
      clear.hidden = !painter.share;
      where.textContent = painter.share ? `Only where it is painted: ${Math.max(1, share)} % of the picture.` : way !== "picture" ? (marked.size ? "At these words." : "At the words that differ. Click words to choose others, or paint the place.") : source?.painted ? "Anywhere. Click a thing, or paint the place." : "Anywhere. Or paint the place: only in pictures that were painted from words can a thing be clicked.";
    }
    // A place bounds the picture itself, which is the other way of doing it: also while one is only looked for.
    let lent = false;
    function bound(name) {
      if (name !== "look" && way === "together" && ways().picture) { lent = true; change("picture", true); }
      else if (name === "look" && lent && !painter.share) { lent = false; change("together", true); }
    }
    function painted() {
      if (!source) return;
      if (painter.share && way !== "picture" && ways().picture) return change("picture", true);
      tellWhere();
    }
    const SIDES = new Set("left right top bottom middle above below".split(" "));
    const FILL = new Set("a an the on in at of to by with and".split(" "));

    async function act(shares = null) {
      if (run.live) return;
      if (!source) return say("Choose a picture first.");
      if (old.input.value.trim() === fresh.input.value.trim()) { say("Both say the same. Change a word of the second."); return fresh.input.focus(); }
      if (!old.input.value.trim()) { say("Say first what the picture shows now."); return old.input.focus(); }
      say("");
      painter.use("look");
      const mask = way === "picture" ? await place.stored() : null;
      if (mask === undefined || run.live) return; // the studio has said why it could not be stored
      const { document, panel, template } = draft();
      source.taken = "";
      const whole = weft.maskedEdit(copy(document), mask);
      weft.adopt(whole, panel, template);
      source.taken = template + way;
      batch = shares ? shares.length : 0;
      again = false;
      keep();
      const given = { seeds: false, targets: ["save"], parents: source.id ? [[source.id, "source"]] : [] }; // the source is stored already
      if (!shares) return weft.generate(given);
      const at = (share) => { const one = copy(whole); Object.assign(one.nodes.find((n) => n.id === "edit").widgets, farAs(share)); return one; };
      weft.generate({ ...given, series: shares.map(at) });
    }
    // What is being edited outlives a reload: the source and the words; the studio knows the edits that were made.
    const keep = () => weft.remember.set("edit", source?.id ? JSON.stringify({ of: source.id, way, old: old.input.value, words: fresh.input.value, batch }) : "");
    let back = null; // what was kept, on its way back
    function comeBack() {
      const found = parse(weft.remember.get("edit") || "{}"), p = found.of && weft.pictures.list.find((q) => q.id === found.of && !q.missing);
      if (source || waiting || !p) return;
      back = found;
      choose(p);
    }

    function show() {
      const tiled = side && results.length > 1;
      const inside = !source ? empty : tiled ? grid : pair.box;
      if (mat.firstElementChild !== inside) mat.replaceChildren(inside); // a canvas that stays keeps its focus
      bar.hidden = !source;
      beside.hidden = results.length < 2;
      beside.setAttribute("aria-pressed", String(tiled));
      for (const button of painter.buttons) {
        button.setAttribute("aria-pressed", String(!tiled && button.dataset.tool === painter.tool));
        button.hidden = button.dataset.tool === "pick" && !source?.painted;
      }
      pair.box.dataset.shown = shown && painter.tool === "look" ? "after" : "";
      form.classList.toggle("w-idle", !source);
      if (source) {
        old.show(get("before", "text"));
        fresh.show(get(after(), "text"));
        far.value = 100 * getFar();
        steps.value = get("schedule", "steps") ?? 20;
        tellFar();
        chips.replaceChildren(...[["together", "Paint both together"], ["picture", "Change the picture itself"]].filter(([name]) => ways()[name]).map(([name, label]) =>
          el("label", { class: "w-chip" }, el("input", { type: "radio", name: "w-edit-way", checked: name === way, onchange: () => change(name) }), label)));
        pair.show(source.url, shown?.url || null);
        fit();
      }
      diff();
      paintResults();
      paintStrip();
    }
    function change(name, byPaint = false) {
      const [a, b] = [old.input.value, fresh.input.value];
      if (name === "together" && painter.share) painter.reset();
      way = name;
      marked.clear();
      set("before", "text", a);
      set(after(), "text", b);
      show();
      if (!byPaint) chips.querySelector("input:checked")?.focus();
    }
    function paintStrip() {
      const list = weft.pictures.list.filter((p) => weft.plainly(p) && !p.missing);
      strip.replaceChildren(...(list.length ? list.map((p) => el("li", {}, el("button", { type: "button", class: "w-thumb", "data-id": p.id, title: weft.named(p), "aria-label": `Edit: ${weft.named(p)}`, "aria-current": source?.id === p.id ? "true" : null, onclick: () => choose(p) }, el("img", { src: p.thumb, alt: "", loading: "lazy", width: 84, height: 84 }))))
        : [el("li", { class: "w-strip-empty" }, "Your pictures will appear here.")]));
    }
    const inOrder = () => [...results].sort((a, b) => a.share - b.share); // the newest stays the last of `results`
    function paintResults() {
      variants.hidden = results.length < 2 || side;
      const cell = (p, words, act, chosen) => el("button", { type: "button", "aria-pressed": String(chosen), onclick: act }, el("img", { src: p.url, alt: "", draggable: "false" }), el("span", {}, words));
      grid.replaceChildren(...(source ? [cell(source, "Before", () => { side = false; show(); }, false), ...inOrder().map((r) => cell(r, `${Math.round(100 * r.share)} %`, () => { shown = r; side = false; show(); }, r === shown))] : []));
      if (side) fitGrid();
      variants.replaceChildren(...inOrder().map((r) => el("button", { type: "button", class: "w-output", "aria-pressed": String(r === shown), onclick: () => { shown = r; show(); } }, el("img", { src: r.thumb, alt: "", height: 48 }), el("span", {}, `${Math.round(100 * r.share)} %`))));
      caption.replaceChildren(...(shown ? [el("div", { class: "w-caption-text" }, el("p", { translate: "no" }, shown.words || weft.named(shown)), el("p", { class: "w-facts" }, weft.facts_of(shown))),
        el("div", { class: "w-actions" }, el("button", { type: "button", class: "w-btn", id: "weft-new-source", onclick: () => choose(shown) }, icon("reuse"), "Use as new source"), ...weft.saveLinks(shown))]
        : source ? [el("p", { class: "w-help" }, "Change a word and press “Change it”. Both pictures come under one slider.")] : []),
        ...(fitted() ? [el("p", { class: "w-help", id: "weft-edit-cut" }, fitted())] : []));
    }
    on("run", (snapshot) => {
      if (root.offsetParent) comeBack(); // a reloaded page that opens here hears of its run later
      if (snapshot.job.state === "done" && !run.live && source?.id && !again && results.filter((r) => r.words === fresh.input.value).length < batch) {
        again = true;
        trigger("source", { generation: source.id });
      }
      if (run.live && source && editOf(run.of?.document) && root.offsetParent) {
        if (place.looking) return; // its words are looked for, which changes nothing
        const image = Object.values(snapshot.nodes).map((n) => n.image).filter(Boolean).pop();
        if (image) pair.show(source.url, image, true);
      } else if (["error", "stopped"].includes(snapshot.job.state) && source) pair.show(source.url, shown?.url || null);
    });
    on("made", () => {
      const how = editOf(run.of?.document);
      if (!source || !how || run.of.document.nodes.find((n) => n.id === "before").widgets.text !== old.input.value) return;
      const made = weft.pictures.made.find((p) => p.node === "save") || weft.pictures.made.find((p) => !weft.titled(p));
      if (!made) return;
      shown = { ...made, share: farOf(how), words: fresh.input.value };
      results = [...results.filter((r) => r.id !== made.id && (r.words !== shown.words || r.share !== shown.share)), shown].slice(-8);
      if (batch && results.length > 1) side = true;
      show();
    });
    on("pictures", () => { if (root.offsetParent) { comeBack(); paintStrip(); } });
    watch("value", () => {
      const message = parse(props.value);
      if (message.says) say(message.says);
      if (message.source) begin(message.source);
      place.heard(message);
    });
    weft.onDesk(root, { show: () => { comeBack(); show(); }, run: () => act() });
  };
})();

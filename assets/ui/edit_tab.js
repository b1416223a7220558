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

  /** Two pictures of one size under a slider; the arrow keys move it. */
  weft.beforeAfter = () => {
    const before = el("img", { alt: "Before", draggable: "false" }), after = el("img", { alt: "After", draggable: "false" });
    const top = el("div", { class: "w-ba-after" }, after);
    const range = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Before and after: how much of the picture before is shown", oninput: () => paint() });
    const box = el("figure", { class: "w-ba" }, before, top, el("i", { class: "w-ba-line" }), el("span", { class: "w-ba-word w-left" }, "Before"), el("span", { class: "w-ba-word w-right" }, "After"), range);
    const paint = () => box.style.setProperty("--at", `${range.value}%`);
    paint();
    return { box, show(from, to, forming = false) {
      if (from && before.getAttribute("src") !== from) before.src = from;
      if (to && after.getAttribute("src") !== to) after.src = to;
      box.classList.toggle("w-ba-one", !to);
      box.classList.toggle("w-forming", forming);
    } };
  };

  weft.editTab = (root, { props, trigger, watch }) => {
    let source = null, way = "together", results = [], shown = null, queue = [], waiting = false, marked = new Set();
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
    const pair = weft.beforeAfter();
    const mat = el("div", { class: "w-mat" }, empty);
    const fit = weft.fitInto(mat, pair.box, () => (source?.width && source?.height ? source.width / source.height : 1));
    const variants = el("div", { class: "w-outputs", role: "group", "aria-label": "Edits of this picture", hidden: true });
    const caption = el("div", { class: "w-caption" });

    // words
    const old = weft.promptBox({ label: "What it shows", rows: 2, placeholder: "a red star on the left, at night", oninput: (text) => { set("before", "text", text); diff(); } });
    const fresh = weft.promptBox({ label: "What it shall show", rows: 2, placeholder: "the same words, with the change", oninput: (text) => { set(after(), "text", text); diff(); } });
    const words = el("p", { class: "w-diff", id: "weft-diff", "aria-label": "The difference of the words" });
    const picks = el("div", { class: "w-chips", role: "group", "aria-label": "Which words may move in the picture" });
    const pickBox = el("div", { class: "w-field" }, el("div", { class: "w-label" }, el("span", {}, "Where it may change"), el("span", { class: "w-help", id: "weft-where" }, "")), picks);
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
    const several = el("button", { type: "button", class: "w-btn w-wide-btn", id: "weft-edit-several", onclick: () => act([0.25, 0.5, 0.75, 1]) }, "Try four strengths");
    const form = el("section", { class: "w-form", "aria-label": "Edit" }, old.box, fresh.box, words, pickBox, farBox, el("div", { class: "w-run" }, said, go, several), more);
    root.append(el("div", { class: "weft w-create w-regions-tab w-edit-tab" }, el("section", { class: "w-stage", "aria-label": "Picture" }, mat, variants, caption, el("div", { class: "w-source-row" }, el("button", { type: "button", class: "w-square", "aria-label": "Bring a picture", title: "Bring a picture", onclick: () => pick.click() }, icon("open")), strip, pick)), form));

    const say = (text) => { said.textContent = text; said.hidden = !text; };
    function bring(file) {
      if (file.size > weft.facts.maxUpload * 0.7) return say(`${file.name} is larger than this studio takes.`);
      const reader = new FileReader();
      reader.onload = () => { say("Bringing it in …"); trigger("bring", { name: file.name, data: String(reader.result).split(",")[1] || "" }); };
      reader.readAsDataURL(file);
    }
    function choose(p) {
      waiting = p;
      trigger("source", { generation: p.id });
    }
    let wish = "";
    weft.editThis = (p, where = "") => { wish = where; weft.openTab("Edit"); choose(p); };

    function begin(message) {
      if (waiting && message.id && message.id !== waiting.id) return; // another one was chosen since
      const p = waiting && waiting.id === message.id ? waiting : null;
      source = { ...message, url: p?.url || message.url, width: p?.width, height: p?.height, taken: "" };
      way = ways().together ? "together" : "picture";
      results = [];
      shown = null;
      marked = new Set();
      if (wish && source.painted && ways().picture) { way = "picture"; marked.add(wish.toLowerCase()); }
      wish = "";
      say("");
      show();
      fresh.input.focus({ preventScroll: true });
    }
    function setFar(share) {
      if (way === "picture") return set("edit", "strength", Math.round(share * 100) / 100);
      set("edit", "eta", Math.round((1 - share) * 20) / 20); // how long the rest is put back
      set("edit", "tau", Math.round((1 - share) * 0.5 * 20) / 20); // how long the layout is kept
    }
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
    // Which words may change their place: of the change itself, or clicked. With "picture" one of the old words is the mask.
    function paintPicks(found) {
      const list = (way === "picture" ? split(old.input.value) : found.filter(([kind]) => kind !== "gone").map(([, word]) => word)).filter((w) => isWord(w) && !FILL.has(w.toLowerCase()));
      const known = [...new Set(list.map((w) => w.toLowerCase()))];
      pickBox.hidden = !source || (way === "picture" && !source.painted) || !known.length;
      marked = new Set([...marked].filter((w) => known.includes(w)));
      picks.replaceChildren(...known.map((word) => el("button", { type: "button", class: "w-chip", "aria-pressed": String(marked.has(word)), onclick: (event) => {
        if (way === "picture" && !marked.has(word)) marked.clear();
        marked[marked.has(word) ? "delete" : "add"](word);
        if (way !== "picture") set("edit", "words", [...marked].join(", "));
        const at = known.indexOf(word);
        paintPicks(found);
        picks.children[at]?.focus();
        event.stopPropagation();
      } }, word)));
      root.querySelector("#weft-where").textContent = marked.size ? "" : way === "picture" ? "anywhere; or only where a word is" : "at the words that differ; or click some";
    }
    const FILL = new Set("a an the on in at of to by with and".split(" "));

    // The mask of a word: watched while the source is painted, cut out, and put into the change. All of it is in the graph.
    function withMask(document) {
      const rid = new Set(["watch", "cut"]), word = [...marked][0];
      document.nodes = document.nodes.filter((n) => !rid.has(n.id));
      document.edges = document.edges.filter((e) => !rid.has(e.from[0]) && !rid.has(e.to[0]));
      if (way !== "picture" || !word || !source.painted) return document;
      const rest = [...new Set(split(old.input.value.toLowerCase()).filter((w) => isWord(w) && !FILL.has(w)))];
      document.nodes.push({ id: "watch", kind: "watch_words", title: "Watch words", widgets: { words: rest.join(", "), spread: 2 }, pos: [340, 700], mode: "normal" },
        { id: "cut", kind: "mask_from_words", title: "Mask of the word", widgets: { word, grow: 8, pick: "largest" }, pos: [980, 700], mode: "normal" });
      for (const [from, to] of [["model.model", "watch.model"], ["before.conditioning", "watch.positive"], ["watch.attachment", "paint.attachments"], ["paint.seen", "cut.seen"], ["picture.image", "cut.image"], ["cut.mask", "edit.mask"]])
        document.edges.push({ from: from.split("."), to: to.split(".") });
      return document;
    }
    function act(shares = null) {
      if (!source) return say("Choose a picture first.");
      if (old.input.value.trim() === fresh.input.value.trim()) { say("Both say the same. Change a word of the second."); return fresh.input.focus(); }
      if (!old.input.value.trim()) { say("Say first what the picture shows now."); return old.input.focus(); }
      say("");
      queue = shares ? [...shares] : [getFar()];
      next();
    }
    function next() {
      if (!queue.length) return;
      const share = queue.shift();
      far.value = 100 * share;
      setFar(share);
      tellFar();
      const { document, panel, template } = draft();
      source.taken = "";
      const whole = withMask(copy(document));
      weft.adopt(whole, panel, template);
      source.taken = template + way;
      source.share = share;
      weft.generate({ seeds: false, parents: source.id ? [[source.id, "source"]] : [] });
    }

    function show() {
      mat.replaceChildren(source ? pair.box : empty);
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
    function change(name) {
      const [a, b] = [old.input.value, fresh.input.value];
      way = name;
      marked.clear();
      set("before", "text", a);
      set(after(), "text", b);
      show();
      chips.querySelector("input:checked")?.focus();
    }
    function paintStrip() {
      const list = weft.pictures.list.filter((p) => !weft.titled(p) && !p.missing);
      strip.replaceChildren(...(list.length ? list.map((p) => el("li", {}, el("button", { type: "button", class: "w-thumb", "data-id": p.id, title: weft.named(p), "aria-label": `Edit: ${weft.named(p)}`, "aria-current": source?.id === p.id ? "true" : null, onclick: () => choose(p) }, el("img", { src: p.thumb, alt: "", loading: "lazy", width: 84, height: 84 }))))
        : [el("li", { class: "w-strip-empty" }, "Your pictures will appear here.")]));
    }
    function paintResults() {
      variants.hidden = results.length < 2;
      variants.replaceChildren(...results.map((r) => el("button", { type: "button", class: "w-output", "aria-pressed": String(r === shown), onclick: () => { shown = r; show(); } }, el("img", { src: r.thumb, alt: "", height: 48 }), el("span", {}, `${Math.round(100 * r.share)} %`))));
      caption.replaceChildren(...(shown ? [el("div", { class: "w-caption-text" }, el("p", { translate: "no" }, shown.words || weft.named(shown)), el("p", { class: "w-facts" }, weft.facts_of(shown))),
        el("div", { class: "w-actions" }, el("button", { type: "button", class: "w-btn", id: "weft-new-source", onclick: () => choose(shown) }, icon("reuse"), "Use as new source"), ...weft.saveLinks(shown))]
        : source ? [el("p", { class: "w-help" }, "Change a word and press “Change it”. Both pictures come under one slider.")] : []));
    }
    on("run", (snapshot) => {
      if (run.live && source?.taken && live()) {
        const image = Object.values(snapshot.nodes).map((n) => n.image).filter(Boolean).pop();
        if (image) pair.show(source.url, image, true);
      } else if (["error", "stopped"].includes(snapshot.job.state)) { queue = []; if (source) pair.show(source.url, shown?.url || null); }
    });
    on("made", () => {
      if (!source || !live()) return;
      const made = weft.pictures.made.find((p) => p.node === "save") || weft.pictures.made.find((p) => !weft.titled(p));
      if (!made) return;
      shown = { ...made, share: source.share, words: fresh.input.value };
      results = [...results.filter((r) => r.id !== made.id), shown].slice(-8);
      show();
      if (queue.length) setTimeout(next, 50);
    });
    on("pictures", () => { if (root.offsetParent) paintStrip(); });
    watch("value", () => {
      const message = parse(props.value);
      if (message.says) say(message.says);
      if (message.source) begin(message.source);
    });
    weft.onDesk(root, { show: () => show(), run: () => act() });
  };
})();

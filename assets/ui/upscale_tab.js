// Upscale: a picture made larger, by which engine, how many times, with its detail painted anew or not; before and after.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, run, parse } = weft;
  const KEY = "weft-upscale"; // of this window: a reload brings the tab back as it was, and nothing outlives the window
  const visit = {
    get: () => { try { return parse(sessionStorage.getItem(KEY), null); } catch { return null; } },
    set: (told) => { try { sessionStorage.setItem(KEY, JSON.stringify(told)); } catch { /* nothing is kept */ } },
  };
  const OWN = { "scenes-upscale-x2": "Paper cut" }, TILES = [[0, "Automatic"], [128, "Small: least memory"], [4096, "The whole picture at once"]], FACTORS = [2, 3, 4];

  weft.upscaleTab = (root, { props, trigger, watch }) => {
    let engines = [], engine = null, factor = 2, source = null, waiting = null, shown = null, mine = false, close = false, asked = 0, plan = null, folder = "", wait = 0;
    let back = visit.get(), made = { run: "", id: "" }; // what a reload brings back; the run of this tab and its picture

    const pick = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", class: "w-sr", tabindex: -1, "aria-hidden": "true", onchange: () => { if (pick.files[0]) bring(pick.files[0]); pick.value = ""; } });
    const newest = el("button", { type: "button", class: "w-btn", id: "weft-upscale-last", hidden: true, onclick: () => choose(last()) }, "Take the last picture");
    const empty = el("div", { class: "w-empty" }, el("h2", {}, "Which picture shall be larger?"), el("p", {}, "Choose one below, or bring your own."),
      el("div", { class: "w-examples" }, el("button", { type: "button", class: "w-btn", onclick: () => pick.click() }, icon("open"), "Bring a picture"), newest));
    const pair = weft.beforeAfter();
    pair.box.querySelector("input").setAttribute("aria-label", "Before and after: how much of the small picture is shown");
    const mat = el("div", { class: "w-mat" }, empty);
    const ratio = () => (source ? source.width / source.height : 1), fitted = weft.fitInto(mat, pair.box, ratio);
    const whole = el("button", { type: "button", class: "w-tool", "aria-pressed": "true", onclick: () => { close = false; fit(); } }, "Whole picture");
    const near = el("button", { type: "button", class: "w-tool", "aria-pressed": "false", id: "weft-upscale-close", onclick: () => { close = true; fit(); } }, icon("eye"), "Look close");
    const bar = el("div", { class: "w-tools", hidden: true }, el("div", { class: "w-tool-group", role: "group", "aria-label": "How large it is shown" }, whole, near), el("span", { class: "w-spread" }), el("span", { class: "w-facts", id: "weft-upscale-size" }));
    const thin = el("p", { class: "w-help w-thin", role: "status", hidden: true }, "Whole, it is no more than a line here. Look close shows it.");
    const caption = el("div", { class: "w-caption" });
    const strip = el("ul", { class: "w-strip", "aria-label": "Pictures to make larger, newest first" });

    const factors = el("div", { class: "w-chips", role: "radiogroup", "aria-label": "How many times as wide and high" });
    const list = el("div", { class: "w-engines", role: "radiogroup", "aria-label": "What makes it larger" });
    const where = el("p", { class: "w-help", hidden: true });
    const anew = el("input", { type: "checkbox", id: "weft-upscale-anew", onchange: () => { say("", "words"); sync(); ask(); if (anew.checked) reveal(anewBox); } });
    const strength = el("input", { type: "range", min: 5, max: 50, value: 15, "aria-label": "How much is painted anew", oninput: () => amount(), onchange: () => ask() });
    const strengthWords = el("span", { class: "w-help w-number" }, "15 %"), strays = el("p", { class: "w-help", role: "status" });
    const amount = () => {
      const much = strength.valueAsNumber > 20; // docs/measured.md, Larger pictures
      strengthWords.textContent = `${strength.value} %`;
      strays.classList.toggle("w-warned", much);
      strays.textContent = much ? "With the demo model edges blur from here on: at 40 % the error is twice that without." : "So little keeps the picture as it is.";
    };
    const prompt = weft.promptBox({ label: "What it shows", rows: 2, placeholder: "a red star on the left, at night", oninput: () => { say("", "words"); keep(); } });
    const anewBox = el("div", { class: "w-anew", hidden: true }, el("div", { class: "w-field" }, el("div", { class: "w-label" }, el("span", {}, "How much is painted anew"), strengthWords), strength, el("div", { class: "w-ends w-help" }, el("span", {}, "close to the picture"), el("span", {}, "free")), strays), prompt.box);
    const tiles = el("select", { class: "w-text", "aria-label": "Tiles", onchange: () => ask() }, ...TILES.map(([value, words]) => el("option", { value }, words)));
    const more = el("details", { class: "w-more" }, el("summary", {}, icon("chevron"), "More settings"), el("div", { class: "w-more-body" }, el("label", { class: "w-field w-wide" }, el("span", { class: "w-label" }, "Tiles"), tiles, el("span", { class: "w-help" }, "Large pictures are worked on piece by piece. Smaller pieces need less memory."))));
    const sum = el("p", { class: "w-becomes", id: "weft-upscale-sum", role: "status" });
    const said = el("p", { class: "w-unknown", role: "status", hidden: true });
    const go = weft.goButton("weft-upscale-go", "Make it larger", () => act());
    const form = el("section", { class: "w-form w-idle", "aria-label": "Upscale" },
      el("div", { class: "w-field" }, el("div", { class: "w-label" }, "How many times"), factors),
      el("div", { class: "w-field" }, el("div", { class: "w-label" }, "With what"), list, where),
      el("div", { class: "w-field" }, el("label", { class: "w-check", for: anew.id }, anew, el("span", {}, "Paint its detail anew")), el("p", { class: "w-help" }, "The model adds detail that the small picture does not have. It may also change things."), anewBox),
      el("div", { class: "w-run" }, sum, said, go), more);
    root.append(el("div", { class: "weft w-create w-regions-tab w-edit-tab w-upscale-tab" }, el("section", { class: "w-stage", "aria-label": "Picture" }, bar, mat, thin, caption, el("div", { class: "w-source-row" }, el("button", { type: "button", class: "w-square", "aria-label": "Bring a picture", title: "Bring a picture", onclick: () => pick.click() }, icon("open")), strip, pick)), form));

    weft.dropZone(root, "Drop a picture to make it larger", { seen: () => root.offsetParent !== null, take: (file) => bring(file) });

    function keep() {
      if (!source) return;
      visit.set({ picture: source.value, id: source.id, words: prompt.input.value, engine: engine?.ref, factor, anew: anew.checked, strength: strength.value, tile: tiles.value, run: made.run, made: made.id });
    }
    function restore() { // what a reload took away, asked for once
      if (!back?.picture) return;
      Object.assign(anew, { checked: Boolean(back.anew) });
      if (back.strength) strength.value = back.strength;
      if (TILES.some(([value]) => String(value) === back.tile)) tiles.value = back.tile;
      if (FACTORS.includes(back.factor)) factor = back.factor;
      made = { run: back.run || "", id: back.made || "" };
      trigger("source", { picture: back.picture });
    }
    /** Into view, clear of the button that sticks to the lower edge of the form. */
    function reveal(part) {
      const start = go.closest(".w-run"), sticks = getComputedStyle(start).position === "sticky";
      part.style.scrollMargin = `110px 0 ${sticks ? start.offsetHeight + 86 : 64}px`;
      part.scrollIntoView({ block: "nearest", behavior: "instant" });
    }
    const say = weft.sayer(said);
    const last = () => weft.pictures.list.find((p) => weft.plainly(p) && !p.missing);
    const bring = (file) => weft.readFile(file, { fault: say, then: (data) => { say("Bringing it in …"); waiting = null; trigger("bring", { name: file.name, data }); } });
    function choose(p) { if (!p) return; waiting = p; trigger("source", { generation: p.id }); }
    weft.upscaleThis = (p) => { weft.openTab("Upscale"); choose(p); };

    function begin(message) {
      if (waiting && message.id && message.id !== waiting.id) return; // another one was chosen since
      const again = !waiting && back?.picture?.file === message.value.file ? back : null;
      back = null;
      source = { ...message, url: waiting && waiting.id === message.id ? waiting.url : message.url };
      if (again) Object.assign(source, { id: again.id, prompt: again.words });
      else made = { run: "", id: "" };
      shown = null;
      close = false;
      say("");
      prompt.show(source.prompt || "");
      if (again) find();
      show();
      ask();
      keep();
    }
    /** The picture that this tab made last, once the page has it. */
    function find() {
      if (shown || !(made.id || made.run)) return;
      shown = weft.pictures.list.find((p) => p.id === made.id || (made.run && p.run === made.run && p.node === "save")) || null;
      if (shown) made.id = shown.id;
    }
    const ours = (document) => Boolean(source && document?.nodes.some((n) => n.id === "yours" && n.widgets.picture?.file === source.value.file));
    const choice = () => ({ engine: engine?.ref || "", factor, redraw: anew.checked ? strength.valueAsNumber / 100 : 0, tile: Number(tiles.value) });
    function ask() { // what it will be, before the start
      keep();
      if (!source || !engine) return;
      clearTimeout(wait);
      wait = setTimeout(() => trigger("plan", { n: (asked += 1), width: source.width, height: source.height, ...choice() }), 120);
    }
    function tell(message) {
      if (message.n !== asked) return;
      plan = message;
      const time = message.seconds === null ? "how long it takes is known after the first" : weft.about(message.seconds);
      sum.replaceChildren(...(message.fault ? [] : [`${source.width} × ${source.height} becomes ${message.width} × ${message.height}`, message.tiles === 1 ? "in one piece" : `${message.tiles} tiles`, time].map((text) => el("span", {}, text))));
      say(message.fault || "", "plan");
    }
    function act() {
      if (!source) return say("Choose a picture first.");
      if (!engine) return say("Choose what makes it larger.", "plan");
      if (plan?.fault) return say(plan.fault, "plan");
      if (anew.checked && !prompt.input.value.trim()) { say("Say what the picture shows: its detail is painted after that.", "words"); reveal(prompt.box); return prompt.input.focus({ preventScroll: true }); }
      say("");
      trigger("make", { picture: source.value, prompt: prompt.input.value, seed: Math.floor(Math.random() * 2 ** 32), ...choice() });
    }
    function start({ document, panel, template }) {
      if (run.live) return;
      weft.opening = { sort: "named", name: "Make it larger", at: Date.now() };
      weft.adopt(document, panel, template);
      mine = true;
      if (mat.getBoundingClientRect().top < 0) mat.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" }); // one column: what is made is seen
      weft.generate({ seeds: false, parents: source.id ? [[source.id, "upscale"]] : [] });
    }

    function sync() {
      anewBox.hidden = !anew.checked;
      amount();
      factors.replaceChildren(...FACTORS.filter((f) => engine?.factors.includes(f)).map((f) => el("label", { class: "w-chip" }, el("input", { type: "radio", name: "w-upscale-factor", checked: f === factor, onchange: () => { factor = f; ask(); } }), `${f} ×`)));
    }
    function paintEngines() {
      const told = (e) => (e.problem ? e.problem : e.ref === "lanczos" ? "Smooth and quick. It adds no detail." : e.ref.startsWith("embedded:") ? "A small network that ships with Weft, trained on paper-cut scenes." : `Makes ${e.factors.join(", ")} times.`);
      list.replaceChildren(...engines.map((e) => el("label", { class: "w-engine", "data-ref": e.ref, "data-bad": e.problem ? "" : null }, el("input", { type: "radio", name: "w-upscale-engine", disabled: Boolean(e.problem), checked: e === engine, onchange: () => { engine = e; if (!e.factors.includes(factor)) factor = e.factors[0]; sync(); ask(); } }),
        el("span", { class: "w-engine-name", translate: e.ref.startsWith("embedded:") ? null : "no" }, OWN[e.title] || e.title), el("span", { class: "w-help" }, told(e)))));
      where.hidden = !folder;
      where.replaceChildren("More, as Real-ESRGAN files (safetensors), go into ", el("span", { translate: "no" }, folder));
    }
    function fit() {
      whole.setAttribute("aria-pressed", String(!close));
      near.setAttribute("aria-pressed", String(close));
      mat.classList.toggle("w-close", close);
      fitted();
      thin.hidden = close || !source || Math.min(pair.box.offsetWidth, pair.box.offsetHeight) >= 12;
      if (!close || !source) return;
      const wide = Math.max((shown || plan || source).width, 2 * source.width);
      pair.box.style.width = `${wide}px`;
      pair.box.style.height = `${Math.round(wide / ratio())}px`;
      mat.scrollTo((wide - mat.clientWidth) / 2, (wide / ratio() - mat.clientHeight) / 2);
    }
    new ResizeObserver(() => { if (close) fit(); }).observe(mat);
    function show() {
      const inside = source ? pair.box : empty;
      if (mat.firstElementChild !== inside) mat.replaceChildren(inside);
      bar.hidden = !source;
      form.classList.toggle("w-idle", !source);
      newest.hidden = !last();
      if (source) { pair.show(source.url, shown?.url || null); fit(); }
      root.querySelector("#weft-upscale-size").textContent = !source ? "" : shown ? `${source.width} × ${source.height} → ${shown.width} × ${shown.height}` : `${source.width} × ${source.height}`;
      caption.replaceChildren(...(shown ? [el("div", { class: "w-caption-text" }, el("p", { translate: "no" }, source.prompt || source.value.name), el("p", { class: "w-facts" }, el("span", {}, `Made ${Math.round(shown.width / source.width)} times as large`), "  ·  ", weft.facts_of(shown))),
        el("div", { class: "w-actions" }, el("button", { type: "button", class: "w-btn", id: "weft-upscale-graph", onclick: () => weft.openTab("Graph") }, "Show how it was made"), el("button", { type: "button", class: "w-btn", onclick: () => choose(shown) }, icon("reuse"), "Larger still"), ...weft.saveLinks(shown))] : source ? [el("div", { class: "w-caption-text" }, el("p", { translate: "no" }, source.prompt || source.value.name))] : []));
      paintStrip();
    }
    function paintStrip() {
      const all = weft.pictures.list.filter((p) => weft.plainly(p) && !p.missing);
      strip.replaceChildren(...(all.length ? all.map((p) => el("li", {}, el("button", { type: "button", class: "w-thumb", "data-id": p.id, title: weft.named(p), "aria-label": `Make larger: ${weft.named(p)}`, "aria-current": source?.id === p.id ? "true" : null, onclick: () => choose(p) }, el("img", { src: p.thumb, alt: "", loading: "lazy", width: 84, height: 84 }))))
        : [el("li", { class: "w-strip-empty" }, "Your pictures will appear here.")]));
    }
    on("pictures", () => { find(); if (root.offsetParent) show(); });
    on("run", ({ job, run: id }) => {
      if (id && id !== made.run && (mine || (run.live && ours(run.of?.document)))) { made = { run: id, id: "" }; keep(); }
      if (["error", "stopped"].includes(job.state)) mine = false;
    });
    on("made", () => {
      const fresh = (mine || ours(run.of?.document)) && weft.pictures.made.find((p) => p.node === "save");
      if (!fresh) return;
      mine = false;
      shown = fresh;
      made = { run: fresh.run, id: fresh.id };
      show();
      ask();
    });
    watch("value", () => {
      const message = parse(props.value);
      if (message.says) say(message.says);
      if (message.engines) {
        engines = message.engines;
        folder = message.folder || "";
        engine = engines.find((e) => e.ref === (engine?.ref || back?.engine) && !e.problem) || engines.find((e) => !e.problem) || null;
        if (engine && !engine.factors.includes(factor)) factor = engine.factors[0];
        if (back && !source) restore();
        paintEngines();
        sync();
        ask();
      }
      if (message.source) begin(message.source);
      if (message.plan) tell(message.plan);
      if (message.ready) start(message.ready);
    });
    let looked = false;
    weft.onDesk(root, { show: (fresh) => { if (fresh || !looked) { looked = true; trigger("look", {}); } show(); }, run: () => act() });
  };
})();

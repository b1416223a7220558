// The picture on its mat: empty state, live preview, result with its settings, and the strip of earlier pictures.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, doc, run, remember, dialog } = weft;

  const varied = (p) => /^variation-\d+$/.test(p.title);
  /** The seed that made a picture; null for variations, which come from another one's and from noise of their own. */
  weft.seedOf = (p) => (varied(p) || (p.enlarged && !p.prompt) ? null : p.seed);
  weft.facts_of = (p) => [`${p.width} × ${p.height}`, weft.seedOf(p) === null ? null : `seed ${p.seed}`, p.seconds ? `${p.seconds.toFixed(1)} s` : null, p.stopped ? `stopped after ${p.stopped[0]} of ${p.stopped[1]} steps` : null].filter(Boolean).join("  ·  ");
  weft.when = (p) => new Date(p.created * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  weft.titled = (p) => (p.title === "weft" ? "" : p.title); // the name that every file gets unless somebody chose one
  /** Whether it is a picture for its own sake, and no map, strip or other sheet beside one. */
  weft.plainly = (p) => !weft.titled(p) || varied(p);
  // what the ready workflows put beside a picture, by the names of the files
  const beside = { before: "Before", reference: "Reference", layout: "Layout", mask: "Mask", estimates: "Estimates", blocks: "Blocks", "concept-maps": "Maps of concepts", "region-maps": "Maps of regions", "word-maps": "Word maps", "word-maps-by-block": "Word maps by block", "weft-worse": "Made worse", "in-the-mask": "In the mask" };
  // What a picture of a run is: its name, unless it is the one that every file gets.
  weft.outputName = (p) => {
    if (Object.hasOwn(beside, p.title)) return beside[p.title];
    const words = (weft.titled(p) || "picture").replaceAll(/[-_]+/g, " ").trim();
    return words.charAt(0).toUpperCase() + words.slice(1) + (p.item === null || p.item === undefined ? "" : ` ${p.item + 1}`);
  };
  weft.named = (p) => (p.enlarged?.of ? `${p.enlarged.of} · ${p.enlarged.times} ×` : "") || p.prompt || weft.titled(p) || weft.said("Picture without a prompt"); // said here: where a name stands nothing is translated
  // On a shared host the saved file carries no workflow unless asked for.
  weft.saveLinks = (p) => [[p.save, "Save PNG"], [p.saveWithGraph, "PNG with settings"]].filter(([href]) => href)
    .map(([href, label]) => el("a", { class: "w-btn", href, download: p.file }, icon("save"), label));

  weft.knows = () => {
    const model = weft.modelOf(doc);
    if (!model) return dialog("What this model knows", el("p", {}, "This model came without a list of words. Describe the picture in plain English."));
    const names = { kind: "Things", colour: "Colours", size: "Sizes", pattern: "Patterns", background: "Surroundings", place: "Places", relation: "Relations", words: "Small words" };
    const colours = { red: "#d61e2c", orange: "#fa880c", yellow: "#fdda2e", green: "#2c9e4a", blue: "#2662da", purple: "#7e38b2", violet: "#7e38b2", pink: "#fa8abc", brown: "#7a4c2c", black: "#24242c", white: "#f2f3f6" };
    const box = dialog("What this model knows",
      el("p", {}, model.limits || "A small model trained on paper-cut scenes. It paints up to four things, each with a colour, a size, a pattern and a place."),
      model.examples.length ? el("section", { class: "w-group" }, el("h3", {}, "Try one of these"),
        el("div", { class: "w-chips" }, ...model.examples.map((text) => el("button", { type: "button", class: "w-chip", translate: "no", onclick: () => { box.close(); weft.setPrompt(text); } }, text)))) : null,
      ...Object.entries(model.vocabulary).filter(([group]) => !["words", "other"].includes(group)).map(([group, words]) => el("section", { class: "w-group" }, el("h3", {}, names[group] || group),
        el("div", { class: "w-chips" }, ...words.map((word) => el("button", { type: "button", class: "w-word", translate: "no", "aria-label": `Add ${word} to the prompt`, onclick: () => weft.addWord(word) },
          group === "colour" && colours[word] ? el("i", { class: "w-dot", style: `background:${colours[word]}` }) : null, word))))),
      el("p", { class: "w-help" }, "Pressing a word adds it to the prompt. Other words are allowed, but the model cannot see them."));
    return box;
  };

  weft.stage = (root) => {
    const mat = el("div", { class: "w-mat", id: "weft-mat" });
    const caption = el("div", { class: "w-caption" });
    const strip = el("ul", { class: "w-strip", id: "weft-strip", "aria-label": "Earlier pictures, newest first" });
    const outputs = el("div", { class: "w-outputs", id: "weft-outputs", role: "group", "aria-label": "All pictures of this run", hidden: true });
    root.append(mat, weft.fades(outputs), caption, weft.fades(strip));
    let chosen = null, mode = "", helpers = false; // whether the strip shows what stands beside a picture, too

    // The print is as large as the mat allows; a small picture is shown enlarged, never cropped.
    function print(width, height, src, alt, forming) {
      const figure = el("figure", { class: "w-print" + (forming ? " w-forming" : "") });
      if (src) figure.append(el("img", { src, alt, width, height, draggable: "true" }));
      else figure.append(el("div", { class: "w-blank" }, el("span", {}, alt)));
      figure.dataset.ratio = width / height;
      return figure;
    }
    function fit() {
      const figure = mat.querySelector(".w-print");
      if (!figure) return;
      const ratio = Number(figure.dataset.ratio), style = getComputedStyle(mat);
      const wide = mat.clientWidth - 2 * parseFloat(style.paddingLeft);
      const narrow = matchMedia("(max-width: 900px)").matches;
      const high = narrow ? weft.roomHigh() : mat.clientHeight - 2 * parseFloat(style.paddingTop);
      const width = Math.floor(Math.min(wide, high * ratio));
      figure.style.width = `${width}px`;
      figure.style.height = `${Math.floor(width / ratio)}px`;
    }
    new ResizeObserver(fit).observe(mat);

    function empty() {
      const examples = (weft.modelOf(doc)?.examples || []).slice(0, 3);
      mat.replaceChildren(el("div", { class: "w-empty" }, el("img", { src: "weft/ui/empty.svg", alt: "", width: 480, height: 300 }),
        el("h2", {}, "What shall we cut from paper?"), el("p", {}, "Describe a picture, or start from one of these."),
        el("div", { class: "w-examples" }, ...examples.map((text) => el("button", { type: "button", class: "w-chip", translate: "no", onclick: () => weft.setPrompt(text) }, text)))));
      caption.replaceChildren();
      outputs.hidden = true;
    }
    // The other pictures of the same run: the result, then its heat map, strip or panels, or what it was made from.
    function together(p) {
      const { made, list } = weft.pictures;
      const all = made.some((q) => q.id === p.id) ? made : list.filter((q) => q.run && q.run === p.run);
      const order = (q) => `${q.node === "save" ? "" : q.node || ""} ${String(q.item ?? 0).padStart(3, "0")}`;
      return all.length < 2 ? [] : [...all].sort((a, b) => (order(a) < order(b) ? -1 : 1));
    }
    // how far variations may go; it is remembered
    const howFar = () => el("select", { class: "w-btn w-quiet w-far", id: "weft-vary-far", "aria-label": "How far the four may go", title: "How far the four may go", onchange: (event) => remember.set("vary", event.target.value) },
      ...[["subtle", "subtle"], ["medium", "medium"], ["strong", "strong"]].map(([value, word]) => el("option", { value, selected: value === weft.varyFar() }, word)));
    function picture(p) {
      const all = together(p);
      outputs.hidden = !all.length;
      outputs.replaceChildren(...all.map((q) => el("button", { type: "button", class: "w-output", "data-id": q.id, "aria-pressed": String(q.id === p.id), onclick: () => { choose(q); outputs.querySelector("[aria-pressed=true]")?.focus(); } },
        el("img", { src: q.thumb, alt: "", height: 56 }), el("span", {}, weft.outputName(q)))));
      mat.replaceChildren(print(p.width, p.height, p.url, weft.named(p), false));
      fit();
      caption.replaceChildren(
        el("div", { class: "w-caption-text" }, el("p", { translate: "no", title: weft.named(p) }, weft.named(p)), el("div", { class: "w-facts-line" }, el("span", { class: "w-facts" }, weft.facts_of(p)),
          el("button", { type: "button", class: "w-link", onclick: () => weft.reuse(p, "prompt") }, "Only prompt"),
          weft.seedOf(p) === null ? null : el("button", { type: "button", class: "w-link", onclick: () => weft.reuse(p, "seed") }, "Only seed"))),
        weft.fades(el("div", { class: "w-actions" },
          ...weft.saveLinks(p),
          el("button", { type: "button", class: "w-btn", id: "weft-reuse", onclick: () => weft.reuse(p, "all") }, icon("reuse"), "Reuse settings"),
          el("span", { class: "w-split" }, el("button", { type: "button", class: "w-btn w-quiet", id: "weft-vary", title: "Four pictures near this one", onclick: () => weft.vary(p) }, "Vary"), howFar()),
          el("button", { type: "button", class: "w-btn w-quiet", id: "weft-edit-this", onclick: () => weft.editThis(p) }, "Edit this"),
          el("button", { type: "button", class: "w-btn w-quiet", id: "weft-upscale-this", onclick: () => weft.upscaleThis(p) }, "Make it larger"),
          el("button", { type: "button", class: "w-btn w-quiet", id: "weft-how", onclick: () => { weft.reuse(p, "all"); weft.openTab("Graph"); } }, "Show how it was made"))));
    }
    function forming(snapshot) {
      const nodes = Object.values(snapshot.nodes), image = nodes.map((n) => n.image).filter(Boolean).pop();
      const [width, height] = ["width", "height"].map((side) => Number(doc.field(side) ? doc.widget(doc.field(side)) : 1) || 1);
      const shown = mat.querySelector(".w-forming img");
      if (shown && image) { shown.src = image; return; }
      outputs.hidden = true;
      mat.replaceChildren(print(width, height, image, image ? "Live preview of the picture in the making" : snapshot.job.state === "queued" ? "Waiting for its turn" : "Laying out the paper", true));
      fit();
      const prompt = doc.field("prompt");
      caption.replaceChildren(el("div", { class: "w-caption-text" }, el("p", { translate: "no" }, prompt ? doc.widget(prompt) : ""), el("p", { class: "w-facts" }, width > 1 ? `${width} × ${height}` : "")));
    }
    function choose(p) {
      chosen = p;
      mode = p ? "picture" : "empty";
      if (p) picture(p); else empty();
      mark();
    }
    function mark() {
      const p = chosen;
      for (const item of strip.querySelectorAll("button")) {
        if (p && item.dataset.id === p.id) item.setAttribute("aria-current", "true");
        else item.removeAttribute("aria-current");
      }
    }
    weft.choose = choose;
    /** The picture that Create shows; null where there is none. */
    weft.shown = () => chosen;

    on("run", (snapshot) => {
      if (run.live) { mode = "forming"; forming(snapshot); }
      // what a stopped run showed stays while it can be kept
      else if (mode === "forming" && !(snapshot.job.state === "stopped" && snapshot.keep && mat.querySelector(".w-forming img"))) choose(chosen);
    });
    function fillStrip(list) {
      const beside = list.filter((p) => p.helper).length;
      strip.replaceChildren(...list.filter((p) => helpers || !p.helper).map((p) => el("li", {}, el("button", { type: "button", class: "w-thumb", "data-id": p.id, title: weft.named(p), "aria-label": `Show: ${weft.named(p)}, ${p.helper ? weft.outputName(p) : `seed ${p.seed}`}`, onclick: () => choose(p) },
        el("img", { src: p.thumb, alt: "", loading: "lazy", width: 84, height: 84 }), p.helper ? el("span", { class: "w-helper" }, weft.outputName(p)) : p.stopped ? el("span", { class: "w-helper w-early", translate: "no" }, p.stopped.join(" / ")) : null))),
      beside ? el("li", {}, el("button", { type: "button", class: "w-fold-helpers", id: "weft-helpers", "aria-pressed": String(helpers), title: "Maps, sheets and pictures that others were made from", onclick: () => { helpers = !helpers; fillStrip(weft.pictures.list); mark(); strip.querySelector("#weft-helpers").focus(); } }, helpers ? "Pictures only" : beside === 1 ? "and 1 sheet" : `and ${beside} sheets`)) : "");
    }
    on("pictures", (list) => {
      fillStrip(list);
      if (!list.length) strip.replaceChildren(el("li", { class: "w-strip-empty" }, "Your pictures will appear here."));
      if (!run.live) choose(list.find((p) => p.id === chosen?.id) || (list[0] && together(list[0])[0]) || list[0] || null);
    });
    // the strips of the other tabs fade, too
    const strips = () => { for (const box of document.querySelectorAll(".w-strip, .w-small-maps")) weft.fades(box); };
    on("tab", () => setTimeout(strips, 200)); // a tab is built when it is first seen
    on("pictures", strips);
    on("run", () => { if (!run.live) strips(); });
    on("made", (p) => { choose(p); strip.scrollTo({ left: 0, top: 0 }); });
    on("document", () => { if (mode === "empty") empty(); });
    if (!weft.last.pictures) choose(null);
  };
})();

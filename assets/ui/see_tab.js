// See: the words of a prompt as buttons; where each acts lies over the picture, for the whole run, a block or a step.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, doc, run, parse } = weft;
  const VIEWS = [["mean", "Whole run"], ["blocks", "By block"], ["steps", "By step"]];

  weft.seeTab = (root, { props, trigger, watch }) => {
    const desk = weft.desk(props.desk, (d) => d.template === "see-words");
    const strips = weft.desk(props.estimates || props.desk, (d) => d.template === "estimates");
    let maps = null, picture = null, word = "", spot = null, view = "mean", at = 0, asked = "", strip = null, cut = false, wanted = null, turn = 0, looking = false, chosen = null, fresh = "", quiet = false;

    const words = weft.promptBox({ label: "The picture", rows: 3, placeholder: "A red star on the left and a blue house on the right, at night", oninput: () => { write(); fresh = now(); tell(); } });
    const buttons = el("div", { class: "w-chips w-words", id: "weft-see-words", role: "group", "aria-label": "Words of the prompt" });
    const views = el("div", { class: "w-tool-group", role: "group", "aria-label": "What the map is of" }, ...VIEWS.map(([name, label]) => el("button", { type: "button", class: "w-tool", "data-view": name, "aria-pressed": String(name === view), onclick: () => { view = name; at = name === "mean" ? 0 : (maps?.[name].length || 1) - 1; paint(); } }, label)));
    const slide = el("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "Block or step", oninput: () => { at = slide.valueAsNumber; paint(); } });
    const slideWords = el("span", { class: "w-help w-number" });
    const slideBox = el("label", { class: "w-tool-width", hidden: true }, slide, slideWords);
    const heat = el("input", { type: "range", min: 0, max: 100, value: 78, "aria-label": "How strongly the map covers the picture", oninput: () => { layer.style.opacity = heat.value / 100; } });
    const bar = el("div", { class: "w-tools" }, views, slideBox, el("span", { class: "w-spread" }), el("label", { class: "w-tool-width" }, el("span", { class: "w-tool-short" }, "Map"), heat));
    const image = el("img", { alt: "", draggable: "false" }), layer = el("canvas", { class: "w-heat", width: 256, height: 256 }), shape = el("canvas", { class: "w-shape", hidden: true });
    const print = el("figure", { class: "w-seen" }, image, layer, shape);
    const empty = el("div", { class: "w-empty" }, el("h2", {}, "Where does each word act?"), el("p", {}, "Choose a picture below, or write words. Press Look, then click a word."));
    const mat = el("div", { class: "w-mat" }, empty);
    const fit = weft.fitInto(mat, print, () => (picture ? picture.width / picture.height : 1));
    const legend = el("div", { class: "w-legend", hidden: true }, el("span", {}, "least"), el("i", {}), el("span", {}, "most of the word's attention"));
    const caption = el("div", { class: "w-caption" });
    const shelf = el("ul", { class: "w-strip", id: "weft-see-strip", "aria-label": "Pictures to look at, newest first" });
    const small = el("div", { class: "w-small-maps", role: "group", "aria-label": "Blocks or steps" });
    const go = weft.goButton("weft-look", "Look", () => act());
    const grown = el("button", { type: "button", class: "w-btn w-wide-btn", id: "weft-grow", onclick: () => grow() }, icon("eye"), "See it grow, step by step");
    const will = el("p", { class: "w-help", id: "weft-see-will" });
    go.setAttribute("aria-describedby", will.id);
    const said = el("p", { class: "w-unknown", role: "status", hidden: true });
    const settings = weft.cutSettings({ onchange: () => showCut(true) });
    const showIt = el("button", { type: "button", class: "w-btn w-wide-btn", id: "weft-show-mask", "aria-pressed": "false", onclick: () => showCut(!cut) }, icon("box"), "Show its mask");
    const maskBox = el("div", { class: "w-field", hidden: true }, el("div", { class: "w-label" }, "Its mask"), showIt, settings.box);
    const send = el("div", { class: "w-row w-send", hidden: true }, ...[["regions", "Use as a region"], ["edit", "Edit only there"]].map(([to, label]) => el("button", { type: "button", class: "w-btn", "data-to": to, onclick: () => sendMask(to) }, label)));
    const form = el("section", { class: "w-form", "aria-label": "Words" }, words.box, el("div", { class: "w-run" }, said, go, will, grown),
      el("div", { class: "w-field" }, el("div", { class: "w-label" }, "Click a word"), buttons), el("p", { class: "w-help", id: "weft-see-help" }, "Or click in the picture: the word that acts most there is chosen."), maskBox, send);
    root.append(el("div", { class: "weft w-create w-regions-tab w-see-tab" }, el("section", { class: "w-stage", "aria-label": "Picture" }, bar, mat, legend, small, caption, el("div", { class: "w-source-row" }, shelf)), form));

    const say = (text) => { said.textContent = text; said.hidden = !text; };
    const seen = (p) => Boolean(p) && !p.missing && weft.plainly(p) && !p.enlarged && Boolean(p.prompt.trim());
    const text = () => words.input.value.trim(), same = () => Boolean(chosen) && chosen.prompt.trim() === text();
    const written = () => String(desk.get(desk.field("prompt")) ?? ""), now = () => `${weft.shown?.()?.id} ${written()}`;
    const there = () => Boolean(maps) && picture?.id === chosen?.id;
    /** What Look will do, said beside it. */
    function tell() {
      will.textContent = !text() ? "Choose a picture below, or write words." : !same() ? "Look paints these words anew, as a picture of its own." : there() ? "This picture was looked at. Look paints its words anew."
        : "Look looks at this picture: it is painted once more under watch, and no new one is kept.";
    }
    function paintShelf() {
      const list = weft.pictures.list.filter(seen);
      shelf.replaceChildren(...(list.length ? list.map((p) => el("li", {}, el("button", { type: "button", class: "w-thumb", "data-id": p.id, title: weft.named(p), "aria-label": `Look at: ${weft.named(p)}`, "aria-current": chosen?.id === p.id ? "true" : null, onclick: () => choose(p) }, el("img", { src: p.thumb, alt: "", loading: "lazy", width: 84, height: 84 }))))
        : [el("li", { class: "w-strip-empty" }, "Your pictures will appear here.")]));
    }
    /** A picture to look at, in its own words; maps of it that are still kept come at once. */
    function choose(p) {
      const at = [...shelf.querySelectorAll("button")].indexOf(document.activeElement);
      chosen = p;
      strip = null;
      say("");
      words.show(p.prompt);
      if (picture?.id !== p.id) { ask(p); quiet = true; }
      paint();
      if (at >= 0) shelf.querySelectorAll("button")[at]?.focus({ preventScroll: true });
    }
    const bytes = weft.mapBytes;
    const entry = () => maps?.[view]?.[Math.min(at, maps[view].length - 1)];
    const draw = (canvas, values) => weft.heatOver(canvas, values, maps);
    const pressWord = (name) => { spot = null; word = name === word ? "" : name; settings.reset(); paint(); if (cut) asking.want(); };
    const asking = weft.oneByOne((turn) => trigger("mask", { generation: picture.id, word, ...settings.values(), ...(spot || {}), turn }));
    /** The mask itself in place of the map, as it is moved. */
    function showCut(on) {
      cut = on;
      paint();
      if (cut) asking.want();
    }
    function laid({ picture: address, word: of }) {
      const found = new Image();
      found.onload = () => { if (of === word && cut) { weft.maskTint(weft.maskFrom(found, found.naturalWidth / found.naturalHeight), "hsl(14 90% 55%)", shape); shape.hidden = false; } };
      found.src = address;
    }

    function paint() {
      mat.replaceChildren(picture ? print : empty);
      if (picture && image.getAttribute("src") !== picture.url) { image.src = picture.url; image.alt = weft.named(picture); }
      const column = maps ? maps.labels.indexOf(word) : -1, ready = column >= 0;
      if (!ready) cut = false;
      layer.hidden = legend.hidden = !ready || cut;
      send.hidden = maskBox.hidden = !ready;
      if (!cut) shape.hidden = true;
      showIt.setAttribute("aria-pressed", String(cut));
      if (ready) draw(layer, bytes(entry()[2][column]));
      layer.style.opacity = heat.value / 100;
      for (const b of views.children) { b.setAttribute("aria-pressed", String(b.dataset.view === view)); b.disabled = !maps; }
      const many = maps && view !== "mean";
      slideBox.hidden = !many;
      if (many) { slide.max = maps[view].length - 1; slide.value = at; slideWords.textContent = entry()[0]; }
      small.hidden = !(many && ready);
      if (many && ready) {
        small.replaceChildren(...maps[view].map(([label, , columns], i) => {
          const canvas = el("canvas", { width: 64, height: 64 });
          draw(canvas, bytes(columns[column]));
          return el("button", { type: "button", class: "w-small-map", "aria-pressed": String(i === at), onclick: () => { at = i; paint(); small.children[i]?.focus(); } }, canvas, el("span", {}, label));
        }));
      }
      const labels = maps ? maps.labels : [];
      if (buttons.dataset.of !== labels.join("\n")) {
        buttons.dataset.of = labels.join("\n");
        buttons.replaceChildren(...labels.map((label) => el("button", { type: "button", class: "w-word", "data-word": label, onclick: () => pressWord(label) }, label)));
      }
      for (const b of buttons.children) b.setAttribute("aria-pressed", String(b.dataset.word === word));
      if (!labels.length) buttons.replaceChildren(el("span", { class: "w-help" }, "The words appear here after Look."));
      caption.replaceChildren(...(strip ? [el("div", { class: "w-estimates" }, el("p", { class: "w-help" }, "What the model expected at each step"), el("img", { src: strip.url, alt: "The strip of final estimates, from the first step to the last", loading: "lazy" }))] : []));
      paintShelf();
      tell();
      fit();
    }
    print.addEventListener("click", (event) => {
      if (!maps) return;
      const box = print.getBoundingClientRect(), x = Math.floor(((event.clientX - box.left) / box.width) * maps.columns), y = Math.floor(((event.clientY - box.top) / box.height) * maps.rows);
      const values = entry()[2].map((text) => bytes(text)[y * maps.columns + x]);
      word = maps.labels[values.indexOf(Math.max(...values))];
      spot = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height }; // the thing that was clicked
      settings.reset();
      paint();
      if (cut) asking.want();
    });
    function act() {
      if (!text()) { say("Write a prompt first."); return words.input.focus(); }
      say("");
      if (!same() || there()) return anew();
      if (run.live) return;
      wanted = chosen;
      trigger("look", { generation: chosen.id, turn: (turn += 1) });
    }
    function write() {
      desk.write(desk.field("prompt"), words.input.value);
      desk.write({ node: "watch", widget: "words" }, "");
    }
    function anew() {
      write();
      desk.write({ node: "watch", widget: "spread" }, 0);
      desk.take();
      weft.generate({ targets: ["save"] }); // the sheets of maps are drawn here
    }
    function grow() {
      if (!props.estimates) return say("This studio has no strip of estimates.");
      strips.carry();
      if (text()) strips.write(strips.field("prompt"), words.input.value);
      if (same() && chosen.seed !== null) strips.write(strips.field("seed"), chosen.seed);
      strips.take();
      weft.generate({ seeds: false, targets: ["save_strip"] });
    }
    function sendMask(to) {
      if (!picture || !word) return;
      trigger("mask", { generation: picture.id, word, to, ...settings.values(), ...(spot || {}), turn: -(turn += 1) });
    }
    async function arrived({ value, word: name, to }) {
      const ground = String(desk.get(desk.field("prompt")) ?? "");
      if (to === "regions") return weft.regionFrom?.({ name, prompt: name, shape: "mask", mask: value, box: [0, 0, 1, 1] }, ground);
      weft.editThis?.(picture, value);
    }
    function show() {
      desk.carry();
      if (now() !== fresh) { // Create has other words or another picture than when this was seen last
        fresh = now();
        words.show(written());
        const made = [...weft.pictures.made, weft.shown?.(), ...weft.pictures.list].find((p) => seen(p) && p.prompt.trim() === written().trim());
        if (made) choose(made);
        else { chosen = picture = maps = strip = null; asked = word = ""; }
      }
      paint();
    }
    function ask(p) {
      picture = p;
      maps = null;
      quiet = false;
      if (asked !== p.id) trigger("maps", { generation: (asked = p.id) });
    }
    on("made", () => {
      const own = weft.pictures.made, first = own.find((p) => p.node === "save");
      if (!root.offsetParent) return;
      if (doc.template === "see-words" && first) { strip = null; asked = ""; chosen = first; fresh = now(); ask(first); }
      else if (doc.template === "estimates") strip = own.find((p) => p.node === "save_strip") || null;
      paint();
    });
    on("run", ({ job }) => {
      if (!looking || run.live) return;
      looking = false;
      say("");
      if (job.state === "done" && wanted) { strip = null; asked = ""; ask(wanted); paint(); }
    });
    on("run", (snapshot) => {
      if (!root.offsetParent || !run.live) return;
      const preview = Object.values(snapshot.nodes).map((n) => n.image).filter(Boolean).pop();
      if (preview && !picture) { mat.replaceChildren(print); image.src = preview; layer.hidden = true; fit(); }
    });
    watch("value", () => {
      const message = parse(props.value);
      if (message.says) { asked = ""; if (!quiet || message.turn !== undefined) say(message.says); quiet = false; }
      if (message.maps && picture && message.maps.of === picture.id) {
        maps = message.maps;
        quiet = false;
        say("");
        view = "mean";
        at = 0;
        if (!maps.labels.includes(word)) word = "";
        paint();
      }
      if (message.unseen && message.turn === turn) say(`${message.unseen} Change a word here, and they are painted anew.`);
      if (message.paint && message.paint.of === wanted?.id && !run.live) {
        say("The picture is painted once more, to see where its words act …");
        looking = true;
        weft.generate({ document: message.paint.document, targets: message.paint.targets, seeds: false, parents: [] });
      }
      if (message.cut) { laid(message.cut); asking.answered(message.cut.turn); }
      else if (message.says && message.turn > 0) asking.answered(message.turn);
      if (message.mask) arrived(message.mask);
    });
    on("pictures", () => {
      if (!chosen && text() === written().trim()) fresh = ""; // the page came back before its pictures did
      if (root.offsetParent) fresh ? paint() : show();
    });
    weft.onDesk(root, { show, run: act });
  };
})();

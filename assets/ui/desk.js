// A desk: what a tab edits. It is the page's own document where that fits, else a ready workflow laid out beside it,
// which becomes the page's document with the first change or run. So looking into a tab never changes anything.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, doc, run } = weft;
  const KEPT = ["prompt", "avoid", "seed", "model", "width", "height"];
  const copy = (value) => JSON.parse(JSON.stringify(value));
  const tabs = []; // {root, run, show} of the tabs that stand on a desk

  /** `start`: {document, panel, template} from Python; `fits(doc)`: whether the page's document is meant already. */
  weft.desk = (start, fits) => {
    const draft = { document: copy(start.document), panel: start.panel, template: start.template };
    let carried = {}; // by role: what came along last, so that what was written here since stays
    /** The settings that a model asks for, as when it is chosen on Create. */
    function suit(before, model) {
      const [width, height] = ["width", "height"].map((role) => desk.get(draft.panel.find((f) => f.role === role), 0));
      weft.presets.suit(draft.document, draft.panel, before, model, width, height);
    }
    const desk = {
      start, touched: false,
      get own() { return Boolean(doc.current) && fits(doc); },
      get document() { return desk.own ? doc.current : draft.document; },
      get panel() { return desk.own ? doc.panel : draft.panel; },
      get template() { return desk.own ? doc.template : draft.template; },
      field: (role) => desk.panel.find((f) => f.role === role),
      find: (node, widget) => desk.panel.find((f) => f.node === node && f.widget === widget) || { node, widget },
      node: (id) => desk.document.nodes.find((n) => n.id === id),
      get(spec, fallback = undefined) {
        const value = spec && desk.node(spec.node)?.widgets?.[spec.widget];
        return value === undefined ? spec?.default ?? fallback : value;
      },
      set(spec, value) {
        if (!spec || !desk.node(spec.node)) return;
        desk.write(spec, value); // first here: a view that hears of the new document shows it with this in it
        if (desk.own) return;
        desk.take();
        doc.set(spec, value);
      },
      /** Changes what this tab works on, and leaves the page's document alone where that is another. */
      write(spec, value) {
        if (!spec || !desk.node(spec.node)) return;
        if (desk.own) doc.set(spec, value);
        else (desk.node(spec.node).widgets ||= {})[spec.widget] = value;
      },
      /** What a person set in the page's document comes along, as with the template cards. */
      carry() {
        if (desk.own || !doc.current) return false;
        let fresh = false;
        for (const role of KEPT) {
          const from = doc.field(role), to = draft.panel.find((f) => f.role === role), value = from && doc.widget(from);
          if (!from || !to || (role === "prompt" && !String(value).trim()) || carried[role] === value) continue;
          carried[role] = value;
          const node = draft.document.nodes.find((n) => n.id === to.node);
          if (role === "model" && node.widgets[to.widget] !== value) suit(node.widgets[to.widget], value);
          fresh ||= role === "prompt" && node.widgets[to.widget] !== value;
          node.widgets[to.widget] = value;
        }
        return fresh;
      },
      lay(document, panel = start.panel, template = start.template) { Object.assign(draft, { document: copy(document), panel, template }); carried = {}; },
      take() { if (!desk.own) weft.adopt(copy(draft.document), draft.panel, draft.template); },
    };
    return desk;
  };

  /** The bytes of a file in base64, for `then`; `fault(text)` says why not. */
  weft.readFile = (file, { then, fault }) => {
    if (file.size > weft.facts.maxUpload * 0.7) return fault(`${file.name} is larger than this studio takes.`);
    const reader = new FileReader();
    reader.onload = () => then(String(reader.result).split(",")[1] || "");
    reader.onerror = () => fault(`${file.name} cannot be read.`);
    reader.readAsDataURL(file);
  };

  /** A file that is dropped anywhere is handed to `take(file)` while `seen()`; `words` say so over the page. */
  weft.dropZone = (root, words, { seen, take }) => {
    const veil = el("div", { class: "w-drop weft", hidden: true }, words);
    root.append(veil);
    const carries = (event) => [...(event.dataTransfer?.types || [])].includes("Files") && seen();
    document.addEventListener("dragover", (event) => { if (carries(event)) { event.preventDefault(); veil.hidden = false; } });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) veil.hidden = true; });
    document.addEventListener("drop", (event) => {
      veil.hidden = true;
      if (!carries(event)) return;
      event.preventDefault();
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
  };

  /** Registers a tab: `show()` when it comes into view or the document changes there, `run()` for Ctrl+Enter. */
  weft.onDesk = (root, { show, run: act }) => {
    const tab = { root, show, run: act, seen: false };
    tabs.push(tab);
    new IntersectionObserver((entries) => {
      const seen = entries.some((entry) => entry.isIntersecting);
      if (seen && !tab.seen) show(true);
      tab.seen = seen;
    }).observe(root);
    weft.on("document", () => { if (root.offsetParent) show(false); });
  };
  window.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
    const tab = tabs.find((t) => t.root.offsetParent);
    if (!tab) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!run.live) tab.run();
  }, true);

  /** A prompt with a line under it that names words the model cannot know. */
  weft.promptBox = ({ label, rows = 3, placeholder = "", oninput, extra = null }) => {
    const input = el("textarea", { class: "w-text w-serif", rows, placeholder, spellcheck: "true" });
    const unknown = el("p", { class: "w-unknown", hidden: true, role: "status" });
    const box = weft.field({ label, node: "", widget: "" }, input, { wide: true, extra });
    box.removeAttribute("data-node");
    box.append(unknown);
    const check = () => {
      const found = weft.vocabulary?.size ? weft.unknownWords(input.value, weft.vocabulary) : [];
      unknown.hidden = !found.length;
      unknown.textContent = found.length ? `Not known to this model: ${found.map((f) => f.word + (f.near.length ? ` (perhaps ${f.near[0]}?)` : "")).join(", ")}.` : "";
    };
    let wait = 0;
    input.addEventListener("input", () => { oninput(input.value); clearTimeout(wait); wait = setTimeout(check, 350); });
    return { input, box, show(value) { if (input !== document.activeElement || input.value !== value) input.value = value ?? ""; check(); } };
  };

  /** What a tab says under its form, as say(text, by). An answer that comes when it may takes back with say("", by) what was
      said in that name and nothing else: what a press just asked for stays. say("") takes back anything. */
  weft.sayer = (line) => {
    let who = "";
    return (text, by = "") => {
      if (!text && by && by !== who) return;
      line.textContent = text || "";
      line.hidden = !text;
      who = by;
    };
  };

  /** The button that starts and stops, in the words of a tab. What another tab began is not stopped by it. */
  weft.goButton = (id, word, act) => {
    let own = false, before = false;
    const go = el("button", { type: "button", class: "w-go", id, onclick: () => (run.live ? weft.stop() : act()) });
    weft.on("run", () => {
      if (run.live !== before) own = run.live && go.offsetParent !== null; // begun while this tab was open
      before = run.live;
      const stops = run.live && own;
      go.disabled = run.live && !own;
      go.title = go.disabled ? "Something else is being made. Its Stop is in the line below." : "";
      go.classList.toggle("w-stop", stops);
      go.replaceChildren(weft.icon(stops ? "stop" : "go"), stops ? "Stop" : word, el("kbd", { "aria-hidden": "true" }, stops ? "Esc" : "Ctrl ↵"));
    });
    return go;
  };
  // gradio mounts a tab at its first visit: what another tab hands over waits until then.
  for (const [name, tab] of [["regionFrom", "Regions"], ["editThis", "Edit"], ["upscaleThis", "Upscale"]]) {
    const later = weft[name] = (...handed) => {
      weft.openTab(tab);
      let tries = 100;
      const wait = setInterval(() => {
        if (weft[name] === later && --tries) return;
        clearInterval(wait);
        if (tries) setTimeout(() => weft[name](...handed), 150); // after the tab's own first look
      }, 50);
    };
  }
  /** A map of the studio as numbers 0..255, row by row. */
  weft.mapBytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  /** Lays a map on a canvas that lies over a picture: the more, the lighter and the denser. */
  weft.heatOver = (canvas, values, { rows, columns }) => {
    const tile = document.createElement("canvas");
    Object.assign(tile, { width: columns, height: rows });
    const pen = tile.getContext("2d"), data = pen.createImageData(columns, rows);
    values.forEach((v, i) => { const [r, g, b] = weft.heat(v / 255); data.data.set([r, g, b, 60 + Math.round(195 * Math.min(1, v / 150))], 4 * i); });
    pen.putImageData(data, 0, 0);
    const into = canvas.getContext("2d");
    into.clearRect(0, 0, canvas.width, canvas.height);
    into.imageSmoothingQuality = "high";
    into.drawImage(tile, 0, 0, canvas.width, canvas.height);
  };
  /** Fits an element with an aspect into its mat. */
  const THIN = 3; // px: what is very long is still seen
  weft.fitInto = (mat, element, ratio) => {
    const fit = () => {
      const style = getComputedStyle(mat), wide = mat.clientWidth - 2 * parseFloat(style.paddingLeft);
      if (wide <= 0) return;
      const high = matchMedia("(max-width: 900px)").matches ? weft.roomHigh() : mat.clientHeight - 2 * parseFloat(style.paddingTop);
      const width = Math.floor(Math.min(wide, high * ratio()));
      element.style.width = `${Math.max(THIN, width)}px`;
      element.style.height = `${Math.max(THIN, Math.floor(width / ratio()))}px`;
    };
    new ResizeObserver(fit).observe(mat);
    return fit;
  };
})();

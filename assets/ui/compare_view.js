// Compare, the pictures: a labelled table that fills, two of them under one slider, and how they differ.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, dialog } = weft;
  const NOTHING = { axes: [], cells: [] };

  /** `view`: table, pair or difference. Gives {tools, mat, below, show(table), forming(at, image), pictures()}. */
  weft.compareView = () => {
    let table = NOTHING, view = "table", own = 0, a = "", b = "", picked = false, shape = "";
    const buttons = new Map(), byKey = new Map();
    const key = (cell) => cell.at.join(",");
    const made = () => table.cells.filter((cell) => cell.picture);

    const VIEWS = [["table", "Table"], ["pair", "A and B"], ["difference", "Difference"]];
    const views = el("div", { class: "w-tool-group", role: "group", "aria-label": "What is shown" }, ...VIEWS.map(([name, label]) => el("button", { type: "button", class: "w-tool", "data-view": name, onclick: () => { view = name; paint(); } }, label)));
    const size = el("input", { type: "range", min: 80, max: 384, value: 200, "aria-label": "Size of the pictures in the table", oninput: () => { own = size.valueAsNumber; fit(); } });
    const sizeBox = el("label", { class: "w-tool-width" }, el("span", { class: "w-tool-short" }, "Size"), size);
    const gain = el("input", { type: "range", min: 1, max: 16, value: 4, "aria-label": "How strongly differences show", oninput: () => differ() });
    const gainBox = el("label", { class: "w-tool-width" }, el("span", { class: "w-tool-short" }, "Stronger"), gain);
    const tools = el("div", { class: "w-tools" }, views, el("span", { class: "w-spread" }), sizeBox, gainBox);

    const tables = el("div", { class: "w-tables", id: "weft-table" });
    const pair = weft.beforeAfter();
    for (const word of pair.box.querySelectorAll(".w-ba-word")) word.setAttribute("translate", "no");
    pair.box.querySelector("input").setAttribute("aria-label", "How much of picture A is shown");
    const canvas = el("canvas", { class: "w-differ", role: "img" });
    const empty = el("div", { class: "w-empty" }, el("div", { class: "w-sample-table", "aria-hidden": "true" }, ...Array.from({ length: 6 }, () => el("i", {}))), el("h2", {}, "What would change it?"), el("p", {}, "Choose what varies, a word, the seed, a setting: every combination becomes a picture, side by side."));
    const mat = el("div", { class: "w-mat w-table-mat" }, tables);
    const ratio = () => { const p = byKey.get(a)?.picture; return p ? p.width / p.height : 1; };
    const fitPair = weft.fitInto(mat, pair.box, ratio), fitCanvas = weft.fitInto(mat, canvas, ratio);
    const choose = (name) => el("select", { class: "w-text", translate: "no", "aria-label": `Picture ${name}`, onchange: (event) => { if (name === "A") pick(event.target.value, b); else pick(a, event.target.value); }  });
    const selectA = choose("A"), selectB = choose("B");
    const swap = el("button", { type: "button", class: "w-square", "aria-label": "Exchange A and B", title: "Exchange A and B", onclick: () => pick(b, a) }, icon("reuse"));
    const pickers = el("div", { class: "w-pickers" }, el("label", {}, el("b", { class: "w-ab" }, "A"), selectA), swap, el("label", {}, el("b", { class: "w-ab" }, "B"), selectB));
    const words = el("p", { class: "w-facts", id: "weft-differ", role: "status" });
    const hint = el("p", { class: "w-help w-keys-hint" }, "Press a picture to open it. Arrow keys move; A and B choose two to compare.");
    const below = el("div", { class: "w-caption w-compare-below" }, pickers, words, hint);

    // the table
    function build() {
      const [across, down = { title: "", labels: [""] }, deep = { title: "", labels: [""] }] = table.axes;
      const two = table.axes.length > 1;
      buttons.clear();
      tables.replaceChildren(...deep.labels.map((sheet, z) => el("table", { class: "w-table" },
        el("caption", { class: table.axes.length > 2 ? "" : "w-sr" }, ...(table.axes.length > 2 ? [deep.title, ": ", el("span", { translate: "no" }, sheet)] : ["The pictures by what varies"])),
        el("thead", {}, el("tr", {}, two ? el("th", { class: "w-axis-down", scope: "col" }, el("span", {}, down.title)) : null, el("th", { class: "w-axis-across", scope: "colgroup", colspan: across.labels.length }, across.title)),
          el("tr", {}, two ? el("td", { class: "w-corner" }) : null, ...across.labels.map((label) => el("th", { scope: "col", title: label, translate: "no" }, el("span", {}, label))))),
        el("tbody", {}, ...down.labels.map((label, j) => el("tr", {}, two ? el("th", { scope: "row", title: label, translate: "no" }, el("span", {}, label)) : null, ...across.labels.map((_, i) => {
          const at = [i, j, z].slice(0, table.axes.length).join(",");
          const button = el("button", { type: "button", class: "w-cell", "data-at": at, tabindex: buttons.size ? -1 : 0, onclick: () => open(at), onfocus: () => reach(at) });
          buttons.set(at, button);
          return el("td", {}, button);
        })))))));
    }
    function reach(at) { for (const [k, button] of buttons) button.tabIndex = k === at ? 0 : -1; }
    tables.addEventListener("keydown", (event) => {
      const at = document.activeElement?.dataset?.at;
      if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
      const place = at.split(",").map(Number), move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 1], ArrowUp: [1, -1] }[event.key];
      if (move) {
        event.preventDefault();
        place[move[0]] = (place[move[0]] ?? 0) + move[1];
        buttons.get(place.slice(0, table.axes.length).join(","))?.focus();
      } else if (/^[ab]$/i.test(event.key) && byKey.get(at)?.picture) {
        if (event.key.toLowerCase() === "a") pick(at, b === at ? a : b); else pick(a === at ? b : a, at);
      }
    });
    const WORDS = { idle: "not made yet", running: "in the making", error: "not made", stopped: "stopped" };
    function fill(cell) {
      const button = buttons.get(key(cell));
      if (!button) return;
      const what = `${cell.state} ${cell.picture?.id || ""}`;
      if (button.dataset.what === what) return;
      button.dataset.what = what;
      button.dataset.state = cell.picture ? "done" : cell.state;
      button.setAttribute("aria-label", `${cell.name}: ${cell.picture ? "open" : WORDS[cell.state] || cell.state}`);
      button.title = cell.says || cell.name;
      const p = cell.picture;
      if (p) button.style.setProperty("--ratio", `${p.width} / ${p.height}`);
      button.replaceChildren(p ? el("img", { src: table.cells.length > 40 ? p.thumb : p.url, alt: "", loading: "lazy", width: p.width, height: p.height }) : cell.state === "error" ? el("span", { class: "w-cell-word" }, icon("error"), "Not made") : cell.state === "running" ? el("span", { class: "w-cell-word w-spin" }, icon("running")) : "", el("span", { class: "w-ab w-cell-mark", hidden: true }));
    }
    function marks() {
      for (const [at, button] of buttons) {
        const mark = button.querySelector(".w-cell-mark"), word = [at === a ? "A" : "", at === b ? "B" : ""].filter(Boolean).join(" ");
        if (mark) { mark.textContent = word; mark.hidden = !word || made().length < 2; }
      }
    }
    function pick(one, two) {
      [a, b, picked] = [one, two, true];
      paint();
    }
    function fit() {
      const columns = table.axes[0]?.labels.length || 1, style = getComputedStyle(mat);
      const room = mat.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - (table.axes.length > 1 ? (tables.querySelector("tbody th")?.offsetWidth || 90) : 0) - 10 * columns;
      if (room <= 0) return;
      const rows = table.axes[1]?.labels.length || 1, first = table.cells.find((c) => c.picture)?.picture, ratio = first ? first.width / first.height : 1;
      const high = matchMedia("(max-width: 900px)").matches ? Infinity : ((mat.clientHeight - 86 - 24 * (table.axes.length > 2)) / rows - 10) * ratio;
      const cell = own || Math.max(88, Math.min(256, Math.floor(room / columns), Math.max(132, Math.floor(high))));
      if (!own) size.value = cell;
      tables.style.setProperty("--cell", `${cell}px`);
    }
    new ResizeObserver(fit).observe(mat);

    // one picture
    function open(at) {
      const cell = byKey.get(at), p = cell?.picture;
      if (!p) return cell?.says && dialog(cell.name, el("p", { class: "w-unknown" }, cell.says));
      const place = at.split(",").map(Number), button = (label, act, extra = {}) => el("button", { type: "button", class: "w-btn", ...extra, onclick: () => { box.close(); act(); } }, label);
      const rows = [...table.axes.map((axis, i) => [axis.title, axis.labels[place[i]]]), ["Seed", table.axes.some((axis) => axis.title === "Seed") ? null : p.seed], ["Size", `${p.width} × ${p.height}`], ["Time", p.seconds ? `${p.seconds.toFixed(1)} s` : ""]].filter(([, value]) => value !== "" && value !== null && value !== undefined);
      const box = dialog(cell.name, el("div", { class: "w-detail" }, el("img", { src: p.url, alt: weft.named(p), width: p.width, height: p.height }),
        el("div", { class: "w-cell-side" }, p.prompt ? el("p", { class: "w-cell-prompt", translate: "no" }, p.prompt) : null, el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { translate: "no" }, String(value))])),
          el("div", { class: "w-actions" }, button("Open in Create", () => { weft.openTab("Create"); weft.reused = p; weft.reuse(p, "all"); }, { "data-to": "create" }), button("Show in Graph", () => { weft.reused = p; weft.reuse(p, "all"); weft.openTab("Graph"); }, { "data-to": "graph" }),
            button("Open in History", () => weft.inHistory(p.id), { "data-to": "history" }), button("Compare as A", () => pick(at, b === at ? a : b)), button("Compare as B", () => { view = "pair"; pick(a === at ? b : a, at); }), ...weft.saveLinks(p)))));
      box.classList.add("w-large");
      box.addEventListener("close", () => buttons.get(at)?.focus());
    }

    // two pictures
    function choice() {
      const all = made(), known = new Set(all.map(key));
      if (!picked || !known.has(a)) a = all[0] ? key(all[0]) : "";
      if (!picked || !known.has(b)) b = all.length > 1 ? key(all.find((cell) => key(cell) !== a)) : a;
      for (const [select, value] of [[selectA, a], [selectB, b]]) {
        const names = all.map((cell) => `${key(cell)} ${cell.name}`).join("\n");
        if (select.dataset.of !== names) { select.dataset.of = names; select.replaceChildren(...all.map((cell) => el("option", { value: key(cell) }, cell.name))); }
        select.value = value;
      }
    }
    const load = (src) => new Promise((resolve, reject) => { const image = new Image(); image.onload = () => resolve(image); image.onerror = reject; image.src = src; });
    let turn = 0;
    async function differ() {
      const [p, q] = [byKey.get(a)?.picture, byKey.get(b)?.picture], mine = ++turn;
      if (!p || !q) return;
      const [one, two] = await Promise.all([load(p.url), load(q.url)]).catch(() => [null, null]);
      if (mine !== turn || view !== "difference") return;
      if (!one || !two) return void (words.textContent = "A picture could not be read.");
      const width = one.naturalWidth, height = one.naturalHeight, data = [one, two].map((image) => {
        const pen = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
        pen.drawImage(image, 0, 0, width, height);
        return pen.getImageData(0, 0, width, height);
      });
      Object.assign(canvas, { width, height });
      const [x, y] = data.map((d) => d.data), pen = canvas.getContext("2d"), out = pen.createImageData(width, height);
      const colours = Array.from({ length: 256 }, (_, v) => [...weft.heat(v / 255), 255]);
      let sum = 0, seen = 0;
      for (let i = 0; i < x.length; i += 4) {
        const d = Math.max(Math.abs(x[i] - y[i]), Math.abs(x[i + 1] - y[i + 1]), Math.abs(x[i + 2] - y[i + 2]));
        sum += d;
        seen += d > 12;
        out.data.set(colours[Math.min(255, Math.round(d * gain.valueAsNumber))], i);
      }
      pen.putImageData(out, 0, 0);
      const same = p.width === q.width && p.height === q.height;
      words.textContent = !same ? "The two have different sizes; B is drawn at the size of A." : !sum ? "The two pictures are equal, to the last bit." : `${Math.max(1, Math.round((100 * seen) / (width * height)))} % of the picture differs visibly; on average by ${((100 * sum) / (255 * width * height)).toFixed(1)} %.`;
      canvas.setAttribute("aria-label", words.textContent);
    }

    function paint() {
      const enough = made().length > 1;
      if (!enough) view = "table";
      for (const button of views.children) {
        button.setAttribute("aria-pressed", String(button.dataset.view === view));
        button.disabled = button.dataset.view !== "table" && !enough;
      }
      choice();
      const isTable = view === "table";
      sizeBox.hidden = !isTable;
      gainBox.hidden = view !== "difference";
      pickers.hidden = isTable;
      words.hidden = view !== "difference";
      hint.hidden = !isTable || !made().length;
      mat.classList.toggle("w-table-mat", isTable);
      const inside = isTable ? (table.axes.length ? tables : empty) : view === "pair" ? pair.box : canvas;
      if (mat.firstElementChild !== inside) mat.replaceChildren(inside);
      if (view === "pair") {
        const [p, q] = [byKey.get(a), byKey.get(b)];
        pair.show(p.picture.url, q.picture.url);
        pair.box.querySelector(".w-left").textContent = `A: ${p.name}`;
        pair.box.querySelector(".w-right").textContent = `B: ${q.name}`;
        fitPair();
      } else if (view === "difference") { fitCanvas(); differ(); }
      else fit();
      marks();
    }
    return {
      tools, mat, below,
      get made() { return made().length; },
      show(next) {
        table = next || NOTHING;
        byKey.clear();
        for (const cell of table.cells) byKey.set(key(cell), cell);
        const now = JSON.stringify(table.axes);
        if (now !== shape) { shape = now; own = 0; picked = false; if (table.axes.length) build(); }
        table.cells.forEach(fill);
        paint();
      },
      /** The preview of the cell in the making. */
      forming(at, image) {
        const button = at && buttons.get(at.join(","));
        if (!button || !image || button.dataset.state !== "running") return;
        const shown = button.querySelector("img.w-cell-forming");
        if (shown) shown.src = image;
        else button.prepend(el("img", { class: "w-cell-forming", src: image, alt: "" }));
      },
    };
  };
})();

// What every view of the page shares: elements without markup, the graph document, the newest run status, pictures.
// Texts of people and plugins reach the page only through textContent and attributes, never as markup.
(() => {
  "use strict";
  const icons = {
    dice: '<rect x="3.5" y="3.5" width="17" height="17" rx="4"/><path d="M8.5 8.5h.01M15.5 8.5h.01M12 12h.01M8.5 15.5h.01M15.5 15.5h.01" stroke-width="2.6"/>',
    lock: '<rect x="5" y="10.5" width="14" height="10" rx="2.5"/><path d="M8 10.5V7.5a4 4 0 0 1 8 0v3"/>',
    unlock: '<rect x="5" y="10.5" width="14" height="10" rx="2.5"/><path d="M8 10.5V7a4 4 0 0 1 7.6-1.7"/>',
    stop: '<rect x="6" y="6" width="12" height="12" rx="2" fill="currentColor"/>',
    go: '<path d="M12 3.5l1.9 5.1 5.1 1.9-5.1 1.9L12 17.5l-1.9-5.1L5 10.5l5.1-1.9z"/><path d="M18.5 16v4M16.5 18h4"/>',
    save: '<path d="M12 4v11M7.5 11l4.5 4.5 4.5-4.5M5 20h14"/>',
    reuse: '<path d="M4 12a8 8 0 0 1 13.7-5.6L20 8.5M20 4v4.5h-4.5M20 12a8 8 0 0 1-13.7 5.6L4 15.5M4 20v-4.5h4.5"/>',
    open: '<path d="M4 18.5V6.5A1.5 1.5 0 0 1 5.5 5H10l2 2.5h6.5A1.5 1.5 0 0 1 20 9v9.5A1.5 1.5 0 0 1 18.5 20h-13A1.5 1.5 0 0 1 4 18.5z"/>',
    book: '<path d="M12 6.5C10 5 7 4.7 4 5v13.5c3-.3 6 0 8 1.5 2-1.5 5-1.8 8-1.5V5c-3-.3-6 0-8 1.5zM12 6.5V20"/>',
    chevron: '<path d="M9 5.5l6.5 6.5L9 18.5"/>', close: '<path d="M6 6l12 12M18 6L6 18"/>',
    moon: '<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.500 10.5z"/>',
    sun: '<circle cx="12" cy="12" r="4"/><path d="M12 2.500v2.500M12 19v2.500M2.500 12h2.500M19 12h2.500M5.300 5.300l1.700 1.700M17 17l1.700 1.700M5.300 18.700L7 17M17 7l1.700-1.700"/>',
    idle: '<circle cx="12" cy="12" r="7.500"/>', queued: '<circle cx="12" cy="12" r="8"/><path d="M12 7.500V12l3 2"/>',
    running: '<path d="M12 4a8 8 0 1 0 8 8"/>', done: '<path d="M5 12.500l4.500 4.500L19 7.500"/>',
    cached: '<path d="M5 12.500l4.500 4.500L19 7.500"/>', skipped: '<path d="M6 6l6 6-6 6M13 6l6 6-6 6"/>',
    error: '<path d="M12 4l9 16H3zM12 10v4.500M12 17.200v.1"/>', stopped: '<rect x="6" y="6" width="12" height="12" rx="2"/>',
    parked: '<path d="M9 6v12M15 6v12"/>',
    star: '<path d="M12 4l2.500 5.200 5.700.8-4.100 4 1 5.700-5.100-2.700-5.100 2.700 1-5.700-4.100-4 5.700-.8z"/>',
    box: '<rect x="4.500" y="4.500" width="15" height="15" rx="2" stroke-dasharray="4 2.600"/>',
    brush: '<path d="M14 10L20 4M9.500 12.500l2 2c1 1-.500 5-4.500 5-2 0-3-.500-3-1.500 2 0 1.500-1.500 2-3s2.500-3.500 3.500-2.500zM11 12l3-3"/>',
    eraser: '<path d="M8 19.500l-3.800-3.800a1.500 1.500 0 0 1 0-2.100l9-9a1.500 1.500 0 0 1 2.100 0l4.500 4.500a1.500 1.500 0 0 1 0 2.100L12 19.500H8zM9 9l6.500 6.500M8 19.500h12"/>',
    undo: '<path d="M8.500 5L4.500 9l4 4M4.500 9h9a6 6 0 0 1 0 12H9"/>', up: '<path d="M12 19V6M6.500 11L12 5.500l5.500 5.500"/>', down: '<path d="M12 5v13M6.500 13l5.500 5.500 5.500-5.500"/>',
    copy: '<rect x="8.500" y="8.500" width="11.500" height="11.500" rx="2"/><path d="M15.500 8.500V6A1.500 1.500 0 0 0 14 4.500H6A1.500 1.500 0 0 0 4.500 6v8A1.500 1.500 0 0 0 6 15.500h2.500"/>',
    eye: '<path d="M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12z"/><circle cx="12" cy="12" r="2.800"/>',
    redo: '<path d="M15.5 5l4 4-4 4M19.5 9h-9a6 6 0 0 0 0 12H15"/>', halves: '<rect x="4" y="5" width="16" height="14" rx="2"/><path d="M12 3v18M14.500 12h3.500M9.500 12H6"/>',
    fill: '<path d="M11 4l7.500 7.500-6.500 6.500a1.500 1.500 0 0 1-2.100 0L4.500 12.600a1.500 1.500 0 0 1 0-2.100L11 4zM4.500 12h13M20 16c1 1.600 1.500 2.400 1.500 3.200a1.500 1.500 0 0 1-3 0c0-.800.500-1.600 1.500-3.200z"/>',
    invert: '<circle cx="12" cy="12" r="8"/><path d="M12 4a8 8 0 0 1 0 16z" fill="currentColor"/>',
    pick: '<path d="M10.500 10.500l9.500 3.600-4.100 1.800-1.800 4.100zM10.500 3.500v2.500M3.500 10.500h2.500M5.500 5.500l1.800 1.800M15.500 5.500l-1.800 1.800M5.500 15.500l1.800-1.800"/>',
    larger: '<path d="M13.500 4.500h6v6M19.500 4.500l-7 7M10.500 19.500h-6v-6M4.500 19.500l7-7"/>',
    bin: '<path d="M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7M10.500 10.500v5.500M13.500 10.500v5.500"/>',
  };

  /** An element; `on…` are listeners, true/false toggle an attribute, children are nodes or plain text. */
  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "value") node.value = value;
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  }
  function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("class", "w-i");
    svg.setAttribute("aria-hidden", "true");
    svg.innerHTML = icons[name] || icons.idle; // only the constants above
    return svg;
  }

  /** Small stores: `on(topic, callback)` also delivers the newest message, so that a late view misses nothing. */
  const last = {}, listeners = {};
  function on(topic, callback) {
    (listeners[topic] ||= new Set()).add(callback);
    if (topic in last) callback(last[topic]);
  }
  function emit(topic, message) {
    last[topic] = message;
    for (const callback of listeners[topic] || []) callback(message);
  }
  function parse(text, fallback = {}) {
    try { return JSON.parse(text) ?? fallback; } catch { return fallback; }
  }
  const remember = {
    get: (key) => { try { return localStorage.getItem("weft-" + key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem("weft-" + key, value); } catch { /* private mode: nothing is kept */ } },
    /** Of this window alone: what it kept, or with a value, that this is kept from now on. */
    here(key, value) {
      try {
        if (value === undefined) return sessionStorage.getItem("weft-" + key);
        sessionStorage.setItem("weft-" + key, value);
      } catch { /* nothing is kept */ }
      return null;
    },
  };

  // The graph document: the one state behind every view. `panel` says which widgets Create shows and how (from Python).
  const doc = {
    current: null, panel: [], template: "", publish: () => {}, timer: 0,
    source: null, // another one with each document that comes in; edits leave it
    /** Another document is open from now on; the one before is kept, unless it is the page's untouched beginning. */
    load(document, panel, template = "") {
      if (!doc.current) doc.beginning = JSON.stringify(document);
      else if ((template !== doc.template || !template) && JSON.stringify(doc.current) !== doc.beginning) window.weft.left.put({ document: doc.current, panel: doc.panel, template: doc.template });
      doc.current = document;
      doc.source = {};
      doc.panel = panel || [];
      doc.template = template;
      emit("document", doc);
    },
    widget(field) {
      const node = doc.current?.nodes?.find((n) => n.id === field.node);
      const value = node?.widgets?.[field.widget];
      return value === undefined ? field.default : value;
    },
    /** A text of a field without the numbers of weights, where its node reads them. */
    unweighted(field, text) {
      const kind = doc.current?.nodes?.find((n) => n.id === field.node)?.kind;
      return ["weighted_prompt", "emphasised_prompt"].includes(kind) ? text.replace(/:\s*[+-]?[\d.]+\s*\)/g, ")") : text;
    },
    set(field, value) {
      const node = doc.current?.nodes?.find((n) => n.id === field.node);
      if (!node) return;
      (node.widgets ||= {})[field.widget] = value;
      clearTimeout(doc.timer);
      doc.timer = setTimeout(doc.flush, 150);
      emit("widget", { field, value });
    },
    field: (role) => doc.panel.find((f) => f.role === role),
    flush() {
      clearTimeout(doc.timer);
      if (!doc.current) return;
      doc.publish(doc.current);
      remember.set("document", JSON.stringify(doc.current));
    },
  };

  // Run status: full snapshots only. A smaller `seq` of the same run and anything of a run left behind is ignored.
  const run = {
    snapshot: { run: null, seq: -1, job: { state: "idle" }, nodes: {} }, left: new Set(), pending: false, unwanted: false,
    of: null, // what the run is made of, {document, source}; null where nobody has said
    page: "", // the name of this page, kept over a reload
    other: null, // the newest snapshot of what is at work but no run of this page: another page's, or a replay
    get live() { return run.pending || run.moves(run.snapshot); },
    moves: ({ job }) => ["queued", "running"].includes(job.state),
    receive: (text) => run.accept(parse(text)),
    accept(message) {
      if (!message.job) return;
      if (message.replay || (message.page && message.page !== run.page)) return run.hear(message);
      if (run.left.has(message.run)) return;
      if (message.run === run.snapshot.run && message.seq < run.snapshot.seq) return;
      if (message.run && message.run === run.settled && run.moves(message)) return; // sent before the studio heard of Stop
      run.heard = Date.now();
      if (!run.pending && !run.unwanted && message.run !== run.snapshot.run) run.of = message.of ? { document: message.of, source: {} } : null;
      run.pending = false;
      if (run.unwanted) { // Stop was pressed before the studio had given the run a name
        run.unwanted = false;
        if (message.run && run.moves(message)) return void (run.left.add(message.run), window.weft.cancel?.(message.run));
      }
      run.snapshot = { nodes: {}, ...message };
      emit("run", run.snapshot);
      if (message.pictures?.length) pictures.add(message.pictures);
    },
    hear(message) {
      if (message.run === run.other?.run && message.seq < run.other.seq) return;
      run.other = run.moves(message) ? { nodes: {}, ...message } : null;
      emit("other", run.other);
      if (message.pictures?.length) refresh();
    },
    heard: 0, // when the studio last said something of this run
    plain: false, // whether it is the page's own document that was sent
    unsent: false, // whether that never reached the studio, so that it can be sent again
    back: { message: "The studio is back.", hint: "It never got what you pressed." },
    lost: false, // whether the studio stopped answering and has not been heard since
    async listen() { // a studio that was closed says nothing any more: that is asked, and told, instead of waited out
      if (!run.lost && (!run.live || Date.now() - run.heard < 5000)) return;
      const alive = await fetch("weft/page.js", { method: "HEAD", cache: "no-store" }).then(() => true, () => false);
      const before = run.lost;
      run.lost = !alive;
      if (run.lost === before || (alive && run.live)) return;
      if (run.lost && run.pending && run.plain) { run.unsent = true; remember.here("send", "offer"); } // gradio reloads the page by itself, too
      run.pending = false;
      const error = alive
        ? run.unsent ? run.back : { message: "The studio is back.", hint: "Reload the page and press again: what you wrote is kept in this browser, and a run that broke off is offered." }
        : { message: "The studio does not answer.", hint: "Start it again (python app.py); what you wrote is kept in this browser." };
      run.snapshot = { ...run.snapshot, job: { state: "error" }, error };
      emit("run", run.snapshot);
    },
    begin(of = { document: structuredClone(doc.current), source: doc.source }) {
      run.of = of;
      run.heard = Date.now();
      if (run.snapshot.run) run.left.add(run.snapshot.run);
      run.pending = true;
      run.plain = run.unsent = run.unwanted = false;
      remember.here("send", "");
      run.snapshot = { run: null, seq: -1, job: { state: "queued", ahead: 0 }, nodes: {} };
      emit("run", run.snapshot);
    },
    settle() { // a stopped run settles here at once; the server's own last word follows
      run.unwanted = run.pending;
      run.settled = run.snapshot.run;
      run.pending = false;
      for (const node of Object.values(run.snapshot.nodes)) if (["queued", "running"].includes(node.state)) node.state = "stopped";
      run.snapshot = { ...run.snapshot, job: { ...run.snapshot.job, state: "stopped" } };
      emit("run", run.snapshot);
    },
  };

  run.page = remember.here("page") || Math.random().toString(36).slice(2);
  remember.here("page", run.page);
  setInterval(run.listen, 3000);

  // Pictures of this owner, newest first: the strip and the stage read them.
  const pictures = {
    list: [], made: [], // `made`: the pictures of the newest run of this page
    receive: (text) => pictures.merge(parse(text).pictures || []),
    /** The newest ones as the studio has them now: what another page made or deleted comes in, the older stay. */
    merge(list) {
      const known = new Set(list.map((p) => p.id)), oldest = list.at(-1)?.created ?? -Infinity;
      const next = [...list, ...pictures.list.filter((p) => !known.has(p.id) && p.created < oldest)].slice(0, 60);
      const same = (a, b) => a.id === b.id && a.starred === b.starred;
      if (last.pictures && next.length === pictures.list.length && next.every((p, i) => same(p, pictures.list[i]))) return;
      pictures.replace(next);
    },
    replace(list) { pictures.list = list; emit("pictures", list); },
    change(card, gone = false) { // starred, deleted, or brought back
      const rest = pictures.list.filter((p) => p.id !== card.id), had = rest.length < pictures.list.length;
      if (gone ? had : true) pictures.replace(gone ? rest : [...rest, card].sort((a, b) => b.created - a.created));
    },
    add(list) {
      const fresh = new Set(list.map((p) => p.id));
      pictures.made = list;
      pictures.replace([...list, ...pictures.list.filter((p) => !fresh.has(p.id))].slice(0, 60));
      emit("made", list[0]);
      others?.postMessage("made");
    },
  };

  // Pages of one person show one strip: a page of this browser hears at once when another has made a picture; those of
  // other browsers look again when they come into view.
  const others = window.BroadcastChannel ? new BroadcastChannel("weft") : null;
  let looked = Date.now(), wait = 0;
  function refresh() {
    clearTimeout(wait);
    wait = setTimeout(() => { looked = Date.now(); window.weft.askShelf?.(); }, Math.max(0, looked + 3000 - Date.now()));
  }
  others?.addEventListener("message", refresh);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  window.addEventListener("focus", refresh);

  // Words: what the model cannot know is named while typing; at a run the server says it again.
  function distance(a, b) {
    let row = Array.from({ length: b.length + 1 }, (_, i) => i);
    for (let i = 1; i <= a.length; i++) {
      const next = [i];
      for (let j = 1; j <= b.length; j++) next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      row = next;
    }
    return row[b.length];
  }
  function unknownWords(text, known) {
    const words = [...new Set((text.toLowerCase().match(/[\p{L}\p{N}]+|\p{Extended_Pictographic}/gu) || []))].filter((word) => !known.has(word));
    const found = words.slice(0, 6).map((word) => ({
      word,
      near: word.length > 24 ? [] : [...known].filter((k) => k.length > 2).map((k) => [distance(word, k), k])
        .filter(([d, k]) => d <= Math.max(1, Math.floor(Math.max(k.length, word.length) * 0.4))).sort((x, y) => x[0] - y[0]).slice(0, 3).map((x) => x[1]),
    }));
    return Object.assign(found, { more: words.length - found.length });
  }

  /** The JSON of one iTXt or tEXt chunk of a PNG, or null. Bounded: 1 MiB unpacked, nothing is run or fetched. */
  async function pngText(file, keyword) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const view = new DataView(bytes.buffer);
    if (bytes.length < 33 || view.getUint32(0) !== 0x89504e47) return null;
    const latin = new TextDecoder("latin1");
    for (let at = 8; at + 12 <= bytes.length;) {
      const size = view.getUint32(at), type = latin.decode(bytes.subarray(at + 4, at + 8));
      if (at + 12 + size > bytes.length || type === "IEND") break;
      const data = bytes.subarray(at + 8, at + 8 + size);
      at += 12 + size;
      if (type !== "iTXt" && type !== "tEXt") continue;
      const end = data.indexOf(0);
      if (end < 1 || latin.decode(data.subarray(0, end)) !== keyword) continue;
      if (type === "tEXt") return latin.decode(data.subarray(end + 1, end + 1 + 1048576));
      const packed = data[end + 1] === 1, tag = data.indexOf(0, end + 3), start = data.indexOf(0, tag + 1) + 1;
      return packed ? inflate(data.subarray(start)) : new TextDecoder().decode(data.subarray(start, start + 1048576));
    }
    return null;
  }
  async function inflate(bytes, limit = 1048576) {
    const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
    const parts = [];
    for (let total = 0; ;) {
      const { done, value } = await reader.read();
      if (done) return new TextDecoder().decode(await new Blob(parts).arrayBuffer());
      total += value.length;
      if (total > limit) { await reader.cancel(); throw new Error("The workflow inside this picture is larger than 1 MiB."); }
      parts.push(value);
    }
  }

  function dialog(title, ...body) {
    const close = el("button", { type: "button", class: "w-round", "aria-label": "Close", onclick: () => box.close() }, icon("close"));
    const id = "w-d" + Math.random().toString(36).slice(2, 8);
    const box = el("dialog", { class: "weft", "aria-labelledby": id, onclose: () => box.remove(), onclick: (e) => { if (e.target === box) box.close(); } },
      el("div", { class: "w-dialog-head" }, el("h2", { id }, title), close), el("div", { class: "w-dialog-body" }, ...body));
    document.body.append(box);
    box.showModal();
    return box;
  }
  /** A time from now on, in words. */
  const about = (seconds) => (seconds < 1.5 ? "a moment" : seconds < 100 ? `about ${Math.round(seconds)} s` : seconds < 5400 ? `about ${Math.round(seconds / 60)} minutes` : `about ${(seconds / 3600).toFixed(1)} hours`);
  /** How high a picture may be on a page of one column, in pixels: it is seen whole between tabs and job line. */
  function roomHigh() {
    const style = getComputedStyle(document.documentElement), part = (name) => parseFloat(style.getPropertyValue(name)) || 0;
    return Math.max(240, window.innerHeight - part("--w-top") - part("--w-dock") - 190);
  }
  /** A row or column that scrolls fades at the sides where more of it follows (create.css). Gives the element. */
  const faded = new WeakSet();
  function fades(box) {
    if (faded.has(box)) return box;
    faded.add(box);
    const look = () => {
      const { scrollLeft: x, scrollTop: y } = box, wide = box.scrollWidth - box.clientWidth, high = box.scrollHeight - box.clientHeight;
      box.dataset.more = [x > 4 ? "left" : "", x < wide - 4 ? "right" : "", y > 4 ? "up" : "", y < high - 4 ? "down" : ""].filter(Boolean).join(" ");
    };
    box.classList.add("w-fades");
    box.addEventListener("scroll", look, { passive: true });
    new ResizeObserver(look).observe(box);
    new MutationObserver(() => requestAnimationFrame(look)).observe(box, { childList: true, subtree: true, characterData: true });
    return box;
  }
  /** Calls `show` whenever an element comes into view, so whenever its tab is opened. */
  function onShown(element, show) {
    new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) show(); }).observe(element);
  }
  function download(href, name) {
    const link = el("a", { href, download: name });
    document.body.append(link);
    link.click();
    link.remove();
  }
  // Dark to light in one order of hues, the same for all who tell colours apart differently: `v` 0..1 as red, green, blue.
  const RAMP = [[26, 20, 44], [82, 30, 92], [168, 50, 80], [226, 104, 56], [252, 186, 72], [255, 246, 200]];
  function heat(v) {
    const x = v * (RAMP.length - 1), i = Math.min(Math.floor(x), RAMP.length - 2);
    return RAMP[i].map((c, k) => Math.round(c + (RAMP[i + 1][k] - c) * (x - i)));
  }
  function openTab(name) {
    document.querySelector(`#weft-tabs button[data-tab-id="${name.toLowerCase()}"]`)?.click();
  }

  window.weft = { el, icon, on, emit, last, parse, remember, doc, run, pictures, unknownWords, pngText, dialog, about, onShown, fades, roomHigh, download, heat, openTab, facts: {} };
})();

// Edit: where a change may act. A place is painted, or a thing is picked where a word of the picture is at work.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, on, run } = weft;
  const LOOK = new Set(["watch", "mask", "outside"]);

  const edge = (from, to) => ({ from: from.split("."), to: to.split(".") });
  function without(document) {
    document.nodes = document.nodes.filter((n) => !LOOK.has(n.id));
    document.edges = document.edges.filter((e) => !LOOK.has(e.from[0]) && !LOOK.has(e.to[0]));
    if (!document.edges.some((e) => e.to[0] === "save")) document.edges.push(edge("decode.image", "save.image"));
    return document;
  }
  /** The change of a document bounded by a stored mask; outside it the picture stays to the bit. */
  weft.maskedEdit = (document, value) => {
    without(document);
    const has = (id) => document.nodes.some((n) => n.id === id), before = has("yours") ? "yours.image" : "picture.image";
    if (!value || !has("edit") || !has("encode")) return document;
    document.edges = document.edges.filter((e) => !(e.to[0] === "save" || (e.to[0] === "edit" && e.to[1] === "mask")));
    document.nodes.push({ id: "mask", kind: "load_mask", title: "Where it may change", widgets: { picture: value, read: "brightness", fit: "cover", invert: false }, pos: [1240, 720], mode: "normal" },
      { id: "outside", kind: "keep_outside", title: "Nothing else changes", widgets: { soften: 4 }, pos: [2100, 420], mode: "normal" });
    for (const [from, to] of [["encode.latent", "mask.latent"], ["mask.mask", "edit.mask"], ["decode.image", "outside.image"], [before, "outside.before"], ["mask.mask", "outside.mask"], ["outside.image", "save.image"]])
      document.edges.push(edge(from, to));
    return document;
  };

  /** How a thing is cut out: how much of it, grown or shrunk, along the picture's edges. `onchange()`: something was moved.
   *  Gives {box, values(), reset()}; `grow`: pixels to begin with. */
  weft.cutSettings = ({ onchange, grow = 0 }) => {
    const slider = (label, low, high, value, hint) => {
      const input = el("input", { type: "range", min: low, max: high, value, "aria-label": label, oninput: () => { tell(); onchange(); } }), words = el("span", { class: "w-help w-number", translate: "no" });
      return { input, words, box: el("label", { class: "w-field w-cut-row" }, el("span", { class: "w-label" }, el("span", {}, label), words), input, hint) };
    };
    const amount = slider("How much of it", 0, 100, 50, el("span", { class: "w-ends w-help" }, el("span", {}, "the surest part"), el("span", {}, "all around it")));
    const grown = slider("Grow or shrink", -16, 32, grow, null);
    const edges = el("input", { type: "checkbox", checked: weft.remember.get("cut-edges") !== "off", onchange: () => { weft.remember.set("cut-edges", edges.checked ? "on" : "off"); onchange(); } });
    const tell = () => {
      amount.words.textContent = `${amount.input.value} %`;
      grown.words.textContent = `${grown.input.valueAsNumber > 0 ? "+" : ""}${grown.input.value} px`;
    };
    tell();
    return {
      box: el("div", { class: "w-cut" }, amount.box, grown.box, el("label", { class: "w-cut-edges" }, edges, "Follow the edges of the picture")),
      values: () => ({ amount: amount.input.value / 100, grow: grown.input.valueAsNumber, follow: edges.checked }),
      reset() { amount.input.value = 50; grown.input.value = grow; tell(); },
    };
  };
  /** Asks the studio for a mask again and again, one question at a time and the newest wish last. `ask(turn)` sends one;
   *  `answered(turn)` says whether it was the one waited for. */
  weft.oneByOne = (ask) => {
    let turn = 0, busy = 0, wanted = false;
    const go = () => { busy = turn += 1; wanted = false; ask(turn); };
    return {
      want() { if (busy) wanted = true; else go(); },
      answered(of) { if (of !== busy) return false; busy = 0; if (wanted) go(); return true; },
    };
  };

  /** `draft()`: the way that changes the picture itself, {document, panel, template}; `words()`: those that may be looked for;
   *  `say(text)`. Gives what the tab needs of the mask. */
  weft.editPlace = ({ trigger, ratio, draft, words, picture, say, onchange, ontool }) => {
    let thing = null, // the one picked last, {what, stamp}: as long as nothing else was painted its cut can be changed
      maps = null, looking = "", asked = "", wish = null, kept = { of: "", value: null }, waiting = null, turn = 0;
    const painter = weft.maskPainter({ label: "Where it may change", ratio, onchange: () => { showCut(); onchange(); }, ontool,
      tools: [["look", "halves", "Compare", "Before and after"], ["pick", "pick", "Pick a thing", "Click a thing in the picture: it becomes the place"]],
      onpick: (x, y) => pick({ x, y }) });

    const cut = weft.cutSettings({ grow: 8, onchange: () => asking.want() }); // a change needs the edge of its thing
    cut.box.hidden = true;
    const asking = weft.oneByOne((turn) => trigger("thing", { document: maps.of, generation: picture(), ...thing.what, ...cut.values(), turn }));
    function showCut() { cut.box.hidden = !thing || thing.stamp !== painter.stamp; }

    // the words of the source are watched while it is painted again from its seed; nothing of that run is stored
    function watched() {
      const { document } = draft(), copy = without(JSON.parse(JSON.stringify(document)));
      copy.nodes.push({ id: "watch", kind: "watch_words", title: "Watch words", widgets: { words: words().join(", "), spread: 0, every: true }, pos: [340, 620], mode: "normal" });
      copy.edges.push(edge("model.model", "watch.model"), edge("before.conditioning", "watch.positive"), edge("watch.attachment", "paint.attachments"));
      return copy;
    }
    function look() {
      if (run.live) return;
      const document = watched();
      looking = asked = JSON.stringify(document);
      say("The picture is painted once more, to see where its words act …");
      weft.generate({ document, targets: ["paint"], seeds: false, parents: [] });
    }
    on("run", ({ job }) => {
      if (!looking || run.live) return;
      if (job.state === "done") trigger("look", { document: looking });
      else if (["error", "stopped"].includes(job.state)) { wish = null; say(""); }
      if (["done", "error", "stopped"].includes(job.state)) looking = "";
    });
    function wordAt(x, y) {
      const column = Math.min(maps.columns - 1, Math.floor(x * maps.columns)), row = Math.min(maps.rows - 1, Math.floor(y * maps.rows));
      const values = maps.mean[0][2].map((text) => weft.mapBytes(text)[row * maps.columns + column]);
      return maps.labels[values.indexOf(Math.max(...values))];
    }
    /** A thing by its word or by a point in the picture becomes part of the place. */
    function pick(what) {
      if (!draft()) return;
      if (!draft().document.nodes.some((n) => n.id === "paint")) return say("Things can be picked in pictures that were painted here. Paint the place with the brush.");
      if (!words().length) return say("Say first what the picture shows: its words are what can be picked.");
      if (!maps || maps.of !== JSON.stringify(watched())) { wish = what; maps = null; return look(); }
      const word = what.word || wordAt(what.x, what.y);
      say("");
      cut.reset();
      thing = { what: { word, ...(what.word ? {} : { x: what.x, y: what.y }) }, stamp: -1 };
      asking.want();
    }
    const load = (address) => new Promise((resolve, reject) => { const image = new Image(); image.onload = () => resolve(image); image.onerror = reject; image.src = address; });
    async function lay(address) {
      const of = thing, image = await load(address).catch(() => null);
      if (!image || !of || of !== thing) return;
      const mask = weft.maskFrom(image, image.naturalWidth / image.naturalHeight);
      if (of.stamp === painter.stamp) painter.again(mask);
      else if (of.stamp < 0) of.stamp = painter.add(mask);
      showCut();
    }

    return {
      painter, pick, cut: cut.box,
      /** Whether the run at work is only made to look. */
      get looking() { return Boolean(looking); },
      /** What the studio answered; whether it was for the mask. */
      async heard(message) {
        if (message.maps) {
          maps = { ...message.maps, of: asked };
          say("");
          if (wish) { const again = wish; wish = null; pick(again); } else painter.use("pick");
        }
        if (message.turn && message.says) asking.answered(message.turn);
        if (message.thing) {
          await lay(message.thing.picture);
          asking.answered(message.thing.turn);
          if (painter.tool === "look") painter.use("paint");
        }
        if (message.mask && waiting && message.mask.turn === waiting.turn) {
          const { resolve, of } = waiting;
          waiting = null;
          if (message.mask.fault) say(message.mask.fault); else kept = { of, value: message.mask.value };
          resolve(message.mask.fault ? null : message.mask.value);
        }
      },
      /** A mask that another tab sends: {file}. */
      take(value) {
        const lay = () => { const found = weft.masks[value.file]; if (found) { painter.add(found); painter.use("paint"); } };
        if (weft.masks[value.file]) lay(); else weft.needMasks([{ shape: "mask", mask: value }], lay);
      },
      /** The stored mask; null where nothing is painted, undefined where it could not be stored. */
      async stored() {
        const found = painter.share ? painter.data() : null;
        if (!found) return null;
        if (kept.of === found.data) return kept.value;
        const value = await new Promise((resolve) => { waiting = { resolve, of: found.data, turn: (turn += 1) }; trigger("mask", { data: found.data, turn }); });
        return value || undefined;
      },
      reset() { maps = wish = thing = null; looking = ""; painter.reset(); },
    };
  };
})();

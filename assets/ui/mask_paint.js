// A mask painted over a picture: brush, eraser, fill, invert, clear, undo, by mouse, finger or keys.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon } = weft;
  const MOST_STEPS = 60, LEAST = 0.02, MOST = 0.5;
  const clamp = (value, low = 0, high = 1) => Math.min(Math.max(value, low), high);
  const pen = (canvas) => canvas.getContext("2d", { willReadFrequently: true });

  /** Everything inside becomes outside. */
  weft.maskInvert = (canvas) => {
    const ink = pen(canvas), data = ink.getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.data.length; i += 4) { data.data[i] = data.data[i + 1] = data.data[i + 2] = 255; data.data[i + 3] = 255 - data.data[i + 3]; }
    ink.putImageData(data, 0, 0);
  };
  weft.maskFill = (canvas) => { const ink = pen(canvas); ink.globalCompositeOperation = "source-over"; ink.fillStyle = "#fff"; ink.fillRect(0, 0, canvas.width, canvas.height); };
  weft.maskClear = (canvas) => pen(canvas).clearRect(0, 0, canvas.width, canvas.height);
  /** How much of the picture lies inside, 0..1. */
  weft.maskShare = (canvas) => {
    const { data } = pen(canvas).getImageData(0, 0, canvas.width, canvas.height);
    let sum = 0;
    for (let i = 3; i < data.length; i += 4) sum += data[i];
    return sum / (255 * canvas.width * canvas.height);
  };

  /** A brush led by keys: arrows move it, Space dabs, Enter lowers and lifts it, [ and ] change its width.
   *  `on()`: whether a brush is in hand; `begin(x, y)`, `line(from, to)`, `end()`: a stroke; `show(x, y)`: the ring. */
  weft.keyBrush = (element, { on, tool, begin, line, end, show, say }) => {
    let at = [0.5, 0.5], down = false;
    const lift = () => { if (down) { down = false; end(); say("The brush is up."); } };
    element.addEventListener("keydown", (event) => {
      if (!on() || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = event.shiftKey ? 0.1 : 0.02, way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
      if (way) {
        const to = [clamp(at[0] + way[0]), clamp(at[1] + way[1])];
        if (down) line(at, to);
        at = to;
        show(...at);
      } else if (event.key === " ") { lift(); if (begin(...at)) end(); show(...at); }
      else if (event.key === "Enter") {
        if (down) lift();
        else if (begin(...at)) { down = true; say("The brush is down: the arrow keys paint."); }
        show(...at);
      } else if (event.key === "[" || event.key === "]") { tool.size = clamp(tool.size + (event.key === "]" ? 0.02 : -0.02), LEAST, MOST); tool.onsize?.(); show(...at); }
      else if (event.key === "Escape" && down) lift();
      else return;
      event.preventDefault();
      event.stopImmediatePropagation();
    });
    element.addEventListener("blur", lift);
  };
  const KEYS = "Arrow keys move the brush, with Shift in long steps; Space paints a spot; Enter lowers and lifts the brush; the keys [ and ] make it narrower and wider.";

  /** Tools and layer for one mask. `ratio()`: width to height; `tools`: more of them, as [name, icon, label, title].
   *  `onpick(x, y)`: a click with a tool of one's own; `onchange()`: after each change. */
  weft.maskPainter = ({ label, ratio, tools = [], onpick = () => {}, onchange = () => {}, ontool = () => {} }) => {
    const tool = { name: "look", size: 0.12, onsize: () => { wide.value = Math.round(tool.size * 100); } };
    let mask = weft.maskCanvas(ratio()), last = null, past = [], future = [];
    const tint = el("canvas", { class: "w-paint-tint" }), ring = el("i", { class: "w-brush", hidden: true }), said = el("span", { class: "w-sr", "aria-live": "polite" });
    const layer = el("div", { class: "w-paint", role: "application", tabindex: 0, "aria-roledescription": "mask", "aria-label": `${label}. ${KEYS}` }, tint, ring, said);
    const brushing = () => tool.name === "paint" || tool.name === "erase";

    const buttons = [...tools.filter(([name]) => name === "look"), ["paint", "brush", "Brush", "Paint the place"], ["erase", "eraser", "Eraser", "Take away from the place"], ...tools.filter(([name]) => name !== "look")].map(([name, glyph, word, title]) =>
      el("button", { type: "button", class: "w-tool", "data-tool": name, title, "aria-label": word, "aria-pressed": "false", onclick: () => use(name) }, icon(glyph), el("span", { class: "w-tool-word" }, word)));
    const wide = el("input", { type: "range", min: 2, max: 50, value: 12, "aria-label": "Width of the brush", oninput: () => { tool.size = wide.valueAsNumber / 100; } });
    const width = el("label", { class: "w-tool-width", hidden: true }, el("span", { class: "w-tool-short" }, "Width"), wide);
    const action = (name, glyph, word, act) => el("button", { type: "button", class: "w-tool", "data-act": name, "aria-label": word, title: word, onclick: act }, icon(glyph));
    const acts = {
      undo: action("undo", "undo", "Undo", () => step(past, future)), redo: action("redo", "redo", "Redo", () => step(future, past)),
      fill: action("fill", "fill", "Fill", () => change(() => weft.maskFill(mask))), invert: action("invert", "invert", "Invert", () => change(() => weft.maskInvert(mask))),
      clear: action("clear", "bin", "Clear", () => change(() => weft.maskClear(mask))),
    };
    const actions = el("div", { class: "w-tool-group", role: "group", "aria-label": "The whole mask" }, ...Object.values(acts));
    const bar = [el("div", { class: "w-tool-group", role: "group", "aria-label": "Tool" }, ...buttons), width, el("span", { class: "w-spread" }), actions];

    // only opacity is kept of each step
    const keep = () => Uint8Array.from({ length: mask.width * mask.height }, ((data) => (_, i) => data[4 * i + 3])(pen(mask).getImageData(0, 0, mask.width, mask.height).data));
    function put(alpha) {
      const data = pen(mask).createImageData(mask.width, mask.height);
      alpha.forEach((a, i) => data.data.set([255, 255, 255, a], 4 * i));
      pen(mask).putImageData(data, 0, 0);
    }
    let stamp = 0; // another one with each change
    const remember = () => { stamp += 1; past.push(keep()); future = []; if (past.length > MOST_STEPS) past.shift(); };
    function change(act) { remember(); act(); settled(); }
    function step(from, to) {
      if (!from.length) return;
      stamp += 1;
      to.push(keep());
      put(from.pop());
      settled();
    }
    function lay(image) { const ink = pen(mask); ink.globalCompositeOperation = "source-over"; ink.drawImage(image, 0, 0, mask.width, mask.height); }
    function draw() { weft.maskTint(mask, "hsl(14 90% 55%)", tint); }
    let share = 0;
    function settled() { share = weft.maskShare(mask); draw(); state(); onchange(); }
    function state() {
      acts.undo.disabled = !past.length;
      acts.redo.disabled = !future.length;
      acts.invert.disabled = acts.clear.disabled = !share;
      layer.classList.toggle("w-paint-none", !share);
    }
    function use(name) {
      tool.name = name;
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.tool === name));
      layer.dataset.tool = name;
      layer.hidden = name === "look" && !share;
      width.hidden = !brushing();
      actions.hidden = name === "look";
      ring.hidden = true;
      ontool(name);
    }
    const place = (event) => { const box = layer.getBoundingClientRect(); return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)]; };
    function begin(x, y) {
      remember();
      last = [x, y];
      weft.maskStroke(mask, last, last, tool.size, tool.name === "erase");
      draw();
      return true;
    }
    function line(from, to) { weft.maskStroke(mask, from, to, tool.size, tool.name === "erase"); draw(); }
    function end() { last = null; settled(); }
    const show = (x, y) => { ring.hidden = !brushing(); ring.style.cssText = `left:${100 * x}%;top:${100 * y}%;width:${100 * tool.size}%`; };
    layer.addEventListener("pointerdown", (event) => {
      if (event.button || tool.name === "look") return;
      event.preventDefault();
      layer.focus({ preventScroll: true });
      if (!brushing()) return onpick(...place(event));
      layer.setPointerCapture(event.pointerId);
      begin(...place(event));
    });
    layer.addEventListener("pointermove", (event) => {
      const at = place(event);
      if (brushing()) show(...at);
      if (!last) return;
      line(last, at);
      last = at;
    });
    for (const kind of ["pointerup", "pointercancel"]) layer.addEventListener(kind, () => { if (last) end(); });
    layer.addEventListener("pointerleave", () => { if (!last) ring.hidden = true; });
    layer.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || !["z", "y"].includes(event.key.toLowerCase())) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key.toLowerCase() === "y" || event.shiftKey) step(future, past); else step(past, future);
    });
    weft.keyBrush(layer, { on: brushing, tool, begin, line, end, show, say: (text) => { said.textContent = text; } });
    layer.addEventListener("keydown", (event) => { if (event.key === "Enter" && !brushing() && tool.name !== "look" && !event.ctrlKey && !event.metaKey) { event.preventDefault(); onpick(0.5, 0.5); } });
    use("look");
    state();
    return {
      layer, bar, use, buttons,
      get tool() { return tool.name; },
      get share() { return share; },
      data: () => weft.maskData(mask),
      /** Lays another mask, white where it is inside, over this one. */
      add(image) { change(() => lay(image)); use(tool.name); return stamp; },
      /** Lays a mask in the place of the one laid last: the change since which nothing else has changed. */
      again(image) { put(past.at(-1)); lay(image); settled(); },
      get stamp() { return stamp; },
      /** Nothing is painted, and nothing can be taken back. */
      reset() { stamp += 1; mask = weft.maskCanvas(ratio()); past = []; future = []; settled(); use("look"); },
    };
  };
})();

// The canvas of regions: boxes are drawn, moved and resized on it, masks are painted, the picture lies underneath.
(() => {
  "use strict";
  const weft = window.weft;
  const { el } = weft;
  const LEAST = 0.02, STEP = 0.01, SNAP = 0.012, MASK_SIDE = 512;
  const CORNERS = { nw: [0, 1], ne: [2, 1], sw: [0, 3], se: [2, 3] };
  const round = (value) => Math.round(value * 10000) / 10000;
  const clamp = (value, low = 0, high = 1) => Math.min(Math.max(value, low), high);

  /** A box moved by (dx, dy) and stopped by the border: its size never changes. */
  function moved([x0, y0, x1, y1], dx, dy) {
    dx = clamp(dx, -x0, 1 - x1);
    dy = clamp(dy, -y0, 1 - y1);
    return [x0 + dx, y0 + dy, x1 + dx, y1 + dy].map(round);
  }
  /** A box with one corner dragged to (x, y), never smaller than the least size. */
  function resized(box, corner, x, y) {
    const next = [...box];
    for (const [edge, value] of [[CORNERS[corner][0], x], [CORNERS[corner][1], y]]) {
      const other = box[(edge + 2) % 4];
      next[edge] = round(edge < 2 ? clamp(value, 0, other - LEAST) : clamp(value, other + LEAST, 1));
    }
    return next;
  }
  /** `value` drawn to the nearest of some lines, if one is near. */
  function snapped(value, lines) {
    const near = lines.map((line) => [Math.abs(line - value), line]).sort((a, b) => a[0] - b[0])[0];
    return near && near[0] < SNAP ? near[1] : value;
  }

  // A painted mask while it is shown: a canvas whose alpha is the mask.
  weft.maskCanvas = (ratio) => {
    const canvas = document.createElement("canvas");
    canvas.width = ratio >= 1 ? MASK_SIDE : Math.max(8, Math.round(MASK_SIDE * ratio));
    canvas.height = ratio >= 1 ? Math.max(8, Math.round(MASK_SIDE / ratio)) : MASK_SIDE;
    return canvas;
  };
  weft.maskFrom = (image, ratio) => { // white on black, as it is stored
    const canvas = weft.maskCanvas(ratio), pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    const data = pen.getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.data.length; i += 4) {
      data.data[i + 3] = (data.data[i] * data.data[i + 3]) / 255;
      data.data[i] = data.data[i + 1] = data.data[i + 2] = 255;
    }
    pen.putImageData(data, 0, 0);
    return canvas;
  };
  /** Brings masks that the studio keeps into `weft.masks`; `ask(files)` asks for them. Gives {need, take(masks)}. */
  weft.maskFetcher = (ask) => {
    const asked = new Set(), waiting = []; // painters that need masks from the studio
    return {
      need(list, painter) {
        const plain = Array.isArray(list) && list.every((r) => r && typeof r === "object") ? list : [];
        const files = plain.map((r) => r.shape === "mask" && r.mask?.file).filter((file) => file && !weft.masks[file]);
        if (!files.length) return;
        waiting.push(painter);
        const fresh = files.filter((file) => !asked.has(file));
        fresh.forEach((file) => asked.add(file));
        if (fresh.length) ask(fresh);
      },
      async take(masks) {
        await Promise.all(Object.entries(masks).map(async ([file, address]) => {
          const image = new Image();
          image.src = address;
          await image.decode().catch(() => {});
          if (image.naturalWidth) weft.masks[file] = weft.maskFrom(image, image.naturalWidth / image.naturalHeight);
        }));
        waiting.splice(0).forEach((painter) => painter());
      },
    };
  };
  /** The picture of a mask to store, as base64, and the box around it; null where nothing is painted. */
  weft.maskData = (canvas) => {
    const { width, height } = canvas, alpha = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height).data;
    let [x0, y0, x1, y1] = [width, height, 0, 0];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (alpha[4 * (y * width + x) + 3] > 127) {
      x0 = Math.min(x0, x); x1 = Math.max(x1, x + 1); y0 = Math.min(y0, y); y1 = Math.max(y1, y + 1);
    }
    if (x0 >= x1) return null;
    const flat = document.createElement("canvas");
    Object.assign(flat, { width, height });
    const pen = flat.getContext("2d");
    pen.fillRect(0, 0, width, height);
    pen.drawImage(canvas, 0, 0);
    return { data: flat.toDataURL("image/png").split(",")[1], box: [x0 / width, y0 / height, x1 / width, y1 / height].map(round) };
  };
  /** Draws a stroke from `a` to `b` (0..1) into a mask; `wide`: its width as a share of the picture's width. */
  weft.maskStroke = (canvas, a, b, wide, erase) => {
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
    Object.assign(pen, { strokeStyle: "#fff", lineCap: "round", lineJoin: "round", lineWidth: Math.max(2, wide * canvas.width) });
    pen.beginPath();
    pen.moveTo(a[0] * canvas.width, a[1] * canvas.height);
    pen.lineTo(b[0] * canvas.width + 0.01, b[1] * canvas.height);
    pen.stroke();
  };
  /** A mask in one colour, to lie over a picture. */
  weft.maskTint = (canvas, colour, into = document.createElement("canvas")) => {
    Object.assign(into, { width: canvas.width, height: canvas.height });
    const pen = into.getContext("2d");
    pen.drawImage(canvas, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = colour;
    pen.fillRect(0, 0, into.width, into.height);
    return into;
  };

  /** `store`: the region list (regions.js). Gives {stage, paint, tool, picture}. */
  weft.regionCanvas = (store, { label }) => {
    const under = el("img", { class: "w-under", alt: "", hidden: true, draggable: "false" });
    const layer = el("div", { class: "w-boxes" });
    const brush = el("i", { class: "w-brush", hidden: true });
    const hint = el("p", { class: "w-map-hint" }), spoken = el("span", { class: "w-sr", "aria-live": "polite" });
    const stage = el("div", { class: "w-region-map", role: "application", tabindex: 0, "aria-roledescription": "region canvas",
      "aria-label": `${label} canvas. Drag to draw a box. Enter adds one; arrow keys move it, with Shift they resize it; Delete removes it; N and P choose the next and the one before. With a brush, arrow keys move it, Space paints a spot, Enter lowers and lifts it.` }, under, layer, hint, brush, spoken);
    const tool = { name: "box", size: 0.12 };
    let gesture = null;

    const at = (event) => {
      const box = stage.getBoundingClientRect(), left = stage.clientLeft, top = stage.clientTop;
      return [clamp((event.clientX - box.left - left) / stage.clientWidth), clamp((event.clientY - box.top - top) / stage.clientHeight)];
    };
    function hit([x, y]) {
      const within = (region) => {
        const mask = store.mask(region);
        if (mask) return mask.getContext("2d", { willReadFrequently: true }).getImageData(Math.min(x * mask.width, mask.width - 1), Math.min(y * mask.height, mask.height - 1), 1, 1).data[3] > 100;
        const b = region.box;
        return b && x >= b[0] && x <= b[2] && y >= b[1] && y <= b[3];
      };
      const found = store.list().filter(within);
      return found.find((r) => r.id === store.chosen) || found.pop() || null;
    }
    const lines = (id, axis) => [0, 0.5, 1, ...store.list().filter((r) => r.id !== id && store.boxed(r)).flatMap((r) => [r.box[axis], r.box[axis + 2]])];

    stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      stage.focus({ preventScroll: true });
      stage.setPointerCapture(event.pointerId);
      const [x, y] = at(event);
      if (tool.name !== "box") return startStroke(x, y);
      const corner = event.target.dataset?.corner, chosen = store.get(store.chosen);
      if (corner && chosen && !chosen.locked) {
        store.mark();
        gesture = { kind: "size", id: chosen.id, corner, box: chosen.box };
        return;
      }
      const region = hit([x, y]);
      if (region) {
        store.choose(region.id);
        gesture = region.locked || !store.boxed(region) ? { kind: "none" } : { kind: "move", id: region.id, box: region.box, x, y };
      } else {
        store.choose(null);
        gesture = { kind: "draw", x, y, id: null };
      }
    });
    stage.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (tool.name !== "box") follow(event, x, y);
      if (!gesture) return;
      if (gesture.kind === "stroke") {
        weft.maskStroke(gesture.mask, gesture.last, [x, y], tool.size, tool.name === "erase");
        gesture.last = [x, y];
        return paint();
      }
      if (gesture.kind === "size") store.live(gesture.id, { box: resized(gesture.box, gesture.corner, snapped(x, lines(gesture.id, 0)), snapped(y, lines(gesture.id, 1))) });
      if (gesture.kind === "move") {
        if (!gesture.begun) { if (Math.hypot(x - gesture.x, y - gesture.y) < 0.004) return; store.mark(); gesture.begun = true; }
        const [dx, dy] = [x - gesture.x, y - gesture.y], [x0, y0, x1, y1] = gesture.box;
        const pull = (low, high, way, marks) => { // the nearer of both edges snaps
          const ways = [snapped(low + way, marks) - low, snapped(high + way, marks) - high];
          return ways.find((w) => w !== way) ?? way;
        };
        store.live(gesture.id, { box: moved(gesture.box, pull(x0, x1, dx, lines(gesture.id, 0)), pull(y0, y1, dy, lines(gesture.id, 1))) });
      }
      if (gesture.kind === "draw") {
        const [sx, sy] = [snapped(x, lines(gesture.id, 0)), snapped(y, lines(gesture.id, 1))];
        const box = [Math.min(gesture.x, sx), Math.min(gesture.y, sy), Math.max(gesture.x, sx), Math.max(gesture.y, sy)].map(round);
        if (box[2] - box[0] < LEAST || box[3] - box[1] < LEAST) return; // too small to be meant
        if (gesture.id) store.live(gesture.id, { box });
        else gesture.id = store.add({ box }, { focus: false });
      }
    });
    const end = () => {
      const ended = gesture;
      gesture = null;
      if (!ended || ended.kind === "none") return;
      if (ended.kind === "stroke") return store.painted(ended.id, ended.mask);
      store.settle();
      if (ended.kind === "draw" && ended.id) store.ask(ended.id);
    };
    stage.addEventListener("pointerup", end);
    stage.addEventListener("pointercancel", end);
    stage.addEventListener("pointerleave", () => { brush.hidden = true; });

    function follow(event, x, y) {
      brush.hidden = event.pointerType === "touch" && !gesture;
      brush.style.cssText = `left:${100 * x}%;top:${100 * y}%;width:${100 * tool.size}%`;
    }
    function startStroke(x, y) {
      let region = store.get(store.chosen);
      if (region?.locked) return false;
      const b = region?.box;
      // a box is painted on to change its shape; paint beside it is a thing of its own
      if (tool.name === "paint" && region && !store.mask(region) && b && (x < b[0] || x > b[2] || y < b[1] || y > b[3])) {
        const other = hit([x, y]);
        region = other && store.mask(other) && !other.locked ? other : null;
      }
      if (!region && tool.name === "erase") region = hit([x, y]);
      if (!region && tool.name === "erase") return false;
      const id = region ? region.id : store.add({ box: [clamp(x - 0.05), clamp(y - 0.05), clamp(x + 0.05, LEAST), clamp(y + 0.05, LEAST)].map(round) }, { focus: false });
      const mask = region ? store.maskOf(id) : store.emptyMask(id);
      store.choose(id);
      gesture = { kind: "stroke", id, mask, last: [x, y] };
      weft.maskStroke(mask, [x, y], [x, y], tool.size, tool.name === "erase");
      paint();
      return true;
    }
    weft.keyBrush(stage, { on: () => tool.name !== "box", tool, begin: startStroke, end, say: (text) => { spoken.textContent = text; },
      line: (from, to) => { if (!gesture?.mask) return; weft.maskStroke(gesture.mask, from, to, tool.size, tool.name === "erase"); paint(); },
      show: (x, y) => { brush.hidden = false; brush.style.cssText = `left:${100 * x}%;top:${100 * y}%;width:${100 * tool.size}%`; } });

    stage.addEventListener("keydown", (event) => {
      const region = store.get(store.chosen);
      const ways = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
      const way = ways[event.key];
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
        event.preventDefault();
        return event.shiftKey ? store.redo() : store.undo();
      }
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Enter") { event.preventDefault(); return void store.add({}, { focus: false }); }
      if (event.key === "n" || event.key === "p") return store.next(event.key === "n" ? 1 : -1);
      if (!region) return;
      if (way && !region.locked && store.boxed(region)) {
        event.preventDefault();
        if (!event.repeat) store.mark();
        const b = region.box;
        store.live(region.id, { box: event.shiftKey ? resized(b, "se", b[2] + way[0], b[3] + way[1]) : moved(b, ...way) });
        store.settle();
      } else if ((event.key === "Delete" || event.key === "Backspace") && !region.locked) {
        event.preventDefault();
        store.remove(region.id);
      } else if (event.key === "Escape") store.choose(null);
    });

    function paint() {
      const list = store.list();
      layer.replaceChildren(...list.map((region, index) => {
        const chosen = region.id === store.chosen, mask = gesture?.id === region.id && gesture.mask ? gesture.mask : store.mask(region);
        const [x0, y0, x1, y1] = (Array.isArray(region.box) ? region.box : [0, 0, 1, 1]).map((edge) => 100 * Number(edge));
        const place = `left:${x0}%;top:${y0}%;width:${x1 - x0}%;height:${y1 - y0}%;--w-hue:${weft.hue(index)}`;
        // a name may be wider than its box: it goes on to the side where there is more room
        const [left, right] = [100 - x0, x1], rightward = left >= 45 || left >= right, named = region.name || region.prompt || "";
        const tag = el("span", { class: "w-box-tag" + (rightward ? "" : " w-tag-left"), style: `max-width:calc(${(100 * (rightward ? left : right)) / Math.max(x1 - x0, 1)}% - 2px)` }, el("b", {}, String(index + 1)), named ? el("span", {}, named) : null);
        const box = el("div", { class: "w-box" + (mask ? " w-box-mask" : ""), "data-id": region.id, style: place, "data-chosen": chosen ? "" : null, "data-level": store.level(region.id) || null, "data-locked": region.locked ? "" : null }, tag,
          chosen && !mask && !region.locked && tool.name === "box" ? Object.keys(CORNERS).map((c) => el("i", { class: "w-grip w-grip-" + c, "data-corner": c })) : null);
        if (!mask) return box;
        const tint = weft.maskTint(mask, weft.hue(index));
        tint.className = "w-mask-layer";
        if (chosen) tint.classList.add("w-mask-chosen");
        return [tint, box];
      }).flat());
      stage.dataset.tool = tool.name;
      hint.hidden = Boolean(list.length);
      hint.textContent = tool.name === "box" ? "Drag here to draw a box" : "Paint here with the brush";
    }
    function picture(src, forming = false) {
      under.hidden = !src;
      under.classList.toggle("w-forming", forming);
      if (src && under.getAttribute("src") !== src) under.src = src;
      stage.classList.toggle("w-over", Boolean(src));
    }
    paint();
    return { stage, paint, tool, picture };
  };
})();

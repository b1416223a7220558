// One document is open at a time. Those that the page left for another one are kept in this browser, one of each template,
// and come back as they were: with their card, with the tab that works on them, after a reload.
(() => {
  "use strict";
  const weft = window.weft;
  const { remember, parse } = weft;
  const MOST = 24, ROOM = 1500000; // documents, and characters of them all

  /** The documents that were left, newest first. `read()`, `write(text)`: where their text is kept. */
  weft.shelf = ({ read, write, now = Date.now }) => {
    const sound = (e) => e && typeof e.template === "string" && Array.isArray(e.document?.nodes) && Array.isArray(e.panel);
    const list = () => { const found = parse(read(), []); return Array.isArray(found) ? found.filter(sound) : []; };
    return {
      list,
      /** Keeps a document, in place of the one of its template that was left before; "" is a graph of one's own. */
      put({ document, panel, template }) {
        const next = [{ template, at: now(), document, panel }, ...list().filter((e) => e.template !== template)].slice(0, MOST);
        while (next.length > 1 && JSON.stringify(next).length > ROOM) next.pop();
        write(JSON.stringify(next));
      },
      get: (template) => list().find((e) => e.template === template) || null,
      newest: (fits) => list().find(fits) || null,
    };
  };
  let held = null; // where the browser stores nothing, or has no room
  weft.left = weft.shelf({
    read: () => held ?? remember.get("left"),
    write(text) { remember.set("left", text); held = remember.get("left") === text ? null : text; },
  });

  /** Where a new box is best put, [x0, y0, x1, y1]: the middle, else the first free place from the top left, as large as
   *  there is, else where it covers least of the others. */
  weft.freePlace = (boxes) => {
    const whole = (value) => Math.round(value * 100) / 100, steps = 20;
    if (!boxes.length) return [0.25, 0.25, 0.75, 0.75];
    let best = null;
    for (const side of [0.5, 0.4, 0.3, 0.25]) {
      const places = Math.round((1 - side) * steps);
      for (let j = 0; j <= places; j++) {
        for (let i = 0; i <= places; i++) {
          const [x, y] = [i / steps, j / steps];
          const covered = boxes.reduce((sum, [x0, y0, x1, y1]) => sum + Math.max(0, Math.min(x1, x + side) - Math.max(x0, x)) * Math.max(0, Math.min(y1, y + side) - Math.max(y0, y)), 0);
          const cost = Math.round((1e4 * covered) / (side * side));
          if (!best || cost < best.cost) best = { cost, box: [x, y, x + side, y + side].map(whole) };
        }
      }
      if (!best.cost) break;
    }
    return best.box;
  };
})();

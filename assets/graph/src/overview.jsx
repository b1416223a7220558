// Where one is in a graph that is larger than the window: how it opens, its map, and the way to all of it.
import { useEffect, useState } from "react";
import { createPortal } from "react-dom";
import { ControlButton, Controls, MiniMap, getNodesBounds, useStore } from "@xyflow/react";
import { app } from "./app.js";
import { BETWEEN, specOf } from "./doc.js";
import { Button, Icon } from "./icons.jsx";

const READABLE = 0.58, NEAR = 0.75, EDGE = 28, TOP = 16, LEFT = 28, WIDTH = 264, HEIGHT = 160;
const MAP = { width: 192, height: 146 }; // px of the lower right corner that the map takes
export const FIT = { padding: { top: TOP + "px", right: EDGE + "px", bottom: TOP + "px", left: LEFT + "px" }, maxZoom: 1 };

/** How far the view moves so that a box on the screen lies in it; its upper left corner where it is too large. Not `whole`: only away from
 *  the right edge, and not for a few pixels. */
export function intoView([left, top], [wide, high], room, whole) {
  const over = left + wide - (room[0] - 24), under = top + high - (room[1] - 48);
  if (!whole) return [over > 16 && left > 24 ? -Math.min(over, left - 24) : 0, 0];
  const shift = (start, end, least) => (start < least ? least - start : -Math.max(0, Math.min(end, start - least)));
  return [shift(left, over, LEFT), shift(top, under, 24)];
}

/** The view that a graph opens with: all of it where that can be read, else its end, where the picture comes out. `at`: the node that made
 *  the picture whose graph this is. */
export function opening(model, drawn, width, height) {
  const nodes = drawn.map((n) => ({ ...n, measured: n.measured?.width ? n.measured : { width: WIDTH, height: HEIGHT } }));
  const all = getNodesBounds(nodes), whole = Math.min((width - LEFT - EDGE) / all.width, (height - 2 * TOP) / all.height, FIT.maxZoom);
  const middle = (zoom) => ({ x: (width + LEFT - EDGE - all.width * zoom) / 2 - all.x * zoom, y: (height - all.height * zoom) / 2 - all.y * zoom, zoom });
  if (!nodes.length || whole >= READABLE) return middle(nodes.length ? whole : 1);
  const feeds = new Set(model.doc.edges.map((e) => e.from[0]));
  const right = (n) => n.position.x + n.measured.width;
  const ends = nodes.filter((n) => { const node = model.node(n.id); return node && specOf(model.registry, model.doc, node).output && !feeds.has(n.id); });
  const made = model.path.length ? undefined : app.weft.pictureOf(model.source)?.node?.split(BETWEEN)[0], at = made && nodes.find((n) => n.id === made);
  const end = at || (ends.length ? ends : nodes).reduce((a, b) => (right(b) > right(a) ? b : a));
  const zoom = NEAR, edge = 2 * EDGE;
  const y = all.height * zoom <= height - edge ? middle(zoom).y : height / 2 - (end.position.y + end.measured.height / 2) * zoom;
  const fits = all.width * zoom <= width - LEFT - EDGE;
  return { x: fits ? middle(zoom).x : width - Math.min(edge, width / 12) - right(end) * zoom, y: Math.min(edge - all.y * zoom, Math.max(height - edge - (all.y + all.height) * zoom, y)), zoom, at: at?.id };
}

/** How many nodes lie out of view, whether one lies where the map would, and how many are cut off: as text, so that equal ones draw nothing
 *  anew. */
function lying({ transform: [x, y, zoom], width, height, nodeLookup }) {
  let out = 0, under = 0, cut = 0;
  for (const n of nodeLookup.values()) {
    if (n.type !== "weft") continue;
    const { x: u, y: v } = n.internals.positionAbsolute, w = n.measured?.width || WIDTH, h = n.measured?.height || HEIGHT;
    const middle = [(u + w / 2) * zoom + x, (v + h / 2) * zoom + y];
    if (middle[0] < 0 || middle[1] < 0 || middle[0] > width || middle[1] > height) out += 1;
    if (u * zoom + x < -4 || v * zoom + y < -4 || (u + w) * zoom + x > width + 4 || (v + h) * zoom + y > height + 4) cut += 1;
    if ((u + w) * zoom + x > width - MAP.width && (v + h) * zoom + y > height - MAP.height && u * zoom + x < width && v * zoom + y < height) under = 1;
  }
  return `${out} ${under} ${cut}`;
}

/** The map shows itself while something lies out of view and no node lies beneath it; a button keeps it open or away. `foot`: the line
 *  below the ground that the buttons stand in, so that none of them lies on a node. */
export function Overview({ count, colour, onAll, foot }) {
  const now = useStore(lying), [seen, setSeen] = useState("0 1 0"), [wish, setWish] = useState(() => app.weft.remember.get("graph-map") || "");
  useEffect(() => { const rest = setTimeout(() => setSeen(now), 260); return () => clearTimeout(rest); }, [now]); // nothing flickers in mid-move
  const [out, under, cut] = seen.split(" ").map(Number), shown = wish ? wish === "on" : out > 0 && !under;
  const turn = () => { const next = shown ? "off" : "on"; setWish(next); app.weft.remember.set("graph-map", next); };
  return (
    <>
      {foot && createPortal(<><Controls showFitView={false} showInteractive={false} orientation="horizontal">
        <ControlButton onClick={onAll} aria-label="Fit the view" title="Fit the view (F)"><Icon name="fit" /></ControlButton>
        <ControlButton className="g-map-switch" onClick={turn} aria-pressed={shown} aria-label="Map of the graph" title="Map of the graph"><Icon name="map" /></ControlButton>
      </Controls>
      {cut > 0 && <Button className="g-all" icon="fit" onClick={onAll}>{`Show all ${count} nodes`}</Button>}</>, foot)}
      {shown && <MiniMap pannable zoomable position="bottom-right" ariaLabel="Map of the graph" nodeColor={colour} nodeBorderRadius={14} />}
    </>
  );
}

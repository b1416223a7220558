// A drawing for each ready workflow: what it does, in paper shapes on a field of 48 by 48. Constants only, no texts.
(() => {
  "use strict";
  const RED = "#d6342c", BLUE = "#2f62c9", GREEN = "#2f9a52", GOLD = "#f2b632", VIOLET = "#8a4bb8", INK = "#2a2520", CREAM = "#fffaf0", GREY = "#9a9184";
  const grounds = { night: ["#1b2252", "#141a3e"], day: ["#bfe0ee", "#8cc37a"], snow: ["#d4e3f0", "#f7fafc"], dusk: ["#f2a25c", "#8a4a6b"], sea: ["#a8dced", "#2f7fb0"], paper: ["#ece2d0", "#ece2d0"], dark: ["#231c18", "#231c18"], grey: ["#cfc8bc", "#b9b1a3"] };

  const rect = (x, y, w, h, fill, more = "") => `<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="${fill}" ${more}/>`;
  const path = (d, fill, more = "") => `<path d="${d}" fill="${fill}" ${more}/>`;
  const line = (d, colour = INK, width = 2, more = "") => path(d, "none", `stroke="${colour}" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round" ${more}`);
  const EDGE = `stroke="${CREAM}" stroke-width="1.3" stroke-linejoin="round"`;
  const ground = (name, x = 0, y = 0, w = 48, h = 48) => rect(x, y, w, h, grounds[name][0]) + rect(x, y + h * 0.72, w, h * 0.28, grounds[name][1]);
  const at = (x, y, size, inner, more = "") => `<g transform="translate(${x} ${y}) scale(${size / 10})" ${more}>${inner}</g>`;
  // things stand around 0,0 and are about 20 wide at size 10
  const starD = "M0-10 3-3.2 10-2.8 4.600 1.900 6.500 9 0 5.100-6.500 9-4.600 1.900-10-2.800-3-3.200Z", houseD = "M-9-1 0-9 9-1V9H-9Z", treeD = "M0-11 8 3H2V10H-2V3H-8Z";
  const thing = (d) => (x, y, size, fill, more = EDGE) => at(x, y, size, path(d, fill, more));
  const star = thing(starD), tree = thing(treeD), bareHouse = thing(houseD);
  const house = (x, y, size, fill) => bareHouse(x, y, size, fill) + at(x, y, size, rect(-2.500, 2, 5, 7, INK, 'opacity=".55"'));
  const moon = (x, y, r) => `<circle cx="${x}" cy="${y}" r="${r}" fill="${CREAM}"/>`;
  const frame = (x, y, w, h, inner) => `<svg x="${x}" y="${y}" width="${w}" height="${h}" viewBox="0 0 48 48" preserveAspectRatio="xMidYMid slice">${inner}</svg>` + rect(x, y, w, h, "none", `stroke="${CREAM}" stroke-width="1.600"`);
  const dashed = (x, y, w, h, colour) => rect(x, y, w, h, colour, 'fill-opacity=".18" rx="2"') + rect(x, y, w, h, "none", `rx="2" stroke="${colour}" stroke-width="1.600" stroke-dasharray="3 2"`);
  const bolt = (x, y, size = 10) => at(x, y, size, path("M2-10-6 2H0L-2 10 7-3H1Z", GOLD, `stroke="${INK}" stroke-width="1.400" stroke-linejoin="round"`));
  const arrow = (x, y, length = 12, colour = CREAM) => line(`M${x} ${y}h${length}M${x + length - 4} ${y - 4}l4 4-4 4`, INK, 4.600) + line(`M${x} ${y}h${length}M${x + length - 4} ${y - 4}l4 4-4 4`, colour, 2.200);
  const glow = (x, y, r) => [["#521e5c", 1], ["#a83250", 0.78], ["#e26838", 0.56], ["#fcba48", 0.36], ["#fff6c8", 0.180]].map(([colour, part]) => `<circle cx="${x}" cy="${y}" r="${r * part}" fill="${colour}" opacity=".78"/>`).join("");
  const cross = (x, y, r) => line(`M${x - r} ${y - r}l${2 * r} ${2 * r}M${x + r} ${y - r}l${-2 * r} ${2 * r}`, CREAM, 5) + line(`M${x - r} ${y - r}l${2 * r} ${2 * r}M${x + r} ${y - r}l${-2 * r} ${2 * r}`, RED, 2.800);
  const words = (y, list) => list.map(([x, w, colour = GREY]) => rect(x, y, w, 4, colour, 'rx="2"')).join("");
  const dots = (x, y, list, colour) => list.map(([a, b]) => `<circle cx="${x + a}" cy="${y + b}" r="1.300" fill="${colour}"/>`).join("");
  const pencil = (x, y) => at(x, y, 10, path("M-7 9-6 4 4-7 8-3-2 8Z", GOLD, `stroke="${INK}" stroke-width="1.300" stroke-linejoin="round"`) + path("M-7 9-6 4-2 8Z", INK));
  const bar = (parts, y = 40) => rect(4, y, 40, 4.500, INK, 'rx="2.200" opacity=".55"') + parts.map(([x, w, colour]) => rect(x, y, w, 4.500, colour, 'rx="2.200"')).join("");
  const scene = ground("night") + moon(38, 9, 3) + star(14, 22, 9, RED) + house(34, 28, 9, BLUE);
  const mist = (seed) => Array.from({ length: 30 }, (_, i) => rect((i * 17 + seed * 7) % 46, (i * 29 + seed * 13) % 46, 3, 3, [RED, BLUE, GREEN, GOLD, VIOLET, CREAM][(i + seed) % 6], 'opacity=".55"')).join("");
  const grain = [[-3, -1], [0, 2], [3, -1], [0, -5], [-3, 5], [3, 5]];

  const art = {
    "text-to-image": scene,
    "few-step": ground("day") + tree(14, 25, 11, GREEN) + house(33, 31, 7, RED) + bolt(36, 14, 10),
    "step-cache": ground("dusk") + star(14, 16, 8, GOLD) + house(34, 26, 8, BLUE) + bar([[4, 6, GOLD], [11, 6, GOLD], [20, 6, GOLD], [33, 6, GOLD]]) + line("M16.500 37q3-5 6 0M25.500 37q5-6 10 0", CREAM, 1.600),
    "calm-guidance": ground("day") + star(14, 17, 9, RED) + house(35, 22, 7, BLUE) + line("M10 43a14 14 0 0 1 28 0", CREAM, 5) + line("M10 43a14 14 0 0 1 22-11.500", GREEN, 3) + line("M24 43l6.500-8.500", INK, 2.400) + `<circle cx="24" cy="43" r="2.600" fill="${INK}"/>`,
    regions: ground("paper") + dashed(3, 5, 20, 26, RED) + dashed(25, 16, 20, 28, BLUE) + star(13, 18, 7, RED) + house(35, 31, 7, BLUE),
    "plan-from-a-sentence": ground("paper") + words(5, [[4, 12], [18, 9], [29, 14]]) + words(12, [[4, 8], [14, 14]]) + line("M24 18v4M21.500 20l2.500 2.500 2.500-2.500", INK, 1.600) + dashed(4, 26, 18, 17, RED) + dashed(26, 29, 18, 14, BLUE),
    "full-start": scene.replace(house(34, 28, 9, BLUE), house(33, 24, 8, BLUE)) + bar([[4, 14, BLUE], [18, 26, GOLD]]) + bolt(38, 37, 9),
    anytime: scene + bar([[4, 10, GREEN], [16, 10, GREEN], [28, 6, GREEN]]) + `<circle cx="36" cy="36" r="8" fill="${INK}" stroke="${CREAM}" stroke-width="1.500"/>` + rect(33, 33, 6, 6, CREAM),
    "three-moods": ["day", "dusk", "night"].map((name, i) => ground(name, i * 16, 0, 16, 48) + house(i * 16 + 8, 30, 6, i === 1 ? VIOLET : BLUE)).join("") + line("M16 0v48M32 0v48", CREAM, 1.400),
    panels: [["day", 0, 0], ["dusk", 24, 0], ["sea", 0, 24], ["night", 24, 24]].map(([name, x, y], i) => ground(name, x, y, 24, 24) + star(x + 8 + 3 * (i % 3), y + 12, 5.500, RED)).join("") + line("M24 0v48M0 24h48", CREAM, 2),
    emphasis: ground("paper") + words(7, [[4, 9], [16, 16, RED], [35, 9]]) + rect(16, 13, 16, 2, RED, 'rx="1"') + star(9, 33, 5, GREY) + arrow(17, 32, 9) + star(38, 31, 9, RED),
    "word-weight": ground("night") + star(17, 20, 13, GOLD) + house(38, 27, 5, BLUE) + line("M6 41h36", CREAM, 2) + `<circle cx="31" cy="41" r="4" fill="${RED}" stroke="${CREAM}" stroke-width="1.500"/>`,
    "avoid-without-cfg": ground("day") + tree(13, 25, 11, GREEN) + `<g opacity=".45">${house(33, 27, 8, BLUE)}</g>` + cross(33, 26, 9),
    "avoid-nasa": ground("paper") + words(7, [[4, 11], [17, 14, BLUE], [33, 11]]) + cross(24, 9, 4.500) + tree(14, 32, 9, GREEN) + line("M25 42h18M34 24v18", GREY, 1.200, 'stroke-dasharray="2 2"'),
    "edit-by-prompt": ground("day", 0, 0, 24) + ground("day", 24, 0, 24) + star(11, 20, 8, RED) + star(37, 20, 8, GREEN) + arrow(18, 39),
    "change-words": ground("paper") + words(6, [[4, 9], [15, 14, RED], [31, 12]]) + words(15, [[4, 9], [15, 14, GREEN], [31, 12]]) + line("M22 10.500v3", INK, 1.400) + star(24, 33, 10, GREEN),
    "keep-the-look": ground("snow") + star(14, 16, 11, VIOLET) + dots(14, 16, grain, GOLD) + house(33, 33, 10, VIOLET) + dots(33, 34, grain, GOLD),
    "keep-the-subject": ground("paper") + frame(2, 3, 25, 25, ground("night") + house(24, 27, 15, RED)) + frame(21, 20, 25, 25, ground("snow") + house(24, 27, 15, RED)),
    "mask-to-region": scene + rect(23, 17, 22, 22, grounds.night[0]) + tree(34, 27, 10, GREEN) + rect(23, 16, 22, 24, "none", `rx="3" stroke="${GOLD}" stroke-width="1.800" stroke-dasharray="3 2"`),
    "edit-picture": ground("paper") + frame(4, 5, 33, 33, scene) + pencil(35, 34),
    "edit-a-thing": ground("grey") + bareHouse(35, 30, 8, "#a59c8e") + tree(24, 22, 6, "#a59c8e") + star(14, 22, 9, RED) + rect(2.500, 10, 23, 24, "none", `rx="3" stroke="${RED}" stroke-width="1.800" stroke-dasharray="3 2"`),
    "edit-inverted-picture": ground("dusk") + frame(4, 4, 27, 27, scene) + [[INK, 4.600], [CREAM, 2.200]].map(([colour, width]) => line("M39 16c4 12-6 24-20 23M24 34l-5.500 5 5.500 5", colour, width)).join(""),
    "keep-picture-values": ground("paper", 0, 0, 24) + ground("dusk", 24, 0, 24) + bareHouse(12, 27, 9, "none", `stroke="${INK}" stroke-width="1.500"`) + bareHouse(36, 27, 9, VIOLET) + line("M24 0v48", CREAM, 1.600),
    "restyle-picture": ground("day", 0, 0, 24) + ground("dusk", 24, 0, 24) + house(24, 26, 13, RED) + `<g opacity=".85">${[0, 4, 8, 12].map((x) => line(`M${26 + x} ${17 + x * 0.900}V37`, GOLD, 1.600)).join("")}</g>` + line("M24 0v48", CREAM, 1.400),
    "steer-to-picture": ground("paper") + frame(3, 4, 17, 17, ground("dusk") + star(24, 22, 14, GOLD)) + frame(20, 18, 26, 27, ground("dusk") + house(24, 27, 14, RED)) + line("M7 25v9h9M12.500 30.500l3.500 3.500-3.500 3.500", INK, 2),
    "paint-around-picture": `<g opacity=".5">${ground("sea")}</g>` + rect(2, 2, 44, 44, "none", `stroke="${INK}" stroke-width="1.500" stroke-dasharray="3 2.500"`) + frame(15, 13, 18, 20, ground("night") + star(24, 22, 15, RED)),
    upscale: rect(0, 0, 48, 48, grounds.paper[0]) + frame(3, 31, 14, 14, scene) + frame(19, 3, 26, 26, scene) + line("M19 35h8v-4M23.500 33.500l3.500-3.500 3.500 3.500", INK, 1.800),
    "restore-picture": scene + [[4, 4], [20, 6], [8, 30], [27, 20], [38, 36], [22, 37]].map(([x, y]) => rect(x, y, 6, 6, "#cfc8bc")).join("") + line("M44 4 28 20M30 12l-2.500 8 8-2.500", GOLD, 2.200),
    "see-words": `<g opacity=".55">${scene}</g>` + glow(14, 22, 14) + star(14, 22, 7, RED),
    "see-regions": `<g opacity=".4">${scene}</g>` + glow(13, 19, 11) + glow(34, 30, 11) + rect(2, 7, 22, 24, "none", `stroke="${CREAM}" stroke-width="1.500" stroke-dasharray="3 2"`) + rect(25, 19, 20, 23, "none", `stroke="${CREAM}" stroke-width="1.500" stroke-dasharray="3 2"`),
    "see-concepts": `<g opacity=".4">${scene}</g>` + glow(24, 38, 20) + line("M20 16a5 5 0 1 1 7 4.500c-2 1-2.500 2-2.500 4.500", CREAM, 2.600) + `<circle cx="24.500" cy="30" r="1.700" fill="${CREAM}"/>`,
    "see-blocks": ground("dark") + [8, 18, 30, 34, 26, 14, 9].map((h, i) => rect(4 + i * 6, 43 - h, 4.600, h, ["#521e5c", "#a83250", "#e26838", "#fcba48", "#e26838", "#a83250", "#521e5c"][i], 'rx="1.200"')).join(""),
    estimates: [0, 1, 2].map((i) => `<svg x="${i * 16}" y="7" width="15.200" height="34" viewBox="5 6 18 36" preserveAspectRatio="none">${scene}${i < 2 ? mist(i) + mist(i + 3) : ""}${i ? "" : mist(5) + mist(8)}</svg>`).join("") + rect(0, 0, 48, 8, INK) + rect(0, 40, 48, 8, INK) + [3, 14, 25, 36].flatMap((x) => [rect(x, 2.500, 5, 3, CREAM), rect(x, 42.500, 5, 3, CREAM)]).join(""),
    "mask-from-words": ground("dark") + bareHouse(24, 24, 15, CREAM, "") + bareHouse(24, 24, 18, "none", `stroke="${GOLD}" stroke-width="1.100" stroke-dasharray="2.200 1.600"`),
    "": ground("paper") + line("M14 15h10c6 0 2 17 8 17h3", GREY, 2) + rect(5, 9, 14, 12, BLUE, 'rx="2.500"') + rect(29, 26, 14, 12, RED, 'rx="2.500"') + rect(6, 29, 12, 11, GOLD, 'rx="2.500"') + line("M18 34h11", GREY, 2),
  };

  /** The drawing of a ready workflow; one of a graph where it has none of its own. */
  window.weft.templateArt = (name) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 48 48");
    svg.setAttribute("aria-hidden", "true");
    svg.innerHTML = Object.hasOwn(art, name) ? art[name] : art[""]; // only the constants above
    return svg;
  };
})();

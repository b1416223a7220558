// The list of regions as a table: a prompt and four edges each, a sketch of the boxes, and the whole list as JSON.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, doc, makers, field } = weft;
  const EDGES = ["Left", "Top", "Right", "Bottom"];
  const hue = (index) => `hsl(${(index * 67) % 360} 55% 50%)`;
  const plain = (value) => Array.isArray(value) && value.every((r) => r && typeof r === "object" && !Array.isArray(r));
  const boxed = (region) => Array.isArray(region.box) && region.box.length === 4 && region.shape !== "mask";

  makers.regions = (spec) => {
    let list = [];
    const map = el("div", { class: "w-region-map", "aria-hidden": "true" });
    const rows = el("ol", { class: "w-regions" });
    const add = el("button", { type: "button", class: "w-btn", onclick: () => insert() }, "Add a region");
    const text = el("textarea", { class: "w-text w-code", rows: 8, spellcheck: "false", "aria-label": `${spec.label} as JSON` });
    const wrong = el("p", { class: "w-fault-own", role: "alert", hidden: true });
    const body = el("div", { class: "w-region-body", role: "group", "aria-label": spec.label }, map, rows, el("div", { class: "w-row" }, add),
      el("details", {}, el("summary", { class: "w-link" }, "As text (strength, start, end, avoid)"), text, wrong));
    const box = field(spec, body, { wide: true });

    const tell = (fault) => { wrong.textContent = fault; wrong.hidden = !fault; };
    const put = (next) => { list = next; doc.set(spec, next); write(); sketch(); };
    const change = (index, part) => put(list.map((r, i) => (i === index ? { ...r, ...part } : r)));
    const write = () => { text.value = JSON.stringify(list, null, 1); tell(""); };
    text.addEventListener("change", () => {
      try { put(JSON.parse(text.value)); paint(); } catch (error) { tell(`This is not JSON: ${error.message}`); }
    });
    function insert() {
      const taken = new Set(plain(list) ? list.map((r) => r.id) : []);
      let number = taken.size + 1;
      while (taken.has(`r${number}`)) number += 1;
      put([...(plain(list) ? list : []), { id: `r${number}`, prompt: "", box: [0.25, 0.25, 0.75, 0.75] }]);
      paint();
      rows.lastElementChild.querySelector("input").focus();
    }
    function sketch() {
      const width = doc.field("width"), height = doc.field("height");
      const ratio = width && height ? doc.widget(width) / doc.widget(height) || 1 : 1;
      map.style.aspectRatio = String(ratio);
      map.style.width = `min(100%, ${Math.round(220 * ratio)}px)`;
      map.replaceChildren(...(plain(list) ? list : []).map((region, index) => {
        if (!boxed(region)) return null;
        const [x0, y0, x1, y1] = region.box.map((edge) => 100 * Number(edge));
        return el("i", { style: `left:${x0}%;top:${y0}%;width:${x1 - x0}%;height:${y1 - y0}%;--w-hue:${hue(index)}` }, String(index + 1));
      }).filter(Boolean));
    }
    function edge(index, at) {
      const name = `${EDGES[at]} of region ${index + 1}, percent`;
      const input = el("input", { class: "w-text w-number", type: "number", min: 0, max: 100, step: 1, "aria-label": name, value: Math.round(list[index].box[at] * 1000) / 10 });
      input.addEventListener("change", () => {
        if (!Number.isFinite(input.valueAsNumber)) return;
        change(index, { box: list[index].box.map((old, i) => (i === at ? Math.round(input.valueAsNumber * 100) / 10000 : old)) });
      });
      return el("label", { class: "w-edge" }, el("span", { class: "w-help" }, EDGES[at]), input);
    }
    function row(region, index) {
      const prompt = el("input", { class: "w-text", type: "text", value: String(region.prompt ?? ""), placeholder: "What shows there", "aria-label": `Prompt of region ${index + 1}` });
      prompt.addEventListener("input", () => change(index, { prompt: prompt.value }));
      const remove = el("button", { type: "button", class: "w-square", "aria-label": `Remove region ${index + 1}`, title: "Remove", onclick: () => { put(list.filter((_, i) => i !== index)); paint(); add.focus(); } }, icon("bin"));
      return el("li", {}, el("div", { class: "w-row" }, el("b", { class: "w-region-number", style: `--w-hue:${hue(index)}` }, String(index + 1)), prompt, remove),
        boxed(region) ? el("div", { class: "w-edges" }, ...EDGES.map((_, at) => edge(index, at))) : el("p", { class: "w-help" }, "A painted mask; see it as text."));
    }
    function paint() {
      rows.replaceChildren(...(plain(list) ? list.map(row) : []));
      sketch();
    }
    return { input: add, box, resize: sketch, show: (value) => { list = value ?? []; paint(); write(); } };
  };
})();

// Schedules that were searched for the model stand in the menu of Schedule, where they fit what the page paints. Which
// do says Python (studio/found_lists.py), with every check of the document.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, on, doc } = weft;

  const closer = (gain) => (gain > 0 ? `, ${Math.round(100 * gain)} % closer` : "");
  const word = ({ steps, gain }) => `found: ${steps} ${steps === 1 ? "step" : "steps"}${closer(gain)}`;
  const chosen = (node, { steps }) => {
    const widgets = doc.current?.nodes?.find((n) => n.id === node)?.widgets || {};
    return widgets.spacing === "found" && widgets.steps === steps;
  };

  let found = [];
  function offer() {
    for (const box of document.querySelectorAll("#weft-create .w-field[data-widget=spacing]")) {
      const select = box.querySelector("select"), node = box.dataset.node;
      if (!select) continue;
      select.querySelectorAll("[data-steps]").forEach((option) => option.remove());
      const own = found.filter((one) => one.node === node && !chosen(node, one));
      select.append(...own.map((one) => el("option", { value: `found ${one.steps}`, "data-steps": one.steps }, word(one))));
      if (box.dataset.found) continue;
      box.dataset.found = "asked";
      // before the menu's own listener, which knows nothing of these
      box.addEventListener("change", (event) => {
        const steps = Number(event.target.selectedOptions?.[0]?.dataset.steps);
        if (!steps) return;
        event.stopPropagation();
        weft.useFound(node, steps);
      }, true);
    }
  }
  on("problems", (message) => { found = message.found || []; offer(); });
  on("document", () => queueMicrotask(offer)); // its form is built by then
  on("widget", ({ field }) => { if (["spacing", "steps"].includes(field?.widget)) offer(); });
})();

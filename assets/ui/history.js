// History: every picture of this owner, searched on the server, with its settings and three ways to use it again.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, on, parse, dialog } = weft;

  weft.history = (root, { props, trigger, watch }) => {
    const input = el("input", { class: "w-text", type: "search", placeholder: "Search prompts, titles, notes and tags", "aria-label": "Search the history" });
    const grid = el("ul", { class: "w-grid", id: "weft-grid" });
    const said = el("p", { class: "w-help", role: "status" });
    const more = el("button", { type: "button", class: "w-btn", hidden: true, onclick: () => ask(next) }, "Show more");
    root.append(el("section", { class: "weft w-history", "aria-label": "History" },
      el("div", { class: "w-history-head" }, el("h2", {}, "History"), el("div", { class: "w-search" }, input)), said, grid, el("div", {}, more)));
    let next = null, list = [], wait = 0;

    const ask = (before = null) => trigger("search", { text: input.value.slice(0, 500), before });
    input.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(ask, 250); });

    function detail(p) {
      const use = (label, what) => el("button", { type: "button", class: "w-btn", onclick: () => { box.close(); weft.openTab("Create"); weft.reuse(p, what); } }, label);
      const rows = [["Prompt", p.prompt], ["Name", p.title], ["Avoid", p.negative], ["Seed", p.seed], ["Size", `${p.width} × ${p.height}`], ["Model", p.model],
        ["Time", p.seconds ? `${p.seconds.toFixed(1)} s` : ""], ["Made", weft.when(p)], ["Id", p.id]].filter(([, value]) => value !== "" && value !== null && value !== undefined);
      const box = dialog("Picture", el("div", { class: "w-detail" },
        p.missing ? el("p", { class: "w-unknown" }, "The file of this picture is missing. Reuse its settings to make it again.") : el("img", { src: p.url, alt: weft.named(p), width: p.width, height: p.height }),
        el("div", { style: "display:grid;gap:16px" }, el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])),
          el("div", { class: "w-actions" }, use("Reuse settings", "all"), use("Only prompt", "prompt"), p.seed === null ? null : use("Only seed", "seed"), ...(p.missing ? [] : weft.saveLinks(p))))));
      box.classList.add("w-large");
    }
    function show() {
      const message = parse(props.value);
      if (!message.pictures) return;
      list = message.before ? [...list, ...message.pictures] : message.pictures;
      next = message.next;
      more.hidden = !next;
      grid.replaceChildren(...list.map((p) => el("li", {}, el("button", { type: "button", class: "w-card", "data-id": p.id, onclick: () => detail(p) },
        el("img", { src: p.thumb, alt: "", loading: "lazy" }), el("span", {}, weft.named(p))))));
      said.textContent = message.says || (list.length ? `${list.length}${next ? " or more" : ""} picture${list.length === 1 ? "" : "s"}` : input.value ? "No picture matches these words." : "Your pictures will appear here. Make the first one in Create.");
    }
    watch("value", show);
    on("made", () => ask());
    show();
    ask();
  };
})();

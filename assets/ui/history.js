// History: every picture of this owner, searched on the server, with its settings and three ways to use it again.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, parse, dialog, pictures } = weft;

  weft.history = (root, { props, trigger, watch }) => {
    const input = el("input", { class: "w-text", type: "search", placeholder: "Search prompts, titles, notes and tags", "aria-label": "Search the history" });
    const grid = el("ul", { class: "w-grid", id: "weft-grid" });
    const said = el("p", { class: "w-help", role: "status" });
    const starred = el("button", { type: "button", class: "w-chip w-filter", "aria-pressed": "false", onclick: () => {
      starred.setAttribute("aria-pressed", String(starred.getAttribute("aria-pressed") !== "true"));
      ask();
    } }, icon("star"), "Starred");
    const notice = el("div", { class: "w-notice", id: "weft-history-notice", hidden: true, role: "status" });
    const more = el("button", { type: "button", class: "w-btn", hidden: true, onclick: () => ask(next) }, "Show more");
    root.append(el("section", { class: "weft w-history", "aria-label": "History" },
      el("div", { class: "w-history-head" }, el("h2", {}, "History"), starred, el("div", { class: "w-search" }, input)), notice, said, grid, el("div", {}, more)));
    let next = null, list = [], wait = 0;

    const only = () => starred.getAttribute("aria-pressed") === "true";
    const change = (p, what) => trigger("mark", { generation: p.id, what });
    const ask = (before = null) => trigger("search", { text: input.value.slice(0, 500), before, starred: only() });
    input.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(ask, 250); });

    function detail(p) {
      const use = (label, what) => el("button", { type: "button", class: "w-btn", onclick: () => { box.close(); weft.openTab("Create"); weft.reuse(p, what); } }, label);
      const rows = [["Prompt", p.prompt], ["Name", weft.titled(p)], ["Avoid", p.negative], ["Seed", p.seed], ["Size", `${p.width} × ${p.height}`], ["Model", weft.facts.models.find((m) => m.ref === p.model)?.title || p.model],
        ["Time", p.seconds ? `${p.seconds.toFixed(1)} s` : ""], ["Made", weft.when(p)], ["Id", p.id.slice(0, 12)]].filter(([, value]) => value !== "" && value !== null && value !== undefined);
      const star = el("button", { type: "button", class: "w-btn w-star", "aria-pressed": String(p.starred), onclick: () => {
        p = { ...p, starred: !p.starred };
        star.setAttribute("aria-pressed", String(p.starred));
        change(p, p.starred ? "star" : "unstar");
      } }, icon("star"), "Star");
      const remove = el("button", { type: "button", class: "w-btn", onclick: () => { box.close(); change(p, "delete"); } }, icon("bin"), "Delete");
      const box = dialog("Picture", el("div", { class: "w-detail" },
        p.missing ? el("p", { class: "w-unknown" }, "The file of this picture is missing. Reuse its settings to make it again.") : el("img", { src: p.url, alt: weft.named(p), width: p.width, height: p.height }),
        el("div", { style: "display:grid;gap:16px" }, el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])),
          el("div", { class: "w-actions" }, use("Reuse settings", "all"), use("Only prompt", "prompt"), p.seed === null ? null : use("Only seed", "seed"), ...(p.missing ? [] : weft.saveLinks(p)), star, remove))));
      box.classList.add("w-large");
    }
    function say(text, p = null) {
      notice.hidden = !text;
      notice.replaceChildren(el("span", {}, text), p ? el("button", { type: "button", class: "w-link", onclick: () => { say(""); change(p, "undelete"); } }, "Undo") : "");
      if (p) notice.querySelector("button").focus({ preventScroll: true });
    }
    function marked({ what, picture }) {
      const gone = what === "delete";
      pictures.change(picture, gone);
      if (what === "undelete") return ask();
      list = gone ? list.filter((p) => p.id !== picture.id) : list.map((p) => (p.id === picture.id ? picture : p));
      paint();
      if (gone) say("The picture is deleted. It can be brought back for ten minutes.", picture);
    }
    function show() {
      const message = parse(props.value);
      if (message.marked) return marked(message.marked);
      if (!message.pictures) return message.says && say(message.says);
      list = message.before ? [...list, ...message.pictures] : message.pictures;
      next = message.next;
      more.hidden = !next;
      paint(message.says);
    }
    function paint(says = "") {
      grid.replaceChildren(...list.map((p) => el("li", {}, el("button", { type: "button", class: "w-card", "data-id": p.id, onclick: () => detail(p) },
        el("img", { src: p.thumb, alt: "", loading: "lazy" }), p.starred ? mark() : null, el("span", {}, weft.named(p))))));
      said.textContent = says || (list.length ? `${list.length}${next ? " or more" : ""} picture${list.length === 1 ? "" : "s"}` : input.value ? "No picture matches these words." : only() ? "No picture is starred. Open one and press Star." : "Your pictures will appear here. Make the first one in Create.");
    }
    function mark() {
      const star = icon("star");
      star.classList.add("w-starred");
      star.removeAttribute("aria-hidden");
      star.setAttribute("role", "img");
      star.setAttribute("aria-label", "Starred");
      return star;
    }
    watch("value", show);
    on("made", () => ask());
    show();
    ask();
  };
})();

// The ready workflows as a row of cards; one press opens one. Its arrow keys move, Enter chooses.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, dialog } = weft;

  /** Gives {box, show}: `choose(name)` is called for a card, `show(name)` marks the one that is open. */
  weft.templates = (choose) => {
    const cards = weft.facts.templates || [];
    const card = ({ name, title, help }) => el("button", { type: "button", class: "w-template", "data-template": name, "aria-pressed": "false", onclick: () => choose(name) },
      el("strong", {}, title), el("span", {}, help));
    const own = card({ name: "", title: "Your own graph", help: "As you left it." });
    const row = el("div", { class: "w-templates", id: "weft-templates", role: "toolbar", "aria-label": "Templates" }, own, ...cards.map(card));
    const all = el("button", { type: "button", class: "w-btn w-all", id: "weft-all-templates", onclick: () => every() }, `All ${cards.length}`);
    const box = el("nav", { class: "w-shelf", "aria-label": "Templates", hidden: cards.length < 2 }, row, all);
    const buttons = [...row.children];
    let open = "";

    const reach = (button) => { for (const b of buttons) b.tabIndex = b === button ? 0 : -1; };
    own.hidden = true;
    reach(buttons[1]);
    row.addEventListener("keydown", (event) => {
      const there = buttons.filter((button) => !button.hidden), at = there.indexOf(document.activeElement);
      const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: there.length - 1 }[event.key];
      if (at < 0 || next === undefined || !there[next]) return;
      event.preventDefault();
      reach(there[next]);
      there[next].focus();
    });
    const mark = (button) => button.setAttribute("aria-pressed", String(button.dataset.template === open));
    function every() {
      const groups = [...new Set(cards.map((c) => c.group))];
      const sheet = dialog("Templates", ...groups.map((group) => el("section", { class: "w-group" }, el("h3", {}, group),
        el("div", { class: "w-template-grid" }, ...cards.filter((c) => c.group === group).map(card)))));
      sheet.classList.add("w-large");
      for (const button of sheet.querySelectorAll(".w-template")) {
        mark(button);
        button.addEventListener("click", () => sheet.close());
      }
    }
    function show(name) {
      open = name || "";
      own.hidden = Boolean(open) && !weft.left.get("");
      buttons.forEach(mark);
      const chosen = buttons.find((b) => b.dataset.template === open);
      if (!chosen) return;
      reach(chosen);
      const left = chosen.offsetLeft - row.offsetLeft, right = left + chosen.offsetWidth;
      if (left < row.scrollLeft || right > row.scrollLeft + row.clientWidth) row.scrollTo({ left: Math.max(0, left - 40) });
    }
    return { box, show };
  };
})();

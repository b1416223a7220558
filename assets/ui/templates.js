// The ready workflows as a row of cards; one press opens one. Its arrow keys move, Enter chooses. A window shows all of
// them by group, says what each is for, and searches.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, dialog } = weft;

  /** Gives {box, show}: `choose(name)` is called for a card, `show(name)` marks the one that is open. */
  weft.templates = (choose) => {
    const cards = weft.facts.templates || [], groups = [...new Set(cards.map((c) => c.group))];
    const card = ({ name, title, help }, whole = false) => el("button", { type: "button", class: "w-template", "data-template": name, "aria-pressed": "false", title: whole ? null : help, onclick: () => choose(name) },
      weft.templateArt(name), el("strong", {}, title), whole ? el("span", {}, help) : null);
    const own = card({ name: "", title: "Your own graph", help: "As you left it." });
    const buttons = [own, ...cards.map((c) => card(c))];
    const of = (group) => buttons.filter((_, i) => i && cards[i - 1].group === group);
    const row = weft.fades(el("div", { class: "w-templates", id: "weft-templates", role: "toolbar", "aria-label": "Templates" }, own,
      ...groups.flatMap((group) => [el("span", { class: "w-shelf-group", "aria-hidden": "true" }, group), ...of(group)])));
    const all = el("button", { type: "button", class: "w-btn w-all", id: "weft-all-templates", onclick: () => every() }, `All ${cards.length}`);
    const box = el("nav", { class: "w-shelf", "aria-label": "Templates", hidden: cards.length < 2 }, row, all);
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
      const find = el("input", { class: "w-text", type: "search", id: "weft-find-template", placeholder: "Search: edit, larger, mask …", "aria-label": "Search the templates" });
      const none = el("p", { class: "w-help", hidden: true, role: "status" }, "No template says this. Try another word.");
      const sections = groups.map((group) => el("section", { class: "w-group" }, el("h3", {}, group),
        el("div", { class: "w-template-grid" }, ...cards.filter((c) => c.group === group).map((c) => card(c, true)))));
      const sheet = dialog("Templates", el("div", { class: "w-find-template" }, find), none, ...sections);
      const found = () => [...sheet.querySelectorAll(".w-template:not([hidden])")];
      sheet.classList.add("w-large");
      for (const button of found()) {
        mark(button);
        button.addEventListener("click", () => sheet.close());
      }
      // in the language of the page, by group, name and purpose; and by the name of its file, which is English
      find.addEventListener("input", () => {
        const asked = find.value.toLowerCase().split(/\s+/).filter(Boolean);
        for (const section of sections) {
          const group = section.querySelector("h3").textContent;
          for (const button of section.querySelectorAll(".w-template")) {
            const text = `${group} ${[...button.children].map((part) => part.textContent).join(" ")} ${button.dataset.template.replaceAll("-", " ")}`.toLowerCase();
            button.hidden = !asked.every((word) => text.includes(word));
          }
          section.hidden = !section.querySelector(".w-template:not([hidden])");
        }
        none.hidden = found().length > 0;
      });
      find.addEventListener("keydown", (event) => { if (event.key === "Enter" && find.value.trim()) found()[0]?.click(); });
      if (matchMedia("(pointer: fine)").matches) find.focus();
      else sheet.querySelector(".w-template[aria-pressed=true]")?.focus(); // no keyboard comes up over the cards
    }
    function show(name) {
      open = name || "";
      own.hidden = Boolean(open) && !weft.left.get("");
      buttons.forEach(mark);
      const chosen = buttons.find((b) => b.dataset.template === open);
      if (!chosen) return;
      reach(chosen);
      const left = chosen.offsetLeft - row.offsetLeft, right = left + chosen.offsetWidth;
      if (left < row.scrollLeft + 50 || right > row.scrollLeft + row.clientWidth - 50) row.scrollTo({ left: Math.max(0, left - 60) });
    }
    return { box, show };
  };
})();

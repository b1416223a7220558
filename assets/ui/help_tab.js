// Settings and help: theme, language, shortcuts, what is stored where, and the first steps again.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, parse, remember, dialog } = weft;

  const radios = (name, label, choices, now, take) => el("div", { class: "w-chips", role: "radiogroup", "aria-label": label }, ...choices.map(([value, word]) =>
    el("label", { class: "w-chip" }, el("input", { type: "radio", name, value, checked: value === now, onchange: () => take(value) }), word)));
  const STORED = {
    images: "Pictures, each with the workflow inside", uploads: "Pictures you brought", "studio.db": "History, queue and settings of each picture", cache: "Results that need not be made again; may be deleted", models: "Models you added",
  };

  // every name under which the page stores something in the browser, and what that is
  const HERE = [
    ["document left origin touched", "The graphs that you had open, and what you changed in them"],
    ["edit compare regions-picture vary cut-edges", "What was set on Create, Edit, Regions and Compare"],
    ["graph-map graph-view more", "How the Graph tab looks, and what is unfolded"],
    ["theme language seed-lock guided", "Theme, language, the seed lock, and that the first steps were shown"],
    ["visitor", "The key by which a shared studio knows your pictures; the button below leaves it"],
  ];

  weft.helpTab = (root, { props, trigger, watch }) => {
    const section = (title, ...body) => el("section", { class: "w-panel" }, el("h3", {}, title), ...body);
    const keys = weft.shortcutSheet();
    const kept = el("div", { class: "w-kept", id: "weft-kept" });
    const plugins = section("Nodes of your own", el("div", { class: "w-plugins", id: "weft-plugins" }));
    plugins.hidden = true;
    const said = el("p", { class: "w-notice", role: "status", hidden: true });
    const forget = el("button", { type: "button", class: "w-btn", id: "weft-forget", onclick: () => {
      const box = dialog("Delete all my pictures?", el("p", {}, "Every picture of the history, its prompt and its settings are deleted for good. This cannot be undone."),
        el("div", { class: "w-actions" }, el("button", { type: "button", class: "w-btn w-danger", onclick: () => { trigger("forget", { sure: true }); box.close(); } }, icon("bin"), "Delete all"), el("button", { type: "button", class: "w-btn", onclick: () => box.close() }, "Keep them")));
    } }, icon("bin"), "Delete all my pictures");
    const wipe = el("button", { type: "button", class: "w-btn", onclick: () => { for (const key of Object.keys(localStorage)) if (key.startsWith("weft-") && key !== "weft-visitor") localStorage.removeItem(key); location.reload(); } }, "Forget what this browser keeps");

    root.append(el("section", { class: "weft w-page", "aria-label": "Settings and help" }, el("div", { class: "w-history-head" }, el("h2", {}, "Settings and help"), el("button", { type: "button", class: "w-btn", onclick: () => weft.guide() }, icon("book"), "First steps")), said,
      el("div", { class: "w-two-columns" },
        el("div", {}, section("Appearance", el("div", { class: "w-field" }, el("span", { class: "w-label" }, "Theme"), radios("w-theme", "Theme", [["light", "Light"], ["dark", "Dark"], ["system", "Like the system"]], remember.get("theme") || "system", (value) => weft.setTheme(value))),
          el("div", { class: "w-field" }, el("span", { class: "w-label" }, "Language"), radios("w-language", "Language", Object.entries(weft.languages), weft.language, (value) => weft.setLanguage(value)),
            el("p", { class: "w-help" }, "Prompts stay as you write them. Help of the nodes and messages of models are in English."))),
          section("Privacy", el("p", {}, "Weft sends nothing to anybody: the page talks to this studio only, and no use is counted."), kept,
            el("p", { class: "w-help" }, "This browser keeps the following, and nothing else:"), el("ul", { class: "w-locks w-help" }, ...HERE.map(([, what]) => el("li", {}, what)), el("li", {}, "Until its window closes: the open tab, what stands in Upscale, a number by which this page knows its runs, and a press that the studio never got")), el("div", { class: "w-actions" }, wipe, forget))),
        el("div", {}, plugins, section("Shortcuts", keys, el("p", { class: "w-help" }, "The sheet opens anywhere with ?."))))));

    function paint({ pictures, bytes, home, places, cache, hours, graphInside }) {
      const rows = [["Your pictures", `${pictures} · ${weft.bytes(bytes)}`], home && ["Folder", home], ...places.map(([name, path]) => [STORED[name], path]), cache && ["Largest size of the cache", weft.bytes(cache)]].filter(Boolean);
      kept.replaceChildren(el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { translate: "no" }, value)])),
        el("p", {}, graphInside ? "A saved picture carries its workflow and prompt. Export with “Pictures alone” leaves them out." : "A saved picture carries no workflow unless you choose “PNG with settings”."),
        hours ? el("p", {}, `This host deletes pictures after ${hours} hours.`) : "");
    }
    /** Plugin files: what each brings, or where and why it does not load. */
    function paintPlugins({ folder, loaded, broken }) {
      const where = ({ file, line }) => el("code", { translate: "no" }, line ? `${file}:${line}` : file);
      plugins.hidden = false;
      plugins.lastChild.replaceChildren(...broken.map((one) => el("p", { class: "w-unknown", role: "alert" }, where(one), " ", el("strong", {}, "does not load."), " ", el("span", { translate: "no" }, `${one.message} ${one.hint}`.trim()))),
        loaded.length ? el("ul", { class: "w-loras" }, ...loaded.map((one) => el("li", {}, where(one), " ", el("span", { class: "w-help" }, ...one.nodes.flatMap((title, i) => [i ? ", " : "", el("span", {}, title)]))))) : "",
        el("p", { class: "w-help" }, "Each file in this folder adds nodes to the Graph tab:"), el("p", {}, el("code", { translate: "no" }, folder)),
        el("p", { class: "w-help" }, broken.length ? "Mend the file, then reload the page." : "docs/write-a-node.md shows how to write one. After a change, reload the page."));
    }
    watch("value", () => {
      const message = parse(props.value);
      if (message.kept) paint(message.kept);
      if (message.plugins) paintPlugins(message.plugins);
      const text = message.says || (message.gone !== undefined ? "All pictures are deleted." : "");
      said.textContent = text;
      said.hidden = !text;
      if (message.gone !== undefined) { weft.pictures.made = []; weft.pictures.replace([]); weft.emit("made", null); }
    });
    weft.onShown(root, () => trigger("look", {}));
  };

  /** Three steps for a first visit; shown once in a browser, and from Settings and help. */
  weft.guide = () => {
    const steps = [
      ["Describe a picture", "Write what you want to see, or press one of the examples. “What this model knows” lists its words.", ".w-prompt"],
      ["Press Generate", "The picture forms before your eyes. The line at the foot tells the step and the time left, and stops it.", "#weft-go"],
      ["Look inside and change it", "Regions places things, Edit changes words, See shows where each word acts, Graph shows it all. Every picture is kept in History.", "#weft-tabs .tab-wrapper"],
    ];
    weft.openTab("Create");
    let at = 0;
    const head = el("strong", {}), text = el("p", {}), dots = el("span", { class: "w-dots", "aria-hidden": "true" }, ...steps.map(() => el("i", {}))), place = el("span", { class: "w-help" });
    const next = el("button", { type: "button", class: "w-btn w-next", onclick: () => go(at + 1) }), skip = el("button", { type: "button", class: "w-link", onclick: () => end() }, "Skip");
    document.querySelector("#weft-guide")?.remove();
    const box = el("aside", { class: "weft w-guide", id: "weft-guide", role: "dialog", "aria-label": "First steps", tabindex: -1 }, el("div", { class: "w-guide-head" }, dots, place), head, text, el("div", { class: "w-actions" }, next, skip));
    let marked = null;
    function go(step) {
      marked?.classList.remove("w-lit");
      if (step >= steps.length) return end();
      at = step;
      const [title, words, where] = steps[at];
      head.textContent = title;
      text.textContent = words;
      place.textContent = `${at + 1} / ${steps.length}`;
      [...dots.children].forEach((dot, i) => dot.classList.toggle("w-on", i === at));
      next.textContent = at === steps.length - 1 ? "Start" : "Next";
      marked = document.querySelector(where);
      marked?.classList.add("w-lit");
      box.classList.toggle("w-guide-up", at === 2); // beside the tabs that it speaks of, and not over the picture
      if (at === 2 && matchMedia("(max-width: 640px)").matches) document.querySelector("#weft-mat")?.scrollIntoView({ block: "end" });
      if (marked && at < 2) marked.scrollIntoView({ block: "nearest" });
      box.style.top = box.style.bottom = "";
      const edge = (what) => document.querySelector(what)?.getBoundingClientRect(), card = box.getBoundingClientRect(), stage = edge("#weft-mat"), list = edge("#weft-mat .w-examples");
      if (at === 0 && list?.height && stage.top > 0 && card.top < list.bottom && card.left < list.right && stage.top + 12 + card.height < list.top) // over the drawing, not over the examples that it speaks of
        Object.assign(box.style, { bottom: "auto", top: `${stage.top + 12}px` });
    }
    function end() {
      marked?.classList.remove("w-lit");
      remember.set("guided", "yes");
      box.remove();
    }
    box.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); end(); } });
    document.body.append(box);
    // the card steps aside while the picture forms, and goes on once it is there
    weft.on("run", () => { if (at === 1) box.hidden = weft.run.live; });
    weft.on("made", () => { if (at === 1 && box.isConnected) { box.hidden = false; go(2); } });
    go(0);
  };
})();

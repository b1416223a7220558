// What stands on every tab: wordmark, badges, theme switch, shortcut sheet, and the job line at the foot.
(() => {
  "use strict";
  const { el, icon, on, run, remember, dialog } = window.weft;

  const words = {
    idle: "Ready", queued: "Waiting", running: "Working", done: "Done", cached: "Done", skipped: "Skipped",
    error: "Not made", stopped: "Stopped", parked: "Parked",
  };
  const everywhere = [
    ["Ctrl + Enter", "Generate"], ["Esc", "Stop the picture in the making, or close a window"], ["?", "This sheet"],
  ];
  // Those of the graph stand in assets/graph/src/keys.js; a test holds that both say the same.
  const graph = [
    ["Ctrl + Enter", "Run the graph"], ["Esc", "Stop the run, or close what is open"], ["Shift + A", "Add a node (or double-click the ground)"],
    ["Ctrl + Z", "Undo"], ["Ctrl + Shift + Z or Ctrl + Y", "Redo"], ["Ctrl + C", "Copy"], ["Ctrl + X", "Cut"], ["Ctrl + V", "Paste"],
    ["Ctrl + D", "Duplicate"], ["Ctrl + A", "Choose all nodes"], ["Delete or Backspace", "Delete"], ["Ctrl + G", "Group the chosen nodes"],
    ["Ctrl + Shift + G", "Make a sub-graph of the chosen nodes"], ["I", "Go into the chosen sub-graph (or double-click it)"], ["O", "Go out of the sub-graph"], ["U", "Unpack the chosen sub-graph"],
    ["M", "Mute: the node gives nothing"], ["B", "Bypass: what comes in goes on as it is"], ["F", "Fit the view"],
    ["P", "Show what would run, and why"], ["Ctrl + S", "Save as a file"],
  ];
  const regions = [["Enter", "Add a box"], ["Arrow keys", "Move the box; with Shift, change its size"], ["N or P", "Choose the next box, or the one before"], ["Delete", "Remove the box"], ["Ctrl + Z", "Undo"], ["Ctrl + Shift + Z", "Redo"]];
  const brush = [["Arrow keys", "Move the brush; with Shift, in long steps"], ["Space", "Paint a spot"], ["Enter", "Lower the brush, or lift it"], ["[ or ]", "Narrower or wider"]];
  const mouse = [["Shift + click", "Add a node to what is chosen, or take it away"], ["Shift + drag", "Choose all in a box"]];
  const past = [["Arrow keys", "Go from picture to picture"], ["Home or End", "Newest or oldest picture"], ["Shift + click", "While selecting: all pictures in between"], ["Ctrl + Z", "Bring back what was deleted"]];
  const printed = { Shift: "⇧ Shift", Delete: "Del" }; // as on the keys; "Delete" alone is what a button says
  const groups = [["Everywhere", everywhere], ["Regions, on the canvas", regions], ["Brush, in Regions and Edit", brush], ["Graph", [...graph, ...mouse]], ["History", past]];
  window.weft.shortcutSheet = () => el("div", { class: "w-sheet" }, ...groups.map(([title, list]) => el("section", { class: "w-group" }, el("h3", {}, title), el("dl", { class: "w-keys" }, ...list.flatMap(([keys, what]) => [
    el("dt", {}, ...keys.split(/( \+ | or )/).map((key, i) => (i % 2 ? el("span", { class: "w-help" }, key) : el("kbd", {}, printed[key] || key)))), el("dd", {}, what)])))));

  // The engine begins with the widget's own label ("Text: …"); where the node is named, that would be said twice.
  window.weft.errorText = ({ message, hint, socket }, title = "") => {
    const label = socket ? `${socket.replaceAll("_", " ")}: ` : "";
    const plain = label && message.toLowerCase().startsWith(label.toLowerCase()) ? message.slice(label.length) : message;
    return [title ? `${title}: ${plain}` : plain, hint].filter(Boolean).join(" ");
  };
  /** What an error is of, as the form names it: "Steps", else the title of its node. */
  window.weft.errorName = ({ node, socket, title }) => window.weft.doc.panel?.find((f) => f.node === node && f.widget === socket)?.label || title || "";

  function jobText({ job, nodes, warnings, error, offer }) {
    if (error) return window.weft.errorText(error, window.weft.errorName(error));
    if (run.pending) return "Sending to the studio …";
    const behind = job.behind ? `, ${job.behind} more behind it` : "";
    if (job.state === "queued") return (job.ahead ? `${job.ahead} ahead of you` : "Starting next") + behind;
    if (job.state === "running") {
      const parts = job.cells ? [`picture ${Math.min(job.cell + 1, job.cells)} of ${job.cells}`] : [];
      if (job.part) parts.push(job.part);
      const known = job.left_s !== null && job.left_s !== undefined;
      if (job.total) parts.push(`step ${job.step} of ${job.total}`);
      else {
        const at = Object.values(nodes).find((n) => n.state === "running")?.title;
        parts.push(at || "preparing the model");
        if (at && !known) parts.push("the first time takes longer");
      }
      if (known && job.left_s >= 1.5) parts.push(`${window.weft.about(job.left_s).replace("about", job.least ? "at least" : "about")} left`);
      else if (known && (job.least || job.share >= 0.8)) parts.push(job.least ? "more follows" : "almost there"); // early in a short run neither is true
      return parts.join(", ") + behind;
    }
    if (warnings?.length) return warnings[0];
    if (job.cells) return `${job.cell} of ${job.cells} pictures are there.${job.state === "stopped" ? " Start again to make the rest." : ""}`;
    const states = Object.values(nodes).map((n) => n.state);
    if (job.state === "done" && states.length && states.every((s) => s === "cached")) return "Nothing changed, so this is the picture you already have.";
    if (job.state === "done") return job.seconds ? `in ${job.seconds.toFixed(1)} s` : "Your picture is in the history.";
    if (job.state === "stopped") return run.snapshot.keep ? "Nothing was stored. Keep this makes a picture of what was there." : "Nothing was stored.";
    if (job.state === "parked") return `Weft ended while it made ${offer?.name ? `“${offer.name}”` : "a picture"}.`;
    return "Describe a picture and press Generate.";
  }

  function dark(on) {
    document.body.classList.toggle("dark", on);
    document.documentElement.style.colorScheme = on ? "dark" : "light";
  }

  window.weft.chrome = (root, { trigger, facts }) => {
    window.weft.facts = facts;
    const asked = new URLSearchParams(location.search).get("__theme");
    const kept = remember.get("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    if (!asked && kept) dark(kept === "system" ? system.matches : kept === "dark");
    system.addEventListener("change", () => { if ((remember.get("theme") || "system") === "system") dark(system.matches); });
    window.weft.setTheme = (value) => { remember.set("theme", value); dark(value === "system" ? system.matches : value === "dark"); };

    const swap = el("button", { type: "button", class: "w-round", "aria-label": "Light or dark theme", title: "Light or dark" });
    const paint = () => swap.replaceChildren(icon(document.body.classList.contains("dark") ? "sun" : "moon"));
    swap.addEventListener("click", () => {
      dark(!document.body.classList.contains("dark"));
      remember.set("theme", document.body.classList.contains("dark") ? "dark" : "light");
    });
    new MutationObserver(paint).observe(document.body, { attributeFilter: ["class"] });
    paint();

    const sheet = () => {
      const box = dialog("Shortcuts", window.weft.shortcutSheet());
      box.classList.add("w-large");
    };
    const model = facts.models.find((m) => m.demo);

    const state = el("span", { class: "w-state" });
    const text = el("span", { class: "w-dock-text" });
    const fill = el("i");
    const stop = el("button", { type: "button", class: "w-btn", hidden: true, onclick: () => halt() }, icon("stop"), el("span", {}, "Stop"));
    const halt = () => (run.live || !run.other ? window.weft.stop() : run.other.replay ? window.weft.stopReplay() : window.weft.cancel(run.other.run));
    const stopAll = el("button", { type: "button", class: "w-btn", id: "weft-stop-all", hidden: true, onclick: () => window.weft.stop(true) }, "Stop all");
    const keep = el("button", { type: "button", class: "w-btn", id: "weft-keep", hidden: true, onclick: () => window.weft.keepThis() }, icon("save"), "Keep this");
    const all = el("button", { type: "button", class: "w-link", id: "weft-all-said", hidden: true, onclick: () => dialog("What the studio says",
      el("ul", { class: "w-said" }, ...(run.snapshot.error ? [text.textContent] : run.snapshot.warnings).map((line) => el("li", {}, line)))) });
    const resume = el("button", { type: "button", class: "w-btn", id: "weft-resume", hidden: true, onclick: () => window.weft.parked(run.snapshot.run, "resume") }, icon("reuse"), "Resume");
    const discard = el("button", { type: "button", class: "w-btn", id: "weft-discard", hidden: true, onclick: () => window.weft.parked(run.snapshot.run, "discard") }, "Discard");
    const send = el("button", { type: "button", class: "w-btn", id: "weft-send", hidden: true, onclick: () => window.weft.sendAgain() }, icon("reuse"), "Send it now");
    const keys = el("button", { type: "button", class: "w-round", "aria-label": "Keyboard shortcuts", title: "Keyboard shortcuts (?)", onclick: sheet }, "?");
    const dock = el("div", { class: "w-dock", id: "weft-job", role: "group", "aria-label": "Job line" },
      el("div", { class: "w-dock-bar", "aria-hidden": "true" }, fill), state, text, all, send, resume, discard, keep, stop, stopAll, keys);
    const said = el("div", { class: "w-sr", role: "status", "aria-live": "polite" });
    const alarm = el("div", { class: "w-sr", role: "alert" });

    root.append(
      el("div", { class: "weft" },
        el("div", { class: "w-mark" }, el("img", { src: "weft/icons/weft.svg", alt: "" }), "Weft"),
        el("div", { class: "w-badges" },
          model && el("button", { type: "button", class: "w-badge", id: "weft-model-badge", title: "What this model knows", onclick: () => window.weft.knows?.() }, "demo model"),
          el("span", { class: "w-badge w-device", id: "weft-device-badge" }, facts.device), swap),
        dock, said, alarm));

    // On a narrow page the tabs scroll: the open one stays in view.
    const tabs = document.querySelector("#weft-tabs [role=tablist]"), row = tabs?.closest(".tab-wrapper");
    const ends = () => {
      row.classList.toggle("w-more-left", tabs.scrollLeft > 6);
      row.classList.toggle("w-more-right", tabs.scrollLeft + tabs.clientWidth < tabs.scrollWidth - 6);
    };
    for (const [to, label] of [["left", "Tabs to the left"], ["right", "Tabs to the right"]]) row?.append(el("button", { type: "button", class: "w-tabs-more", "data-to": to, title: label, "aria-hidden": "true", tabindex: -1, // keys reach the tabs themselves
      onclick: () => tabs.scrollBy({ left: (to === "left" ? -1 : 1) * tabs.clientWidth * 0.7, behavior: "smooth" }) }, icon("chevron")));
    tabs?.addEventListener("scroll", ends, { passive: true });
    if (tabs) new ResizeObserver(ends).observe(tabs);
    if (tabs) new MutationObserver(ends).observe(tabs, { subtree: true, childList: true, characterData: true }); // in another language they are wider
    const reach = () => tabs.querySelector(".selected")?.scrollIntoView({ block: "nearest", inline: "center", behavior: "instant" });
    // A reloaded page opens on the tab where it was; a shortcut of the installed app says which one it wants.
    const wanted = new URLSearchParams(location.search).get("tab") || remember.here("tab");
    // While gradio comes alive it opens its first tab once more, so the wish is held for a moment, until somebody presses.
    const chosen = () => tabs?.querySelector(".selected")?.dataset.tabId || "";
    let holding = /^[a-z]+$/.test(wanted || "") ? setInterval(() => chosen() !== wanted && window.weft.openTab(wanted), 100) : 0;
    const free = () => { clearInterval(holding); holding = 0; };
    for (const press of ["pointerdown", "keydown"]) addEventListener(press, free, { once: true, capture: true });
    setTimeout(free, 3000);
    if (tabs) new MutationObserver(() => {
      reach();
      if (!holding) remember.here("tab", chosen());
      window.weft.emit("tab", chosen());
    }).observe(tabs, { subtree: true, attributeFilter: ["aria-selected"] });

    let greeted = false; // the first steps are offered once, to who has no pictures yet
    on("pictures", (list) => {
      if (!greeted && !list.length && !remember.get("guided")) setTimeout(window.weft.guide, 300);
      greeted = true;
    });

    let before = "";
    on("run", () => tell());
    on("other", () => tell());
    function tell() {
      const others = !run.live && run.other, snapshot = others || run.snapshot, word = snapshot.job.state;
      state.dataset.state = word;
      state.classList.toggle("w-spin", word === "running");
      state.replaceChildren(icon(word), words[word] || word);
      text.textContent = others?.replay ? `Made again: ${jobText(snapshot)}` : others ? `Another page: ${jobText(snapshot)}` : jobText(snapshot);
      text.title = text.textContent;
      const notes = snapshot.error || run.live ? 0 : snapshot.warnings?.length || 0;
      all.hidden = notes < 2 && text.textContent.length < 160;
      all.textContent = notes > 1 ? `All ${notes} notes` : "Show all";
      resume.hidden = discard.hidden = word !== "parked";
      send.hidden = !run.unsent || run.lost || word !== "error";
      dock.classList.toggle("w-error", word === "error");
      stop.hidden = !run.live && !others;
      stopAll.hidden = !run.live || !snapshot.job.behind;
      stop.lastChild.textContent = stopAll.hidden ? "Stop" : "Stop this";
      keep.hidden = others || !snapshot.keep || !(run.live || word === "stopped");
      keep.title = keep.hidden ? "" : `Ends here and keeps the picture as it looks after step ${snapshot.keep}.`;
      const { step, total, cell, cells } = snapshot.job;
      const own = snapshot.job.share ?? (total ? step / total : 0.02), share = word === "running" ? (cells ? (cell + own) / cells : own) : 0;
      fill.style.transform = `scaleX(${share})`;
      document.title = word === "running" && !others && (total || cells) ? `${Math.round(100 * share)} % · Weft` : "Weft";
      if (others) return;
      if (word !== before) {
        if (word === "error") alarm.textContent = text.textContent;
        else if (["done", "stopped", "running"].includes(word)) said.textContent = `${words[word]}. ${text.textContent}`;
      }
      before = word;
    }
    window.weft.emit("run", run.snapshot);

    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        if (document.querySelector("dialog[open]")) return;
        event.preventDefault();
        if (!run.live) window.weft.generate?.();
      } else if (event.key === "Escape") {
        if (!document.querySelector("dialog[open]") && run.live) { event.preventDefault(); window.weft.stop?.(); }
      } else if (event.key === "?" && !typing && !document.querySelector("dialog[open]")) sheet();
    });
  };
})();

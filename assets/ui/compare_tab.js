// Compare: what varies, what it takes, the table that fills, and one labelled picture of it all.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, doc, run, remember, parse } = weft;

  weft.compareTab = (root, { props, trigger, watch }) => {
    let asked = 0, told = null, wait = 0, sweeping = false, live = null, saving = 0, waiting = 0, again = false;
    const view = weft.compareView();
    const save = el("button", { type: "button", class: "w-btn", id: "weft-sheet", disabled: true, title: "The whole table as one labelled PNG", "aria-label": "One picture", onclick: () => sheet() }, icon("save"), el("span", { class: "w-tool-short" }, "One picture"));
    view.tools.append(save);
    const list = weft.axisList(() => changed());
    const count = el("p", { class: "w-sum", id: "weft-sum" }), takes = el("p", { class: "w-help", id: "weft-takes", role: "status" });
    const said = el("p", { class: "w-unknown", role: "status", hidden: true });
    const seed = el("p", { class: "w-help w-same-seed" });
    const go = el("button", { type: "button", class: "w-go", id: "weft-sweep", onclick: () => (run.live ? weft.stop() : act()) });
    const base = el("div", { class: "w-field" }, el("div", { class: "w-label" }, el("span", {}, "All else as in Create"), el("button", { type: "button", class: "w-link", onclick: () => weft.openTab("Create") }, "Change it")), el("p", { class: "w-base", id: "weft-base", translate: "no" }));
    const form = el("section", { class: "w-form", "aria-label": "What varies" }, el("h2", { class: "w-form-title" }, "What varies"), list.box, base, seed, el("div", { class: "w-run" }, el("div", {}, count, takes), said, go));
    root.append(el("div", { class: "weft w-create w-regions-tab w-compare-tab" }, el("section", { class: "w-stage", "aria-label": "Comparison" }, view.tools, view.mat, view.below), form));

    const say = weft.sayer(said);
    const payload = () => ({ document: JSON.stringify(doc.current), axes: list.axes() });
    /** A person changed what varies: that is kept, also for a document that has no such setting. */
    function changed() {
      remember.set("compare", JSON.stringify(list.kept()));
      renew();
    }
    function renew() {
      clearTimeout(wait);
      say("", "run");
      wait = setTimeout(ask, 300);
      paint();
    }
    function ask() {
      clearTimeout(wait);
      if (!doc.current || !root.offsetParent || sweeping) return;
      if (!list.axes().length) { // nothing to make: the table is as empty as the wish
        asked++;
        waiting = 0;
        told = null;
        view.show(null);
        say("", "estimate");
        return paint();
      }
      if (Date.now() - waiting < 20000) return void (again = true); // one question at a time
      waiting = Date.now();
      again = false;
      trigger("estimate", { n: ++asked, ...payload() });
    }
    function paint() {
      const prompt = doc.field("prompt"), own = doc.field("seed");
      base.querySelector("p").textContent = String((prompt && doc.widget(prompt)) || "") || "No prompt.";
      base.hidden = !prompt;
      seed.hidden = !own || list.covers("seed");
      if (own) seed.replaceChildren(icon("lock"), `The same seed everywhere: ${doc.widget(own)}`);
      const whole = told && !told.fault && told.cells && told.axes.every((axis) => !axis.fault);
      count.parentElement.hidden = !list.axes().length && !sweeping;
      count.textContent = sweeping && live ? `${live.job.cell} of ${live.job.cells} pictures` : whole ? `${told.axes.length > 1 ? `${told.axes.map((axis) => axis.labels.length).join(" × ")} = ` : ""}${told.cells} picture${told.cells === 1 ? "" : "s"}` : "";
      takes.textContent = sweeping ? (live?.job.left_s ? `${weft.about(live.job.left_s)} left` : "Starting …") : !whole ? "" : !told.to_make ? "All of them are there already." : `${told.there ? `${told.there} ${told.there === 1 ? "is" : "are"} there already, the other ${told.to_make} take ` : "It takes "}${told.seconds === null ? "an unknown time: nothing like it was made here yet" : weft.about(told.seconds)}.`;
      const stop = run.live;
      go.classList.toggle("w-stop", stop);
      go.disabled = !stop && !whole;
      const word = stop ? "Stop" : !whole ? "Make the pictures" : !told.to_make ? "Make again what is gone" : told.there ? `Make the other ${told.to_make}` : `Make ${told.cells} picture${told.cells === 1 ? "" : "s"}`;
      if (!stop && whole && !told.to_make) go.disabled = true;
      go.replaceChildren(icon(stop ? "stop" : "go"), go.disabled && whole ? "All made" : word, el("kbd", { "aria-hidden": "true" }, stop ? "Esc" : "Ctrl ↵"));
      save.disabled = !view.made || sweeping;
    }
    function act() {
      if (run.live || go.disabled) return;
      say("");
      doc.flush();
      sweeping = true;
      live = null;
      run.begin({ document: { nodes: [], edges: [] }, source: {} }); // none of them is the page's document
      trigger("sweep", payload());
      if (matchMedia("(max-width: 900px)").matches) view.tools.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      paint();
    }
    function sheet() {
      save.disabled = true;
      const prompt = doc.field("prompt");
      trigger("sheet", { n: ++saving, ...payload(), title: prompt ? String(doc.widget(prompt) ?? "") : "" });
    }
    function arrived(address) { // the page may not fetch a data address
      const bytes = Uint8Array.from(atob(address.split(",")[1]), (c) => c.charCodeAt(0));
      const href = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
      weft.download(href, "weft-comparison.png");
      setTimeout(() => URL.revokeObjectURL(href), 10000);
    }
    on("run", (snapshot) => {
      const ours = Boolean(snapshot.job.cells);
      if (ours) {
        live = snapshot;
        if (snapshot.sweep) view.show(snapshot.sweep);
        view.forming(snapshot.at, Object.values(snapshot.nodes).map((n) => n.image).filter(Boolean).pop());
      }
      const before = sweeping;
      sweeping = run.live && (ours || (sweeping && !snapshot.run));
      if (before && !sweeping) {
        if (snapshot.error) say(weft.errorText(snapshot.error, weft.errorName(snapshot.error)), "run");
        ask();
      }
      paint();
    });
    on("widget", () => { if (root.offsetParent) { list.look(); renew(); } });
    watch("value", () => {
      const message = parse(props.value);
      if (message.says) say(message.says, "run");
      if (message.sheet) arrived(message.sheet);
      if (message.sheet || message.says) paint();
      if (!message.told || message.told.n !== asked) return;
      waiting = 0;
      if (again) return ask();
      told = message.told;
      list.tell(told.axes);
      say(told.fault, "estimate");
      if (told.table && !sweeping) view.show(told.table);
      paint();
    });
    let panel = null;
    weft.onDesk(root, {
      show() {
        if (!doc.current) return;
        // settings that this document lacks are not shown, and come back with the document that has them
        if (panel !== doc.panel) list.load(parse(remember.get("compare"), []));
        else list.look();
        panel = doc.panel;
        if (!told) view.show(null);
        paint();
        ask();
      },
      run: () => act(),
    });
    paint();
  };
})();

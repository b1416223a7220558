// History: every picture of this owner by day. Only the rows in view are in the page; searching happens on the server.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, parse, dialog, pictures } = weft;
  const SMALLEST = 168, HEAD = 48, TEXT = 56, BEYOND = 700; // px: a card, a day's heading, a card's caption, drawn beyond the view
  const dayName = (day) => new Date(day * 86400000).toLocaleDateString(document.documentElement.lang || [], { weekday: "long", day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });

  weft.history = (root, { props, trigger, watch }) => {
    const cards = new Map(), shown = new Map(), chosen = new Map(), order = new WeakMap(); // by place; by place; by id; by item
    let days = [], sections = [], total = 0, columns = 2, cell = SMALLEST, gap = 16, wave = 0, answered = 0, busy = 0, selecting = false, wanted = null, frame = 0, wait = 0;

    // what is asked
    const input = el("input", { class: "w-text", type: "search", placeholder: "Search prompts, titles, notes and tags", "aria-label": "Search the history" });
    const starred = el("button", { type: "button", class: "w-chip w-filter", "aria-pressed": "false", onclick: () => { starred.setAttribute("aria-pressed", String(!only())); fresh(); } }, icon("star"), "Starred");
    const only = () => starred.getAttribute("aria-pressed") === "true";
    // what stands beside a picture (maps, charts, the picture before) stays out of the way until it is asked for
    const beside = el("button", { type: "button", class: "w-chip", id: "weft-with-helpers", title: "Maps, charts, masks, and the pictures that others were made from", "aria-pressed": "false", onclick: () => { beside.setAttribute("aria-pressed", String(!sheets())); fresh(); } }, "Also sheets and references");
    const sheets = () => beside.getAttribute("aria-pressed") === "true";
    const pick = (label, name) => {
      const box = el("select", { class: "w-text", id: `weft-by-${name}`, onchange: () => fresh() }, el("option", { value: "" }, "any"));
      return { box, field: el("label", { class: "w-field" }, el("span", { class: "w-label" }, label), box) };
    };
    const tag = pick("Tag", "tag"), model = pick("Model", "model"), kind = pick("Node", "kind");
    const plain = (label, attributes) => { const box = el("input", { class: "w-text", onchange: () => fresh(), ...attributes }); return { box, field: el("label", { class: "w-field" }, el("span", { class: "w-label" }, label), box) }; };
    const seed = plain("Seed number", { inputmode: "numeric", id: "weft-by-seed", autocomplete: "off" }), since = plain("From", { type: "date", id: "weft-by-since" }), until = plain("To", { type: "date", id: "weft-by-until" });
    const all = [tag, model, kind, seed, since, until];
    const clear = el("button", { type: "button", class: "w-btn", onclick: () => reset() }, "Clear all");
    function reset() {
      for (const f of all) f.box.value = "";
      starred.setAttribute("aria-pressed", "false");
      input.value = "";
      fresh();
    }
    const count = el("span", { class: "w-count", hidden: true });
    const filters = el("details", { class: "w-filters", id: "weft-filters" }, el("summary", { class: "w-btn" }, icon("chevron"), "Filters", count), el("div", { class: "w-filter-body" }, ...all.map((f) => f.field), clear));
    const select = el("button", { type: "button", class: "w-btn", id: "weft-select", "aria-pressed": "false", onclick: () => choosing(!selecting) }, icon("done"), "Select");
    const notice = el("div", { class: "w-notice", id: "weft-history-notice", hidden: true, role: "status" });
    const said = el("p", { class: "w-help", role: "status" });
    const none = el("div", { class: "w-no-picture", role: "status", hidden: true });
    const grid = el("ul", { class: "w-grid", id: "weft-grid", "aria-label": "Pictures, newest first" });
    const day = el("div", { class: "w-day-now", translate: "no", "aria-hidden": "true", hidden: true }); // the day of what is seen, once its heading is out of view
    const bar = el("div", { class: "w-chosen", id: "weft-chosen", role: "toolbar", "aria-label": "What to do with the chosen pictures", hidden: true });
    root.append(el("section", { class: "weft w-history", "aria-label": "History" },
      el("div", { class: "w-history-head" }, el("h2", {}, "History"), select, starred, beside, el("div", { class: "w-search" }, input)), el("div", { class: "w-filter-row" }, filters, said), notice, none, el("div", {}, day, grid), bar));

    const noon = (text, plus) => (text ? new Date(`${text}T00:00`).getTime() / 1000 + plus : null);
    function filtered() {
      const number = /^\d+$/.test(seed.box.value.trim()) ? Number(seed.box.value.trim()) : null;
      return { text: input.value.slice(0, 500), starred: only(), plain: !sheets(), tag: tag.box.value, model: model.box.value, kind: kind.box.value, seed: number, since: noon(since.box.value, 0), until: noon(until.box.value, 86400) };
    }
    const ask = (more) => { busy = Date.now(); trigger("search", { ask: wave, zone: -new Date().getTimezoneOffset(), ...filtered(), ...more }); };
    function fresh() {
      wave++;
      const set = all.filter((f) => f.box.value).length;
      count.hidden = !set;
      count.textContent = String(set);
      const first = () => ask({ fresh: true, at: 0, many: 60 }), mine = wave;
      const again = () => { if (mine === wave && answered !== wave) { first(); setTimeout(again, 8000); } }; // an answer that got lost
      first();
      setTimeout(again, 8000);
    }
    input.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(fresh, 250); });

    // where each picture lies
    function lay() {
      const width = grid.clientWidth;
      if (!width) return;
      gap = width < 500 ? 10 : 16;
      columns = Math.max(2, Math.floor((width + gap) / (SMALLEST + gap)));
      cell = (width - gap * (columns - 1)) / columns;
      let top = 0, first = 0;
      sections = days.map(([day, n]) => {
        const section = { day, n, first, top, rows: Math.ceil(n / columns) };
        top += HEAD + section.rows * (cell + TEXT + gap);
        first += n;
        return section;
      });
      total = first;
      grid.style.height = `${top}px`;
      paint();
    }
    const sectionOf = (place) => sections.findLast((s) => s.first <= place);
    function spot(place) {
      const s = sectionOf(place), i = place - s.first;
      return { left: (i % columns) * (cell + gap), top: s.top + HEAD + Math.floor(i / columns) * (cell + TEXT + gap) };
    }
    function paint() {
      if (!grid.offsetParent) return;
      const start = -grid.getBoundingClientRect().top, low = start - BEYOND, high = start + innerHeight + BEYOND, row = cell + TEXT + gap, seen = new Set();
      for (const s of sections) {
        if (s.top > high || s.top + HEAD + s.rows * row < low) continue;
        seen.add(`d${s.day}`);
        if (!shown.has(`d${s.day}`)) put(`d${s.day}`, el("li", { class: "w-day", style: `transform:translateY(${s.top}px)` }, el("h3", { translate: "no" }, dayName(s.day)), el("span", { class: "w-help" }, s.n === 1 ? "1 picture" : `${s.n} pictures`)), s.first - 0.5);
        const from = Math.max(0, Math.floor((low - s.top - HEAD) / row)), to = Math.min(s.rows, Math.ceil((high - s.top - HEAD) / row));
        for (let place = s.first + from * columns; place < Math.min(s.first + s.n, s.first + to * columns); place++) seen.add(place);
      }
      const now = sections.findLast((s) => s.top < start + 30);
      day.hidden = !now;
      const key = now && `${document.documentElement.lang} ${now.day}`;
      if (now && day.dataset.day !== key) { day.dataset.day = key; day.replaceChildren(el("span", {}, dayName(now.day))); }
      for (const [place, item] of shown) if (!seen.has(place) && !item.contains(document.activeElement)) { item.remove(); shown.delete(place); }
      const lacking = [];
      for (const place of seen) {
        if (typeof place !== "number") continue;
        if (!cards.has(place)) lacking.push(place);
        if (!shown.has(place) || (shown.get(place).dataset.empty && cards.has(place))) draw(place);
      }
      if (lacking.length && Date.now() - busy > 8000) ask({ at: lacking[0], many: Math.min(120, lacking.at(-1) - lacking[0] + 1 + 2 * columns), fresh: false });
    }
    function put(key, item, at = key) { // reading order = order of places, each day's heading before its first
      shown.get(key)?.remove();
      shown.set(key, item);
      order.set(item, at);
      let next = null;
      for (const other of shown.values()) if (order.get(other) > at && (!next || order.get(other) < order.get(next))) next = other;
      grid.insertBefore(item, next);
    }
    function draw(place) {
      const p = cards.get(place), { left, top } = spot(place), style = `transform:translate(${left}px,${top}px);width:${cell}px;height:${cell + TEXT}px`;
      const had = shown.get(place)?.contains(document.activeElement);
      if (!p) return put(place, el("li", { class: "w-place", style, "data-empty": "1", "aria-hidden": "true" }, el("div", { class: "w-card w-card-wait" })));
      const button = el("button", { type: "button", class: "w-card", "data-id": p.id, "aria-pressed": selecting ? String(chosen.has(p.id)) : null, onclick: (event) => press(place, event.shiftKey) },
        el("img", { src: p.thumb, alt: "", loading: "lazy" }), p.starred ? mark() : null, selecting ? el("i", { class: "w-tick", "aria-hidden": "true" }, icon("done")) : null, p.helper ? el("em", { class: "w-badge" }, weft.outputName(p)) : p.stopped ? el("em", { class: "w-badge w-early", title: `Stopped after ${p.stopped[0]} of ${p.stopped[1]} steps` }, el("span", { translate: "no" }, p.stopped.join(" / "))) : null, el("span", { translate: "no" }, weft.named(p)));
      put(place, el("li", { class: "w-place", style, "aria-setsize": total, "aria-posinset": place + 1 }, button));
      if (had || wanted === place) { wanted = null; button.focus({ preventScroll: true }); }
    }
    const redraw = () => { for (const item of shown.values()) item.remove(); shown.clear(); lay(); };
    function mark() {
      const star = icon("star");
      star.classList.add("w-starred");
      star.removeAttribute("aria-hidden");
      star.setAttribute("role", "img");
      star.setAttribute("aria-label", "Starred");
      return star;
    }
    grid.addEventListener("keydown", (event) => {
      const at = [...shown].find(([place, item]) => typeof place === "number" && item.contains(document.activeElement))?.[0];
      const next = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns, ArrowUp: at - columns, Home: 0, End: total - 1 }[event.key];
      if (at === undefined || next === undefined) return;
      event.preventDefault();
      wanted = Math.min(Math.max(next, 0), total - 1);
      const top = grid.getBoundingClientRect().top + spot(wanted).top;
      if (top < 150 || top + cell + TEXT > innerHeight - 70) scrollBy({ top: top - innerHeight / 3, behavior: "instant" });
      paint();
      if (shown.has(wanted)) draw(wanted);
    });
    const later = () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(paint); };
    addEventListener("scroll", later, { passive: true });
    let wide = 0; // only another width places pictures anew
    new ResizeObserver(() => { if (root.clientWidth !== wide) { wide = root.clientWidth; redraw(); } else later(); }).observe(root);

    // choosing several
    let anchor = null, range = null;
    function look(place) { // `beside`: the picture next to this one in the gallery, null where it is not known or there is none
      const beside = (way) => (cards.has(place + way) ? () => { look(place + way); document.querySelector(`dialog .w-turn${way < 0 ? "" : ":not("}.w-back${way < 0 ? "" : ")"}`)?.focus(); } : null);
      weft.showPicture(cards.get(place), { trigger, change, say, beside }).addEventListener("close", () => shown.get(place)?.querySelector("button")?.focus({ preventScroll: true }));
    }
    function press(place, wide) {
      const p = cards.get(place);
      if (!selecting) return look(place);
      const on = !chosen.has(p.id), from = wide && anchor !== null ? Math.min(anchor, place) : place, to = wide && anchor !== null ? Math.max(anchor, place) : place;
      for (let i = from; i <= to && !range; i++) if (!cards.has(i)) range = { from, to, on };
      if (range) ask({ ids: true }); // some of them were never in view
      for (let i = from; i <= to; i++) { const q = cards.get(i); if (q) { if (on) chosen.set(q.id, q); else chosen.delete(q.id); } }
      anchor = place;
      for (let i = from; i <= to; i++) if (shown.has(i)) draw(i);
      tell();
    }
    function choose(all) {
      const { from, to, on } = range || { from: 0, to: all.length - 1, on: true };
      range = null;
      for (const id of all.slice(from, to + 1)) if (on) chosen.set(id, null); else chosen.delete(id);
      redraw();
      tell();
    }
    function choosing(on) {
      selecting = on;
      anchor = range = null;
      if (!on) chosen.clear();
      select.setAttribute("aria-pressed", String(on));
      bar.hidden = !on;
      redraw();
      tell();
    }
    const ids = () => [...chosen.keys()];
    const act = (label, name, onclick) => el("button", { type: "button", class: "w-btn", onclick, disabled: !chosen.size }, icon(name), label);
    function tell() {
      bar.replaceChildren(el("strong", { role: "status" }, chosen.size === 1 ? "1 chosen" : `${chosen.size} chosen`),
        el("button", { type: "button", class: "w-link", id: "weft-choose-all", onclick: () => ask({ ids: true }) }, `Choose all ${total}`), el("span", { class: "w-spread" }),
        act("Star", "star", () => change(ids(), "star")), act("Tag", "copy", () => askTag()), act("Export", "save", () => askExport()), act("Delete", "bin", () => { change(ids(), "delete"); choosing(false); }),
        el("button", { type: "button", class: "w-btn", onclick: () => { choosing(false); select.focus(); } }, "Done"));
    }
    const change = (list, what, text = null) => trigger("mark", { generations: list, what, text });
    function askTag() {
      const name = el("input", { class: "w-text", maxlength: 64, list: "weft-tags", "aria-label": "Tag" });
      const box = dialog("Tag the chosen pictures", el("p", { class: "w-help" }, "A tag has 1 to 64 characters. Tags are found by the search and by the filter."), name, el("datalist", { id: "weft-tags" }, ...[...tag.box.options].slice(1).map((o) => el("option", { value: o.value }))),
        el("div", { class: "w-actions" }, ...[["Put on", "tag"], ["Take off", "untag"]].map(([label, what]) => el("button", { type: "button", class: "w-btn", onclick: () => { if (name.value.trim()) { change(ids(), what, name.value); box.close(); } } }, label))));
    }
    function askExport() {
      const box = dialog("Export", el("p", {}, "A zip with the pictures, their workflows, and one list of everything the history knows of them."),
        el("div", { class: "w-actions" }, ...[["With settings", false], ["Pictures alone", true]].map(([label, strip]) => el("button", { type: "button", class: "w-btn", onclick: () => { trigger("export", { generations: ids(), strip }); box.close(); } }, icon("save"), label))));
    }

    // what comes back
    const KEPT = 600000; // ms that a deletion can be taken back
    let deleted = []; // the newest last: {ids, at}
    function tellDeleted() {
      deleted = deleted.filter(({ at }) => Date.now() - at < KEPT);
      const last = deleted.at(-1);
      if (!last) return say("");
      say(last.ids.length === 1 ? "The picture is deleted. It can be brought back for ten minutes." : `${last.ids.length} pictures are deleted. They can be brought back for ten minutes.`, bringBack);
    }
    function bringBack() { // one deletion after the other
      const last = deleted.pop();
      if (last) change(last.ids, "undelete");
    }
    document.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.shiftKey || event.key.toLowerCase() !== "z" || !root.offsetParent || document.querySelector("dialog[open]") || event.target.closest?.("input, textarea, select")) return;
      event.preventDefault();
      bringBack();
    });
    function say(text, undo = null) {
      notice.hidden = !text;
      notice.replaceChildren(el("span", {}, text), undo ? el("button", { type: "button", class: "w-link", onclick: () => { say(""); undo(); } }, "Undo") : "");
      if (undo) notice.querySelector("button").focus({ preventScroll: true });
    }
    function marked({ what, pictures: list }) {
      const gone = what === "delete", known = new Map(list.map((p) => [p.id, p]));
      for (const p of list) pictures.change(p, gone);
      if (gone || what === "undelete") {
        if (gone) deleted.push({ ids: list.map((p) => p.id), at: Date.now() });
        fresh();
        return tellDeleted();
      }
      for (const [place, p] of cards) if (known.has(p.id)) { cards.set(place, known.get(p.id)); if (shown.has(place)) draw(place); }
      if (["tag", "untag"].includes(what)) { weft.tellPicture({ tagged: list }); fresh(); }
    }
    const options = (f, list) => {
      const before = f.box.value, named = (ref, title) => (f === model ? weft.facts.models.find((m) => m.ref === ref)?.title || title : title);
      f.box.replaceChildren(el("option", { value: "" }, "any"), ...list.map(([value, title, n]) => el("option", { value, translate: "no" }, `${named(value, title)} (${n})`)));
      f.box.value = list.some(([value]) => value === before) ? before : "";
    };
    function empty() {
      const any = Object.entries({ ...filtered(), plain: false }).some(([, value]) => value);
      said.textContent = !total ? "" : total === 1 ? "1 picture" : `${total} pictures`;
      none.hidden = total > 0;
      if (total) return;
      const act = any ? el("button", { type: "button", class: "w-btn", onclick: () => { beside.setAttribute("aria-pressed", "true"); reset(); input.focus(); } }, "Show all pictures") : el("button", { type: "button", class: "w-btn", onclick: () => weft.openTab("Create") }, "Make the first one");
      none.replaceChildren(el("h3", {}, input.value ? "No picture matches these words." : only() ? "No picture is starred. Open one and press Star." : any ? "No picture fits these filters." : "Your pictures will appear here."), act);
    }
    watch("value", () => {
      const message = parse(props.value);
      if (message.marked) return marked(message.marked);
      if (message.detail && message.detail.picture.id === weft.sought) { // asked for by another tab
        weft.sought = "";
        weft.showPicture(message.detail.picture, { trigger, change, say });
      }
      if (message.detail || message.proof) return weft.tellPicture(message);
      if (message.export) return fetchZip(message.export);
      if (message.ask === undefined) return message.says && say(message.says);
      if (message.ask !== wave) return;
      busy = 0;
      if (message.days) answered = wave;
      if (message.ids) return choose(message.ids);
      if (message.days) {
        days = message.days;
        cards.clear();
        if (message.choices) { options(tag, message.choices.tags); options(model, message.choices.models); options(kind, message.choices.kinds); }
      }
      message.pictures.forEach((p, i) => cards.set(message.at + i, p));
      if (message.days) { redraw(); empty(); } else paint();
      if (message.says) said.textContent = message.says;
      if (selecting) tell();
    });
    function fetchZip({ url, pictures: n }) {
      weft.download(url, "weft-pictures.zip");
      say(n === 1 ? "1 picture is in the zip." : `${n} pictures are in the zip.`);
    }
    weft.stopReplay = () => trigger("replay", { stop: true });
    weft.historyCount = () => ({ total, drawn: shown.size, known: cards.size });
    let stale = true; // pictures that are made while another tab is open are asked for when this one is seen
    const renew = () => { if (stale && root.offsetParent) { stale = false; fresh(); } };
    const seek = () => { if (weft.sought && root.offsetParent) trigger("look", { generation: weft.sought }); };
    weft.onShown(root, () => { lay(); renew(); seek(); });
    on("made", () => { stale = true; renew(); });
  };
})();

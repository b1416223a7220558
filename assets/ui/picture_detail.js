// One picture of the history in full: its settings, where its time went, its family, and the proof by making it again.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, dialog } = weft;
  const roles = { source: "edited from it", variation: "a variation", inpaint: "painted into it", upscale: "enlarged", reuse: "its settings used again", sweep: "of one comparison" };
  const own = (text) => el("span", { translate: "no" }, text); // what a person wrote, or a name: never translated
  const brief = (text) => (text || "–").replaceAll(/[0-9a-f]{64}/g, (digest) => digest.slice(0, 8));
  const fillIn = (box, ...parts) => box.replaceChildren(...parts.filter((part) => part !== null));
  let open = null; // {box, hear} of the picture that is shown
  weft.sought = ""; // the id of a picture that History opens as soon as it is seen
  weft.inHistory = (id) => { weft.sought = id; weft.openTab("History"); };
  weft.tellPicture = (message) => open?.hear(message);

  /** `does`: {trigger, change, say} of the History tab. */
  weft.showPicture = (p, does) => {
    open?.box.close();
    const fold = (title, ...body) => el("details", { class: "w-fold" }, el("summary", {}, icon("chevron"), title), ...body);
    const rows = (list) => el("dl", {}, ...list.flatMap(([name, value, ours]) => [el("dt", {}, name), el("dd", { translate: ours ? null : "no" }, String(value))]));
    const use = (label, what) => el("button", { type: "button", class: "w-btn", onclick: () => { box.close(); weft.openTab("Create"); weft.reused = p; weft.reuse(p, what); } }, label);
    const told = (list) => list.filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const words = told([["Prompt", p.prompt], ["Name", weft.titled(p)], ["Avoid", p.negative]]);
    const facts = told([["Seed", p.seed], ["Size", `${p.width} × ${p.height}`], ["Time", p.seconds ? `${p.seconds.toFixed(1)} s` : ""], ["Id", p.id.slice(0, 12)], ["Model", weft.facts.models.find((m) => m.ref === p.model)?.title || p.model], ["Made", weft.when(p)], ["Ended after step", p.stopped ? `${p.stopped[0]} / ${p.stopped[1]}` : ""]]);
    const pairs = (list) => el("dl", { class: "w-pairs" }, ...list.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { translate: "no" }, String(value)))));
    const kinBox = el("section", { class: "w-family", hidden: true, "aria-label": "Family" });

    const star = el("button", { type: "button", class: "w-btn w-star", "aria-pressed": String(p.starred), onclick: () => {
      p = { ...p, starred: !p.starred };
      star.setAttribute("aria-pressed", String(p.starred));
      does.change([p.id], p.starred ? "star" : "unstar");
    } }, icon("star"), "Star");
    const remove = el("button", { type: "button", class: "w-btn", onclick: () => { box.close(); does.change([p.id], "delete"); } }, icon("bin"), "Delete");
    const how = el("button", { type: "button", class: "w-btn", onclick: () => { box.close(); weft.reused = p; weft.reuse(p, "all"); weft.openTab("Graph"); } }, "Show how it was made");

    const hand = (label, id, to) => el("button", { type: "button", class: "w-btn", id, onclick: () => { box.close(); to(p); } }, label);

    // tags and note
    const tags = el("div", { class: "w-chips w-tags", role: "group", "aria-label": "Tags" });
    const name = el("input", { class: "w-text", maxlength: 64, placeholder: "new tag", "aria-label": "New tag", onkeydown: (event) => { if (event.key === "Enter") add(); } });
    const add = () => { if (name.value.trim()) does.change([p.id], "tag", name.value); name.value = ""; };
    const note = el("textarea", { class: "w-text", rows: 2, maxlength: 10000, placeholder: "A note to this picture", "aria-label": "Note", value: p.note || "", onchange: () => does.change([p.id], "note", note.value) });
    const paintTags = () => tags.replaceChildren(...(p.tags || []).map((tag) => el("button", { type: "button", class: "w-chip", "aria-label": `Take the tag ${tag} off`, onclick: () => does.change([p.id], "untag", tag) }, own(tag), icon("close"))), el("span", { class: "w-row w-new-tag" }, name, el("button", { type: "button", class: "w-btn", onclick: add }, "Add tag")));
    paintTags();

    // proof
    const proof = el("div", { class: "w-proof", id: "weft-proof", role: "status" });
    const again = el("button", { type: "button", class: "w-btn", id: "weft-replay", onclick: () => {
      again.disabled = true;
      proof.replaceChildren(el("span", { class: "w-state w-spin", "data-state": "running" }, icon("running"), "Making it again …"), el("button", { type: "button", class: "w-btn", onclick: () => does.trigger("replay", { stop: true }) }, icon("stop"), "Stop"));
      does.trigger("replay", { generation: p.id });
    } }, icon("reuse"), "Make it again and compare");
    function prove({ verdict, words, max_difference: gap, psnr, changes = [] }) {
      again.disabled = false;
      const told = { equal: "Equal, bit for bit.", "within tolerance": "Within tolerance.", different: "Different.", stopped: "Stopped." }[verdict] || words;
      fillIn(proof, el("p", { class: "w-state", "data-state": verdict === "equal" || verdict === "within tolerance" ? "done" : "error", "data-verdict": verdict }, icon(verdict === "equal" ? "done" : verdict === "stopped" ? "stopped" : verdict === "within tolerance" ? "done" : "error"), told),
        gap ? el("p", { class: "w-help" }, `Largest difference ${gap} of 255, ${psnr.toFixed(1)} dB.`) : null,
        changes.length ? el("details", { class: "w-fold" }, el("summary", {}, icon("chevron"), changes.length === 1 ? "1 ingredient is another now" : `${changes.length} ingredients are others now`),
          el("ul", { class: "w-said", translate: "no" }, ...changes.map((c) => el("li", {}, `${c.what}: ${brief(c.before)} → ${brief(c.now)}`)))) : ["equal", "stopped", "failed"].includes(verdict) ? null : el("p", { class: "w-help" }, "No recorded ingredient changed."));
      proof.scrollIntoView({ block: "nearest" });
    }

    const more = el("div", { class: "w-folds" }, el("p", { class: "w-help" }, "Looking it up …"));
    const box = dialog("Picture", el("div", { class: "w-detail w-picture-detail" },
      el("div", { class: "w-detail-left" }, p.missing ? el("p", { class: "w-unknown" }, "The file of this picture is missing. Reuse its settings to make it again.") : el("img", { src: p.url, alt: weft.named(p), width: p.width, height: p.height })),
      el("div", { class: "w-detail-right" }, words.length ? rows(words) : null, pairs(facts),
        el("div", { class: "w-actions" }, use("Reuse settings", "all"), use("Only prompt", "prompt"), p.seed === null ? null : use("Only seed", "seed"), how),
        el("div", { class: "w-actions" }, ...(p.missing ? [] : [...weft.saveLinks(p), hand("Edit this", "weft-detail-edit", weft.editThis), hand("Make it larger", "weft-detail-larger", weft.upscaleThis)]), star, remove),
        kinBox, tags, note, el("div", { class: "w-actions" }, again), proof), more));
    box.classList.add("w-large");
    if (does.beside) { // the pictures before and after this one, in the order of the gallery
      const turn = (way, label) => el("button", { type: "button", class: "w-round w-turn", "aria-label": label, title: label, disabled: !does.beside(way), onclick: () => does.beside(way)?.() }, icon("chevron"));
      const both = [turn(-1, "Newer picture"), turn(1, "Older picture")];
      both[0].classList.add("w-back");
      box.querySelector(".w-dialog-head .w-round").before(...both);
      box.addEventListener("keydown", (event) => {
        const way = { ArrowLeft: 0, ArrowRight: 1 }[event.key];
        if (way === undefined || event.target.closest("input, textarea, select, [role=slider]") || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        both[way].click();
      });
    }
    open = { box, hear({ detail, proof, tagged }) {
      if (detail?.picture.id === p.id) fill(detail);
      if (proof?.of === p.id) prove(proof);
      const now = tagged?.find((q) => q.id === p.id);
      if (now) { p = now; paintTags(); }
    } };
    box.addEventListener("close", () => { if (open?.box === box) open = null; });

    function fill(detail) {
      const { settings, work, machine, calls, relays, caches, warnings, missing, family } = detail, spent = work.filter((w) => w.seconds !== null), kept = work.filter((w) => w.seconds === null && !w.off);
      const most = Math.max(...spent.map((w) => w.seconds), 0.001), sum = spent.reduce((a, w) => a + w.seconds, 0);
      const kin = tree(family, does, box);
      kinBox.hidden = !kin;
      if (kin) kinBox.replaceChildren(el("h3", {}, "Family"), kin);
      const here = kin?.querySelector("[aria-current]"); // in view inside of the tree; the window stays where it is
      if (here) kin.scrollTop = here.offsetTop - kin.offsetTop - kin.clientHeight / 2 + 26;
      fillIn(more,
        missing.length ? el("p", { class: "w-unknown" }, "Not installed here: ", own(missing.join(", ")), ". The workflow opens, but it cannot be made again.") : null,
        ...warnings.map((text) => el("p", { class: "w-unknown" }, text)),
        fold("Settings", ...settings.map(([node, list]) => el("section", { class: "w-node-facts" }, el("h4", {}, node), rows(list)))),
        fold("Time and cache", el("p", { class: "w-help" }, `${sum.toFixed(2)} s in ${spent.length} nodes; ${kept.length} from the cache.`), calls ? called(calls) : null, ...relays.flatMap(painted),
          el("table", { class: "w-times" }, el("tbody", {}, ...work.map((w) => el("tr", {}, el("th", { scope: "row" }, w.node), el("td", {}, el("i", { style: `width:${w.seconds === null ? 0 : Math.max(1, (100 * w.seconds) / most)}%` })), el("td", {}, w.off ? w.off : w.seconds === null ? "from the cache" : `${w.seconds.toFixed(2)} s`)))))),
        caches.length ? Object.assign(fold("Step cache", ...caches.flatMap((c) => skipped(c, caches.length > 1)), legend()), { open: true }) : null,
        fold("Machine", rows(machine)));
    }
    does.trigger("look", { generation: p.id });
    return box;
  };

  const sentences = (...list) => el("p", { class: "w-help w-told" }, ...list.filter(Boolean).map((text) => el("span", {}, `${text} `)));
  /** How often the network was called for a picture, and what was spared. */
  function called({ calls, rows, kept, earlier, computed }) {
    return sentences(calls ? `Network calls: ${calls} (rows: ${rows}).` : "No network call.",
      earlier && (earlier[1] === null ? `Steps from an earlier run: ${earlier[0]}.` : `${earlier[0]} of ${earlier[1]} steps from an earlier run.`),
      kept ? `Calls of earlier runs whose result was kept: ${kept}.` : null, computed === null ? null : `${(100 * computed).toFixed(1)} % of their work was computed, the rest was skipped.`);
  }
  const numbered = (step, steps) => (step === 1 || step === steps || (step % 5 === 0 && steps - step > 1) ? step : null);
  /** Who painted which steps of a run that was handed over: a strip, one cell a step, and a line for each part. */
  function painted({ steps, parts }) {
    const by = (step) => parts.findIndex((part) => part.from <= step && step <= part.to);
    const kind = (i) => (i < 0 ? "w-skipped" : `w-part-${i % 4}`);
    const line = (part, i) => el("li", {}, el("i", { class: kind(i) }), el("span", {}, el("b", {}, part.from === part.to ? `Step ${part.from}` : `Steps ${part.from} to ${part.to}`), "  ", own(part.model), ...(i && part.level !== null ? [", ", el("span", {}, `from noise level ${part.level.toFixed(2)}`)] : [])));
    return [sentences("Handed over on the way:"),
      el("div", { class: "w-skips", role: "img", "aria-label": `Painted by: ${parts.map((part) => `${part.from}–${part.to} ${part.model}`).join(", ")}` }, ...Array.from({ length: steps }, (_, i) => el("i", { class: kind(by(i + 1)), title: `Step ${i + 1}`, "data-step": numbered(i + 1, steps) }))),
      el("ul", { class: "w-skips-legend w-help w-parts" }, ...parts.map(line))];
  }
  const legend = () => el("ul", { class: "w-skips-legend w-help" }, el("li", {}, el("i", {}), "computed in full"), el("li", {}, el("i", { class: "w-skipped" }), "skipped, guessed from earlier steps"));
  /** Which steps of a run were skipped: a sentence and a strip, one cell a step, full ones filled, numbers below. */
  function skipped({ picture, steps, skipped: gone, error_estimate: off, seconds_saved: saved }, many) {
    const words = [many ? `Picture ${picture}.` : null, `${gone.length} of ${steps} steps skipped.`,
      saved > 0 && picture === 1 ? `About ${saved.toFixed(1)} s saved.` : null, off === null ? null : `Where a full step came after skipped ones, the guess was held against it: it missed what the model adds to the picture by ${(100 * off).toFixed(1)} % on average.`];
    return [sentences(...words),
      el("div", { class: "w-skips", role: "img", "aria-label": `Skipped steps: ${gone.join(", ") || "none"}` }, ...Array.from({ length: steps }, (_, i) => el("i", { class: gone.includes(i + 1) ? "w-skipped" : "", title: `Step ${i + 1}`, "data-step": numbered(i + 1, steps) })))];
  }

  /** Pictures as a nested list, the oldest first; null where there is no relative. */
  function tree({ start, members, links }, does, box) {
    if (Object.keys(members).length < 2) return null;
    const children = {}, hasParent = new Set(links.map(([, child]) => child)), told = new Set();
    for (const [parent, child, role] of links) (children[parent] ||= []).push([child, role]);
    const item = (id, role) => {
      const p = members[id], again = told.has(id), words = role ? el("span", { class: "w-help" }, roles[role] || role) : null;
      told.add(id);
      const label = !p ? el("span", { class: "w-kin w-gone" }, "deleted", words) : id === start
        ? el("span", { class: "w-kin", "aria-current": "true" }, el("img", { src: p.thumb, alt: "" }), el("span", {}, own(weft.named(p)), words))
        : el("button", { type: "button", class: "w-kin", "data-kin": id, onclick: () => { box.close(); weft.showPicture(p, does); } }, el("img", { src: p.thumb, alt: "" }), el("span", {}, own(weft.named(p)), words));
      const below = again ? [] : children[id] || [];
      return el("li", {}, label, below.length ? el("ul", {}, ...below.map(([child, how]) => item(child, how))) : null);
    };
    const roots = Object.keys(members).filter((id) => !hasParent.has(id));
    return el("ul", { class: "w-tree", id: "weft-family", "aria-label": "What this picture came from, and what came from it" }, ...(roots.length ? roots : [start]).map((id) => item(id, null)));
  }
})();

// Models: what is found here, what each can do and where it is weak, where to put more, and where they run.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, parse, doc } = weft;
  const decimal = (number) => number.toFixed(1).replace(".", weft.language === "de" ? "," : ".");
  const size = (bytes) => (bytes >= 1e9 ? `${decimal(bytes / 1e9)} GB` : bytes >= 1e6 ? `${decimal(bytes / 1e6)} MB` : `${Math.ceil(bytes / 1e3)} kB`);
  weft.bytes = size;
  const own = (text) => el("span", { translate: "no" }, text);

  weft.modelsTab = (root, { props, trigger, watch }) => {
    const said = el("p", { class: "w-unknown", role: "status", hidden: true });
    const place = el("div", { class: "w-facts-row", id: "weft-place" });
    const list = el("ul", { class: "w-models", id: "weft-model-list", "aria-label": "Models found here" });
    const add = el("section", { class: "w-panel", "aria-label": "Add a model" });
    const again = el("button", { type: "button", class: "w-btn", id: "weft-models-again", onclick: () => look() }, icon("reuse"), "Look again");
    const more = el("button", { type: "button", class: "w-btn", id: "weft-add-model", hidden: true, onclick: () => add.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" }) }, icon("open"), "Add a model …");
    root.append(el("section", { class: "weft w-page", "aria-label": "Models" }, el("div", { class: "w-history-head" }, el("h2", {}, "Models"), more, again), said, place, list, add));
    const look = () => trigger("look", {});
    const current = () => { const field = doc.field("model"); return field ? doc.widget(field) : ""; };

    function bar({ label, share, interval, n }) {
      const percent = `${Math.round(100 * share)} %`, range = interval ? ` (${Math.round(100 * interval[0])} to ${Math.round(100 * interval[1])} %)` : "";
      return el("tr", {}, el("th", { scope: "row" }, label), el("td", {}, el("i", { style: `width:${Math.max(1, 100 * share)}%` })), el("td", { title: n ? `${n}` : "" }, percent, el("span", { class: "w-help" }, range)));
    }
    function use(model) {
      const field = doc.field("model");
      if (!field) return tell("The open graph has no setting for its model in Create. Set it on its node.");
      doc.set(field, model.ref);
      weft.emit("model", model.ref);
      paint(last);
      tell("");
    }
    const part = (title, sentences, given = {}) => (sentences?.length ? el("section", { class: "w-model-part" }, el("h4", {}, title), el("p", given, ...sentences.flatMap((text) => [el("span", {}, text), " "]))) : null);
    const rows = (list) => el("dl", {}, ...list.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", { translate: "no" }, value)]));
    const from = (source) => (!source ? null : el("p", { class: "w-help w-from" }, "Source of its settings: ",
      source.startsWith("http") ? el("a", { href: source, target: "_blank", rel: "noreferrer" }, own(source)) : el("span", {}, source)));
    function card(model) {
      const chosen = model.ref === current(), { paints = [], weak = [], learnt = [] } = model.words, ours = paints.length > 0;
      const plain = (text) => (text && !ours ? [text] : []), kept = { translate: "no" };
      return el("li", { class: "w-model", "data-ref": model.ref },
        el("div", { class: "w-model-head" }, el("h3", { translate: "no" }, model.title), el("span", { class: "w-badge" }, model.embedded ? "comes with Weft" : "from your folder"), chosen ? el("span", { class: "w-badge w-on" }, icon("done"), "in use") : null),
        model.problem ? el("p", { class: "w-unknown", translate: "no" }, model.problem) : null,
        el("div", { class: "w-model-words" }, part("What it paints", paints), part("Where it is weak", weak), part("Where it is weak", plain(model.limits), kept), part("What it learnt from", learnt), part("What it learnt from", plain(model.training), kept),
          model.locks.length ? el("section", {}, el("h4", {}, "What does not suit it"), el("ul", { class: "w-locks" }, ...model.locks.map(({ why, choices }) => el("li", {}, el("span", {}, why), choices.length ? " " : "", choices.length ? own(choices.join(", ")) : "")))) : null,
          model.settings.length && !model.problem ? el("section", { class: "w-model-part" }, el("h4", {}, "Preset"), rows(model.settings), from(model.source), el("p", { class: "w-help" }, "Create sets these when the model is chosen, where you have set nothing else.")) : null,
          rows([["Size on disk", model.bytes ? size(model.bytes) : ""], ["Licence", model.licence]])),
        model.scores.length ? el("section", { class: "w-scores" }, el("h4", {}, "How often everything asked for is right"), el("table", { class: "w-times" }, el("tbody", {}, ...model.scores.map(bar))),
          el("p", { class: "w-help" }, `Tried with ${model.scores[0].n} prompts each that it had never seen. In brackets: where the true share lies, 19 times in 20.`)) : null,
        model.problem ? null : el("div", { class: "w-actions" }, chosen ? null : el("button", { type: "button", class: "w-btn", onclick: () => use(model) }, "Use this model"),
          chosen && weft.modelOf(doc) ? el("button", { type: "button", class: "w-btn", onclick: () => weft.knows() }, icon("book"), "What it knows") : null),
        model.problem ? null : el("details", { class: "w-fold w-model-detail" }, el("summary", {}, icon("chevron"), "Technical details"),
          rows([["Family", model.family], ["Reference", model.ref]]),
          ours && (model.limits || model.training) ? el("p", { class: "w-help", translate: "no" }, [model.limits, model.training].filter(Boolean).join(" ")) : null));
    }
    const loras = el("section", { class: "w-panel", id: "weft-loras", "aria-label": "LoRA files", hidden: true });
    list.after(loras);
    function paintLoras({ loras: found, folder }) {
      loras.hidden = !found.length && !folder;
      loras.replaceChildren(...[el("h3", {}, "LoRA files"), el("p", { class: "w-help" }, "Small files that teach a model a style, a subject, or to draw in few steps. Load LoRA in the graph takes them."),
        found.length ? el("ul", { class: "w-loras" }, ...found.map((l) => el("li", { "data-ref": l.ref }, el("strong", { translate: "no" }, l.title), " ", l.preset ? el("span", { class: "w-help" }, "preset: ", own([l.preset, ...l.settings].join(", ")), " · ") : "", el("span", { class: "w-help", translate: "no" }, l.problem || l.ref), from(l.source)))) : null,
        folder ? el("p", { class: "w-help" }, "Put more *.safetensors into ", el("code", { translate: "no" }, `${folder.path}/loras`)) : null].filter(Boolean));
    }
    const enlarge = el("section", { class: "w-panel", id: "weft-upscalers", "aria-label": "Upscalers", hidden: true });
    loras.after(enlarge);
    const PAPER = "embedded:scenes-upscale-x2";
    function paintUpscalers({ upscalers: found, folder }) {
      enlarge.hidden = false;
      enlarge.replaceChildren(...[el("h3", {}, "Upscalers"), el("p", { class: "w-help" }, "Networks that make pictures larger, for the Upscale tab and for Load upscaler in the graph."),
        el("ul", { class: "w-loras" }, ...found.map((u) => el("li", { "data-ref": u.ref }, el("strong", u.ref === PAPER ? {} : { translate: "no" }, u.ref === PAPER ? "Paper cut" : u.title), " ",
          el("span", { class: "w-help" }, u.problem ? own(u.problem) : u.scales.length > 4 ? "plain resizing, adds no detail" : `${u.scales.join(", ")} times in one pass`, u.ref === u.title || u.problem ? "" : " · ", u.problem ? "" : own(u.ref))))),
        folder ? el("p", { class: "w-help" }, "Put more *.safetensors into ", el("code", { translate: "no" }, `${folder.path}/upscalers`)) : null].filter(Boolean));
    }
    let last = null;
    function paint(found) {
      last = found;
      const { total, free } = found.memory;
      place.replaceChildren(...[["Runs on", el("strong", { translate: "no" }, found.device)], ["Memory", total ? el("strong", {}, `${size(free)} of ${size(total)} free`) : null], ["Precision", found.dtype ? el("strong", { translate: "no" }, found.dtype) : null]].filter(([, value]) => value)
        .map(([name, value]) => el("div", { class: "w-fact" }, el("span", { class: "w-help" }, name), value)));
      list.replaceChildren(...found.models.map(card));
      paintLoras(found);
      paintUpscalers(found);
      const families = Object.values(found.families).join(", ");
      add.hidden = more.hidden = !found.folder;
      if (found.folder) add.replaceChildren(el("h3", {}, "Add a model"),
        el("p", {}, "Put a folder in the diffusers format (with a model_index.json and safetensors files) into this folder, then press “Look again”:"),
        el("div", { class: "w-row w-path" }, el("code", { translate: "no" }, found.folder.path), el("button", { type: "button", class: "w-btn", onclick: (event) => copy(found.folder.path, event.currentTarget) }, icon("copy"), "Copy")),
        el("p", { class: "w-help" }, "Families that run: ", own(families), ". Only safetensors files are read: older kinds of files can carry programs."),
        found.hub ? el("p", { class: "w-help" }, "A model of the Hugging Face Hub is named in the graph as ", el("code", { translate: "no" }, "hub:owner/name"), "; it is fetched when it first runs.") : null);
    }
    async function copy(text, button) {
      try { await navigator.clipboard.writeText(text); button.lastChild.textContent = "Copied"; } catch { tell("The browser does not let this page copy. Mark the text instead."); }
    }
    const tell = (text) => { said.textContent = text; said.hidden = !text; };
    watch("value", () => {
      const message = parse(props.value);
      tell(message.says || "");
      if (!message.models) return;
      for (const model of message.facts) { // folders that were found count as known models from now on
        const at = weft.facts.models.findIndex((m) => m.ref === model.ref);
        if (at < 0) weft.facts.models.push(model); else weft.facts.models[at] = model;
      }
      weft.facts.loras = message.knownLoras;
      paint(message);
    });
    weft.onShown(root, () => { if (last) paint(last); });
    look();
  };
})();

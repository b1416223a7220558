// Regions: where the words of the prompt and of each region acted, laid over the result. The picture is painted once more
// from its seed while its words are watched; nothing of that is stored, and the page's document stays as it is.
(() => {
  "use strict";
  const weft = window.weft;
  const { el, icon, on, run } = weft;

  /** `stage`: the canvas of regions; `picture()`: the one under it; `regions()`: the list; `say(text)`; `trigger`.
   *  Gives {button, panel, heard(message), close}. */
  weft.regionLooks = ({ stage, picture, regions, say, trigger }) => {
    const heat = el("canvas", { class: "w-heat w-region-heat", width: 256, height: 256, hidden: true });
    stage.querySelector(".w-under").after(heat);
    const button = el("button", { type: "button", class: "w-btn", id: "weft-regions-look", "aria-pressed": "false", onclick: () => (maps ? close() : look()) }, icon("eye"), "Show where words act");
    const words = el("div", { class: "w-look-words" });
    const legend = el("div", { class: "w-legend" }, el("span", {}, "least"), el("i", {}), el("span", {}, "most of the word's attention"));
    const panel = el("section", { class: "w-look", "aria-label": "Where words act", hidden: true }, words, legend);
    let maps = null, chosen = -1, wanted = null, painting = false, turn = 0;

    function look(painted = false) {
      const p = picture();
      if (!p) return say("Press Try first: then you can see where each word acted.");
      if (run.live) return;
      wanted = p.id;
      say("");
      trigger("look", { generation: p.id, painted, turn: (turn += 1) }); // two equal answers would be heard once
    }
    function close() {
      maps = null;
      wanted = null;
      chosen = -1;
      paint();
    }
    function choose(place) {
      chosen = place === chosen ? -1 : place;
      paint();
    }
    function paint() {
      panel.hidden = !maps;
      button.setAttribute("aria-pressed", String(Boolean(maps)));
      const one = maps?.words[chosen];
      heat.hidden = legend.hidden = !one;
      stage.classList.toggle("w-looked", Boolean(one));
      if (one) weft.heatOver(heat, weft.mapBytes(one.map), maps);
      const groups = new Map();
      for (const [place, entry] of (maps?.words || []).entries()) groups.set(entry.region, [...(groups.get(entry.region) || []), [place, entry]]);
      words.replaceChildren(...[...groups].sort(([a], [b]) => (a ?? Infinity) - (b ?? Infinity)).map(([region, list]) => {
        const named = region === null ? "The whole picture" : `Region ${region + 1}`, known = regions()[region]?.name;
        const chips = list.map(([place, { word }]) => el("button", { type: "button", class: "w-word" + (word ? "" : " w-look-all"), "data-place": place, "data-word": word, translate: word || known ? "no" : null, "aria-pressed": String(place === chosen),
          "aria-label": word ? `Where “${word}” acts: ${named}` : `Where all words of region ${region + 1} act`, onclick: () => choose(place) },
        word ? word : [el("b", { style: `--w-hue:${weft.hue(region)}` }, String(region + 1)), known || "all its words"]));
        return el("div", { class: "w-look-row", role: "group", "aria-label": named }, region === null ? el("span", { class: "w-help" }, named) : null, ...chips);
      }));
    }
    on("run", ({ job }) => {
      if (!painting || run.live) return;
      painting = false;
      if (job.state === "done" && wanted) return look(true);
      wanted = null;
      say("");
    });
    return {
      button, panel, close,
      /** Whether the run at work is only made to look. */
      get painting() { return painting; },
      /** What the studio answered. */
      heard({ looked, paint: asked }) {
        if (asked && asked.of === wanted && !run.live) {
          say("The picture is painted once more, to see where its words act …");
          painting = true;
          weft.generate({ document: asked.document, targets: asked.targets, seeds: false, parents: [] });
        }
        if (looked && looked.of === wanted && looked.of === picture()?.id) {
          say("");
          maps = looked;
          chosen = Math.max(0, maps.words.findIndex((entry) => entry.region !== null));
          paint();
          words.querySelector("[aria-pressed=true]")?.focus({ preventScroll: true });
        }
      },
      /** Another picture lies under the boxes now. */
      changed() { if ((maps || wanted) && picture()?.id !== wanted) close(); },
    };
  };
})();

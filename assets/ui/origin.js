// What the open document is called, where it came from, and whether it was changed since: Graph shows it.
(() => {
  "use strict";
  const weft = window.weft;
  const { on, doc, remember, parse } = weft;
  const bySource = new WeakMap(), byDocument = new WeakMap(); // undo brings back a source, or a document, of before
  let kept = parse(remember.get("origin"), null); // of the page before a reload; holds for the document that it told of

  const sorted = (table) => Object.entries(table || {}).sort(([a], [b]) => (a < b ? -1 : 1));
  /** All that a person made of a document, as text. Where nodes lie does not count. */
  const made = (d) => JSON.stringify([d?.title || "", (d?.nodes || []).map((n) => JSON.stringify([n.id, n.kind, n.mode || "normal", n.title || "", sorted(n.widgets)])).sort(),
    (d?.edges || []).map((e) => JSON.stringify([e.from, e.to])).sort(), d?.exposed, d?.groups, (d?.notes || []).map((n) => [n?.id, n?.text]), sorted(d?.definitions)]);
  function digest(text) { // 53 bits, to tell whether two texts are the same; nobody is kept out by it
    let a = 0x9e3779b9, b = 0x85ebca6b;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      a = Math.imul(a ^ c, 2654435761);
      b = Math.imul(b ^ c, 1597334677);
    }
    return (b >>> 0) * 0x200000 + ((a >>> 0) & 0x1fffff);
  }
  const mark = (d) => digest(made(d));

  function begin(source, current, sort, name, picture = null) {
    const origin = { sort, name, clean: mark(current), picture };
    if (source) bySource.set(source, origin);
    if (current) byDocument.set(current, origin);
    return origin;
  }
  on("document", ({ current, source, template }) => {
    if (!current || !source) return;
    const file = weft.opening && Date.now() - weft.opening.at < 10000 && weft.opening.name, sort = weft.opening?.sort || "file";
    let origin = byDocument.get(current);
    if (!origin && !file && kept && kept.at === mark(current)) {
      origin = { sort: kept.sort, name: kept.name, clean: kept.clean };
      kept = null;
    }
    if (origin) { bySource.set(source, origin); byDocument.set(current, origin); return; }
    const picture = weft.origin?.[1] === "reuse" && [weft.reused, ...weft.pictures.list].find((p) => p?.id === weft.origin[0]), prompt = doc.field("prompt");
    weft.opening = null;
    if (file) begin(source, current, sort, file);
    else if (weft.origin?.[1] === "reuse") begin(source, current, "picture", (picture && weft.named(picture)) || String((prompt && doc.widget(prompt)) || ""), picture || null);
    else begin(source, current, template ? "template" : "own", template);
  });
  on("edited", () => { const origin = bySource.get(doc.source); if (origin && doc.current) byDocument.set(doc.current, origin); });
  addEventListener("pagehide", () => {
    const origin = doc.source && bySource.get(doc.source);
    if (origin) remember.set("origin", JSON.stringify({ sort: origin.sort, name: origin.name, clean: origin.clean, at: mark(doc.current) }));
  });

  Object.assign(weft, {
    opening: null, // what is being opened: {name, at}, of a file; with `sort: "named"` by a tab
    reused: null, // the picture whose settings were asked for last
    /** The picture that a document from this source made; null where there is none. */
    pictureOf: (source) => (source && bySource.get(source)?.picture) || null,
    /** {title, own, changed} of a document that came from `source`; `own`: a person gave it that title. */
    documentOf(current, source) {
      const { sort, name, clean } = bySource.get(source) || { sort: "own", name: "", clean: 0 };
      const card = (weft.facts.templates || []).find((c) => c.name === (sort === "template" ? name : ""))?.title;
      const origin = { template: card, picture: name ? `How “${name}” was made` : "How a picture was made", file: name, named: name, new: "New graph" }[sort];
      return { title: String(current.title || "") || origin || "A graph of your own", own: Boolean(current.title || sort === "file"), changed: Boolean(clean) && clean !== mark(current) };
    },
    beginDocument: (source, current, sort, name = "") => void begin(source, current, sort, name),
    /** What is in a file counts as unchanged. */
    savedDocument(source, current) {
      const origin = bySource.get(source) || begin(source, current, "own", "");
      origin.clean = mark(current);
    },
  });
})();

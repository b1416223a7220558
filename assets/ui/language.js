// The language of the page. English texts stand in the code; a table (weft/ui/lang/*.json) puts another language in
// their place. Only texts that the table knows change; `translate="no"` marks what a person or a plugin wrote.
(() => {
  "use strict";
  const { remember } = window.weft;
  const ATTRIBUTES = ["placeholder", "title", "aria-label", "alt"];
  const languages = { en: "English", de: "Deutsch" };
  const kept = remember.get("language");
  const weft = Object.assign(window.weft, { languages, language: languages[kept] ? kept : navigator.language?.startsWith("de") ? "de" : "en" });
  const EDITOR = ".g-root"; // where the patterns of "graph" hold, too: they are too wide for the rest of the page
  let texts = new Map(), patterns = [], graph = [], seen = new Map(), observer = null;
  const put = new WeakMap(); // text node or element -> what stood there and what was put, by attribute

  /** A pattern's `$1` is what was found there, `{1}` the same in the other language where it has a word for it. */
  const fill = (by, got, inEditor) => by.replace(/\$(\d)|\{(\d)\}/g, (_, kept, said) => (kept ? got[kept] ?? "" : got[said] === undefined ? "" : one(got[said], inEditor) ?? got[said]));
  function one(plain, inEditor) {
    const known = texts.get(plain);
    if (known !== undefined) return known;
    for (const [pattern, by] of inEditor ? [...graph, ...patterns] : patterns) {
      const got = pattern.exec(plain);
      if (got) return fill(by, got, inEditor);
    }
    return null;
  }
  /** Parts with a dot between them; or several sentences, each known, the first perhaps behind a name ("Sampler: It …"). */
  function sentences(plain, inEditor) {
    const dotted = plain.split(" · "), found = dotted.map((part) => one(part, inEditor));
    if (dotted.length > 1) return found.some((part) => part !== null) ? found.map((part, i) => part ?? dotted[i]).join(" · ") : null;
    const [, name, rest] = /^([^.:]{1,80}: )?(.+)$/su.exec(plain) || [], parts = (rest || "").split(/(?<=[.!?]) (?=[\p{Lu}“'"])/u);
    if (!name && parts.length < 2) return null;
    const said = parts.map((part) => one(part, inEditor));
    return said.every((part) => part !== null) ? (name ? `${one(name.slice(0, -2), inEditor) ?? name.slice(0, -2)}: ` : "") + said.join(" ") : null;
  }
  function translated(text, inEditor = false) {
    const plain = text.trim();
    if (!plain || plain.length > 400) return null;
    const key = inEditor ? `\n${plain}` : plain;
    let found = seen.get(key);
    if (found === undefined) {
      found = one(plain, inEditor) ?? sentences(plain, inEditor);
      if (seen.size < 5000) seen.set(key, found);
    }
    return found === null ? null : text.replace(plain, () => found);
  }
  const spared = (element, ours) => !element || element.closest(ours ? "[translate=no], script, style" : "[translate=no], script, style, textarea, option:not([value])");
  function change(node, name, value, write) {
    const known = put.get(node) || {};
    if (known[name]?.to === value) return;
    const to = translated(value, Boolean((name ? node : node.parentElement)?.closest(EDITOR)));
    if (to === null || to === value || spared(name ? node : node.parentElement, name)) return;
    known[name] = { from: value, to };
    put.set(node, known);
    write(to);
  }
  function visit(node) {
    if (node.nodeType === Node.TEXT_NODE) return change(node, "", node.data, (text) => { node.data = text; });
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    for (const name of ATTRIBUTES) if (node.hasAttribute(name)) change(node, name, node.getAttribute(name), (text) => node.setAttribute(name, text));
  }
  function walk(root, act = visit) {
    act(root);
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) act(walker.currentNode);
  }
  function back(node) {
    const known = put.get(node);
    for (const [name, { from, to }] of Object.entries(known || {})) {
      if (!name && node.data === to) node.data = from;
      else if (name && node.getAttribute(name) === to) node.setAttribute(name, from);
    }
    put.delete(node);
  }
  async function apply() {
    document.documentElement.lang = weft.language;
    observer?.disconnect();
    walk(document.body, back);
    if (weft.language === "en") return;
    const table = await fetch(`weft/ui/lang/${weft.language}.json`).then((got) => got.json()).catch(() => null);
    if (!table) return;
    texts = new Map(Object.entries(table.texts));
    [patterns, graph] = [table.patterns, table.graph].map((list) => list.map(([pattern, by]) => [new RegExp(`^${pattern}$`, "u"), by]));
    seen = new Map();
    observer = new MutationObserver((records) => {
      for (const { type, target, addedNodes, attributeName } of records) {
        if (type === "childList") addedNodes.forEach((node) => walk(node));
        else if (type === "characterData") visit(target);
        else change(target, attributeName, target.getAttribute(attributeName) || "", (text) => target.setAttribute(attributeName, text));
      }
    });
    observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES });
    walk(document.body);
  }
  /** A text in the language of the page; as it is where that has no word for it. */
  weft.said = (text) => (weft.language === "en" ? text : translated(text, true) ?? text);
  weft.setLanguage = (name) => {
    if (!languages[name]) return;
    weft.language = name;
    remember.set("language", name);
    apply();
  };
  document.documentElement.lang = weft.language;
  if (weft.language !== "en") apply();
})();

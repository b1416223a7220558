// The language of the page. English texts stand in the code; a table (weft/ui/lang/*.json) puts another language in
// their place. Only texts that the table knows change; `translate="no"` marks what a person or a plugin wrote.
(() => {
  "use strict";
  const { remember } = window.weft;
  const ATTRIBUTES = ["placeholder", "title", "aria-label", "alt"];
  const languages = { en: "English", de: "Deutsch" };
  const kept = remember.get("language");
  const weft = Object.assign(window.weft, { languages, language: languages[kept] ? kept : navigator.language?.startsWith("de") ? "de" : "en" });
  let texts = new Map(), patterns = [], observer = null;
  const put = new WeakMap(); // text node or element -> what stood there and what was put, by attribute

  function translated(text) {
    const plain = text.trim();
    if (!plain || plain.length > 400) return null;
    let found = texts.get(plain);
    if (found === undefined) {
      found = null;
      for (const [pattern, by] of patterns) if (pattern.test(plain)) { found = plain.replace(pattern, by); break; }
      if (texts.size < 5000) texts.set(plain, found);
    }
    return found === null ? null : text.replace(plain, () => found);
  }
  const spared = (element, ours) => !element || element.closest(ours ? "[translate=no], script, style" : "[translate=no], script, style, textarea, option:not([value])");
  function change(node, name, value, write) {
    const known = put.get(node) || {};
    if (known[name]?.to === value) return;
    const to = translated(value);
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
    patterns = table.patterns.map(([pattern, by]) => [new RegExp(`^${pattern}$`, "u"), by]);
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
  weft.setLanguage = (name) => {
    if (!languages[name]) return;
    weft.language = name;
    remember.set("language", name);
    apply();
  };
  document.documentElement.lang = weft.language;
  if (weft.language !== "en") apply();
})();

// One table of shortcuts: the sheet shows it and the listener reads it, so that they cannot differ.

/** keys (any of them), what it does, the name of the action; `typing`: also while a text is typed. */
export const SHORTCUTS = [
  { keys: ["Ctrl+Enter"], what: "Run the graph", action: "run", typing: true },
  { keys: ["Esc"], what: "Stop the run, or close what is open", action: "escape" },
  { keys: ["Shift+A"], what: "Add a node (or double-click the ground)", action: "palette" },
  { keys: ["Ctrl+Z"], what: "Undo", action: "undo" },
  { keys: ["Ctrl+Shift+Z", "Ctrl+Y"], what: "Redo", action: "redo" },
  { keys: ["Ctrl+C"], what: "Copy", action: "copy" },
  { keys: ["Ctrl+X"], what: "Cut", action: "cut" },
  { keys: ["Ctrl+V"], what: "Paste", action: "paste" },
  { keys: ["Ctrl+D"], what: "Duplicate", action: "duplicate" },
  { keys: ["Ctrl+A"], what: "Choose all nodes", action: "all" },
  { keys: ["Delete", "Backspace"], what: "Delete", action: "remove" },
  { keys: ["Ctrl+G"], what: "Group the chosen nodes", action: "group" },
  { keys: ["Ctrl+Shift+G"], what: "Make a sub-graph of the chosen nodes", action: "makeSub" },
  { keys: ["I"], what: "Go into the chosen sub-graph (or double-click it)", action: "enter" },
  { keys: ["O"], what: "Go out of the sub-graph", action: "leave" },
  { keys: ["U"], what: "Unpack the chosen sub-graph", action: "unpack" },
  { keys: ["M"], what: "Mute: the node gives nothing", action: "mute" },
  { keys: ["B"], what: "Bypass: what comes in goes on as it is", action: "bypass" },
  { keys: ["F"], what: "Fit the view", action: "fit" },
  { keys: ["P"], what: "Show what would run, and why", action: "plan" },
  { keys: ["Ctrl+S"], what: "Save as a file", action: "save" },
];
// The browser's own copy, cut and paste events do these: they can reach the clipboard without being asked.
export const BY_EVENT = new Set(["copy", "cut", "paste"]);

/** The shortcut of a key event, or undefined. Ctrl also means the command key. */
export function shortcutOf(event) {
  const ctrl = event.ctrlKey || event.metaKey, key = event.key.length === 1 ? event.key.toUpperCase() : event.key === "Escape" ? "Esc" : event.key;
  const letter = /^[A-Z]$/.test(key) || key.length > 1;
  const name = [ctrl && "Ctrl", event.shiftKey && letter && "Shift", event.altKey && "Alt", key].filter(Boolean).join("+");
  return SHORTCUTS.find((s) => s.keys.includes(name));
}

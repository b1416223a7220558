// Line icons, 24 by 24.
const PATHS = {
  into: "M14 4h6v16h-6M4 12h10M10 8l4 4-4 4", sub: "M4 4h16v16H4zM8.500 8.500h7v7h-7z", unpack: "M10 4H4v16h6M9 12h11M16 8l4 4-4 4", up: "M6 14.500l6-6 6 6", down: "M6 9.500l6 6 6-6",
  add: "M12 5v14M5 12h14", undo: "M9 7L4.500 11.500 9 16M5 11.500h9a5 5 0 0 1 0 10h-2", redo: "M15 7l4.500 4.500L15 16M19 11.500h-9a5 5 0 0 0 0 10h2",
  arrange: "M4 5h6v5H4zM4 14h6v5H4zM15 9.500h5v5h-5zM10 7.500h2.500v4.500H15M10 16.500h2.500V12", map: "M4 5h16v14H4zM12.500 12.500h5.500v4h-5.500zM6.500 7.500h3v2.500h-3z", fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  workflows: "M4 4.500h7v7H4zM13.500 4.500H20v4h-6.500zM13.500 11H20v9h-6.500zM4 14h7v6H4z", open: "M4 18.500V6.500A1.500 1.500 0 0 1 5.500 5H10l2 2.500h6.500A1.500 1.500 0 0 1 20 9v9.500A1.500 1.500 0 0 1 18.500 20h-13A1.500 1.500 0 0 1 4 18.500z",
  save: "M12 4v11M7.500 11l4.500 4.500 4.500-4.500M5 20h14", code: "M8.500 7L4 12l4.500 5M15.500 7L20 12l-4.500 5", plan: "M5 6.500h3M5 12h3M5 17.500h3M11.500 6.500H19M11.500 12H19M11.500 17.500H16",
  run: "M8 5.500v13l10.500-6.500z", here: "M5 12h10M11 7.500l4.500 4.500-4.500 4.500M19 5v14", stop: "M6.500 6.500h11v11h-11z", mute: "M5 5l14 14M12 4a8 8 0 0 1 6.400 12.800M16 18.900A8 8 0 0 1 6.200 6.500",
  bypass: "M4 15h3.500c3 0 2.500-7 4.500-7s1.500 7 4.500 7H20M17 12l3 3-3 3", copy: "M9 9h10.500v10.500H9zM15 9V4.500H4.500V15H9", bin: "M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7M10.500 10.500v5.500M13.500 10.500v5.500",
  close: "M6 6l12 12M18 6L6 18", eye: "M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12zM12 9.300a2.700 2.700 0 1 0 0 5.400 2.700 2.700 0 0 0 0-5.400z",
  list: "M8.500 6.500H20M8.500 12H20M8.500 17.500H20M4 6.500h.5M4 12h.5M4 17.500h.5", canvas: "M4 6h6v5H4zM14 13h6v5h-6zM10 8.500h2a2 2 0 0 1 2 2v5", search: "M11 4.500a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM16 16l4 4",
  dice: "M4 4h16v16H4zM8.500 8.500h.01M15.500 8.500h.01M12 12h.01M8.500 15.500h.01M15.500 15.500h.01", note: "M5 4.500h14v10l-5 5H5zM14 19.500v-5h5", group: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M8.500 8.500h7v7h-7z",
  chevron: "M9 5.500l6.500 6.500L9 18.500", idle: "M12 4.500a7.500 7.500 0 1 0 0 15 7.500 7.500 0 0 0 0-15z", queued: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 7.500V12l3 2", running: "M12 4a8 8 0 1 0 8 8",
  done: "M5 12.500l4.500 4.500L19 7.500", cached: "M5 7c0-3.500 14-3.500 14 0v10c0 3.500-14 3.500-14 0zM5 7c0 3.500 14 3.500 14 0M5 12c0 3.500 14 3.500 14 0", skipped: "M6 6l6 6-6 6M13 6l6 6-6 6", error: "M12 4l9 16H3zM12 10v4.500M12 17.200v.1",
  stopped: "M6 6h12v12H6z", failed: "M12 4l9 16H3zM12 10v4.500M12 17.200v.1", more: "M6 12h.01M12 12h.01M18 12h.01", file: "M6 3.500h8l4 4v13H6zM14 3.500v4h4", help: "M9.500 9a2.500 2.500 0 1 1 3.500 2.300c-.8.400-1 1-1 1.900M12 17v.1",
};
export function Icon({ name }) {
  return <svg viewBox="0 0 24 24" className="g-i" aria-hidden="true"><path d={PATHS[name] || PATHS.idle} fill={["run", "stop"].includes(name) ? "currentColor" : "none"} /></svg>;
}
/** A button with an icon and a word; `bare` hides the word from the eye, never from a screen reader. */
export function Button({ icon, children, bare = false, className = "", ...rest }) {
  return (
    <button type="button" className={`g-btn ${bare ? "g-bare" : ""} ${className}`} title={bare && typeof children === "string" ? children : undefined} {...rest}>
      {icon && <Icon name={icon} />}<span>{children}</span>
    </button>
  );
}

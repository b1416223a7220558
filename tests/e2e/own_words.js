(tab) => {
  const root = document.querySelector(`#weft-${tab}`), walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), at = walker.currentNode.parentElement;
    if (/\p{L}{2}/u.test(text) && at.closest('.weft') && !at.closest('[translate=no], textarea, option, kbd, .w-field[data-node] .w-help, .w-field[data-node] .w-chips')) found.push(text);
  }
  return found;
}

// Return pairs of texts that a reader sees on top of each other, with where they are.
(() => {
  const boxes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const clipOf = (element) => {
    let clip = [0, 0, Infinity, Infinity];
    for (let e = element; e && e !== document.body; e = e.parentElement) {
      const style = getComputedStyle(e);
      const svg = e.namespaceURI.endsWith("svg");
      if (style.clipPath !== "none") return null;
      if (svg || (style.overflowX === "visible" && style.overflowY === "visible")) continue;
      const r = e.getBoundingClientRect();
      clip = [Math.max(clip[0], r.left), Math.max(clip[1], r.top), Math.min(clip[2], r.right), Math.min(clip[3], r.bottom)];
    }
    return clip;
  };
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.textContent.trim() || !parent.checkVisibility({ visibilityProperty: true })) continue;
    if (parent.closest("script, style, option, noscript, title")) continue;
    const clip = clipOf(parent);
    if (clip === null) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const r of range.getClientRects()) {
      const box = [Math.max(r.left, clip[0]), Math.max(r.top, clip[1]), Math.min(r.right, clip[2]), Math.min(r.bottom, clip[3])];
      // A line's box has room above and below its letters.
      const slack = (box[3] - box[1]) * 0.18;
      box[1] += slack;
      box[3] -= slack;
      if (box[2] - box[0] > 1 && box[3] - box[1] > 1) boxes.push({ box, node, text: node.textContent.trim().slice(0, 40) });
    }
  }
  boxes.sort((a, b) => a.box[1] - b.box[1]);
  const found = [];
  for (let i = 0; i < boxes.length; i++) {
    for (let k = i + 1; k < boxes.length && boxes[k].box[1] < boxes[i].box[3]; k++) {
      const [a, b] = [boxes[i].box, boxes[k].box];
      const wide = Math.min(a[2], b[2]) - Math.max(a[0], b[0]), high = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
      if (boxes[i].node !== boxes[k].node && wide > 1 && high > 1) found.push(`${boxes[i].text} | ${boxes[k].text} at ${Math.round(a[0])}, ${Math.round(a[1])}`);
    }
  }
  const outside = boxes.filter((b) => b.box[2] > innerWidth + 1 || b.box[0] < -1).map((b) => `outside: ${b.text}`);
  return { texts: boxes.length, overlaps: [...found, ...outside] };
})()

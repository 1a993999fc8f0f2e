// The flame graph: a canvas as large as the window onto it, drawn anew when that moves.

const ROW = 19;
const flame = (() => {
  const canvas = byId("flame-canvas"), scroll = byId("flame"), room = byId("flame-room"), tip = byId("tip");
  let root = null, zoomed = null, matches = null, boxes = [], hovered = null, most = 0;

  // Lays out what has width, beginning with the zoomed frame; the frames that it is called by are as wide as all.
  function layOut(width) {
    boxes = [];
    if (!root || root.total[chosen.width] === 0) return;
    const path = [];
    for (let node = zoomed; node; node = node.parent) path.unshift(node);
    path.forEach((node) => boxes.push({ node, x: 0, width, isOuter: node !== zoomed }));
    const scale = width / zoomed.total[chosen.width];
    const todo = [{ node: zoomed, x: 0 }];
    while (todo.length) {
      const { node, x } = todo.pop();
      let left = x;
      for (const child of widestFirst(node)) {
        const wide = child.total[chosen.width] * scale;
        if (wide < 0.35) break; // The rest is narrower still.
        boxes.push({ node: child, x: left, width: wide, isOuter: false });
        todo.push({ node: child, x: left });
        left += wide;
      }
    }
  }

  function draw() {
    const width = scroll.clientWidth;
    layOut(width);
    const depth = boxes.reduce((deepest, box) => Math.max(deepest, box.node.depth), 0) + 1;
    const isEmpty = boxes.length === 0;
    byId("empty").hidden = !isEmpty;
    scroll.hidden = isEmpty;
    if (isEmpty) return;
    room.style.height = `${depth * ROW}px`;
    const style = getComputedStyle(scroll);
    const height = Math.min(depth * ROW, parseFloat(style.maxHeight) || Infinity);
    scroll.style.height = `${height}px`;
    const context = fitted(canvas, width, height);
    const top = scroll.scrollTop;
    context.font = `12px ${theme.colour("mono")}`;
    context.textBaseline = "middle";
    for (const box of boxes) {
      const y = box.node.depth * ROW - top;
      if (y > -ROW && y < height) drawBox(context, box, y);
    }
  }

  function drawBox(context, { node, x, width, isOuter }, y) {
    const isMatch = matches && node.label >= 0 && matches[node.label];
    context.globalAlpha = isOuter ? 0.55 : matches && !isMatch ? 0.38 : 1;
    context.fillStyle = isMatch ? theme.colour("match") : colourOf(node);
    context.fillRect(x, y, Math.max(width - (width > 2 ? 1 : 0), 0.35), ROW - 1);
    if (node === hovered) {
      context.strokeStyle = theme.ink();
      context.lineWidth = 1.5;
      context.strokeRect(x + 0.75, y + 0.75, Math.max(width - 2.5, 0.5), ROW - 2.5);
    }
    context.globalAlpha = isOuter ? 0.75 : matches && !isMatch ? 0.6 : 1;
    if (width > 26) {
      context.fillStyle = isMatch ? (theme.isDark ? "#14081a" : "#ffffff") : theme.ink();
      context.fillText(fitting(context, textOf(node), width - 10), x + 5, y + ROW / 2);
    }
    context.globalAlpha = 1;
  }

  function colourOf(node) {
    if (node.label < 0) return theme.colour("line");
    if (recording.isDifference) return theme.ofChange(most > 0 ? changeOf(node) / most : 0);
    const f = chosen.grain === "lines" ? recording.frames.function[node.label] : node.label;
    return theme.ofFile(recording.functions.file[f], f % 2);
  }

  const shareOf = (node, i) => (root.total[i] > 0 ? node.total[i] / root.total[i] : 0);
  const changeOf = (node) => shareOf(node, 1) - shareOf(node, 0);
  const textOf = (node) => (node.label < 0 ? `all (${samples(root.total[chosen.width])})` : labelOf(node));

  function nodeAt(event) {
    const area = canvas.getBoundingClientRect();
    const x = event.clientX - area.left, depth = Math.floor((event.clientY - area.top + scroll.scrollTop) / ROW);
    return boxes.find((box) => box.node.depth === depth && x >= box.x && x < box.x + box.width)?.node ?? null;
  }

  function zoom(node) {
    zoomed = node;
    scroll.scrollTop = Math.max(0, (node.depth - 3) * ROW);
    showPath();
    draw();
  }

  function showPath() {
    const path = byId("path");
    path.replaceChildren();
    if (zoomed === root) {
      path.textContent = "Click a frame to zoom in, Escape to zoom out.";
      return;
    }
    const steps = [];
    for (let node = zoomed; node; node = node.parent) steps.unshift(node);
    const shown = steps.length > 12 ? [steps[0], null, ...steps.slice(-10)] : steps;
    for (const node of shown) {
      if (!node) path.append("…");
      else path.append(element("button", { type: "button", textContent: node.label < 0 ? "all" : labelOf(node).slice(0, 300), onclick: () => zoom(node) }));
    }
  }

  function describe(node) {
    const own = chosen.width;
    const lines = [element("b", { textContent: textOf(node).slice(0, 1200) })];
    const time = timeOf(node.total[own], own);
    lines.push(element("span", { textContent: `${samples(node.total[own])} · ${percent(shareOf(node, own))} of what is shown${time && " · " + time}` }));
    if (node.depth > zoomed.depth && zoomed !== root) lines.push(element("span", { textContent: `${percent(node.total[own] / zoomed.total[own])} of the frame zoomed to` }));
    lines.push(element("span", { textContent: `itself: ${samples(node.self[own])}, ${percent(node.self[own] / (root.total[own] || 1))}` }));
    if (recording.isDifference) {
      const change = changeOf(node);
      const text = `${percent(shareOf(node, 0))} before, ${percent(shareOf(node, 1))} after: ${change >= 0 ? "+" : "−"}${percent(Math.abs(change))}`;
      lines.push(element("span", { textContent: text, className: change > 0 ? "grew" : "shrank" }));
    }
    if (node.label >= 0) {
      const f = chosen.grain === "lines" ? recording.frames.function[node.label] : node.label;
      lines.push(element("span", { textContent: recording.files.path[recording.functions.file[f]].slice(0, 400) }));
    }
    if (node.isCut) lines.push(element("span", { textContent: `frames further out than ${DEEPEST_INVERTED} are left out here` }));
    return lines;
  }

  function hover(event) {
    const node = nodeAt(event);
    if (node !== hovered) {
      hovered = node;
      draw();
      tip.replaceChildren(...(node ? describe(node) : []));
    }
    tip.hidden = !node;
    if (node) placeTip(tip, event);
  }

  canvas.addEventListener("mousemove", hover);
  canvas.addEventListener("mouseleave", () => { hovered = null; tip.hidden = true; draw(); });
  canvas.addEventListener("click", (event) => {
    const node = nodeAt(event);
    if (!node) return;
    zoom(node);
    if (node.label >= 0) chooseFrame(node.label);
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && root) zoom(root);
    if (event.key === "Backspace" && zoomed?.parent) zoom(zoomed.parent);
  });
  scroll.addEventListener("scroll", draw);

  return {
    draw,
    show(tree) {
      root = zoomed = tree;
      hovered = null;
      tip.hidden = true;
      most = 0;
      for (const todo = [root]; todo.length;) {
        const node = todo.pop();
        if (node.label >= 0) most = Math.max(most, Math.abs(changeOf(node)));
        todo.push(...node.children.values());
      }
      showPath();
    },
    mark(found) {
      matches = found;
      const share = found && root ? matchedShare(root, found) : 0;
      byId("matched").textContent = found ? `${percent(share)} matched` : "";
    },
    zoomOut: () => root && zoom(root),
    // What is drawn where, for those who look at the page with a program.
    boxes: () => boxes.map(({ node, x, width, isOuter }) => ({
      label: node.label < 0 ? "all" : labelOf(node), depth: node.depth, x, y: node.depth * ROW - scroll.scrollTop, width, isOuter,
      samples: node.total[chosen.width], self: node.self[chosen.width], isMatch: !!(matches && node.label >= 0 && matches[node.label]),
    })),
  };
})();

// A canvas of a size in CSS pixels, sharp on any screen, empty.
function fitted(canvas, width, height) {
  const dots = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * dots);
  canvas.height = Math.round(height * dots);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(dots, dots);
  return context;
}

// As much of a text as fits, in a font whose characters are of one width mostly.
function fitting(context, text, width) {
  const one = context.measureText("0").width || 7;
  let length = Math.floor(width / one);
  if (text.length <= length && context.measureText(text).width <= width) return text;
  if (length < 3) return "";
  let cut = text.slice(0, length);
  while (cut.length > 1 && context.measureText(cut + "…").width > width) cut = cut.slice(0, -1);
  return cut + "…";
}

function placeTip(tip, event) {
  const { offsetWidth, offsetHeight } = tip;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - offsetWidth - 8))}px`;
  tip.style.top = `${event.clientY + 18 + offsetHeight > innerHeight ? Math.max(4, event.clientY - offsetHeight - 12) : event.clientY + 18}px`;
}

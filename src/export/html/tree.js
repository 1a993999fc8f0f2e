// The tree that the flame graph draws, and totals of functions and lines. No recursion: stacks may be very deep.

// Outer frames beyond this depth are left out of the inverted view, where each stack is a path of its own.
const DEEPEST_INVERTED = 400;

const labelOf = (node) => (chosen.grain === "lines" ? recording.frameLabel : recording.functionLabel)[node.label];
const keyOf = (frame) => (chosen.grain === "lines" ? frame : recording.frames.function[frame]);

function newNode(label, parent) {
  return { label, parent, depth: parent ? parent.depth + 1 : 0, total: [0, 0], self: [0, 0], children: new Map(), isCut: false };
}

function childOf(node, label) {
  let child = node.children.get(label);
  if (!child) node.children.set(label, (child = newNode(label, node)));
  return child;
}

// From the counts of each recording: a root whose children are outermost (or, inverted, innermost) frames.
function treeOf(counts) {
  const root = newNode(-1, null);
  if (chosen.view === "inverted") growInverted(root, counts);
  else grow(root, counts);
  return root;
}

function grow(root, counts) {
  const { caller, frame } = recording.stacks;
  const totals = counts.map((of) => Float64Array.from(of));
  for (let s = frame.length - 1; s >= 0; s--) {
    if (caller[s] >= 0) for (const of of totals) of[caller[s]] += of[s];
  }
  const nodes = new Array(frame.length);
  for (let s = 0; s < frame.length; s++) {
    if (!totals.some((of) => of[s] > 0)) continue;
    const parent = caller[s] < 0 ? root : nodes[caller[s]];
    const node = (nodes[s] = childOf(parent, keyOf(frame[s])));
    totals.forEach((of, i) => {
      node.total[i] += of[s];
      node.self[i] += counts[i][s];
      if (parent === root) root.total[i] += of[s];
    });
  }
}

function growInverted(root, counts) {
  const { caller, frame } = recording.stacks;
  for (let s = 0; s < frame.length; s++) {
    const here = counts.map((of) => of[s]);
    if (!here.some((count) => count > 0)) continue;
    let node = root;
    const add = (to) => here.forEach((count, i) => (to.total[i] += count));
    add(root);
    let outer = s;
    for (; outer >= 0 && node.depth < DEEPEST_INVERTED; outer = caller[outer]) add((node = childOf(node, keyOf(frame[outer]))));
    here.forEach((count, i) => (node.self[i] += count));
    if (outer >= 0) node.isCut = true;
  }
}

// Samples in which each function, and each line of each file, was innermost (self) and was on the stack at all (total).
function totalsOf(counts) {
  const { caller, frame } = recording.stacks;
  const { frames, functions } = recording;
  const empty = (length) => ({ self: new Float64Array(length), total: new Float64Array(length), seen: new Int32Array(length).fill(-1) });
  const ofFunctions = counts.map(() => empty(functions.name.length));
  const ofFrames = counts.map(() => empty(frames.function.length));
  counts.forEach((of, i) => {
    for (let s = 0; s < frame.length; s++) {
      if (of[s] === 0) continue;
      ofFunctions[i].self[frames.function[frame[s]]] += of[s];
      ofFrames[i].self[frame[s]] += of[s];
      for (let outer = s; outer >= 0; outer = caller[outer]) {
        // Recursion counts once.
        count(ofFrames[i], frame[outer], s, of[s]);
        count(ofFunctions[i], frames.function[frame[outer]], s, of[s]);
      }
    }
  });
  return { functions: ofFunctions, frames: ofFrames };
}

function count(table, entry, stack, samples) {
  if (table.seen[entry] === stack) return;
  table.seen[entry] = stack;
  table.total[entry] += samples;
}

// The children that have width, widest first.
function widestFirst(node) {
  const width = chosen.width;
  return [...node.children.values()].filter((child) => child.total[width] > 0).sort((a, b) => b.total[width] - a.total[width] || a.label - b.label);
}

// How much of the samples the matches of a search are, those within others not counted again.
function matchedShare(root, matches) {
  const width = chosen.width;
  let found = 0;
  const todo = [root];
  while (todo.length) {
    const node = todo.pop();
    if (node.label >= 0 && matches[node.label]) found += node.total[width];
    else todo.push(...node.children.values());
  }
  return root.total[width] > 0 ? found / root.total[width] : 0;
}

// For each label whether it is searched for; null without a search.
function matchesOf(search) {
  if (!search) return null;
  const wanted = search.toLowerCase();
  return (chosen.grain === "lines" ? recording.frameLabel : recording.functionLabel).map((label) => label.toLowerCase().includes(wanted));
}

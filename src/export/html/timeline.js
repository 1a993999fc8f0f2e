// Time from left to right: what all threads did, and below it each thread with the GIL it held and wanted. A brush chooses.

const timeline = (() => {
  const OVERVIEW = 48, LANE = 20, FEW = 16, MANY = 400;
  const canvas = byId("timeline"), lanes = byId("lanes"), brush = byId("brush"), tip = byId("timeline-tip"), list = byId("threads");
  const span = Math.max(recording.elapsed[recording.last] || 0, DATA.rows.unit, ...recording.at.subarray(-1));
  const perThread = countsBy("thread", DATA.threads.length);
  const perState = countsBy("state", DATA.states.length);
  const hasTime = !recording.isDifference && recording.at.some((time) => time > 0);
  let isExpanded = false, shown = [], bins = null, dragged = null;

  const HELD = 0, WANTED = 1, RUNS = 2, WAITS = 3;
  const colours = ["held", "wanted", "runs", "waits"];
  const names = ["holds the GIL", "wants the GIL", "runs, without a GIL or not known to hold it", "waits or unknown"];
  const stateName = DATA.states.map(([name]) => name);
  const running = new Set(["runs_python", "runs_native", "runs_detached", "collects_garbage"]);
  const groupOf = (k) => {
    const state = stateName[recording.kinds.state[k]];
    if (DATA.gil_states[recording.kinds.gil[k]] === "held") return HELD;
    if (state === "waits_for_gil") return WANTED;
    return running.has(state) ? RUNS : WAITS;
  };

  // Those that do most come first.
  const busy = new Float64Array(DATA.threads.length);
  for (let i = 0; i < recording.length; i++) {
    const k = recording.kind[i];
    if (groupOf(k) !== WAITS) busy[recording.kinds.thread[k]] += recording.count[i];
  }
  const order = [...perThread.keys()].filter((t) => perThread[t] > 0).sort((a, b) => busy[b] - busy[a] || perThread[b] - perThread[a] || a - b);

  // Rows: the threads with most samples; the last one may stand for all others.
  function chooseRows() {
    const most = isExpanded ? MANY : FEW;
    shown = order.slice(0, most).map((t) => [t]);
    if (order.length > most) shown.push(order.slice(most));
    const more = byId("more-threads");
    more.hidden = order.length <= FEW;
    more.textContent = isExpanded ? "Show fewer threads" : `Show ${Math.min(order.length, MANY)} of ${order.length} threads apart`;
  }

  function listThreads() {
    list.replaceChildren(...shown.map((row) => {
      const isOn = !chosen.threads || row.some((t) => chosen.threads.has(t));
      const name = row.length > 1 ? `${row.length} other threads` : DATA.threads[row[0]];
      const count = sum(row.map((t) => perThread[t]));
      const box = element("input", { type: "checkbox", checked: isOn, onchange: () => toggle(row, !isOn) });
      const label = element("span", { textContent: name.slice(0, 300), title: `${name.slice(0, 1000)}\nDouble click: this one alone` });
      const line = element("label", { className: isOn ? "thread" : "thread off" }, box, label, element("b", { textContent: percent(count / (sum(perThread) || 1)) }));
      line.addEventListener("dblclick", (event) => { event.preventDefault(); only(row); });
      return line;
    }));
  }

  function toggle(row, on) {
    const threads = new Set(chosen.threads ?? order);
    row.forEach((t) => (on ? threads.add(t) : threads.delete(t)));
    setThreads(threads);
  }

  function only(row) {
    setThreads(new Set(row));
  }

  function setThreads(threads) {
    chosen.threads = threads.size === order.length ? null : threads;
    listThreads();
    refresh();
  }

  // Samples by row, time and group.
  function count(width) {
    const finest = Math.max(DATA.rows.unit, recording.rate[recording.last] > 0 ? 4e6 / recording.rate[recording.last] : 0);
    const number = Math.max(1, Math.min(Math.floor(width / 2), Math.ceil(span / finest)));
    const rowOf = new Int32Array(DATA.threads.length);
    shown.forEach((row, i) => row.forEach((t) => (rowOf[t] = i)));
    const group = Uint8Array.from(recording.kinds.stack, (_, k) => groupOf(k));
    const of = shown.map(() => new Float64Array(number * 4)), all = new Float64Array(number * 4);
    for (let i = 0; i < recording.length; i++) {
      const k = recording.kind[i];
      const bin = Math.min(number - 1, Math.floor((recording.at[i] / span) * number)) * 4 + group[k];
      of[rowOf[recording.kinds.thread[k]]][bin] += recording.count[i];
      all[bin] += recording.count[i];
    }
    return { number, of, all, width, moments: momentsOf(of, number) };
  }

  // How many samples of a thread a bin has if the thread is in each: as the rate says, give or take what rounding does.
  function momentsOf(of, number) {
    const usual = ((span / number) * recording.rate[recording.last]) / 1e6;
    return Float64Array.from({ length: number }, (_, b) => {
      const most = Math.max(0, ...of.map((counts, row) => (shown[row].length === 1 ? sum([...counts.subarray(b * 4, b * 4 + 4)]) : 0)));
      return Math.abs(most - usual) <= Math.max(2, usual * 0.3) ? most : Math.max(usual, 1e-9);
    });
  }

  function draw() {
    byId("timeline-card").hidden = !hasTime;
    if (!hasTime) return;
    const width = Math.max(50, lanes.clientWidth), height = OVERVIEW + 4 + shown.length * LANE;
    if (!bins || bins.width !== width || bins.of.length !== shown.length) bins = count(width);
    const context = fitted(canvas, width, height);
    const fill = colours.map(theme.colour);
    const { number, of, all, moments } = bins;
    const wide = width / number;
    let most = 0;
    for (let b = 0; b < number; b++) most = Math.max(most, sum([...all.subarray(b * 4, b * 4 + 4)]) / moments[b]);
    lane(context, all, 0, OVERVIEW - 4, most, fill, wide);
    shown.forEach((row, i) => {
      context.fillStyle = theme.colour("soft");
      context.fillRect(0, OVERVIEW + 4 + i * LANE + 1, width, LANE - 3);
      const isOn = !chosen.threads || row.some((t) => chosen.threads.has(t));
      context.globalAlpha = isOn ? 1 : 0.25;
      lane(context, of[i], OVERVIEW + 4 + i * LANE + 1, LANE - 3, row.length, fill, wide);
      context.globalAlpha = 1;
    });
    placeBrush();
  }

  // Each bin as a stack of its groups; so many threads at a time fill it.
  function lane(context, counts, top, height, threads, fill, wide) {
    for (let b = 0; b < bins.number; b++) {
      const total = sum([...counts.subarray(b * 4, b * 4 + 4)]);
      if (total === 0) continue;
      const full = Math.max(threads * bins.moments[b], total);
      let bottom = top + height;
      for (let group = 0; group < 4; group++) {
        const high = (counts[b * 4 + group] / full) * height;
        if (high === 0) continue;
        context.fillStyle = fill[group];
        const left = Math.floor(b * wide), right = Math.max(left + 1, Math.floor((b + 1) * wide));
        context.fillRect(left, bottom - high, right - left, high);
        bottom -= high;
      }
    }
  }

  function placeBrush() {
    const isWhole = chosen.from <= 0 && chosen.to === Infinity;
    brush.hidden = isWhole;
    byId("whole").hidden = isWhole;
    const width = lanes.clientWidth;
    if (!isWhole) {
      brush.style.left = `${(chosen.from / span) * width}px`;
      brush.style.width = `${((Math.min(chosen.to, span) - chosen.from) / span) * width}px`;
    }
    const to = Math.min(chosen.to, span);
    byId("range").textContent = isWhole ? `${seconds(span / 1e6)}` : `${(chosen.from / 1e6).toFixed(2)} s to ${(to / 1e6).toFixed(2)} s`;
  }

  const timeAt = (event) => {
    const area = lanes.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - area.left) / area.width)) * span;
  };

  lanes.addEventListener("pointerdown", (event) => {
    dragged = { from: timeAt(event), x: event.clientX };
    lanes.setPointerCapture(event.pointerId);
  });
  lanes.addEventListener("pointermove", (event) => {
    if (dragged) choose(dragged.from, timeAt(event));
    else tell(event);
  });
  lanes.addEventListener("pointerup", (event) => {
    if (!dragged) return;
    if (Math.abs(event.clientX - dragged.x) < 4) whole();
    else choose(dragged.from, timeAt(event));
    dragged = null;
    refresh();
  });
  lanes.addEventListener("pointerleave", () => (tip.hidden = true));

  function choose(one, other) {
    chosen.from = Math.min(one, other);
    chosen.to = Math.max(one, other) >= span ? Infinity : Math.max(one, other);
    placeBrush();
  }

  function whole() {
    chosen.from = 0;
    chosen.to = Infinity;
    placeBrush();
  }

  function tell(event) {
    const area = canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - area.top - OVERVIEW - 4) / LANE);
    const at = Math.min(bins.number - 1, Math.floor((timeAt(event) / span) * bins.number));
    const counts = row < 0 ? bins.all : bins.of[row];
    tip.hidden = !counts;
    if (!counts) return;
    const name = row < 0 ? "all threads" : shown[row].length > 1 ? `${shown[row].length} other threads` : DATA.threads[shown[row][0]].slice(0, 300);
    const here = [0, 1, 2, 3].map((group) => counts[at * 4 + group]);
    tip.replaceChildren(
      element("b", { textContent: name }),
      element("span", { textContent: `at ${((at + 0.5) * span / bins.number / 1e6).toFixed(2)} s: ${samples(sum(here))} within ${seconds(span / bins.number / 1e6)}` }),
      ...here.flatMap((count, group) => (count > 0 ? [element("span", { textContent: `${names[group]}: ${percent(count / sum(here))}` })] : [])),
    );
    placeTip(tip, event);
  }

  byId("whole").addEventListener("click", () => { whole(); refresh(); });
  byId("more-threads").addEventListener("click", () => {
    isExpanded = !isExpanded;
    chooseRows();
    listThreads();
    draw();
  });
  byId("legend").append(...colours.map((colour, i) => {
    const mark = element("i");
    mark.style.background = `var(--${colour})`;
    return element("span", {}, mark, ["holds the GIL", "wants it", "runs without", "waits"][i]);
  }));
  chooseRows();
  listThreads();
  return { draw, whole, listThreads, perState, span, order };
})();

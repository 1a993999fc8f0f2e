// What stands around the graphs: states to choose, functions, source, account.

const panels = (() => {
  const table = byId("functions"), source = byId("source"), fileChoice = byId("file");
  const MOST_FUNCTIONS = 400, MOST_LINES = 20000;
  let totals = null, shares = [1], sortedBy = "self", file = -1, target = null, chosenFunction = -1, matches = null;
  const { functions, files, frames } = recording;

  function showStates() {
    const { perState } = timeline;
    const all = [...perState.keys()].filter((s) => perState[s] > 0);
    byId("states").hidden = all.length < 2;
    byId("states").replaceChildren(...all.map((s) => {
      const isOn = !chosen.states || chosen.states.has(s);
      return element("button", { type: "button", "aria-pressed": String(isOn), title: "Click: with or without. Double click: these alone", "data-state": DATA.states[s][0],
        onclick: () => setStates(all, toggled(all, s)), ondblclick: () => setStates(all, new Set([s])) }, `${DATA.states[s][1]} ${grouped(perState[s])}`);
    }));
  }

  function toggled(all, state) {
    const states = new Set(chosen.states ?? all);
    if (!states.delete(state)) states.add(state);
    return states;
  }

  function setStates(all, states) {
    chosen.states = states.size === all.length ? null : states;
    showStates();
    refresh();
  }

  function showFunctions() {
    const i = chosen.width, of = totals.functions[i], all = shares[i] || 1;
    const order = [...of.total.keys()].filter((f) => of.total[f] > 0 || totals.functions.some((one) => one.total[f] > 0));
    const change = (f) => totals.functions[1].self[f] / (shares[1] || 1) - totals.functions[0].self[f] / (shares[0] || 1);
    const by = sortedBy === "change" ? (f) => Math.abs(change(f)) : (f) => of[sortedBy][f];
    order.sort((a, b) => by(b) - by(a) || of.total[b] - of.total[a] || a - b);
    const columns = [["self", "self"], ["total", "total"], ...(recording.isDifference ? [["change", "difference"]] : [])];
    const head = element("tr", {}, ...columns.map(([key, text]) => {
      const cell = element("th", { className: "number" }, element("button", { type: "button", textContent: text, onclick: () => { sortedBy = key; showFunctions(); } }));
      if (key === sortedBy) cell.setAttribute("aria-sort", "descending");
      return cell;
    }), element("th", { className: "name", textContent: "function" }));
    const share = (count) => {
      const cell = element("td", { className: "number share", textContent: percent(count / all), title: `${samples(count)} ${timeOf(count, i)}` });
      cell.style.setProperty("--share", `${(100 * count) / all}%`);
      return cell;
    };
    const rows = order.slice(0, MOST_FUNCTIONS).map((f) => {
      const name = element("td", { className: "name", title: `${functions.name[f]}\n${files.path[functions.file[f]]}`.slice(0, 1500) },
        functions.name[f].slice(0, 300), element("small", { textContent: `${recording.place[f]}`.slice(0, 300) }));
      const cells = [share(of.self[f]), share(of.total[f])];
      if (recording.isDifference) cells.push(element("td", { className: "number", textContent: `${change(f) >= 0 ? "+" : "−"}${percent(Math.abs(change(f)))}`, title: "of self, in points" }));
      const row = element("tr", { className: "row", onclick: () => chooseFunction(f) }, ...cells, name);
      row.classList.toggle("chosen", f === chosenFunction);
      row.classList.toggle("match", !!matches && matches(f));
      return row;
    });
    table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
    byId("functions-note").textContent = order.length > MOST_FUNCTIONS ? `the first ${MOST_FUNCTIONS} of ${order.length}` : `${order.length}`;
  }

  function chooseFunction(f) {
    chosenFunction = f;
    showFunctions();
    show(functions.file[f], functions.first_line[f]);
  }

  // Samples by line of a file: of frames, whose functions may be several to a line.
  function linesOf(wanted) {
    const of = totals.frames[chosen.width], lines = new Map();
    for (let f = 0; f < frames.function.length; f++) {
      if (functions.file[frames.function[f]] !== wanted || of.total[f] === 0) continue;
      const line = frames.line[f] ?? functions.first_line[frames.function[f]];
      const here = lines.get(line) ?? { self: 0, total: 0 };
      lines.set(line, { self: here.self + of.self[f], total: here.total + of.total[f] });
    }
    return lines;
  }

  function showFiles() {
    const counts = new Float64Array(files.path.length), of = totals.functions[chosen.width];
    for (let f = 0; f < functions.name.length; f++) counts[functions.file[f]] += of.self[f];
    const order = [...counts.keys()].sort((a, b) => counts[b] - counts[a] || a - b);
    if (file < 0 && order.length) file = order[0];
    fileChoice.replaceChildren(...order.slice(0, 1000).map((f) => element("option", { value: f, selected: f === file,
      textContent: `${percent(counts[f] / (shares[chosen.width] || 1))}  ${files.path[f].slice(0, 300)}` })));
  }

  function showSource() {
    source.replaceChildren();
    if (file < 0) return;
    const lines = linesOf(file), text = files.source[file];
    const hottest = Math.max(1, ...[...lines.values()].map((line) => line.total)), all = shares[chosen.width] || 1;
    const texts = typeof text === "string" ? text.split(/\r\n|\n|\r/) : null;
    if (!texts) source.append(element("p", { textContent: "The text of this file is not in the page. Lines in which samples are:" }));
    const shown = texts ? Array.from({ length: Math.min(texts.length, MOST_LINES) }, (_, i) => i + 1) : [...lines.keys()].sort((a, b) => a - b);
    const head = element("div", { className: "line head" }, element("span", { textContent: "self", className: "count" }), element("span", { textContent: "total", className: "count" }), element("span", { textContent: "line", className: "at" }), element("span"));
    source.append(head);
    for (const number of shown) {
      const here = lines.get(number);
      const count = (samples) => element("span", { className: samples > 0 ? "count hot" : "count", textContent: samples > 0 ? percent(samples / all) : "" });
      const row = element("div", { className: "line", "data-line": String(number) }, count(here?.self ?? 0), count(here?.total ?? 0),
        element("span", { className: "at", textContent: number }), element("span", { textContent: texts ? texts[number - 1].slice(0, 2000) : "" }));
      if (here) {
        row.style.background = `rgba(var(--heat), ${(0.05 + 0.45 * (here.total / hottest)).toFixed(3)})`;
        row.title = `${samples(here.total)} in this line, ${samples(here.self)} of them in nothing it calls`;
      }
      row.classList.toggle("target", number === target);
      source.append(row);
    }
    if (texts && texts.length > MOST_LINES) source.append(element("p", { textContent: `Lines after ${MOST_LINES} are not shown.` }));
    const hot = [...lines].sort(([, a], [, b]) => b.self - a.self || b.total - a.total)[0]?.[0];
    const wanted = source.querySelector(".target") ?? source.querySelector(`[data-line="${hot}"]`);
    if (wanted) source.scrollTop = Math.max(0, wanted.offsetTop - source.offsetTop - 120);
  }

  function show(wanted, line) {
    file = wanted;
    target = line;
    showFiles();
    showSource();
  }

  function fact(name, value) {
    return element("div", { className: "fact" }, element("span", { textContent: name }), element("b", { textContent: value }));
  }

  function showAccount() {
    const parts = DATA.recordings.flatMap((about, i) => {
      const title = recording.isDifference ? `${["Before", "After"][i]}: ${about.program}` : about.program;
      const account = about.account;
      const facts = [fact("began", about.started ? beginOf(about) : "not known"), fact("took", about.elapsed > 0 ? seconds(about.elapsed) : "not known"), fact("rate asked", about.rate > 0 ? `${about.rate} Hz` : "not known")];
      if (!about.has_end) facts.push(fact("ended", account ? `by force: the account is of the first ${seconds(account.elapsed)}` : "by force"));
      if (account) {
        const numbers = ["asked", "taken", "late", "stretched", "spared", "failed", "dropped", "torn", "unmapped", "invalid", "truncated"];
        const words = { stretched: "left out to stop it less", spared: "left out to use less CPU", dropped: "stacks dropped", torn: "stacks torn", unmapped: "stacks not mapped", invalid: "stacks not valid", truncated: "stacks cut", failed: "moments not readable", asked: "moments asked", taken: "moments taken", late: "moments late" };
        facts.push(...numbers.map((name) => fact(words[name], grouped(account[name]))));
        const share = account.elapsed > 0 ? `${percent(account.stopped / account.elapsed)}, ${grouped(account.stops)} times` : "";
        facts.push(fact("target stopped", share), fact("own CPU", seconds(account.own_cpu)));
      }
      facts.push(fact("samples without Python frames", grouped(about.frameless)), fact("threads counted", { running: "that run", all: "all", holders: "that hold a GIL", contenders: "all, stacks of those at a GIL" }[about.wanted]), fact("pysample", about.pysample || "not known"));
      return [element("h3", { textContent: title }), ...about.processes.slice(0, 100).map((text) => element("div", { className: "wide", textContent: text.slice(0, 2000) })), ...facts];
    });
    byId("account").replaceChildren(...parts);
  }

  fileChoice.addEventListener("change", () => show(Number(fileChoice.value), null));

  return {
    showStates, showAccount, chooseFunction, show,
    update(newTotals, counts) {
      totals = newTotals;
      shares = counts.map(sum);
      showFunctions();
      showFiles();
      showSource();
    },
    mark(search) {
      const wanted = search.toLowerCase();
      matches = search ? (f) => recording.functionLabel[f].toLowerCase().includes(wanted) : null;
      if (totals) showFunctions();
    },
    functionRows: () => [...table.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent)),
  };
})();

// A frame of the flame graph was clicked: its function and its line are shown.
function chooseFrame(label) {
  const f = chosen.grain === "lines" ? recording.frames.function[label] : label;
  panels.chooseFunction(f);
  if (chosen.grain === "lines" && recording.frames.line[label] !== null) panels.show(recording.functions.file[f], recording.frames.line[label]);
}

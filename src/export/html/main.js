// Puts the parts together: a choice is made, everything that depends on it is drawn.

function drawAll() {
  timeline.draw();
  flame.draw();
}

// What is chosen has changed.
function refresh() {
  const counts = stackCounts();
  const root = treeOf(counts);
  flame.show(root);
  flame.mark(matchesOf(chosen.search));
  panels.update(totalsOf(counts), counts);
  const shown = root.total[chosen.width], all = total(chosen.width), time = timeOf(shown, chosen.width);
  byId("shown").textContent = `${samples(shown)}${time && ` · ${time} of threads`}${shown < all ? ` · ${percent(shown / all)} of all` : ""}`;
  byId("reset").hidden = !isFiltered();
  drawAll();
}

function total(which) {
  let all = 0;
  for (let i = 0; i < recording.length; i++) if (recording.kinds.recording[recording.kind[i]] === which) all += recording.count[i];
  return all;
}

function switches(id, key, read = (value) => value) {
  const buttons = [...byId(id).children];
  const show = () => buttons.forEach((button) => {
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", String(read(button.dataset.value) === chosen[key]));
  });
  buttons.forEach((button) => button.addEventListener("click", () => {
    chosen[key] = read(button.dataset.value);
    show();
    refresh();
  }));
  show();
}

function heading() {
  const about = DATA.recordings[recording.last];
  byId("program").textContent = recording.isDifference ? `${DATA.recordings[0].program} → ${about.program}` : about.program;
  document.title = `${about.program.slice(0, 200)} · pysample`;
  const threads = timeline.order.length;
  byId("summary").textContent = [
    DATA.recordings.map((_, i) => samples(total(i))).join(" before, ") + (recording.isDifference ? " after" : ""),
    about.elapsed > 0 && seconds(about.elapsed), `${threads} ${threads === 1 ? "thread" : "threads"}`,
    about.rate > 0 && `${about.rate} Hz asked`, beginOf(about),
  ].filter(Boolean).join(" · ");
}

function notes() {
  const texts = [];
  if (DATA.rows.unit > 1000) texts.push(`There are so many samples that their times are rounded to ${seconds(DATA.rows.unit / 1e6)}. All samples are in this page.`);
  if (DATA.files.left_out > 0) texts.push(`The text of ${DATA.files.left_out} source files is left out because it is too much.`);
  if (recording.isDifference) texts.push("Red frames have a larger share after than before, blue ones a smaller one. Frames that are gone have width in the view by Before.");
  byId("notes").hidden = texts.length === 0;
  byId("notes").replaceChildren(...texts.map((text) => element("p", { textContent: text })));
}

byId("search").addEventListener("input", (event) => {
  chosen.search = event.target.value.trim();
  flame.mark(matchesOf(chosen.search));
  panels.mark(chosen.search);
  flame.draw();
});
byId("reset").addEventListener("click", () => {
  chosen.threads = chosen.states = null;
  timeline.whole();
  timeline.listThreads();
  panels.showStates();
  refresh();
});
document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    byId("search").focus();
  } else if (event.key === "Escape") {
    if (isTyping) event.target.blur();
    flame.zoomOut();
  }
});
let resizing = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(drawAll);
});

switches("view", "view");
switches("grain", "grain");
byId("width").hidden = !recording.isDifference;
switches("width", "width", Number);
heading();
notes();
panels.showStates();
panels.showAccount();
refresh();

// For those who look at the page with a program.
window.pysample = { boxes: flame.boxes, functions: panels.functionRows, chosen, timeline: { span: timeline.span } };

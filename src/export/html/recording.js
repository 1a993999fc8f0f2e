"use strict";
// The recording as the page got it, and the choices made of it. Numbers in, numbers out: nothing here draws.

const byId = (id) => document.getElementById(id);
const DATA = JSON.parse(byId("data").textContent);

const recording = (() => {
  const { rows, kinds, stacks, frames, functions, files } = DATA;
  const length = rows.kind.length;
  const at = new Float64Array(length); // microseconds
  for (let i = 0, now = 0; i < length; i++) {
    now += rows.after[i];
    at[i] = now * rows.unit;
  }
  const kind = Uint32Array.from(rows.kind);
  const count = Float64Array.from(rows.count);
  const last = DATA.recordings.length - 1;
  const elapsed = DATA.recordings.map((about) => about.elapsed * 1e6);
  // Moments a second for which samples of each process stand; 0 where that is not known.
  const rate = DATA.recordings.map((about) => {
    const account = about.account;
    return account && account.slots > 0 && account.asked > 0 ? (about.rate * account.slots) / account.asked : about.rate;
  });
  // Where a function is; its first line is not known of collapsed stacks.
  const place = functions.file.map((file, i) => files.shown[file] + (functions.first_line[i] > 0 ? `:${functions.first_line[i]}` : ""));
  const functionLabel = functions.name.map((name, i) => `${name} (${place[i]})`);
  const frameLabel = frames.function.map((f, i) => {
    const line = frames.line[i];
    return `${functions.name[f]} (${files.shown[functions.file[f]]}${line === null ? "" : ":" + line})`;
  });
  return { at, kind, count, length, last, elapsed, rate, place, functionLabel, frameLabel, kinds, stacks, frames, functions, files, isDifference: last > 0 };
})();

// What is chosen. null stands for all.
const chosen = {
  threads: null, // Set of threads
  states: null, // Set of states
  from: 0,
  to: Infinity, // microseconds
  view: "calls",
  // Lines move from version to version.
  grain: DATA.merges_lines || recording.isDifference ? "functions" : "lines",
  width: recording.last, // whose samples the widths are
  search: "",
};

const isFiltered = () => chosen.threads !== null || chosen.states !== null || chosen.from > 0 || chosen.to !== Infinity;

// For each stack, how many of the samples chosen are of it, in each recording.
function stackCounts() {
  const { kinds, at, kind, count } = recording;
  const counts = DATA.recordings.map(() => new Float64Array(recording.stacks.frame.length));
  const passes = new Uint8Array(kinds.stack.length);
  for (let k = 0; k < passes.length; k++) {
    passes[k] = (!chosen.threads || chosen.threads.has(kinds.thread[k])) && (!chosen.states || chosen.states.has(kinds.state[k])) ? 1 : 0;
  }
  for (let i = 0; i < recording.length; i++) {
    const k = kind[i];
    if (passes[k] && at[i] >= chosen.from && at[i] < chosen.to) counts[kinds.recording[k]][kinds.stack[k]] += count[i];
  }
  return counts;
}

// Samples by an entry of the kinds (thread, state), whatever is chosen.
function countsBy(column, width) {
  const counts = new Float64Array(width);
  const { kind, count } = recording;
  const of = recording.kinds[column];
  for (let i = 0; i < recording.length; i++) counts[of[kind[i]]] += count[i];
  return counts;
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const percent = (share) => {
  const value = share * 100;
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} %`;
};
const grouped = (number) => Math.round(number).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
const samples = (number) => `${grouped(number)} ${number === 1 ? "sample" : "samples"}`;
function seconds(value) {
  if (value >= 600) return `${(value / 60).toFixed(1)} min`;
  if (value >= 10) return `${value.toFixed(1)} s`;
  if (value >= 1) return `${value.toFixed(2)} s`;
  return `${(value * 1000).toFixed(value >= 0.1 ? 0 : 1)} ms`;
}
// Thread time that samples stand for, as text; nothing where the rate is not known.
const timeOf = (count, of = recording.last) => (recording.rate[of] > 0 ? seconds(count / recording.rate[of]) : "");

const beginOf = (about) => (about.started ?? "").replace("T", " ").replace("Z", " UTC");

// A new element. Whatever a target may have chosen gets in as text only.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// SPDX-License-Identifier: GPL-2.0-or-later
// The events as a tree with a filter. Text goes into the page by textContent only.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const AT_ONCE = 500;
const BAD = 1, CONCERNS = 2, OPEN = 4;
const HEADINGS = ["event", "seconds", "thread", "what", "result", "took"];

function make(name, text, look) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (look) element.className = look;
  return element;
}

// The rows with names instead of numbers, each with the row that it is inside of.
function readRows() {
  const rows = [], stacks = new Map();
  let ns = 0;
  const name = (table, number) => number < 0 ? "" : DATA[table][number];
  for (const [seq, since, took, depth, task, device, driver, probe, text, outcome, flags] of DATA.rows) {
    ns += since;
    const row = {
      seq, ns, took, depth, flags, task: name("tasks", task), device: name("devices", device),
      driver: name("drivers", driver), probe: name("probes", probe), text: name("texts", text),
      outcome: name("outcomes", outcome), parent: null, kids: 0, level: -1,
    };
    const tid = row.task.slice(row.task.lastIndexOf("/") + 1);
    const stack = stacks.get(tid) || [];
    while (stack.length && stack[stack.length - 1].depth >= depth) stack.pop();
    if (stack.length && depth) {
      row.parent = stack[stack.length - 1];
      row.parent.kids += 1;
    }
    if (row.probe !== "module") stack.push(row);
    stacks.set(tid, stack);
    rows.push(row);
  }
  return rows;
}

// The kernel's log, as rows.
function readLog() {
  return DATA.log.map(([ns, level, text]) => ({
    seq: 0, ns, took: -1, depth: 0, flags: CONCERNS | (level <= 3 ? BAD : 0), task: "kernel log", device: "",
    driver: "", probe: "", text, outcome: "", parent: null, kids: 0, level,
  }));
}

function merged(rows, log) {
  const all = [];
  let next = 0;
  for (const row of rows) {
    while (next < log.length && log[next].ns < row.ns) all.push(log[next++]);
    all.push(row);
  }
  return all.concat(log.slice(next));
}

const ROWS = readRows();
const ALL = merged(ROWS, readLog());
const collapsed = new Set();
let limit = AT_ONCE;

const control = (id) => document.getElementById(id);

// What the filter lets through, and the calls around it.
function chosen() {
  const words = control("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const device = control("device").value;
  const onlyBad = control("bad").checked, withLog = control("log").checked, all = control("all").checked;
  const hits = new Set(), around = new Set();
  for (const row of ALL) {
    if (row.level >= 0 && !withLog) continue;
    if (!all && !(row.flags & CONCERNS)) continue;
    if (onlyBad && !(row.flags & (BAD | OPEN))) continue;
    if (device && row.device !== device && !(row.level >= 0 && row.text.includes(device))) continue;
    if (words.length) {
      const line = `${row.text} ${row.outcome} ${row.task}`.toLowerCase();
      if (!words.every((word) => line.includes(word))) continue;
    }
    hits.add(row);
    for (let outer = row.parent; outer && !around.has(outer); outer = outer.parent) around.add(outer);
  }
  return { hits, around };
}

function isFolded(row) {
  for (let outer = row.parent; outer; outer = outer.parent) if (collapsed.has(outer)) return true;
  return false;
}

const seconds = (ns) => (ns / 1e9).toFixed(6);
const millis = (ns) => ns < 0 ? "" : `${(ns / 1e6).toFixed(3)} ms`;

function toggle(row) {
  const button = make("button", collapsed.has(row) ? "\u25b8" : "\u25be", "toggle");
  button.type = "button";
  button.setAttribute("aria-expanded", String(!collapsed.has(row)));
  button.setAttribute("aria-label", `calls inside event ${row.seq}`);
  button.addEventListener("click", () => {
    if (!collapsed.delete(row)) collapsed.add(row);
    show();
    const again = document.getElementById(`event-${row.seq}`);
    if (again) again.querySelector(".toggle").focus();
  });
  return button;
}

function rowElement(row, withToggle) {
  const line = make("tr");
  if (row.level >= 0) line.className = `log-row${row.level <= 3 ? " bad" : row.level === 4 ? " unsure" : ""}`;
  const what = make("td", undefined, "what");
  what.style.paddingLeft = `${1.4 + 1.1 * row.depth}rem`;
  if (withToggle && row.kids) what.append(toggle(row));
  row.text.split(/(?<=\|)/).forEach((part, number) => what.append(...(number ? [make("wbr")] : []), part));
  const open = row.flags & OPEN;
  const result = make("td", open ? "no return seen" : row.outcome, row.flags & BAD ? "bad" : open ? "unsure" : "");
  line.append(
    make("td", row.seq ? String(row.seq) : "", "number"), make("td", seconds(row.ns)),
    make("td", row.task, "thread"), what, result, make("td", millis(row.took), "took"),
  );
  return line;
}

function tableOf(elements) {
  const table = make("table"), head = make("tr"), body = make("tbody");
  for (const heading of HEADINGS) {
    const cell = make("th", heading);
    cell.scope = "col";
    head.append(cell);
  }
  const top = make("thead");
  top.append(head);
  body.append(...elements);
  table.append(top, body);
  return table;
}

function show() {
  const { hits, around } = chosen();
  const open = ALL.filter((row) => (hits.has(row) || around.has(row)) && !isFolded(row));
  const elements = open.slice(0, limit).map((row) => {
    const line = rowElement(row, true);
    if (row.seq) line.id = `event-${row.seq}`;
    if (!hits.has(row)) line.classList.add("context");
    return line;
  });
  control("tree").replaceChildren(tableOf(elements));
  const others = ALL.filter((row) => !(row.flags & CONCERNS)).length;
  const shown = Math.min(limit, open.length);
  let said = `${shown} of ${open.length} rows shown`;
  if (others && !control("all").checked) said += `; ${others} that are not about VirtIO are left out`;
  control("count").textContent = `${said}.`;
  control("more").hidden = open.length <= limit;
  control("more").textContent = `Show ${Math.min(AT_ONCE, open.length - limit)} more`;
  return open;
}

// Show the row of event SEQ, or the call that it ends in, whatever the filter was.
function reveal(seq) {
  let found = null;
  for (const row of ROWS) if (row.seq <= seq && (!found || row.seq > found.seq)) found = row;
  if (!found) return;
  for (const id of ["filter", "device"]) control(id).value = "";
  control("bad").checked = false;
  if (!(found.flags & CONCERNS)) control("all").checked = true;
  for (let outer = found.parent; outer; outer = outer.parent) collapsed.delete(outer);
  const place = show().indexOf(found);
  if (place >= limit) {
    limit = Math.ceil((place + 1) / AT_ONCE) * AT_ONCE;
    show();
  }
  const line = document.getElementById(`event-${found.seq}`);
  line.classList.add("target");
  line.tabIndex = -1;
  line.focus({ preventScroll: true });
  line.scrollIntoView({ block: "center" });
}

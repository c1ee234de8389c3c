// SPDX-License-Identifier: GPL-2.0-or-later
// A cell of the grid opens its step: the source, what was found, and the events.

const MOST_ROWS = 200;
let opened = null;

// The rows that show STEP of SUBJECT, with the calls inside them.
function rowsOf(step, subject) {
  const probes = new Set(DATA.steps[step].probes);
  const named = new Set();
  for (const [, itsStep, itsSubject, , events] of DATA.findings) {
    if (itsStep === step && itsSubject === subject) for (const seq of events) named.add(seq);
  }
  const isKnown = DATA.devices.includes(subject) || DATA.drivers.includes(subject);
  const shown = new Set();
  for (const row of ROWS) {
    const mine = !isKnown || row.device === subject || row.driver === subject;
    const ofStep = probes.size ? probes.has(row.probe) : row.probe === "module" || row.probe === "do_init_module";
    if (named.has(row.seq) || (mine && ofStep) || shown.has(row.parent)) shown.add(row);
  }
  return ROWS.filter((row) => shown.has(row));
}

function closePanel() {
  const panel = document.getElementById("panel");
  if (!opened || panel.hidden) return;
  panel.hidden = true;
  opened.setAttribute("aria-expanded", "false");
  opened.focus();
  opened = null;
}

function messages(step, subject) {
  const list = make("ul", undefined, "findings");
  for (const [severity, itsStep, itsSubject, message] of DATA.findings) {
    if (itsStep !== step || itsSubject !== subject) continue;
    const item = make("li");
    item.append(make("strong", `${severity}: `), message);
    list.append(item);
  }
  return list;
}

function openPanel(cell) {
  const { step, subject } = cell.dataset, known = DATA.steps[step];
  if (opened) opened.setAttribute("aria-expanded", "false");
  opened = cell;
  cell.setAttribute("aria-expanded", "true");
  const close = make("button", "Close", "close");
  close.type = "button";
  close.addEventListener("click", closePanel);
  const rows = rowsOf(step, subject);
  const least = rows.length ? Math.min(...rows.map((row) => row.depth)) : 0;
  const elements = rows.slice(0, MOST_ROWS).map((row) => rowElement({ ...row, depth: row.depth - least }, false));
  const events = make("div", undefined, "scroll panel-rows");
  if (elements.length) events.append(tableOf(elements));
  const said = rows.length ? `${elements.length} of ${rows.length} rows` : "No event in this page shows it.";
  const source = make("p", "Source: ");
  source.append(make("code", known.source));
  const panel = document.getElementById("panel");
  panel.replaceChildren(
    close, make("h3", `${subject}, ${step}: ${cell.textContent}`), make("p", `${known.text}.`), source,
    messages(step, subject), make("p", said, "hint"), events,
  );
  panel.hidden = false;
  panel.focus({ preventScroll: true });
  panel.scrollIntoView({ block: "nearest" });
}

for (const cell of document.querySelectorAll(".cell")) {
  cell.setAttribute("aria-expanded", "false");
  cell.setAttribute("aria-controls", "panel");
  cell.addEventListener("click", () => cell === opened ? closePanel() : openPanel(cell));
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closePanel(); });

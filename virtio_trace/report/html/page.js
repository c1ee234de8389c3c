// SPDX-License-Identifier: GPL-2.0-or-later
// What starts the page: the filter's controls, links to events, saving, printing.

async function save() {
  const text = atob(document.getElementById("packed").textContent);
  let blob = new Blob([Uint8Array.from(text, (character) => character.charCodeAt(0))]);
  let name = "virtio-trace.vtr.gz";
  if ("DecompressionStream" in window) {
    blob = await new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).blob();
    name = "virtio-trace.vtr";
  }
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function start() {
  const devices = control("device");
  devices.append(new Option("all", ""));
  for (const device of [...DATA.devices].sort()) devices.append(new Option(device, device));
  let waiting = 0;
  const again = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { limit = AT_ONCE; show(); }, 120);
  };
  for (const id of ["filter", "device", "bad", "log", "all"]) control(id).addEventListener("input", again);
  control("controls").addEventListener("submit", (event) => event.preventDefault());
  control("more").addEventListener("click", () => { limit += AT_ONCE; show(); });
  const button = control("save");
  if (button) button.addEventListener("click", save);
  show();
}

// A link to an event or to a device shows it.
function follow() {
  const target = decodeURIComponent(location.hash.slice(1));
  if (target.startsWith("event-")) reveal(Number(target.slice(6)));
  const part = document.getElementById(target);
  if (part && part.tagName === "DETAILS") part.open = true;
}

let closedParts = [];
window.addEventListener("beforeprint", () => {
  closedParts = [...document.querySelectorAll("details:not([open])")];
  for (const part of closedParts) part.open = true;
});
window.addEventListener("afterprint", () => { for (const part of closedParts) part.open = false; });
window.addEventListener("hashchange", follow);
document.addEventListener("click", (event) => {
  const link = event.target.closest ? event.target.closest('a[href^="#event-"]') : null;
  if (link && link.getAttribute("href") === location.hash) follow();
});
start();
follow();

// What pages gain from a script: news by themselves, and texts to copy. Everything works without it.
"use strict";

const LOOK_AGAIN_MILLIS = 60000;
const TRY_AGAIN_MILLIS = 3000;

function touched(region) {
  const active = document.activeElement;
  return region.dataset.touched === "yes" || (region.contains(active) && active.matches("input, select, textarea"));
}

async function refresh() {
  // A page that answers a form stands at the form's address; what it shows stands at its own.
  const answer = await fetch(document.body.dataset.page + location.search, { redirect: "manual" }).catch(() => null);
  // The session is over: whoever comes back to this page is to see that.
  if (answer && answer.type === "opaqueredirect") location.reload();
  if (!answer || !answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  let changed = false;
  for (const region of document.querySelectorAll("[data-fresh]")) {
    const fresh = page.querySelector(`[data-fresh="${region.dataset.fresh}"]`);
    if (!fresh || touched(region) || fresh.innerHTML === region.innerHTML) continue;
    const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
    const known = new Set(Array.from(region.querySelectorAll("[id]"), (element) => element.id));
    region.replaceChildren(...fresh.childNodes);
    if (focused) document.getElementById(focused)?.focus();
    for (const element of region.querySelectorAll("tr [id]")) {
      if (!known.has(element.id)) element.closest("tr").classList.add("arrived");
    }
    changed = true;
  }
  if (changed) document.getElementById("news").textContent = document.body.dataset.news || "";
  document.body.dataset.seen = page.body.dataset.seen || "";
}

function follow() {
  let stream = null;
  let again = 0;
  const end = () => {
    clearTimeout(again);
    if (stream) stream.close();
    stream = null;
  };
  const begin = () => {
    end();
    const path = document.body.dataset.live;
    const mark = path.includes("?") ? "&" : "?";
    stream = new EventSource(`${path}${mark}seen=${encodeURIComponent(document.body.dataset.seen || "")}`);
    stream.addEventListener("changed", refresh);
    // The stream ends now and then; what was missed in between is seen by what the page has seen last.
    stream.addEventListener("error", () => {
      end();
      again = setTimeout(() => refresh().then(() => document.hidden || begin()), TRY_AGAIN_MILLIS);
    });
  };
  // A browser has few connections to one host: a page that nobody looks at gives its own back.
  document.addEventListener("visibilitychange", () => (document.hidden ? end() : begin()));
  window.addEventListener("pagehide", end);
  setInterval(() => document.hidden || refresh(), LOOK_AGAIN_MILLIS);
  if (!document.hidden) begin();
}

document.addEventListener("input", (event) => {
  const region = event.target.closest("[data-fresh]");
  if (region) region.dataset.touched = "yes";
});

// Two clicks are one: the second would be refused as if the first had failed.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent === "yes") event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    document.getElementById("news").textContent = button.dataset.copied;
  } catch {
    getSelection().selectAllChildren(source);
  }
});

for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
if (document.body.dataset.live) follow();

// What pages gain from a script: news by themselves, and texts to copy. Everything works without it.
"use strict";

const LOOK_AGAIN_MILLIS = 60000;
const POLL_MILLIS = 5000;
const TRY_AGAIN_MILLIS = 3000;
const NEWS_MILLIS = 10000;
const SENT_MILLIS = 10000;
// A browser has six connections to one host, for all of its windows: more pages than these ask now and then instead.
const STREAMS_OF_ONE_BROWSER = 3;
const TYPED = "input:not([type=hidden], [type=checkbox], [type=radio], [type=file]), select, textarea";

// Each region as the server last gave it: what a person has unfolded or ticked since is not news.
const received = new Map();
const held = new Set();
let isOver = false;
// The event by which something is held down at this moment.
let pressedBy = "";
let loading = null;
let isAskedAgain = false;

function say(text, millis) {
  const news = document.getElementById("news");
  clearTimeout(say.timer);
  news.textContent = text;
  if (text && millis) say.timer = setTimeout(() => (news.textContent = ""), millis);
}

// How much time is left changes each minute, and is no news; what somebody has written is none either.
function gist(region) {
  const copy = region.cloneNode(true);
  for (const part of copy.querySelectorAll("[data-quiet], textarea")) part.remove();
  return copy.textContent;
}

function isBox(control) {
  return control.type === "checkbox" || control.type === "radio";
}

// What a refused form held stands in the page as if nobody had filled it in.
function isOfRefused(control) {
  const refused = document.querySelector("[data-refused]");
  return Boolean(refused && control.form && control.form.getAttribute("action") === refused.dataset.refused);
}

function isChanged(control) {
  if (control.type === "file") return control.files.length > 0;
  if (isOfRefused(control)) return true;
  if (isBox(control)) return control.checked !== control.defaultChecked;
  if (!control.options) return control.value !== control.defaultValue;
  const usual = Array.from(control.options).findIndex((option) => option.defaultSelected);
  return control.selectedIndex !== Math.max(usual, 0);
}

// The same thing in a page that came later: by its id, or by the form that it belongs to and what it is called there.
function twin(element, fresh) {
  if (element.id) return fresh.querySelector(`#${CSS.escape(element.id)}`);
  const called = (one) => {
    const value = isBox(one) || one.localName === "button" ? one.value : "";
    const text = one.localName === "button" || one.localName === "summary" ? one.textContent.trim() : "";
    return [one.name, value, text, one.getAttribute("href"), one.form?.getAttribute("action")].join("\n");
  };
  return Array.from(fresh.querySelectorAll(element.localName)).find((other) => called(other) === called(element));
}

// Somebody types in it, chooses, marks some of its text, or is about to click: a press and its release on two things,
// of which the second has taken the place of the first, are no click.
function isInHand(region) {
  const active = document.activeElement;
  const selection = getSelection();
  return (
    pressedBy ||
    (region.contains(active) && active.matches(TYPED)) ||
    (!selection.isCollapsed && region.contains(selection.anchorNode))
  );
}

// A tick, a choice, a file and a blank go with what they belonged to; a text is somebody's work.
function isGone(control, other) {
  if (other) return control.options && !offers(other, control.value) && isOfRefused(control) && !control.selectedIndex;
  return isBox(control) || control.options || control.type === "file" || !control.value.trim();
}

function offers(choice, value) {
  return Array.from(choice.options).some((option) => option.value === value);
}

function hasPlaceFor(control, other) {
  return Boolean(other) && (!other.options || offers(other, control.value));
}

// Puts what somebody has filled in into the fresh region; false when there is no place for it any more.
function carryOver(region, fresh) {
  const changed = Array.from(region.querySelectorAll("input:not([type=hidden]), select, textarea")).filter(isChanged);
  const found = changed.map((control) => [control, twin(control, fresh)]);
  const pairs = found.filter(([control, other]) => !isGone(control, other));
  if (!pairs.every(([control, other]) => hasPlaceFor(control, other))) return false;
  for (const [control, other] of pairs) {
    if (isBox(control)) other.checked = control.checked;
    else if (control.type === "file") other.replaceWith(control);
    else other.value = control.value;
  }
  for (const details of region.querySelectorAll("details")) {
    const summary = details.querySelector("summary");
    const other = summary && twin(summary, fresh);
    if (other) other.parentElement.open = details.open;
  }
  return true;
}

function boxesOf(all) {
  return Array.from(all.form.querySelectorAll(`input[name="${all.dataset.all}"]`));
}

// The box for all says what those that it stands for say together.
function tally(all) {
  const ticks = boxesOf(all).filter(({ checked }) => checked).length;
  all.checked = ticks > 0 && ticks === boxesOf(all).length;
  all.indeterminate = ticks > 0 && !all.checked;
}

// True when something is new to see.
function renew(region, fresh) {
  const name = region.dataset.fresh;
  const html = fresh.innerHTML;
  if (html === received.get(name)) {
    held.delete(name);
    return false;
  }
  const isNews = gist(fresh) !== gist(region);
  if (isInHand(region) || !carryOver(region, fresh)) {
    if (isNews) held.add(name);
    return false;
  }
  held.delete(name);
  received.set(name, html);
  const active = document.activeElement;
  const focused = region.contains(active) ? active : null;
  const other = focused && twin(focused, fresh);
  const known = new Set(Array.from(region.querySelectorAll("tr [id]"), (element) => element.id));
  for (const element of fresh.querySelectorAll("[data-scripted]")) element.hidden = false;
  region.replaceChildren(...fresh.childNodes);
  for (const all of region.querySelectorAll("[data-all]")) tally(all);
  if (focused) (other || document.getElementById("main")).focus({ preventScroll: true });
  for (const element of region.querySelectorAll("tr [id]")) {
    if (!known.has(element.id)) element.closest("tr").classList.add("arrived");
  }
  return isNews;
}

// The page stays as it is: somebody may be in the middle of a sentence.
function end(reason) {
  isOver = true;
  say("");
  document.getElementById(reason).hidden = false;
  return true;
}

// False when the page could not be had.
async function load() {
  // A page that answers a form stands at the form's address; what it shows stands at its own.
  const answer = await fetch(document.body.dataset.page + location.search, { redirect: "manual" }).catch(() => null);
  if (answer && answer.type === "opaqueredirect") {
    return end("ended");
  }
  if (!answer || !(answer.ok || answer.status === 404)) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const { whose } = page.body.dataset;
  // What is no page of ours, as a proxy gives while we start anew, says nothing of anybody.
  if (whose === undefined || document.body.dataset.whose === "nobody") return false;
  if (whose === "nobody") return end("ended");
  if (whose !== document.body.dataset.whose) return end("another-shop");
  if (!answer.ok) return false;
  const hadHeld = held.size > 0;
  let isNews = false;
  for (const region of document.querySelectorAll("[data-fresh]")) {
    const fresh = page.querySelector(`[data-fresh="${region.dataset.fresh}"]`);
    if (fresh && renew(region, fresh)) isNews = true;
  }
  if (held.size) say(document.body.dataset.held);
  else if (isNews) say(document.body.dataset.news || "", NEWS_MILLIS);
  else if (hadHeld) say("");
  document.body.dataset.seen = page.body.dataset.seen || "";
  return true;
}

// One at a time, and once more for whoever asked in between: an older page must not replace a newer one.
async function refresh() {
  if (loading) {
    isAskedAgain = true;
    return loading;
  }
  const loadAll = async () => {
    let isFine = true;
    do {
      isAskedAgain = false;
      isFine = isOver || (await load());
    } while (isAskedAgain);
    return isFine;
  };
  loading = loadAll().finally(() => (loading = null));
  return loading;
}

// One of this browser's streams, as long as it is not given back; null when all are taken, or locks are not to be had.
async function slot() {
  for (let number = 1; navigator.locks && number <= STREAMS_OF_ONE_BROWSER; number += 1) {
    const giveBack = await new Promise((resolve) => {
      navigator.locks.request(`kalathi-live-${number}`, { ifAvailable: true }, (lock) => {
        if (lock) return new Promise((done) => resolve(done));
        return resolve(null);
      });
    });
    if (giveBack) return giveBack;
  }
  return null;
}

// What was held back is shown as soon as nobody is in the middle of something there.
function watchHands() {
  const lookAgain = () => setTimeout(() => held.size && !pressedBy && !document.activeElement.matches(TYPED) && refresh());
  const press = (event) => (pressedBy = event.type);
  const release = () => {
    pressedBy = "";
    lookAgain();
  };
  for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, press);
  for (const name of ["pointerup", "pointercancel", "keyup"]) document.addEventListener(name, release);
  // The release may be another window's, or another page's.
  for (const name of ["blur", "pagehide"]) window.addEventListener(name, release);
  // Scrollbars and lists to choose from keep the release to themselves.
  document.addEventListener("pointermove", (event) => pressedBy === "pointerdown" && !event.buttons && release());
  document.addEventListener("focusout", lookAgain);
}

function follow() {
  let stream = null;
  let giveBack = null;
  let timer = 0;
  let turn = 0;
  let pause = TRY_AGAIN_MILLIS;
  const stop = () => {
    turn += 1;
    clearTimeout(timer);
    if (stream) stream.close();
    if (giveBack) giveBack();
    stream = giveBack = null;
  };
  const lookIn = (millis) => {
    clearTimeout(timer);
    timer = setTimeout(look, millis);
  };
  const lookLater = () => {
    lookIn(pause);
    pause = Math.min(2 * pause, LOOK_AGAIN_MILLIS);
  };
  const begin = async () => {
    stop();
    const mine = turn;
    const given = await slot();
    if (mine !== turn) {
      if (given) given();
      return;
    }
    giveBack = given;
    if (!giveBack) {
      lookIn(POLL_MILLIS);
      return;
    }
    const path = document.body.dataset.live;
    stream = new EventSource(`${path}?seen=${encodeURIComponent(document.body.dataset.seen || "")}`);
    stream.addEventListener("open", () => (pause = TRY_AGAIN_MILLIS));
    stream.addEventListener("changed", () => refresh().then((isFine) => (isOver ? stop() : isFine || lookLater())));
    // The stream ends now and then; what was missed in between is seen by what the page has seen last.
    stream.addEventListener("error", () => {
      stop();
      lookLater();
    });
  };
  const look = async () => {
    if (document.hidden) return;
    const isFine = await refresh();
    if (isOver) stop();
    else if (!isFine) lookLater();
    else if (!document.hidden) begin();
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : look()));
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => event.persisted && look());
  watchHands();
  if (!document.hidden) begin();
}

// A page that waits for somebody's form learns in time that it is nobody's any more: from the window in which another
// shop was opened, or somebody has signed out, and now and then from the marketplace.
function watchWhose() {
  const { whose } = document.body.dataset;
  const channel = new BroadcastChannel("kalathi-whose");
  channel.postMessage(whose);
  if (whose === "nobody") return;
  const look = () => document.hidden || isOver || refresh();
  channel.addEventListener("message", (event) => event.data !== whose && look());
  setInterval(look, LOOK_AGAIN_MILLIS);
  if (!document.body.dataset.live) document.addEventListener("visibilitychange", look);
}

// Two clicks are one: the second would be refused as if the first had failed.
document.addEventListener("submit", (event) => {
  const form = event.target;
  // What is answered with a file leaves the page as it is, ready for the next one.
  if (form.method !== "post" || "file" in form.dataset) return;
  if (form.dataset.sent === "yes") event.preventDefault();
  form.dataset.sent = "yes";
  // Somebody may have stopped the browser before the answer came.
  setTimeout(() => delete form.dataset.sent, SENT_MILLIS);
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

document.addEventListener("change", (event) => {
  for (const all of event.target.form?.querySelectorAll("[data-all]") || []) {
    if (event.target === all) for (const box of boxesOf(all)) box.checked = all.checked;
    else if (event.target.name === all.dataset.all) tally(all);
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    say(button.dataset.copied, NEWS_MILLIS);
  } catch {
    getSelection().selectAllChildren(source);
  }
});

for (const region of document.querySelectorAll("[data-fresh]")) received.set(region.dataset.fresh, region.innerHTML);
for (const element of document.querySelectorAll("[data-copy], [data-scripted]")) element.hidden = false;
// A page that answers a form is none to come back to: loading it again would send the form again.
if ("answers" in document.body.dataset) {
  history.replaceState(history.state, "", document.body.dataset.page + location.search);
}
watchWhose();
if (document.body.dataset.live) follow();

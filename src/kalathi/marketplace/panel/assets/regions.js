// Regions: the parts of a page (`data-fresh`) that are replaced when they change.

import { isBusy } from "./activity.js";
import { findAllBoxes, summarize } from "./checkboxes.js";
import { carryOver, findTwin } from "./controls.js";
import { markUnread } from "./unread.js";

// The HTML of each region as the server last sent it, without the user's changes since then.
/** @type {Map<string, string>} */
const received = new Map();
/** The names of regions with a newer version that is not shown while the user is busy there. @type {Set<string>} */
export const waiting = new Set();

/** Note the regions of the page as it was loaded. */
export function noteRegions() {
  for (const region of findRegions(document)) received.set(nameOf(region), region.innerHTML);
}

/**
 * The regions of a page.
 * @param {ParentNode} page
 * @returns {HTMLElement[]}
 */
export function findRegions(page) {
  return Array.from(page.querySelectorAll("[data-fresh]"));
}

/**
 * Replace every region that differs from the newer page.
 * @param {Document} page
 * @returns {boolean} Whether the user sees something new.
 */
export function replaceRegions(page) {
  let isNews = false;
  for (const region of findRegions(document)) {
    const fresh = findRegions(page).find((other) => nameOf(other) === nameOf(region));
    if (fresh && replaceRegion(region, fresh)) isNews = true;
  }
  return isNews;
}

/**
 * Replace one region, unless the user is busy there or would lose a text.
 * @param {HTMLElement} region
 * @param {HTMLElement} fresh
 * @returns {boolean} Whether the user sees something new.
 */
export function replaceRegion(region, fresh) {
  const name = nameOf(region);
  const html = fresh.innerHTML;
  if (html === received.get(name)) {
    waiting.delete(name);
    return false;
  }
  const isNews = textOf(fresh) !== textOf(region);
  if (isBusy(region) || !carryOver(region, fresh)) {
    if (isNews) waiting.add(name);
    return false;
  }
  waiting.delete(name);
  received.set(name, html);
  const known = new Set(Array.from(region.querySelectorAll("tr [id]"), (element) => element.id));
  const focused = region.contains(document.activeElement) ? document.activeElement : null;
  const twin = focused && findTwin(focused, fresh);
  revealScripted(fresh);
  markUnread(fresh);
  region.replaceChildren(...fresh.childNodes);
  for (const all of findAllBoxes(region)) summarize(all);
  if (focused) focus(twin);
  for (const element of region.querySelectorAll("tr [id]")) {
    if (!known.has(element.id)) element.closest("tr")?.classList.add("arrived");
  }
  return isNews;
}

/**
 * Show the elements that need a script.
 * @param {ParentNode} part
 */
export function revealScripted(part) {
  for (const element of part.querySelectorAll("[data-copy], [data-scripted]")) {
    if (element instanceof HTMLElement) element.hidden = false;
  }
}

/**
 * Return the region's text without parts that always change, such as the time left, and without typed text.
 * @param {HTMLElement} region
 * @returns {string}
 */
function textOf(region) {
  const copy = /** @type {HTMLElement} */ (region.cloneNode(true));
  for (const part of copy.querySelectorAll("[data-quiet], textarea")) part.remove();
  return copy.textContent ?? "";
}

/** @param {HTMLElement} region */
function nameOf(region) {
  return region.dataset.fresh ?? "";
}

/** @param {Element | null} element */
function focus(element) {
  const target = element ?? document.getElementById("main");
  if (target instanceof HTMLElement) target.focus({ preventScroll: true });
}

// Marks of open orders that this browser has not opened yet.

import { recall, remember } from "./storage.js";

const MOST_REMEMBERED = 500;

/** @returns {string} The name under which this shop's orders are remembered. */
function storageName() {
  return `seen-${document.body.dataset.whose ?? ""}`;
}

/** Remember that the order of this page (`data-order`) was opened. */
export function noteOpened() {
  const code = document.body.dataset.order;
  if (!code) return;
  const codes = recall(storageName()).split(" ").filter((other) => other && other !== code);
  remember(storageName(), [...codes, code].slice(-MOST_REMEMBERED).join(" "));
}

/**
 * Mark the orders (`data-unopened`) in a part of a page that were not opened yet.
 * @param {ParentNode} part
 */
export function markUnread(part) {
  const links = part.querySelectorAll("[data-unopened]");
  if (!links.length) return;
  const codes = new Set(recall(storageName()).split(" "));
  for (const mark of links) {
    if (mark instanceof HTMLElement) mark.hidden = codes.has(mark.dataset.unopened ?? "");
  }
}

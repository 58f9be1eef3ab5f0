// Keyboard shortcuts: an element with `aria-keyshortcuts` is pressed or focused by its key. In a list, j and k move
// between rows, and x selects a row. They can be turned off, because some input methods send single letters.

import { TYPED } from "./controls.js";
import { recall, remember } from "./storage.js";

const OFF = "shortcuts-off";

/** Listen to the keys, and let the user turn them off in the help (`#shortcuts`). */
export function watchShortcuts() {
  const help = document.getElementById("shortcuts");
  if (!(help instanceof HTMLDialogElement)) return;
  const box = help.querySelector("input");
  if (box) {
    box.checked = recall(OFF) !== "yes";
    box.addEventListener("change", () => remember(OFF, box.checked ? "" : "yes"));
  }
  document.addEventListener("click", ({ target }) => {
    if (target instanceof Element && target.closest("[data-help]")) help.showModal();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || help.open) return;
    if (recall(OFF) === "yes" || (event.target instanceof Element && event.target.matches(TYPED))) return;
    const key = nameKey(event);
    if (event.repeat && key !== "j" && key !== "k") return;
    if (key === "?") help.showModal();
    else if (!press(key)) return;
    event.preventDefault();
  });
}

/**
 * Return the key's character, or on a Greek keyboard the Latin letter of the same key.
 * @param {KeyboardEvent} event
 * @returns {string}
 */
function nameKey(event) {
  const isLatin = event.key.length > 1 || event.key < "\u0080";
  return (isLatin ? event.key : event.code.replace(/^Key/, "")).toLowerCase();
}

/**
 * Do what a key stands for.
 * @param {string} key
 * @returns {boolean} Whether it stands for something on this page.
 */
function press(key) {
  if (key === "j" || key === "k") return move(key === "j" ? 1 : -1);
  if (key === "x") return select();
  const target = Array.from(document.querySelectorAll("[aria-keyshortcuts]")).find(
    (element) => element.getAttribute("aria-keyshortcuts") === key && element.getClientRects().length > 0,
  );
  if (!(target instanceof HTMLElement)) return false;
  if (target.matches(TYPED)) target.focus();
  else target.click();
  return true;
}

/** @returns {HTMLElement[]} The links of the list's rows. */
function links() {
  return Array.from(document.querySelectorAll("tbody th[scope=row] a"));
}

/**
 * Focus the link of the next or the previous row.
 * @param {number} step
 * @returns {boolean}
 */
function move(step) {
  const rows = links();
  const row = document.activeElement?.closest("tr");
  const present = rows.findIndex((link) => link.closest("tr") === row);
  const next = rows[present < 0 ? (step > 0 ? 0 : rows.length - 1) : present + step];
  next?.focus();
  return rows.length > 0;
}

/**
 * Select or clear the row with the focus.
 * @returns {boolean}
 */
function select() {
  const box = document.activeElement?.closest("tr")?.querySelector("input[type=checkbox]");
  if (!(box instanceof HTMLInputElement)) return false;
  box.click();
  return true;
}

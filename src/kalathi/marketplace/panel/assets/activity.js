// The user's current activity. A part of the page is not replaced while the user types, chooses or selects text in it,
// or presses a key or a mouse button.

import { TYPED } from "./controls.js";

// The type of the event that began the current press. A page that is replaced during a press would lose the click.
let press = "";

/**
 * Whether the user is busy in this part of the page.
 * @param {Element} region
 * @returns {boolean}
 */
export function isBusy(region) {
  const active = document.activeElement;
  const selection = getSelection();
  return (
    press !== "" ||
    (active !== null && region.contains(active) && active.matches(TYPED)) ||
    (selection !== null && !selection.isCollapsed && region.contains(selection.anchorNode))
  );
}

/**
 * Whether the user is busy anywhere on the page.
 * @returns {boolean}
 */
export function isBusyAnywhere() {
  return press !== "" || (document.activeElement?.matches(TYPED) ?? false);
}

/**
 * Watch presses and the focus.
 * @param {() => void} onPause Called after a release, and when a control loses the focus.
 */
export function watchActivity(onPause) {
  const pause = () => setTimeout(onPause);
  const begin = (/** @type {Event} */ event) => (press = event.type);
  const end = () => {
    press = "";
    pause();
  };
  for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, begin);
  for (const name of ["pointerup", "pointercancel", "keyup"]) document.addEventListener(name, end);
  // Another window or page can receive the release.
  for (const name of ["blur", "pagehide"]) window.addEventListener(name, end);
  // Scrollbars and lists of options send no release.
  document.addEventListener("pointermove", (event) => {
    if (press === "pointerdown" && !event.buttons) end();
  });
  document.addEventListener("focusout", pause);
}

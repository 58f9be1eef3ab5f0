// The controls of forms: whether the user has changed one, and where it is in a newer copy of the page.

/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Control */

export const TYPED = "input:not([type=hidden], [type=checkbox], [type=radio], [type=file]), select, textarea";
export const CHANGEABLE = "input:not([type=hidden]), select, textarea";

/**
 * Whether it is a checkbox or a radio button.
 * @param {Element} element
 * @returns {element is HTMLInputElement}
 */
export function isBox(element) {
  return element instanceof HTMLInputElement && (element.type === "checkbox" || element.type === "radio");
}

/**
 * Whether the user has changed the control. Every control of a refused form counts, because the server fills it in.
 * @param {Control} control
 * @returns {boolean}
 */
export function isChanged(control) {
  if (isFile(control)) return (control.files?.length ?? 0) > 0;
  if (isOfRefusedForm(control)) return true;
  if (isBox(control)) return control.checked !== control.defaultChecked;
  if (!(control instanceof HTMLSelectElement)) return control.value !== control.defaultValue;
  const selected = Array.from(control.options).findIndex((option) => option.defaultSelected);
  return control.selectedIndex !== Math.max(selected, 0);
}

/**
 * Whether the control belongs to the refused form.
 * @param {Control} control
 * @returns {boolean}
 */
export function isOfRefusedForm(control) {
  const refused = control.ownerDocument.querySelector("[data-refused]");
  const action = refused instanceof HTMLElement ? refused.dataset.refused : undefined;
  return action !== undefined && control.form?.getAttribute("action") === action;
}

/**
 * Find the same element in a newer copy of its region: by its id, or by its form and its name there.
 * @param {Element} element
 * @param {Element} fresh
 * @returns {Element | null}
 */
export function findTwin(element, fresh) {
  if (element.id) return fresh.querySelector(`#${CSS.escape(element.id)}`);
  const key = keyOf(element);
  return Array.from(fresh.querySelectorAll(element.localName)).find((other) => keyOf(other) === key) ?? null;
}

/**
 * The key by which an element without an id is recognised.
 * @param {Element} element
 * @returns {string}
 */
function keyOf(element) {
  const isButton = element instanceof HTMLButtonElement;
  const name = "name" in element ? String(element.name) : "";
  const value = isBox(element) || isButton ? element.value : "";
  const text = isButton || element.localName === "summary" ? (element.textContent ?? "").trim() : "";
  const form = "form" in element && element.form instanceof HTMLFormElement ? element.form : null;
  return [name, value, text, element.getAttribute("href"), form?.getAttribute("action")].join("\n");
}

/**
 * Copy the user's changes in a region to a newer version of it. Return false, without any change, if the newer version
 * has no control for a text that the user typed.
 * @param {Element} region
 * @param {Element} fresh
 * @returns {boolean}
 */
export function carryOver(region, fresh) {
  const changed = /** @type {Control[]} */ (Array.from(region.querySelectorAll(CHANGEABLE))).filter(isChanged);
  /** @type {[Control, Control][]} */
  const pairs = [];
  for (const control of changed) {
    const twin = /** @type {Control | null} */ (findTwin(control, fresh));
    if (isGone(control, twin)) continue;
    if (!twin || !accepts(twin, control.value)) return false;
    pairs.push([control, twin]);
  }
  for (const [control, twin] of pairs) {
    if (isBox(control) && isBox(twin)) twin.checked = control.checked;
    else if (isFile(control)) twin.replaceWith(control);
    else twin.value = control.value;
  }
  for (const details of region.querySelectorAll("details")) {
    const summary = details.querySelector("summary");
    const twin = summary && findTwin(summary, fresh);
    if (twin?.parentElement instanceof HTMLDetailsElement) twin.parentElement.open = details.open;
  }
  return true;
}

/**
 * Whether a change can be dropped. Checked boxes, choices, files and blank texts disappear with their control. Typed
 * texts are kept, because they are the user's work.
 * @param {Control} control
 * @param {Control | null} twin
 * @returns {boolean}
 */
function isGone(control, twin) {
  const isChoice = control instanceof HTMLSelectElement;
  if (!twin) return isBox(control) || isChoice || isFile(control) || !control.value.trim();
  return isChoice && !accepts(twin, control.value) && isOfRefusedForm(control) && control.selectedIndex === 0;
}

/**
 * Whether the control can have this value.
 * @param {Control} control
 * @param {string} value
 * @returns {boolean}
 */
function accepts(control, value) {
  return !(control instanceof HTMLSelectElement) || Array.from(control.options).some((option) => option.value === value);
}

/**
 * @param {Control} control
 * @returns {control is HTMLInputElement}
 */
function isFile(control) {
  return control instanceof HTMLInputElement && control.type === "file";
}

// "Select all": a checkbox that checks or clears all checkboxes with one name in its form (`data-all`).

/**
 * Return the checkboxes that a "select all" checkbox controls.
 * @param {HTMLInputElement} all
 * @returns {HTMLInputElement[]}
 */
export function boxesOf(all) {
  return Array.from(all.form?.querySelectorAll(`input[name="${all.dataset.all}"]`) ?? []);
}

/**
 * Show on a "select all" checkbox whether all, some or none of its checkboxes are checked.
 * @param {HTMLInputElement} all
 */
export function summarize(all) {
  const checked = boxesOf(all).filter((box) => box.checked).length;
  all.checked = checked > 0 && checked === boxesOf(all).length;
  all.indeterminate = checked > 0 && !all.checked;
}

/**
 * Return the "select all" checkboxes in a part of a page.
 * @param {ParentNode} part
 * @returns {HTMLInputElement[]}
 */
export function findAllBoxes(part) {
  return Array.from(part.querySelectorAll("input[data-all]"));
}

/** Update the checkboxes after the user's clicks. */
export function watchCheckboxes() {
  document.addEventListener("change", ({ target }) => {
    if (!(target instanceof HTMLInputElement) || !target.form) return;
    for (const all of findAllBoxes(target.form)) {
      if (target === all) for (const box of boxesOf(all)) box.checked = all.checked;
      else if (target.name === all.dataset.all) summarize(all);
    }
  });
}

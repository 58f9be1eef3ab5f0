// A checkbox that stands for all checkboxes of one name in its form (`data-all`).

/**
 * The checkboxes that it stands for.
 * @param {HTMLInputElement} all
 * @returns {HTMLInputElement[]}
 */
export function boxesOf(all) {
  return Array.from(all.form?.querySelectorAll(`input[name="${all.dataset.all}"]`) ?? []);
}

/**
 * Show on it whether all, some or none of them are checked.
 * @param {HTMLInputElement} all
 */
export function summarize(all) {
  const checked = boxesOf(all).filter((box) => box.checked).length;
  all.checked = checked > 0 && checked === boxesOf(all).length;
  all.indeterminate = checked > 0 && !all.checked;
}

/**
 * The checkboxes for all in a part of a page.
 * @param {ParentNode} part
 * @returns {HTMLInputElement[]}
 */
export function findAllBoxes(part) {
  return Array.from(part.querySelectorAll("input[data-all]"));
}

/** Keep them in step with the user's clicks. */
export function watchCheckboxes() {
  document.addEventListener("change", ({ target }) => {
    if (!(target instanceof HTMLInputElement) || !target.form) return;
    for (const all of findAllBoxes(target.form)) {
      if (target === all) for (const box of boxesOf(all)) box.checked = all.checked;
      else if (target.name === all.dataset.all) summarize(all);
    }
  });
}

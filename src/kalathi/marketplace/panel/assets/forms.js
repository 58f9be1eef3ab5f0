// Forms: protection against a double click, and buttons that copy a text.

import { showNews } from "./news.js";

const SENT_MILLIS = 10000;
const COPIED_MILLIS = 10000;

/** Send each form once, even after a double click: the second request would be refused as if the first had failed. */
export function sendFormsOnce() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    // A button that is answered with a file or in another tab leaves its page in place, for the next use.
    if (!(form instanceof HTMLFormElement) || form.method !== "post") return;
    if (event.submitter && "file" in event.submitter.dataset) return;
    if (form.dataset.sent === "yes") event.preventDefault();
    form.dataset.sent = "yes";
    // The user may have stopped the browser before the answer came.
    setTimeout(() => delete form.dataset.sent, SENT_MILLIS);
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.forms) delete form.dataset.sent;
  });
}

/** Let buttons (`data-copy`) copy the text of another element, or select it if the browser does not allow copying. */
export function watchCopyButtons() {
  document.addEventListener("click", async ({ target }) => {
    const button = target instanceof Element ? target.closest("[data-copy]") : null;
    if (!(button instanceof HTMLElement)) return;
    const source = document.getElementById(button.dataset.copy ?? "");
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.textContent ?? "");
      showNews(button.dataset.copied ?? "", COPIED_MILLIS);
    } catch {
      getSelection()?.selectAllChildren(source);
    }
  });
}

// Reloading of the page, to show its changes.

import { showNews } from "./news.js";
import { replaceRegions, waiting } from "./regions.js";
import { soundIfMore } from "./sound.js";

const NEWS_MILLIS = 10000;

// Whether the page's session has ended. The page then stays as it is, because the user may be typing.
let isEnded = false;
/** @type {Promise<boolean> | null} */
let loading = null;
let isAskedAgain = false;

/**
 * Whether the session of this page has ended.
 * @returns {boolean}
 */
export function hasEnded() {
  return isEnded;
}

/**
 * Load the page again. A call during a load starts one more load, so that an older page never replaces a newer one.
 * @returns {Promise<boolean>} Whether the page could be loaded.
 */
export function refresh() {
  if (loading) {
    isAskedAgain = true;
    return loading;
  }
  loading = loadUntilCurrent().finally(() => (loading = null));
  return loading;
}

async function loadUntilCurrent() {
  let isLoaded = true;
  do {
    isAskedAgain = false;
    isLoaded = isEnded || (await load());
  } while (isAskedAgain);
  return isLoaded;
}

async function load() {
  const body = document.body.dataset;
  // The answer to a form has the form's URL, so the URL of its page is used.
  const answer = await fetch((body.page ?? "") + location.search, { redirect: "manual" }).catch(() => null);
  if (answer?.type === "opaqueredirect") return end("ended");
  if (!answer || !(answer.ok || answer.status === 404)) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const whose = page.body.dataset.whose;
  // A page from elsewhere, such as a proxy's error page during a restart, does not show whether the session has ended.
  if (whose === undefined || body.whose === "anonymous") return false;
  if (whose === "anonymous") return end("ended");
  if (whose !== body.whose) return end("another-shop");
  if (!answer.ok) return false;
  const wasWaiting = waiting.size > 0;
  const isNews = replaceRegions(page);
  if (waiting.size) showNews(body.held ?? "");
  else if (isNews) showNews(body.news ?? "", NEWS_MILLIS);
  else if (wasWaiting) showNews("");
  body.seen = page.body.dataset.seen ?? "";
  // A page without updates, such as the answer to a form, keeps its title.
  if (body.live !== undefined) {
    document.title = page.title;
    soundIfMore(body.open, page.body.dataset.open);
    body.open = page.body.dataset.open;
  }
  return true;
}

/**
 * Show why the page is no longer refreshed.
 * @param {string} reason The id of the message.
 * @returns {boolean}
 */
function end(reason) {
  isEnded = true;
  showNews("");
  const message = document.getElementById(reason);
  if (message) message.hidden = false;
  return true;
}

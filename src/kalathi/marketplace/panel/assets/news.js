// The page's line of news.

let timer = 0;

/**
 * Show a text in the page's line of news; an empty one clears it.
 * @param {string} text
 * @param {number} [millis] How long to show it; by default until the next text.
 */
export function showNews(text, millis) {
  const line = document.getElementById("news");
  if (!line) return;
  clearTimeout(timer);
  line.textContent = text;
  if (text && millis) timer = setTimeout(() => (line.textContent = ""), millis);
}

// Small choices that this browser remembers. A browser without storage forgets them.

/**
 * Return a stored text; empty if there is none.
 * @param {string} name
 * @returns {string}
 */
export function recall(name) {
  try {
    return localStorage.getItem(`kalathi-${name}`) ?? "";
  } catch {
    return "";
  }
}

/**
 * Store a text.
 * @param {string} name
 * @param {string} text
 */
export function remember(name, text) {
  try {
    localStorage.setItem(`kalathi-${name}`, text);
  } catch {
    // The page works the same; the next one starts with the default.
  }
}

// The stream of changes: the server announces a change, and the page reloads itself.

import { hasEnded, refresh } from "./refresh.js";

const FIRST_RETRY_MILLIS = 3000;
const LONGEST_RETRY_MILLIS = 60000;
const POLL_MILLIS = 5000;
// A browser has six connections to one host for all of its windows; further pages poll instead.
const STREAMS_OF_ONE_BROWSER = 3;

/** Follow the changes of this page while it is visible. */
export function followChanges() {
  const follower = new Follower();
  document.addEventListener("visibilitychange", () => (document.hidden ? follower.stop() : follower.check()));
  window.addEventListener("pagehide", () => follower.stop());
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) follower.check();
  });
  if (!document.hidden) follower.begin();
}

class Follower {
  /** @type {EventSource | null} */
  #stream = null;
  /** @type {(() => void) | null} */
  #giveBack = null;
  #timer = 0;
  // The number of calls of stop. A slot that was requested before the latest call is released.
  #turn = 0;
  #retryMillis = FIRST_RETRY_MILLIS;

  stop() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#stream?.close();
    this.#giveBack?.();
    this.#stream = this.#giveBack = null;
  }

  /** Open a stream, or poll if all streams of this browser are in use. */
  async begin() {
    this.stop();
    const turn = this.#turn;
    const giveBack = await takeSlot();
    if (turn !== this.#turn) {
      giveBack?.();
      return;
    }
    this.#giveBack = giveBack;
    if (giveBack) this.#open();
    else this.#checkIn(POLL_MILLIS);
  }

  /** Reload the page, and continue to follow it. */
  async check() {
    if (document.hidden) return;
    const isLoaded = await refresh();
    if (hasEnded()) this.stop();
    else if (!isLoaded) this.#checkLater();
    else if (!document.hidden) this.begin();
  }

  #open() {
    const { live, seen } = document.body.dataset;
    const stream = new EventSource(`${live}?seen=${encodeURIComponent(seen ?? "")}`);
    stream.addEventListener("open", () => (this.#retryMillis = FIRST_RETRY_MILLIS));
    stream.addEventListener("changed", async () => {
      const isLoaded = await refresh();
      if (hasEnded()) this.stop();
      else if (!isLoaded) this.#checkLater();
    });
    // The server ends each stream after some minutes. The next one begins at the state that the page has seen.
    stream.addEventListener("error", () => {
      this.stop();
      this.#checkLater();
    });
    this.#stream = stream;
  }

  #checkLater() {
    this.#checkIn(this.#retryMillis);
    this.#retryMillis = Math.min(2 * this.#retryMillis, LONGEST_RETRY_MILLIS);
  }

  /** @param {number} millis */
  #checkIn(millis) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), millis);
  }
}

/**
 * Reserve one of this browser's streams.
 * @returns {Promise<(() => void) | null>} A function that releases it; null if all are in use, or the browser has no
 *   Web Locks.
 */
async function takeSlot() {
  if (!navigator.locks) return null;
  for (let number = 1; number <= STREAMS_OF_ONE_BROWSER; number += 1) {
    const giveBack = await new Promise((/** @type {(giveBack: (() => void) | null) => void} */ resolve) => {
      navigator.locks.request(`kalathi-live-${number}`, { ifAvailable: true }, (lock) => {
        if (lock) return new Promise((/** @type {(value: undefined) => void} */ done) => resolve(() => done(undefined)));
        return resolve(null);
      });
    });
    if (giveBack) return giveBack;
  }
  return null;
}

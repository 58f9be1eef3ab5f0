// A page learns when its session has ended: from the window in which the user signed out or opened another shop, and
// from the server once a minute.

import { hasEnded, refresh } from "./refresh.js";

const CHECK_MILLIS = 60000;

/** Watch the session of this page. */
export function watchSession() {
  const { whose, live } = document.body.dataset;
  const channel = new BroadcastChannel("kalathi-whose");
  channel.postMessage(whose);
  if (whose === "anonymous") return;
  const check = () => {
    if (!document.hidden && !hasEnded()) refresh();
  };
  channel.addEventListener("message", (event) => {
    if (event.data !== whose) check();
  });
  setInterval(check, CHECK_MILLIS);
  if (live === undefined) document.addEventListener("visibilitychange", check);
}

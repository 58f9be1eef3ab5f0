// The script of every page. Pages work without it; with it they refresh themselves.

import { isBusyAnywhere, watchActivity } from "./activity.js";
import { watchCheckboxes } from "./checkboxes.js";
import { sendFormsOnce, watchCopyButtons } from "./forms.js";
import { refresh } from "./refresh.js";
import { noteRegions, revealScripted, waiting } from "./regions.js";
import { watchSession } from "./session.js";
import { watchShortcuts } from "./shortcuts.js";
import { watchSound } from "./sound.js";
import { followChanges } from "./stream.js";
import { markUnread, noteOpened } from "./unread.js";

sendFormsOnce();
watchCheckboxes();
watchCopyButtons();
noteRegions();
revealScripted(document);
noteOpened();
markUnread(document);
watchShortcuts();
watchSound();
// Replace the URL of a form's answer with the URL of its page, because a reload would send the form again.
if ("answers" in document.body.dataset) {
  history.replaceState(history.state, "", (document.body.dataset.page ?? "") + location.search);
}
watchSession();
if (document.body.dataset.live !== undefined) {
  watchActivity(() => {
    if (waiting.size && !isBusyAnywhere()) refresh();
  });
  followChanges();
}

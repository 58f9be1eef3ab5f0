// An optional sound when the number of open orders (`data-open`) grows.

import { recall, remember } from "./storage.js";

const NAME = "sound";
const SECONDS = 0.25;

/** Let the user turn the sound on and off (`#sound`). */
export function watchSound() {
  const box = document.getElementById("sound");
  if (!(box instanceof HTMLInputElement)) return;
  box.checked = recall(NAME) === "on";
  box.addEventListener("change", () => {
    remember(NAME, box.checked ? "on" : "");
    if (box.checked) play();
  });
}

/**
 * Play the sound if there are more open orders than before, and the user wants it.
 * @param {string | undefined} before
 * @param {string | undefined} now
 */
export function soundIfMore(before, now) {
  if (Number(now ?? 0) > Number(before ?? 0) && recall(NAME) === "on") play();
}

function play() {
  const context = new AudioContext();
  const tone = context.createOscillator();
  const volume = context.createGain();
  volume.gain.setValueAtTime(0.2, context.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, context.currentTime + SECONDS);
  tone.frequency.value = 880;
  tone.connect(volume).connect(context.destination);
  tone.addEventListener("ended", () => context.close());
  tone.start();
  tone.stop(context.currentTime + SECONDS);
}

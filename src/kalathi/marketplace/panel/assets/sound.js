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
  if (before === undefined || now === undefined) return;
  if (Number(now) > Number(before) && recall(NAME) === "on") play();
}

/** @type {AudioContext | null} */
let context = null;

function play() {
  try {
    context ??= new AudioContext();
    playIn(context);
  } catch {
    // A browser without sound shows the list all the same.
  }
}

/** @param {AudioContext} context */
function playIn(context) {
  const tone = context.createOscillator();
  const volume = context.createGain();
  volume.gain.setValueAtTime(0.2, context.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, context.currentTime + SECONDS);
  tone.frequency.value = 880;
  tone.connect(volume).connect(context.destination);
  tone.start();
  tone.stop(context.currentTime + SECONDS);
}

/** The keyframe timeline's document, as `core/timeline.py` reads it: image keys and prompts at frames. */

import { lean, lines, object } from "../model/text.js";

export const EASINGS = ["linear", "smooth", "sharp"]; // of images
export const PROMPT_EASINGS = ["linear", "smooth", "hold"];
const VERSION = 1;
const KEY = { strength: 1, easing: "linear" };
const PROMPT = { weight: 1, easing: "" };

export const emptyTimeline = () => ({ version: VERSION, keys: [], prompts: [] });

/** The document of a text; throws an Error with a sentence for the user. */
export function readTimeline(text) {
  if (!text.trim()) return emptyTimeline();
  const data = JSON.parse(text);
  if (data?.version !== VERSION)
    throw new Error(`Keyframe Timeline: expected {"version": ${VERSION}, "keys": [...]}`);
  for (const what of ["keys", "prompts"]) {
    if (!Array.isArray(data[what] ?? [])) throw new Error(`Keyframe Timeline: ${what} must be a list`);
    (data[what] ?? []).forEach((entry, i) => {
      if (!Number.isInteger(entry?.frame))
        throw new Error(`Keyframe Timeline: ${what} ${i + 1} has no whole frame`);
    });
  }
  return { ...emptyTimeline(), ...data };
}

/** The text of a document, one entry a line. */
export const writeTimeline = (doc) =>
  object(doc, { keys: (list) => lines(list, 2), prompts: (list) => lines(list, 2) }, ",\n ");

/** `count` frames spread evenly over a clip, first and last included, as `spread_frames` does. */
export const spreadFrames = (count, frames) =>
  Array.from({ length: count }, (_, i) =>
    Math.floor((i * (frames - 1) + Math.floor((count - 1) / 2)) / Math.max(count - 1, 1)),
  );

/** A frame from 0 of one that may count from the end, kept inside the clip. */
export const inClip = (frame, frames) =>
  Math.min(Math.max(frame < 0 ? frame + frames : frame, 0), frames - 1);

/** Keys as they act: those of the document, or `images` of them spread evenly; with all their entries. */
export function keysOf(doc, images, frames) {
  if (!doc.keys.length)
    return spreadFrames(Math.min(images, frames), frames).map((frame) => ({ ...KEY, frame, free: true }));
  return doc.keys.map((key) => ({ ...KEY, ...key, frame: inClip(key.frame, frames) }));
}

/** The document with its keys written down, where they were only spread. */
export function withKeys(doc, images, frames) {
  return doc.keys.length
    ? doc
    : { ...doc, keys: spreadFrames(Math.min(images, frames), frames).map((frame) => ({ frame })) };
}

/** The document with other entries in one image key ("keys") or prompt ("prompts"). */
export function entryWith(doc, what, place, change) {
  const defaults = what === "keys" ? KEY : PROMPT;
  return {
    ...doc,
    [what]: doc[what].map((entry, i) => (i === place ? lean({ ...entry, ...change }, defaults) : entry)),
  };
}

/** The document with an entry moved to a frame, or to the free one nearest to it; images may count from the end. */
export function moveEntry(doc, what, place, frame, frames) {
  const free = freeFrame(doc, what, inClip(frame, frames), frames, place);
  const back = what === "keys" && frame < 0 ? frames : 0;
  return free === null ? doc : entryWith(doc, what, place, { frame: free - back });
}

/** The frame nearest to `frame` that no other entry has; null when there is none. */
export function freeFrame(doc, what, frame, frames, place = -1) {
  const taken = new Set(doc[what].filter((_, i) => i !== place).map((entry) => inClip(entry.frame, frames)));
  for (let far = 0; far < frames; far++) {
    for (const each of [frame - far, frame + far])
      if (each >= 0 && each < frames && !taken.has(each)) return each;
  }
  return null;
}

export const addEntry = (doc, what, entry) => ({ ...doc, [what]: [...doc[what], entry] });
export const removeEntry = (doc, what, place) => ({
  ...doc,
  [what]: doc[what].filter((_, i) => i !== place),
});

/** What the user should mend, as a sentence, or null. */
export function complaint(doc, images, frames) {
  for (const what of ["keys", "prompts"]) {
    const seen = new Set();
    for (const { frame } of doc[what]) {
      if (frame >= frames || frame < (what === "keys" ? -frames : 0))
        return { text: "Frame {frame} is not in the clip of {frames} frames", frame, frames };
      const place = inClip(frame, frames);
      if (seen.has(place)) return { text: "Frame {frame} is used twice", frame: place };
      seen.add(place);
    }
  }
  if (doc.keys.length && images && doc.keys.length !== images) {
    return { text: "{keys} keys for {images} images: give one key each", keys: doc.keys.length, images };
  }
  return null;
}

/** The images on both sides of a frame, as { left, right, share } with places in `keys`; null without keys. */
export function around(keys, frame) {
  if (!keys.length) return null;
  const order = keys.map((_, i) => i).sort((a, b) => keys[a].frame - keys[b].frame);
  const right = order.find((i) => keys[i].frame >= frame) ?? order[order.length - 1];
  const left = order.findLast((i) => keys[i].frame <= frame) ?? order[0];
  const gap = keys[right].frame - keys[left].frame;
  return { left, right, share: gap > 0 ? (frame - keys[left].frame) / gap : 0 };
}

/** The prompt that holds or begins to give way at a frame: its place, or -1. */
export function promptAt(doc, frame) {
  let found = -1;
  doc.prompts.forEach((prompt, i) => {
    if (prompt.frame <= frame && (found < 0 || prompt.frame >= doc.prompts[found].frame)) found = i;
  });
  return found;
}

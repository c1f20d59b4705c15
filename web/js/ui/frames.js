/** Parts of a timeline: a scrubber with ticks, and lanes of keys that are dragged or moved by arrow keys. */

import { t } from "./language.js";
import { h, rows } from "./dom.js";

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const MOST_LABELS = 12;

/** Where a frame is, as CSS: a share of the lane. */
export const placeOf = (frame, frames) => `${frames > 1 ? (100 * frame) / (frames - 1) : 0}%`;

/** The frame under a pointer over a lane, not rounded, also outside the clip. */
export function frameUnder(event, lane, frames) {
  const box = lane.getBoundingClientRect();
  return box.width ? ((event.clientX - box.left) / box.width) * (frames - 1) : 0;
}

/** Ticks with numbers, and a slider for the current frame; `onframe(frame)`. `update(frame, frames)`. */
export function scrubber(onframe) {
  const slider = h("input", {
    type: "range",
    min: 0,
    step: 1,
    "aria-label": t("Frame"),
    oninput: () => onframe(Number(slider.value)),
  });
  const ticks = h("div", { class: "choreo-ticks", "aria-hidden": "true" });
  const element = h("div", { class: "choreo-scrubber" }, h("div", { class: "choreo-lane" }, ticks), slider);
  let shown = 0;
  element.update = (frame, frames) => {
    slider.max = Math.max(frames - 1, 0);
    slider.value = frame;
    if (frames !== shown) ticks.replaceChildren(...tickMarks(frames));
    shown = frames;
  };
  return element;
}

function tickMarks(frames) {
  const step = STEPS.find((each) => (frames - 1) / each <= MOST_LABELS) ?? frames;
  const fine = STEPS.findLast((each) => each <= step / 2 && step % each === 0) ?? step;
  const marks = [];
  for (let frame = 0; frame < frames; frame += fine) {
    const text = frame % step === 0 ? String(frame) : "";
    marks.push(
      h(
        "span",
        { style: `left: ${placeOf(frame, frames)}`, class: text ? "choreo-tick" : "choreo-tick fine" },
        text,
      ),
    );
  }
  return marks;
}

/**
 * A lane of keys, at whole frames only or, with Alt, between them. `actions`: select(i, event), drag(i, frame, done) while a key is dragged and at its end (done),
 * nudge(i, by), remove(i), release(i). `update(keys, frames)` with keys { frame, label, kind, selected }, and
 * where wanted `length` in frames and `content(face)` that fills what is seen of it.
 */
export function keyLane(actions, { whole = false } = {}) {
  const element = h("div", { class: "choreo-lane choreo-keys", role: "group" });
  let frames = 1;
  const sync = rows(element, (i) => keyButton(i, element, actions, () => frames, whole));
  element.update = (keys, count) => {
    frames = count;
    sync(
      keys.map((key) => ({
        ...key,
        left: placeOf(key.frame, count),
        width: placeOf(key.length ?? 0, count),
      })),
    );
  };
  return element;
}

function keyButton(i, lane, actions, frames, whole) {
  const input = h("input", { type: "button" });
  const face = h("span", { class: "choreo-face", "aria-hidden": "true" });
  const element = h("span", { class: "choreo-key" }, input, face);
  let moved = false;
  let begun = null;
  let held = 0; // where in the key it is held, in frames
  const at = (event) => {
    const frame = Math.min(Math.max(frameUnder(event, lane, frames()) - held, 0), frames() - 1);
    return whole || !event.altKey ? Math.round(frame) : Math.round(frame * 100) / 100;
  };
  input.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    input.focus({ preventScroll: true }); // what is being typed elsewhere belongs to the entry chosen until now
    input.setPointerCapture(event.pointerId);
    moved = false;
    begun = event;
    held = frameUnder(event, lane, frames()) - element.frame;
    actions.select(i, event);
  });
  input.addEventListener("pointermove", (event) => {
    if (!input.hasPointerCapture(event.pointerId)) return;
    if (!moved && at(event) === at(begun)) return;
    moved = true;
    actions.drag(i, at(event), false);
  });
  input.addEventListener("pointerup", (event) => moved && actions.drag(i, at(event), true));
  input.addEventListener("pointercancel", () => moved && actions.drag(i, null, true));
  input.addEventListener("click", (event) => event.detail === 0 && actions.select(i, event));
  input.addEventListener("dblclick", () => actions.release?.(i));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) actions.nudge(i, step * (event.shiftKey ? 10 : 1));
    else if (event.key === "Delete" || event.key === "Backspace") actions.remove?.(i);
    else return;
    event.preventDefault();
  });
  element.update = ({ frame, left, width, label, kind, selected, content }) => {
    element.frame = frame;
    element.style.left = left;
    element.style.width = width;
    element.dataset.kind = kind ?? "";
    input.title = label;
    input.setAttribute("aria-label", label);
    input.setAttribute("aria-pressed", String(Boolean(selected)));
    if (content) content(face);
  };
  return element;
}

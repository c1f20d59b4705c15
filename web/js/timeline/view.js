/** The keyframe timeline on the page: one ruler for images and prompts, what a frame shows, one form. */

import { choiceField, field, h, iconButton, numberField, show, textButton } from "../ui/dom.js";
import { keyLane, placeOf, scrubber } from "../ui/frames.js";
import { t } from "../ui/language.js";
import { around, complaint, EASINGS, promptAt, PROMPT_EASINGS } from "./model.js";

const MOST_ZOOM = 40;

export class TimelineView {
  /** `host`: { openFull() }. */
  constructor(state, host) {
    this.state = state;
    this.undo = iconButton("undo", t("Undo (Ctrl+Z)"), () => state.step(-1));
    this.redo = iconButton("redo", t("Redo (Ctrl+Y)"), () => state.step(1));
    this.fullButton = iconButton("full", t("Full screen"), () => host.openFull());
    this.scrub = scrubber((frame) => state.goTo(frame));
    this.keys = keyLane(laneActions(state, "keys"), { whole: true });
    this.prompts = keyLane(laneActions(state, "prompts"), { whole: true });
    this.keys.classList.add("choreo-pictures");
    this.prompts.classList.add("choreo-prompts");
    this.keys.setAttribute("aria-label", t("Keyframe images"));
    this.prompts.setAttribute("aria-label", t("Prompts"));
    this.gaps = h("div", { class: "choreo-lane choreo-gaps", "aria-hidden": "true" });
    this.cursor = h("div", { class: "choreo-lane choreo-cursor", "aria-hidden": "true" }, h("span"));
    this.lanes = h(
      "div",
      { class: "choreo-lanes" },
      this.scrub,
      this.keys,
      this.gaps,
      this.prompts,
      this.cursor,
    );
    this.preview = [h("img", { alt: "" }), h("img", { alt: "" })];
    this.form = entryForm(state);
    this.status = h("div", { class: "choreo-status", role: "status" });
    this.element = h(
      "div",
      { class: "choreo choreo-keyframes", onkeydown: (event) => this.key(event) },
      this.build(),
    );
    state.watch(() => this.schedule());
    this.schedule();
  }

  build() {
    const { state } = this;
    const zoom = h("input", { type: "range", min: 1, max: MOST_ZOOM, step: 0.5, value: 1 });
    zoom.addEventListener("input", () => (this.lanes.style.width = `${100 * zoom.value}%`));
    const tools = h(
      "div",
      { class: "choreo-toolbar", role: "toolbar", "aria-label": t("Timeline tools") },
      textButton("Add prompt", () => state.add("prompts")),
      textButton("Add key", () => state.add("keys")),
      textButton("Spread evenly", () => state.spread()),
      textButton("Remove", () => state.remove(state.chosen.what, state.chosen.place)),
      h("div", { class: "choreo-group" }, this.undo, this.redo, this.fullButton),
      h("label", { class: "choreo-check" }, t("Zoom"), zoom),
    );
    const picture = h("div", { class: "choreo-preview", "aria-hidden": "true" }, this.preview);
    const lower = h("div", { class: "choreo-entry" }, picture, this.form);
    return h(
      "div",
      { class: "choreo-main" },
      tools,
      h("div", { class: "choreo-scroll" }, this.lanes),
      lower,
      this.status,
    );
  }

  key(event) {
    if (!(event.ctrlKey || event.metaKey) || event.target.matches("textarea, [type=number]")) return;
    const way = { z: event.shiftKey ? 1 : -1, y: 1 }[event.key.toLowerCase()];
    if (!way) return;
    this.state.step(way);
    event.preventDefault();
  }

  schedule() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.draw();
    });
  }

  draw() {
    const { state } = this;
    const { frames, images, keys } = state;
    this.undo.update({ disabled: !state.canStep(-1) });
    this.redo.update({ disabled: !state.canStep(1) });
    this.fullButton.update({ pressed: Boolean(this.full), shows: this.full ? "close" : "full" });
    this.scrub.update(state.frame, frames);
    this.keys.update(
      keys.map((key, i) => pictureKey(state, key, images[i], i)),
      frames,
    );
    this.prompts.update(
      state.doc.prompts.map((prompt, i) => promptKey(state, prompt, i)),
      frames,
    );
    this.gaps.replaceChildren(...gapLabels(keys, frames));
    this.cursor.firstChild.style.left = placeOf(state.frame, frames);
    this.drawFrame(around(keys, state.frame), images);
    this.form.update();
    this.showStatus(images.length);
  }

  /** What the current frame lies between: the images around it, one over the other. */
  drawFrame(place, images) {
    const shown = place
      ? [
          [images[place.left], 1],
          [images[place.right], place.share],
        ]
      : [
          [null, 0],
          [null, 0],
        ];
    shown.forEach(([address, share], i) => {
      const image = this.preview[i];
      if (address && image.getAttribute("src") !== address) image.src = address;
      image.style.opacity = address ? share : 0;
    });
  }

  showStatus(images) {
    const { state } = this;
    const wrong = complaint(state.doc, images, state.frames);
    this.status.classList.toggle("choreo-wrong", Boolean(state.error || wrong));
    const prompt = state.doc.prompts[promptAt(state.doc, state.frame)]?.text;
    const says = t("Frame {frame} of {frames}", { frame: state.frame, frames: state.frames - 1 });
    this.status.textContent =
      state.error ?? (wrong ? t(wrong.text, wrong) : [says, prompt].filter(Boolean).join(" | "));
  }

  dispose() {
    cancelAnimationFrame(this.waiting);
    this.state.dispose();
  }
}

function laneActions(state, what) {
  let base = null;
  return {
    select: (i) => state.choose(what, i),
    drag: (i, frame, done) => {
      base ??= what === "keys" ? state.written : state.doc;
      if (frame === null) state.restore();
      else if (done) state.commit(state.moved(what, i, frame, base));
      else state.preview(state.moved(what, i, frame, base));
      if (done) base = null;
    },
    nudge: (i, by) => {
      const { frame } = what === "keys" ? state.keys[i] : state.doc.prompts[i];
      state.commit(state.moved(what, i, Math.max(frame + by, 0)));
    },
    remove: (i) => state.remove(what, i),
  };
}

const isChosen = ({ chosen }, what, place) => chosen.what === what && chosen.place === place;

/** A thumbnail at its frame; a bar under it says how strongly it holds. */
function pictureKey(state, key, address, i) {
  return {
    frame: key.frame,
    kind: key.free ? "free" : "fixed",
    selected: isChosen(state, "keys", i),
    label: t("Image {number}: frame {frame}, strength {strength}", {
      number: i + 1,
      frame: key.frame,
      strength: key.strength,
    }),
    content: (face) => {
      if (!face.firstChild) face.append(h("img", { alt: "", draggable: "false" }), h("b"), h("i"));
      const [image, number, bar] = face.children;
      if (address && image.getAttribute("src") !== address) image.src = address;
      image.hidden = !address;
      number.textContent = i + 1;
      bar.style.width = `${100 * Math.min(Math.max(key.strength, 0), 1)}%`;
    },
  };
}

/** A block from a prompt's frame to the next prompt's. */
function promptKey(state, prompt, i) {
  const later = state.doc.prompts.map(({ frame }) => frame).filter((frame) => frame > prompt.frame);
  const end = Math.min(...later, state.frames - 1);
  return {
    frame: Math.min(prompt.frame, state.frames - 1),
    length: Math.max(end - prompt.frame, 0),
    kind: prompt.easing || "linear",
    selected: isChosen(state, "prompts", i),
    label: t("Prompt from frame {frame}: {text}", { frame: prompt.frame, text: prompt.text }),
    content: (face) => (face.textContent = prompt.text),
  };
}

/** How many frames lie free between two keys. */
function gapLabels(keys, frames) {
  const places = keys.map(({ frame }) => frame).sort((a, b) => a - b);
  return places.slice(1).map((frame, i) => {
    const [left, width] = [placeOf(places[i], frames), placeOf(frame - places[i], frames)];
    return h("span", { style: `left: ${left}; width: ${width}` }, String(Math.max(frame - places[i] - 1, 0)));
  });
}

/** Numbers of the chosen key or prompt. */
function entryForm(state) {
  const frame = numberField({ step: 1 }, (value) => {
    const { what, place } = state.chosen;
    state.commit(state.moved(what, place, Math.round(value)));
  });
  const strength = numberField({ step: 0.05, min: 0, max: 1 }, (value) => state.change({ strength: value }));
  const easing = choiceField(EASINGS, (value) => state.change({ easing: value }));
  const weight = numberField({ step: 0.1, min: 0 }, (value) => state.change({ weight: value }));
  const blend = choiceField(["", ...PROMPT_EASINGS], (value) => state.change({ easing: value }));
  const text = h("textarea", {
    rows: 2,
    "aria-label": t("Prompt"),
    onchange: () => state.change({ text: text.value }),
  });
  const ofKey = [field("Strength", strength), field("Easing", easing)];
  const ofPrompt = [field("Weight", weight), field("Easing", blend)];
  const at = field("Frame", frame);
  const element = h("div", { class: "choreo-form" }, at, ofKey, ofPrompt, text);
  element.update = () => {
    const { entry, chosen } = state;
    const prompt = chosen.what === "prompts";
    at.hidden = !entry;
    for (const part of ofKey) part.hidden = prompt || !entry;
    for (const part of [...ofPrompt, text]) part.hidden = !prompt || !entry;
    if (!entry) return;
    show(frame, entry.frame);
    show(strength, entry.strength);
    show(easing, prompt ? "linear" : entry.easing);
    show(weight, entry.weight ?? 1);
    show(blend, prompt ? (entry.easing ?? "") : "");
    show(text, entry.text);
  };
  return element;
}

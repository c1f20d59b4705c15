/** The tracks as a list, and what the active one is like. */

import { trackWith } from "../model/edit.js";
import { colourOf, CURVES, ROLES, TIMINGS, TRACK } from "../model/words.js";
import {
  checkField,
  choiceField,
  field,
  h,
  numberField,
  rows,
  section,
  show,
  textButton,
} from "../ui/dom.js";
import { t } from "../ui/language.js";
import * as actions from "./actions.js";

/** The section of a state's panel. */
export function trackSection(state) {
  const set = (change) => state.commit(trackWith(state.doc, state.active, change));
  const list = h("div", { class: "choreo-rows", role: "group", "aria-label": t("Tracks") });
  const update = rows(list, (i) => trackRow(state, i));
  const curve = choiceField(CURVES, (value) => {
    state.penCurve = value;
    set({ curve: value });
  });
  const timing = choiceField(TIMINGS, (value) => setTiming(state, value));
  const weight = numberField({ step: 0.1 }, (value) => set({ weight: value }));
  const buttons = [
    ["Duplicate", actions.duplicate],
    ["Reverse", actions.reverse],
    ["Mirror left-right", actions.mirrorAcross],
    ["Mirror up-down", actions.mirrorDown],
    ["Simplify", actions.simplify],
    ["Clear the times", actions.freeTimes],
    ["Delete track", actions.removeTrack],
  ].map(([label, action]) => textButton(label, () => action(state)));
  const form = h(
    "div",
    { class: "choreo-form" },
    field("Curve", curve),
    field("Timing", timing),
    field("Weight", weight),
  );
  const element = section("Tracks", true, list, form, h("div", { class: "choreo-buttons" }, buttons));
  element.update = () => {
    update(state.doc.tracks);
    const values = { ...TRACK, ...state.track };
    show(curve, values.curve);
    show(timing, values.timing);
    show(weight, values.weight);
    for (const control of [curve, timing, weight, ...buttons])
      control.disabled = !state.track || state.track.locked;
  };
  return element;
}

/** Timing "keys" needs a frame on each point: those without one get the frame that they are at, if any. */
function setTiming(state, timing) {
  if (timing !== "keys") return state.commit(trackWith(state.doc, state.active, { timing }));
  const { frames, error } = state.sampledTrack;
  if (error) return state.touch();
  const points = state.track.points.map((point, i) => ({
    ...point,
    frame: point.frame ?? Math.round(frames[i] * 100) / 100,
  }));
  return state.commit(trackWith(state.doc, state.active, { timing, points }));
}

function trackRow(state, i) {
  const set = (change) => state.commit(trackWith(state.doc, i, change));
  const pick = h("input", {
    type: "radio",
    name: `choreo-track-${rowGroup(state)}`,
    onchange: () => actions.stepTrack(state, i - state.active),
  });
  const colour = h("input", {
    type: "color",
    "aria-label": t("Colour"),
    onchange: () => set({ colour: colour.value }),
  });
  const name = h("input", {
    type: "text",
    "aria-label": t("Name"),
    onchange: () => set({ name: name.value || String(i + 1) }),
  });
  const role = choiceField(ROLES, (value) => set({ role: value }), "Role");
  const visible = checkField("show", (value) => set({ visible: value }));
  const locked = checkField("lock", (value) => set({ locked: value }));
  const element = h("div", { class: "choreo-row" }, pick, colour, name, role, visible, locked);
  element.update = (track) => {
    const values = { ...TRACK, ...track };
    pick.checked = i === state.active;
    pick.setAttribute("aria-label", t("Edit track {name}", { name: values.name }));
    show(colour, colourOf(track, i));
    show(name, values.name);
    show(role, values.role);
    show(visible.box, values.visible);
    show(locked.box, values.locked);
  };
  return element;
}

let groups = 0;
const rowGroup = (state) => (state.rowGroup ??= ++groups);

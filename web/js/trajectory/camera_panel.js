/** The moves of the camera. */

import { documentWith, moveWith } from "../model/edit.js";
import { lean } from "../model/text.js";
import { CAMERA_EASINGS, MOVE, PRESETS, ZOOM_CURVES } from "../model/words.js";
import {
  checkField,
  choiceField,
  field,
  h,
  iconButton,
  numberField,
  rows,
  section,
  show,
  textButton,
} from "../ui/dom.js";
import { t } from "../ui/language.js";

/** The section of a state's panel. */
export function cameraSection(state) {
  const preset = choiceField(Object.keys(PRESETS), () => undefined, "Camera preset");
  const add = textButton("Add move", () =>
    state.commit(
      documentWith(state.doc, { camera: [...(state.doc.camera ?? []), lean(PRESETS[preset.value], MOVE)] }),
    ),
  );
  const list = h("div", { class: "choreo-rows" });
  const update = rows(list, (i) => moveRow(state, i));
  const columns = numberField({ step: 1, min: 1, max: 64 }, (value) => setGrid(0, value));
  const down = numberField({ step: 1, min: 1, max: 64 }, (value) => setGrid(1, value));
  const setGrid = (axis, value) => {
    const grid = [...(state.doc.grid ?? [2, 2])];
    grid[axis] = Math.round(value);
    state.commit(documentWith(state.doc, { grid }));
  };
  const carry = checkField("The camera carries the objects too", (value) =>
    state.commit(documentWith(state.doc, { carry: value || undefined })),
  );
  const element = section(
    "Camera",
    false,
    h("div", { class: "choreo-buttons" }, preset, add),
    list,
    h("div", { class: "choreo-form" }, field("Columns", columns), field("Rows", down)),
    carry,
  );
  element.update = () => {
    update(state.doc.camera ?? []);
    const [wide, high] = state.doc.grid ?? [2, 2];
    show(columns, wide);
    show(down, high);
    show(carry.box, state.doc.carry);
  };
  return element;
}

function moveRow(state, i) {
  const set = (change) => state.commit(moveWith(state.doc, i, change));
  const numbers = { pan: 0.05, tilt: 0.05, zoom: 0.1, roll: 5, start: 1, end: 1 };
  const controls = Object.entries(numbers).map(([what, step]) => [
    what,
    numberField({ step, min: what === "zoom" ? 0.01 : undefined }, (value) => set({ [what]: value })),
  ]);
  const choices = [
    ["easing", choiceField(CAMERA_EASINGS, (value) => set({ easing: value }))],
    ["zoom_curve", choiceField(ZOOM_CURVES, (value) => set({ zoom_curve: value }))],
  ];
  const all = [...controls, ...choices];
  const remove = iconButton("close", t("Remove this move"), () => set(null));
  const labels = { zoom_curve: "zoom curve" };
  const element = h(
    "div",
    { class: "choreo-move" },
    all.map(([what, control]) => field(labels[what] ?? what, control)),
    remove,
  );
  element.update = (move) => {
    const values = { ...MOVE, ...move };
    for (const [what, control] of all) show(control, values[what]);
  };
  return element;
}

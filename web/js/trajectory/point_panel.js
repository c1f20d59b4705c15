/** Numbers of the selected points: place, frame, hold, easing, visibility. */

import { mapPoints } from "../model/edit.js";
import { EASINGS, POINT } from "../model/words.js";
import { checkField, choiceField, field, h, numberField, section, show, textButton } from "../ui/dom.js";
import { insert, keyHere, remove, retime } from "./actions.js";

/** How a unit's numbers are parts of the frame; and what is shown of them: places are kept to a millionth of it. */
const UNITS = { px: (side) => side, "%": () => 100, "0-1": () => 1 };
const DIGITS = { px: 2, "%": 3, "0-1": 6 };

/** The section of a state's panel. */
export function pointSection(state) {
  const set = (change) => state.commit(mapPoints(state.doc, state.selection, change));
  const unit = choiceField(Object.keys(UNITS), () => state.touch(), "Unit");
  const scale = (axis) => UNITS[unit.value](state.size[axis]);
  const x = numberField({}, (value) => set(() => ({ x: value / scale(0) })));
  const y = numberField({}, (value) => set(() => ({ y: value / scale(1) })));
  const frame = numberField({ empty: true, step: 1 }, (value) => setFrame(state, value));
  const hold = numberField({ min: 0, step: 1 }, (value) => set(() => ({ hold: value })));
  const easing = choiceField(EASINGS, (value) => set(() => ({ easing: value })));
  const visible = checkField("Visible from here on", (value) => set(() => ({ visible: value })));
  const buttons = [
    textButton("Add point", () => insert(state)),
    textButton("Key at this frame", () => keyHere(state)),
    textButton("Delete", () => remove(state)),
  ];
  const form = h(
    "div",
    { class: "choreo-form" },
    [
      ["x", x],
      ["y", y],
      ["Unit", unit],
      ["Frame", frame],
      ["Hold", hold],
      ["Easing", easing],
    ].map(([name, control]) => field(name, control)),
  );
  const element = section(
    "Selected points",
    true,
    form,
    visible,
    h("div", { class: "choreo-buttons" }, buttons),
  );
  const digits = (value) => Number(value.toFixed(DIGITS[unit.value]));
  element.update = () => {
    const points = state.selection.list.map(([track, point]) => ({
      ...POINT,
      ...state.doc.tracks[track].points[point],
    }));
    const common = (of) =>
      points.length && points.every((point) => of(point) === of(points[0])) ? of(points[0]) : null;
    show(
      x,
      common((point) => digits(point.x * scale(0))),
    );
    show(
      y,
      common((point) => digits(point.y * scale(1))),
    );
    show(
      frame,
      common((point) => point.frame),
    );
    show(
      hold,
      common((point) => point.hold),
    );
    show(
      easing,
      common((point) => point.easing),
    );
    show(
      visible.box,
      common((point) => point.visible),
    );
    const none = !points.length;
    for (const control of [x, y, hold, easing, visible.box, ...buttons.slice(1)]) control.disabled = none;
    frame.disabled = state.selection.of(state.active).size !== 1;
  };
  return element;
}

/** The frame of the one selected point of the active track; nothing lets it go. */
function setFrame(state, value) {
  const [point] = state.selection.of(state.active);
  if (point !== undefined) state.commit(retime(state, point, value));
}

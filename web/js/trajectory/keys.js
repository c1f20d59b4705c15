/** The keyboard on the stage. Where more than one key does a thing, all are listed. */

import * as actions from "./actions.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const KEYS = {
  Delete: ({ state }) => actions.remove(state),
  Backspace: ({ state }) => actions.remove(state),
  Insert: ({ state }) => actions.insert(state),
  "+": ({ state }) => actions.insert(state),
  n: ({ state }) => actions.stepPoint(state, 1),
  N: ({ state }) => actions.stepPoint(state, -1),
  t: ({ state }) => actions.stepTrack(state, 1),
  T: ({ state }) => actions.stepTrack(state, -1),
  k: ({ state }) => actions.keyHere(state),
  r: ({ state }) => actions.reverse(state),
  v: ({ state }) => state.setTool("select"),
  p: ({ state }) => state.setTool("pen"),
  f: ({ state }) => state.setTool("record"),
  a: ({ state }) => state.setTool("anchor"),
  " ": ({ state }) => state.play(),
  ",": ({ state }) => state.goTo(state.frame - 1),
  ".": ({ state }) => state.goTo(state.frame + 1),
  Home: ({ state }) => state.goTo(0),
  End: ({ state }) => state.goTo(state.frames - 1),
  Enter: ({ state }) => state.setTool("select"),
};

const CONTROL = {
  z: ({ state }, { shiftKey }) => state.step(shiftKey ? 1 : -1),
  y: ({ state }) => state.step(1),
  a: ({ state }) => actions.selectAll(state),
  d: ({ state }) => actions.duplicate(state),
  ArrowLeft: ({ state }) => actions.turn(state, -1),
  ArrowRight: ({ state }) => actions.turn(state, 1),
  ArrowUp: ({ state }) => actions.grow(state, 1.01),
  ArrowDown: ({ state }) => actions.grow(state, 1 / 1.01),
};

/** Do what a key says. */
export function onKey(view, event) {
  const control = event.ctrlKey || event.metaKey;
  const name = control && event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.key === "Escape") return escape(view, event);
  const action = (control ? CONTROL : KEYS)[name];
  if (action) action(view, event);
  else if (!control && ARROWS[event.key]) {
    const step = event.shiftKey ? 10 : event.altKey ? 0.1 : 1;
    actions.nudge(view.state, ...ARROWS[event.key].map((way) => way * step));
  } else return undefined;
  return event.preventDefault();
}

/** Leave one thing after the other: a drag, a tool, a selection; then the full screen closes by itself. */
function escape(view, event) {
  const { state } = view;
  if (view.drag) view.cancel();
  else if (state.tool !== "select") state.setTool("select");
  else if (state.selection.size) state.select(new state.selection.constructor());
  else return;
  event.preventDefault();
}

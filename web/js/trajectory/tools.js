/**
 * What the pointer does. A tool's `down(state, at, event, radius)` gives the drag that follows it:
 * { move(at, event), up(at, event), extra() }; places are [x, y] in pixels of the frame. What is seen while
 * dragging is a preview; the end of the drag is the one change that can be undone.
 */

import {
  addTrack,
  appendPoint,
  insertPoint,
  mapPoints,
  pointWith,
  transformPoints,
} from "../model/edit.js";
import { pixels } from "../model/sample.js";
import { Selection } from "../model/selection.js";
import { recordedPoints } from "../model/stroke.js";
import {
  boxGrips,
  curveUnder,
  handleGrips,
  moving,
  nearest,
  pointAt,
  pointsInside,
  scaling,
  selectionBox,
  turning,
} from "./geometry.js";

const TOLERANCE = 1.5; // pixels that a free-hand path may be off
const FIFTEEN = Math.PI / 12;

const parts = ([x, y], [width, height]) => ({ x: x / width, y: y / height });

export const TOOLS = {
  select: { down: selectDown },
  pen: { down: penDown },
  record: { down: recordDown },
  anchor: { down: anchorDown },
};

function selectDown(state, at, event, radius) {
  const box = selectionBox(state);
  const grip = box && nearest(boxGrips(box, radius / 9), at, radius);
  if (grip) return dragGrip(state, grip, at);
  const handle = nearest(handleGrips(state), at, radius);
  if (handle) return dragHandle(state, handle);
  const point = pointAt(state, at, radius);
  if (point) return dragPoint(state, point, at, event);
  const curve = curveUnder(state, at, radius);
  if (curve) {
    const all = [...state.doc.tracks[curve.track].points.keys()].map((k) => [curve.track, k]);
    const kept = event.shiftKey ? state.selection : new Selection();
    state.select(kept.plus(all), curve.track);
    return dragSelection(state, at);
  }
  return dragRubber(state, at, event);
}

function dragPoint(state, { track, point }, at, event) {
  if (event.shiftKey) state.select(state.selection.toggled(track, point), track);
  else if (!state.selection.has(track, point)) state.select(Selection.of(track, [point]), track);
  else state.select(state.selection, track);
  return dragSelection(state, at);
}

/** A drag that maps the selected points; `mapAt(at, event)` gives the map. */
function dragMap(state, mapAt) {
  const base = state.doc;
  const moved = (at, event) => transformPoints(base, state.selection, mapAt(at, event), state.size);
  let begun = false;
  return {
    move: (at, event) => {
      begun = true;
      state.preview(moved(at, event));
    },
    up: (at, event) => begun && state.commit(moved(at, event)),
  };
}

function dragSelection(state, start) {
  return dragMap(state, (at, event) => {
    const [dx, dy] = [at[0] - start[0], at[1] - start[1]];
    if (!event.shiftKey) return moving(dx, dy);
    return Math.abs(dx) > Math.abs(dy) ? moving(dx, 0) : moving(0, dy);
  });
}

function dragGrip(state, { name, pivot }, start) {
  const angle = ([x, y]) => Math.atan2(y - pivot[1], x - pivot[0]);
  if (name === "turn") {
    return dragMap(state, (at, event) => {
      const turn = angle(at) - angle(start);
      return turning(pivot, event.shiftKey ? Math.round(turn / FIFTEEN) * FIFTEEN : turn);
    });
  }
  const ratio = (at, a) =>
    Math.abs(start[a] - pivot[a]) < 1e-6 ? 1 : (at[a] - pivot[a]) / (start[a] - pivot[a]);
  return dragMap(state, (at, event) => {
    const [sx, sy] = [ratio(at, 0), ratio(at, 1)];
    const both = Math.abs(sx) > Math.abs(sy) ? sx : sy;
    return event.shiftKey ? scaling(pivot, both, both) : scaling(pivot, sx, sy);
  });
}

/** Drag a Bezier handle; the other one turns with it unless Alt is held. */
function dragHandle(state, { point, what, from }) {
  const base = state.doc;
  const one = Selection.of(state.active, [point]);
  const other = what === "out" ? "into" : "out";
  const change = (at, event) =>
    mapPoints(base, one, () => {
      const offset = [(at[0] - from[0]) / state.size[0], (at[1] - from[1]) / state.size[1]];
      return event.altKey ? { [what]: offset } : { [what]: offset, [other]: offset.map((part) => -part) };
    });
  return {
    move: (at, event) => state.preview(change(at, event)),
    up: (at, event) => state.commit(change(at, event)),
  };
}

function dragRubber(state, start, event) {
  const kept = event.shiftKey ? state.selection : new Selection();
  let end = start;
  state.select(kept);
  return {
    move: (at) => {
      end = at;
      const found = pointsInside(state, start, end);
      state.select(kept.plus(found), found[0]?.[0] ?? state.active);
    },
    up: () => state.touch(),
    extra: () => ({ rubber: [start, end] }),
  };
}

/** Each press adds a point to the active track, or begins one; dragging pulls out the handles of a Bezier. */
function penDown(state, start) {
  const place = parts(start, state.size);
  let doc;
  let at = 0;
  if (state.growing && state.track && !state.track.locked) {
    at = state.track.points.length;
    doc = appendPoint(state.doc, state.active, place, state.frames);
  } else {
    doc = addTrack(state.doc, { points: [pointWith(place, {})], curve: state.penCurve });
    state.active = doc.tracks.length - 1;
    state.growing = true;
  }
  const chosen = Selection.of(state.active, [at]);
  state.select(chosen);
  state.preview(doc);
  const bezier = doc.tracks[state.active].curve === "bezier";
  const pulled = (to) => {
    const offset = [(to[0] - start[0]) / state.size[0], (to[1] - start[1]) / state.size[1]];
    return mapPoints(doc, chosen, () =>
      bezier ? { out: offset, into: offset.map((part) => -part) } : parts(to, state.size),
    );
  };
  let last = doc;
  return {
    move: (to) => state.preview((last = pulled(to))),
    up: () => state.commit(last, chosen),
  };
}

/** End a path by a double click: the point that its second press added goes again. */
export function endPath(state, radius) {
  const last = (state.track?.points.length ?? 0) - 1;
  if (state.growing && last > 0) {
    const [one, twin] = pixels(state.track, state.size).slice(-2);
    if (Math.hypot(twin[0] - one[0], twin[1] - one[1]) <= radius) {
      state.step(-1);
      state.select(Selection.of(state.active, [last - 1]));
    }
  }
  state.setTool("select");
}

/** Free-hand: the path and its speed are kept, and become a few points with frames. */
function recordDown(state, start, event) {
  const first = event.timeStamp;
  const stroke = [{ x: start[0], y: start[1], t: 0 }];
  return {
    move: (at, moved) => {
      stroke.push({ x: at[0], y: at[1], t: moved.timeStamp - first });
      state.touch();
    },
    up: () => {
      if (stroke.length < 2) return state.touch();
      const points = recordedPoints(stroke, state.frames, state.size, TOLERANCE);
      const timed = points.every(({ frame }) => frame !== undefined);
      const doc = addTrack(state.doc, { curve: state.penCurve, timing: timed ? "keys" : "points", points });
      state.active = doc.tracks.length - 1;
      return state.commit(doc, Selection.of(state.active, points.keys()));
    },
    extra: () => ({ stroke }),
    every: true, // every move counts, also those between two pictures
  };
}

/** A point that stays. */
function anchorDown(state, start) {
  const doc = addTrack(state.doc, { points: [parts(start, state.size)] });
  state.active = doc.tracks.length - 1;
  state.preview(doc);
  const chosen = Selection.of(state.active, [0]);
  state.select(chosen);
  let last = doc;
  return {
    move: (at) => state.preview((last = mapPoints(doc, chosen, () => parts(at, state.size)))),
    up: () => state.commit(last, chosen),
  };
}

/** Double click on a curve: a new point there. */
export function insertAt(state, at, radius) {
  const curve = curveUnder(state, at, radius);
  if (!curve || pointAt(state, at, radius)) return;
  const place = curve.before + 1;
  state.active = curve.track;
  const doc = insertPoint(state.doc, curve.track, place, parts([curve.x, curve.y], state.size));
  state.commit(doc, Selection.of(curve.track, [place]));
}

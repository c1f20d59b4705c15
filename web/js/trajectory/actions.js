/** What the buttons and keys of the trajectory editor do to the active track and the selected points. */

import {
  addTrack,
  appendPoint,
  deletePoints,
  deleteTrack,
  duplicateTrack,
  insertPoint,
  mapPoints,
  reverseTrack,
  trackWith,
  transformPoints,
} from "../model/edit.js";
import { Selection } from "../model/selection.js";
import { simplifiedPoints } from "../model/simplify.js";
import { fromStart } from "../model/timing.js";
import { moving, scaling, selectionBox, turning } from "./geometry.js";

const APART = 16; // pixels between a track and its copy
const TOLERANCE = 2; // pixels that a simplified track may be off

const whole = (state, place = state.active) =>
  Selection.of(place, state.doc.tracks[place]?.points.keys() ?? []);

/** The selected points, or those of the active track when none are. */
const chosen = (state) => (state.selection.size ? state.selection : whole(state));

/** Map points of the frame in pixels; `mapAround(middle)` gives the map. */
function transform(state, mapAround) {
  const points = chosen(state);
  const box = selectionBox({ ...pick(state), selection: points });
  const middle = box ? [(box.left + box.right) / 2, (box.top + box.bottom) / 2] : [0, 0];
  state.commit(transformPoints(state.doc, points, mapAround(middle), state.size));
}

const pick = ({ doc, size }) => ({ doc, size });

export const nudge = (state, dx, dy) => state.selection.size && transform(state, () => moving(dx, dy));
export const mirrorAcross = (state) => transform(state, (middle) => scaling(middle, -1, 1));
export const mirrorDown = (state) => transform(state, (middle) => scaling(middle, 1, -1));
export const turn = (state, degrees) =>
  transform(state, (middle) => turning(middle, (degrees * Math.PI) / 180));
export const grow = (state, factor) => transform(state, (middle) => scaling(middle, factor, factor));

export function remove(state) {
  if (state.selection.size) state.commit(deletePoints(state.doc, state.selection), new Selection());
}

export function removeTrack(state) {
  if (state.track && !state.track.locked) state.commit(deleteTrack(state.doc, state.active), new Selection());
}

export function duplicate(state) {
  if (!state.track) return;
  const doc = duplicateTrack(state.doc, state.active, APART, state.size);
  state.active = doc.tracks.length - 1;
  state.commit(doc, Selection.of(state.active, doc.tracks[state.active].points.keys()));
}

/** Change the active track, unless it is locked. */
function change(state, make) {
  if (state.track && !state.track.locked) state.commit(make(), whole(state));
}

export const reverse = (state) =>
  change(state, () => reverseTrack(state.doc, state.active, state.frames, state.size));

export const simplify = (state) =>
  change(state, () =>
    trackWith(state.doc, state.active, {
      points: simplifiedPoints(state.track, state.frames, state.size, TOLERANCE),
    }),
  );

/** Take the frames away from the points of the active track: it then runs evenly. */
export function freeTimes(state) {
  change(state, () => {
    const even =
      state.track.timing === "keys" ? trackWith(state.doc, state.active, { timing: "points" }) : state.doc;
    return mapPoints(even, whole(state), () => ({ frame: null, hold: 0, easing: "linear" }));
  });
}

/** Set the frame of a point of the active track, negative from the end; null lets it go. Frames stay in order. */
export function retime(state, point, frame) {
  if (state.track.locked) return state.doc;
  const only = Selection.of(state.active, [point]);
  const doc =
    frame === null && state.track.timing === "keys"
      ? trackWith(state.doc, state.active, { timing: "points" })
      : state.doc;
  return mapPoints(doc, only, () => ({ frame: frame === null ? null : placed(state, point, frame) }));
}

/** A frame that the clip and the neighbours allow; one from the end stays one from the end. */
function placed(state, point, frame) {
  const { frames } = state;
  return frame < 0 ? between(state, point, frame + frames) - frames : between(state, point, frame);
}

/**
 * A frame as near as the neighbours that have one allow, half way between them where there is no room. The first
 * and the last point have one also without a word: the clip's.
 */
function between(state, point, frame) {
  const { points } = state.track;
  const [last, end] = [points.length - 1, state.frames - 1];
  const rest = (from, to) => points.slice(from, to).reduce((sum, { hold = 0 }) => sum + hold, 0);
  const implied = (other) => (other === 0 ? 0 : other === last ? end - (points[last].hold ?? 0) : null);
  let [low, high] = [0, end];
  const gap = Number.isInteger(frame) ? 1 : 0.01;
  points.forEach(({ frame: given }, other) => {
    const at = given == null ? implied(other) : fromStart(given, state.frames);
    if (at === null || other === point) return;
    if (other < point) low = Math.max(low, at + rest(other, point) + gap);
    else high = Math.min(high, at - rest(point, other) - gap);
  });
  if (low > high) return Math.min(Math.max((low + high) / 2, 0), end);
  return Math.min(Math.max(frame, low), high);
}

/** Select the next (1) or previous (-1) point of the active track. */
export function stepPoint(state, by) {
  const count = state.track?.points.length;
  if (!count) return;
  const last = [...state.selection.of(state.active)].pop() ?? (by > 0 ? -1 : 0);
  state.select(Selection.of(state.active, [(last + by + count) % count]));
}

export function stepTrack(state, by) {
  const count = state.doc.tracks.length;
  if (!count) return;
  const place = (state.active + by + count) % count;
  state.select(whole(state, place), place);
}

/** A point after the selected one, half way to the next; a track in the middle where there is none. */
export function insert(state) {
  const { track } = state;
  if (!track) {
    state.active = 0;
    return state.commit(addTrack(state.doc, { points: [{ x: 0.5, y: 0.5 }] }), Selection.of(0, [0]));
  }
  if (track.locked) return undefined;
  const place = [...state.selection.of(state.active)].pop() ?? track.points.length - 1;
  const [here, next] = [track.points[place], track.points[place + 1]];
  const doc = next
    ? insertPoint(state.doc, state.active, place + 1, { x: (here.x + next.x) / 2, y: (here.y + next.y) / 2 })
    : appendPoint(state.doc, state.active, { x: here.x + 0.05, y: here.y }, state.frames);
  return state.commit(doc, Selection.of(state.active, [place + 1]));
}

export const selectAll = (state) => state.select(Selection.all(state.doc));

/** A key here: the selected point of the active track is reached at the current frame. */
export function keyHere(state) {
  const [point] = state.selection.of(state.active);
  if (point !== undefined) state.commit(retime(state, point, state.frame));
}

/** What lies where: points, curves, handles and the box around a selection, all in pixels of the frame. */

import { bezierHandles, curveAt } from "../model/curves.js";
import { pixels, sampleTrack } from "../model/sample.js";

/** Selected points as { track, point, x, y }. */
export function selectedPoints({ doc, selection, size }) {
  return selection.list.map(([track, point]) => {
    const { x, y } = doc.tracks[track].points[point];
    return { track, point, x: x * size[0], y: y * size[1] };
  });
}

/** The box around the selected points: { left, top, right, bottom }, or null for fewer than two. */
export function selectionBox(state) {
  const points = selectedPoints(state);
  if (points.length < 2) return null;
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  return { left: Math.min(...xs), top: Math.min(...ys), right: Math.max(...xs), bottom: Math.max(...ys) };
}

const PAD = 10; // CSS pixels between the outermost points and the box
const KNOB = 22; // CSS pixels from the box to the knob that turns it

/** Grips of the box, `unit` frame pixels a CSS pixel: { name, x, y, pivot } for four corners and "turn". */
export function boxGrips(box, unit) {
  const pad = PAD * unit;
  const { left, top, right, bottom } = {
    left: box.left - pad,
    top: box.top - pad,
    right: box.right + pad,
    bottom: box.bottom + pad,
  };
  const corner = (name, x, y, px, py) => ({ name, x, y, pivot: [px, py] });
  const middle = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
  return [
    corner("nw", left, top, box.right, box.bottom),
    corner("ne", right, top, box.left, box.bottom),
    corner("sw", left, bottom, box.right, box.top),
    corner("se", right, bottom, box.left, box.top),
    { name: "turn", x: middle[0], y: top - KNOB * unit, pivot: middle },
  ];
}

/** Bezier handles of selected points of the active track: { point, what, x, y, from }. */
export function handleGrips(state) {
  const { track, active, selection, size } = state;
  if (track?.curve !== "bezier" || track.points.length < 2) return [];
  const { curve } = sampleTrack(track, state.frames, size);
  return [...selection.of(active)].flatMap((point) => {
    const from = curve.pieces[point]?.from ?? curve.pieces[point - 1].to;
    const grips = [];
    if (curve.pieces[point]) grips.push(["out", bezierHandles(curve.pieces[point])[0]]);
    if (curve.pieces[point - 1]) grips.push(["into", bezierHandles(curve.pieces[point - 1])[1]]);
    return grips.map(([what, [x, y]]) => ({ point, what, x, y, from }));
  });
}

/** The nearest of some places { x, y } within `radius`, or undefined. */
export function nearest(places, [x, y], radius) {
  let [found, least] = [undefined, radius];
  for (const place of places) {
    const far = Math.hypot(place.x - x, place.y - y);
    if (far <= least) [found, least] = [place, far];
  }
  return found;
}

/** Tracks that can be touched, the active one first, then the last drawn. */
function openTracks({ doc, active }) {
  const order = doc.tracks.map((_, i) => i).reverse();
  return [active, ...order.filter((i) => i !== active)].filter(
    (i) => doc.tracks[i] && doc.tracks[i].visible !== false && !doc.tracks[i].locked,
  );
}

/** The point at a place: { track, point }, or undefined. */
export function pointAt(state, at, radius) {
  for (const track of openTracks(state)) {
    const places = pixels(state.doc.tracks[track], state.size).map(([x, y], point) => ({
      track,
      point,
      x,
      y,
    }));
    const found = nearest(places, at, radius);
    if (found) return found;
  }
  return undefined;
}

/** The curve at a place: { track, where, x, y, before }, with the parameter and the point before it. */
export function curveUnder(state, at, radius) {
  for (const track of openTracks(state)) {
    const { curve } = sampleTrack(state.doc.tracks[track], state.frames, state.size);
    if (!curve) continue;
    const pieces = curve.pieces.length;
    const count = pieces * Math.max(12, Math.floor(240 / pieces));
    const places = Array.from({ length: count + 1 }, (_, i) => {
      const [x, y] = curveAt(curve, i / count);
      return {
        track,
        where: i / count,
        x,
        y,
        before: Math.min(Math.floor((i / count) * pieces), pieces - 1),
      };
    });
    const found = nearest(places, at, radius);
    if (found) return found;
  }
  return undefined;
}

/** All points inside a box of two corners, as [track, point]. */
export function pointsInside(state, [x1, y1], [x2, y2]) {
  const inside = (value, a, b) => value >= Math.min(a, b) && value <= Math.max(a, b);
  return openTracks(state).flatMap((track) =>
    pixels(state.doc.tracks[track], state.size)
      .map(([x, y], point) => [inside(x, x1, x2) && inside(y, y1, y2), track, point])
      .filter(([hit]) => hit)
      .map(([, t, p]) => [t, p]),
  );
}

/** Map that scales by (sx, sy) around a point. */
export const scaling = ([x, y], sx, sy) => [sx, 0, 0, sy, x - sx * x, y - sy * y];

/** Map that turns by an angle (radians, clockwise on the screen) around a point. */
export function turning([x, y], angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return [c, s, -s, c, x - c * x + s * y, y - s * x - c * y];
}

/** Map that moves. */
export const moving = (dx, dy) => [1, 0, 0, 1, dx, dy];

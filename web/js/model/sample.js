/** Tracks at the frames of a clip, as `core/trajectory/sample.py` has them; what does not change is kept. */

import { cameraPaths, carried } from "./camera.js";
import { curveAt, curveThrough, interpolate, lastUpTo, measureCurve } from "./curves.js";
import { pointFrames, progress, stopsOf } from "./timing.js";

const kept = new WeakMap(); // track, or camera moves -> what was computed, with the frames and size it is for

/** Control points of a track in pixels of a frame of `size` [width, height]. */
export const pixels = (track, size) =>
  track.points.map((point) => [round9(point.x * size[0]), round9(point.y * size[1])]);

const round9 = (value) => Math.round(value * 1e9) / 1e9; // 149 / 384 * 384 is 149 again

/**
 * One track at all frames: { path: [x, y] a frame, seen: bool a frame, curve, frames: of each point, error }.
 * Where its frames do not fit into the clip, `error` says why and the path is that without its frames.
 */
export function sampleTrack(track, frames, size) {
  const known = kept.get(track);
  const key = `${frames} ${size}`;
  if (known?.key === key) return known;
  const found = { key, ...computed(track, frames, size) };
  kept.set(track, found);
  return found;
}

function computed(track, frames, size) {
  try {
    return positions(track, frames, size);
  } catch (error) {
    const plain = track.points.map(({ x, y, into, out }) => ({ x, y, into, out }));
    return {
      ...positions({ ...track, timing: "points", points: plain }, frames, size),
      error: error.message,
    };
  }
}

function positions(track, frames, size) {
  const points = pixels(track, size);
  const seen = (i) => track.points[i].visible ?? true;
  if (points.length === 1) {
    const stops = stopsOf(track, frames, [0]);
    const every = Array.from({ length: frames });
    return {
      path: every.map(() => points[0]),
      seen: every.map(() => seen(0)),
      curve: null,
      frames: [stops[0].arrive],
    };
  }
  const curve = curveThrough(track, points, size);
  let marks = curve.knots;
  let where = (part) => part;
  if (track.timing === "length") {
    const lengths = measureCurve(curve);
    if (lengths.length[lengths.length.length - 1] > 0) {
      marks = curve.knots.map((knot) => interpolate(knot, lengths.where, lengths.length));
      where = (part) => interpolate(part, lengths.length, lengths.where);
    }
  }
  const at = progress(track, frames, marks).map(where);
  return {
    path: at.map((place) => curveAt(curve, place)),
    seen: at.map((place) => seen(lastUpTo(curve.knots, place + 1e-9))),
    curve,
    frames: frames === 1 ? points.map(() => 0) : pointFrames(track, frames, marks),
  };
}

/**
 * All tracks of a document, and those of its camera moves, at `frames` frames of `size`: a list of
 * { track, place, path, seen, curve, error }; place is -1 for camera moves. Tracks that are left out are left out.
 */
export function sampleAll(doc, frames, size) {
  const drawn = doc.tracks
    .map((track, place) => ({ track, place }))
    .filter(({ track }) => track.visible !== false && track.points.length)
    .map((entry) => ({ ...entry, ...sampleTrack(entry.track, frames, size) }));
  let error = null;
  let moves = [];
  try {
    moves = doc.camera ? movesOf(doc.camera, doc.grid ?? [2, 2], frames, size) : [];
  } catch (problem) {
    error = problem.message;
  }
  const camera = moves.map((path, i) => ({
    track: { name: `camera ${i + 1}`, role: "camera" },
    place: -1,
    path,
    seen: path.map(() => true),
    curve: null,
  }));
  const all = [...drawn, ...camera];
  if (doc.carry) carry(all);
  if (error) all.push({ track: { name: "camera" }, place: -1, path: [], seen: [], curve: null, error });
  return all;
}

function movesOf(camera, grid, frames, size) {
  const key = `${grid} ${frames} ${size}`;
  if (kept.get(camera)?.key !== key) kept.set(camera, { key, paths: cameraPaths(camera, grid, frames, size) });
  return kept.get(camera).paths;
}

function carry(sampled) {
  const camera = sampled.filter(({ track }) => track.role === "camera").map(({ path }) => path);
  if (!camera.length) return;
  const objects = sampled.filter(({ track }) => track.role !== "camera");
  carried(
    objects.map(({ path }) => path),
    camera,
  ).forEach((path, i) => (objects[i].path = path));
}

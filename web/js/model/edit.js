/** Changes of a trajectory document. Each gives a new document; what did not change stays the same object. */

import { sampleTrack } from "./sample.js";
import { lean } from "./text.js";
import { stopPlaces } from "./timing.js";
import { MOVE, POINT, TRACK } from "./words.js";

/** Parts of the frame with as many digits as matter: a millionth is 1/200 pixel of a 4K frame. */
export const round6 = (value) => Math.round(value * 1e6) / 1e6;

const pairOf = (pair) => (pair ? pair.map(round6) : pair);

/** A point with other entries; defaults are left out. */
export function pointWith(point, change) {
  const next = { ...point, ...change };
  return lean(
    { ...next, x: round6(next.x), y: round6(next.y), into: pairOf(next.into), out: pairOf(next.out) },
    POINT,
  );
}

/** The document with other top entries; undefined takes one away. */
export const documentWith = (doc, change) => lean({ ...doc, ...change }, {});

/** The document with other entries in one track. */
export function trackWith(doc, place, change) {
  return replaceTrack(doc, place, lean({ ...doc.tracks[place], ...change }, TRACK));
}

function replaceTrack(doc, place, track) {
  return { ...doc, tracks: doc.tracks.map((each, i) => (i === place ? track : each)) };
}

/** A name that no track has. */
export function freeName(doc) {
  const names = new Set(doc.tracks.map((track) => track.name));
  for (let number = doc.tracks.length + 1; ; number++) if (!names.has(String(number))) return String(number);
}

/** The document with a track at the end. */
export function addTrack(doc, track) {
  const points = track.points.map((point) => pointWith(point, {}));
  return { ...doc, tracks: [...doc.tracks, { name: freeName(doc), ...lean(track, TRACK), points }] };
}

/** The document with a point put into a track before place `at`. */
export function insertPoint(doc, place, at, point) {
  const points = doc.tracks[place].points.slice();
  points.splice(at, 0, pointWith(point, {}));
  return replaceTrack(doc, place, { ...doc.tracks[place], points });
}

/** The document with each selected point as `change(point, track, its place)` has it. */
export function mapPoints(doc, selection, change) {
  const tracks = doc.tracks.map((track, i) => {
    const chosen = selection.of(i);
    if (!chosen.size || track.locked) return track;
    return {
      ...track,
      points: track.points.map((point, k) =>
        chosen.has(k) ? pointWith(point, change(point, track, k)) : point,
      ),
    };
  });
  return { ...doc, tracks };
}

/**
 * The document with the selected points moved by an affine map of pixels, x' = a x + c y + e and
 * y' = b x + d y + f; handles turn and scale with it.
 */
export function transformPoints(doc, selection, [a, b, c, d, e, f], size) {
  const [width, height] = size;
  const turned = (pair) =>
    pair && [
      (a * pair[0] * width + c * pair[1] * height) / width,
      (b * pair[0] * width + d * pair[1] * height) / height,
    ];
  return mapPoints(doc, selection, (point) => {
    const x = point.x * width;
    const y = point.y * height;
    return {
      x: (a * x + c * y + e) / width,
      y: (b * x + d * y + f) / height,
      into: turned(point.into),
      out: turned(point.out),
    };
  });
}

/** The document without the selected points, and without tracks that lose all; locked tracks stay. */
export function deletePoints(doc, selection) {
  const tracks = doc.tracks.map((track, i) => {
    const chosen = selection.of(i);
    if (!chosen.size || track.locked) return track;
    return { ...track, points: track.points.filter((_, k) => !chosen.has(k)) };
  });
  return { ...doc, tracks: tracks.filter((track) => track.points.length) };
}

/** The document without one track. */
export const deleteTrack = (doc, place) => ({ ...doc, tracks: doc.tracks.filter((_, i) => i !== place) });

/** The document with a copy of one track, `by` pixels to the right and down. */
export function duplicateTrack(doc, place, by, size) {
  const track = doc.tracks[place];
  const points = track.points.map((point) => ({
    ...point,
    x: point.x + by / size[0],
    y: point.y + by / size[1],
  }));
  return addTrack(doc, { ...track, name: freeName(doc), colour: null, locked: false, points });
}

const MIRRORED = { "ease in": "ease out", "ease out": "ease in" };

/** The document with one track from its end to its start, its times mirrored too, for a clip of `frames`. */
export function reverseTrack(doc, place, frames, size) {
  const track = doc.tracks[place];
  const { frames: reached } = sampleTrack(track, frames, size);
  const stops = stopPlaces(track);
  const eased = stops.some((stop) => (track.points[stop].easing ?? "linear") !== "linear");
  const points = track.points.map((point, i) => {
    const stop = stops.indexOf(i);
    const before = track.points[stops[stop - 1]]?.easing ?? "linear"; // what ran up to it now runs from it
    const inner = stop > 0 && stop < stops.length - 1;
    const timed = point.frame != null || (eased && inner);
    return pointWith(point, {
      frame: timed ? round6(frames - 1 - reached[i] - (point.hold ?? 0)) : null,
      easing: stop > 0 ? (MIRRORED[before] ?? before) : "linear",
      visible: track.points[Math.max(i - 1, 0)].visible ?? true,
      into: point.out,
      out: point.into,
    });
  });
  return replaceTrack(doc, place, { ...track, points: points.reverse() });
}

/** The document with other entries in one camera move, or without it when `change` is null. */
export function moveWith(doc, place, change) {
  const moves = (doc.camera ?? []).slice();
  if (change === null) moves.splice(place, 1);
  else moves[place] = lean({ ...moves[place], ...change }, MOVE);
  return documentWith(doc, { camera: moves.length ? moves : undefined });
}

/** Changes of a trajectory document. Each gives a new document; what did not change stays the same object. */

import { sampleTrack } from "./sample.js";
import { Selection } from "./selection.js";
import { lean } from "./text.js";
import { fromStart, stopPlaces } from "./timing.js";
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

/** The document with a point put into a track before place `at`; timing "keys" gives way to it. */
export function insertPoint(doc, place, at, point) {
  const track = doc.tracks[place];
  const points = track.points.slice();
  points.splice(at, 0, pointWith(point, {}));
  const timing = track.timing === "keys" && point.frame == null ? undefined : track.timing;
  return replaceTrack(doc, place, lean({ ...track, timing, points }, {}));
}

/** The document with a point after a track's last; from one at the clip's end it takes the frame over. */
export function appendPoint(doc, place, point, frames) {
  const { points } = doc.tracks[place];
  const last = points.length - 1;
  const { frame, hold = 0 } = points[last];
  const longer = insertPoint(doc, place, last + 1, point);
  if (frame == null || fromStart(frame, frames) + hold < frames - 1) return longer;
  const end = frame < 0 ? -1 : Math.max(frame, frames - 1);
  const change = (_, __, k) => ({ frame: k === last ? null : end });
  return mapPoints(longer, Selection.of(place, [last, last + 1]), change);
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

/**
 * The document with one track from its end to its start, its times mirrored too, for a clip of `frames`; as it is
 * when its times do not fit into that.
 */
export function reverseTrack(doc, place, frames, size) {
  const track = doc.tracks[place];
  const { frames: reached, error } = sampleTrack(track, frames, size);
  if (error) return doc;
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

/**
 * Both documents together, as `Trajectories.plus` of core/trajectory/track.py: the other's tracks are drawn later,
 * its camera moves act later, the grid is that of the first with a move. A name that is taken becomes a number.
 */
export function joined(doc, other) {
  const free = (sum, { name }) => (sum.tracks.some((track) => track.name === name) ? undefined : name);
  const sum = other.tracks.reduce(
    (before, track) => addTrack(before, { ...track, name: free(before, track) }),
    doc,
  );
  const camera = [...(doc.camera ?? []), ...(other.camera ?? [])];
  return documentWith(sum, {
    camera: camera.length ? camera : doc.camera,
    grid: doc.camera?.length || !other.camera?.length ? doc.grid : other.grid,
    carry: doc.carry || other.carry || doc.carry,
  });
}

/** The document with other entries in one camera move, or without it when `change` is null. */
export function moveWith(doc, place, change) {
  const moves = (doc.camera ?? []).slice();
  if (change === null) moves.splice(place, 1);
  else moves[place] = lean({ ...moves[place], ...change }, MOVE);
  return documentWith(doc, { camera: moves.length ? moves : undefined });
}

/** Long tracks as a few points that are, at any time, within some pixels of where the track was. */

import { curveAt } from "./curves.js";
import { round6 } from "./edit.js";
import { sampleTrack } from "./sample.js";
import { fromStart, hasTimes } from "./timing.js";

const FINER = 4; // tracks are also compared at places between frames, or between points

/** Fewer points that say the same as a track's; all of them when its times do not fit into the clip. */
export function simplifiedPoints(track, frames, size, tolerance) {
  const timed = hasTimes(track);
  const { points } = track;
  const count = (timed ? frames - 1 : points.length - 1) * FINER + 1;
  const clip = { count, size, tolerance };
  const finer = { ...track, points: points.map((point) => slower(point, frames)) };
  if (count === 1 || sampleTrack(finer, count, size).error) return points;
  const shared = !timed && track.timing !== "length"; // by the points: leaving out one moves the others
  if (shared && !points.some((point) => says(point, track))) return evenPoints(finer, clip) ?? points;
  return neededPlaces(finer, clip).map((place) => points[place]);
}

/** A point of a clip with more frames to the second. */
const slower = (point, frames) => ({
  ...point,
  frame: point.frame == null ? point.frame : fromStart(point.frame, frames) * FINER,
  hold: (point.hold ?? 0) * FINER,
});

/** Whether a point says more than its x and y, and its frame where all have one. */
function says({ frame, easing = "linear", hold, visible, into, out }, { curve, points }) {
  const timed = frame != null && points.some((point) => point.frame == null);
  return timed || easing !== "linear" || hold || visible === false || (curve === "bezier" && (into || out));
}

/** How many pixels other points are off at each time; Infinity where what was seen is not, or the reverse. */
function differences(track, points, { count, size }) {
  const [was, is] = [track, { ...track, points }].map((each) => sampleTrack(each, count, size));
  return was.path.map(([x, y], i) =>
    was.seen[i] === is.seen[i] ? Math.hypot(is.path[i][0] - x, is.path[i][1] - y) : Infinity,
  );
}

/** The fewest points at even times that do; null when it takes as many as there are. */
function evenPoints(track, clip) {
  const { curve } = sampleTrack(track, clip.count, clip.size);
  for (let number = 2; number < track.points.length; number += Math.ceil(number / 8)) {
    const points = Array.from({ length: number }, (_, i) => {
      const [x, y] = curveAt(curve, i / (number - 1));
      return { x: round6(x / clip.size[0]), y: round6(y / clip.size[1]) };
    });
    if (Math.max(...differences(track, points, clip)) <= clip.tolerance) return points;
  }
  return null;
}

/** Places of a few of the points that do: those that say something, and where it is off most, those there. */
function neededPlaces(track, clip) {
  const { frames: reached } = sampleTrack(track, clip.count, clip.size);
  const last = track.points.length - 1;
  let kept = [...reached.keys()].filter((i) => i === 0 || i === last || says(track.points[i], track));
  for (;;) {
    const off = differences(
      track,
      kept.map((i) => track.points[i]),
      clip,
    );
    const far = (i) => off[Math.round(reached[i])];
    const worst = kept.slice(1).flatMap((to, k) => mostOff(kept[k], to, far));
    if (Math.max(...off) <= clip.tolerance || !worst.length) return kept;
    const wrong = worst.filter((i) => far(i) > clip.tolerance);
    kept = [...kept, ...(wrong.length ? wrong : worst)].sort((a, b) => a - b);
  }
}

/** The place between two for which `far` is most, as a list; none when nothing is between. */
function mostOff(from, to, far) {
  let most = from + 1;
  for (let i = from + 1; i < to; i++) if (far(i) > far(most)) most = i;
  return most < to ? [most] : [];
}

/** When a track is where, as `core/trajectory/timing.py` has it: frames, holds and easings as progress. */

import { lastUpTo } from "./curves.js";

export const EASE = {
  linear: (share) => share,
  "ease in": (share) => share * share,
  "ease out": (share) => share * (2 - share),
  "ease in-out": (share) => share * share * (3 - 2 * share),
  hold: (share) => Math.floor(share),
  "there and back": (share) => 1 - Math.abs(2 * share - 1),
};

/** A frame counted from 0, of one that may count from the end. */
export const fromStart = (frame, frames) => (frame < 0 ? frame + frames : frame);

/** The same; throws when the clip has none such. */
export function frameAt(what, frame, frames) {
  if (!(frame >= -frames && frame <= frames - 1)) {
    throw new Error(
      `${what} is set for frame ${frame}, the clip has frames 0 to ${frames - 1} (or -${frames} to -1 from the end)`,
    );
  }
  return fromStart(frame, frames);
}

const told = (point) => point.frame != null || point.hold || (point.easing ?? "linear") !== "linear";

/** Whether any of its points says more about time than its place in the row does. */
export const hasTimes = (track) => track.points.some(told);

/** Places of the points at which time is told: first, last, and any with a frame, a hold or an easing. */
export function stopPlaces(track) {
  const last = track.points.length - 1;
  return track.points.map((_, i) => i).filter((i) => told(track.points[i]) || i === 0 || i === last);
}

/**
 * The points at which time is told, as { stop, arrive, leave }: place in the track and frames.
 * `marks` says how far each point is along the track. Throws when frames do not rise or fit.
 */
export function stopsOf(track, frames, marks) {
  const stops = stopPlaces(track);
  const arrive = arrivals(track, stops, frames, marks);
  return stops.map((stop, i) => ({
    stop,
    arrive: arrive[i],
    leave: arrive[i] + (track.points[stop].hold ?? 0),
  }));
}

/** How far the track is at each frame, between `marks[0]` and the last mark. */
export function progress(track, frames, marks) {
  const end = marks[marks.length - 1];
  if (frames === 1) return [marks[0]];
  if (!hasTimes(track)) {
    return Array.from({ length: frames }, (_, i) => (i === frames - 1 ? 1 : i * (1 / (frames - 1))) * end);
  }
  const stops = stopsOf(track, frames, marks);
  const arrive = stops.map((entry) => entry.arrive);
  return Array.from({ length: frames }, (_, frame) => {
    const place = Math.max(lastUpTo(arrive, frame), 0);
    const { stop, leave } = stops[place];
    if (place === stops.length - 1 || frame < leave || frame < arrive[0]) return marks[stop];
    const next = stops[place + 1];
    const share = (frame - leave) / (next.arrive - leave);
    const eased = EASE[track.points[stop].easing ?? "linear"](share);
    return marks[stop] + eased * (marks[next.stop] - marks[stop]);
  });
}

/** The frame at which each point is reached, for all points of a track. */
export function pointFrames(track, frames, marks) {
  const stops = stopsOf(track, frames, marks);
  const found = new Array(track.points.length);
  stops.forEach(({ stop, arrive, leave }, i) => {
    found[stop] = arrive;
    const next = stops[i + 1];
    if (!next) return;
    const way = marks[next.stop] - marks[stop];
    for (let k = stop + 1; k < next.stop; k++) {
      const part = way > 0 ? (marks[k] - marks[stop]) / way : (k - stop) / (next.stop - stop);
      found[k] = leave + shareAt(track.points[stop].easing ?? "linear", part) * (next.arrive - leave);
    }
  });
  return found;
}

/** The share of time at which an easing has done `part` of its way. */
function shareAt(easing, part) {
  if (easing === "hold") return part; // all of its way in one moment: in order, as the points are
  let [low, high] = [0, 1];
  for (let i = 0; i < 30; i++) {
    const middle = (low + high) / 2;
    if (EASE[easing](middle) < part) low = middle;
    else high = middle;
  }
  return high;
}

function arrivals(track, stops, frames, marks) {
  const title = (i) => `Track '${track.name}', key ${stops[i] + 1}`;
  const points = stops.map((stop) => track.points[stop]);
  const arrive = points.map((point, i) =>
    point.frame == null ? null : frameAt(title(i), point.frame, frames),
  );
  const last = stops.length - 1;
  arrive[0] ??= 0;
  arrive[last] ??= frames - 1 - (points[last].hold ?? 0);
  const fixed = arrive.map((_, i) => i).filter((i) => arrive[i] != null);
  for (let k = 1; k < fixed.length; k++) {
    const [left, right] = [fixed[k - 1], fixed[k]];
    const rest = (end) => points.slice(left, end).reduce((sum, point) => sum + (point.hold ?? 0), 0);
    const time = arrive[right] - arrive[left] - rest(right);
    if (time <= 0) {
      throw new Error(
        `${title(right)} is at frame ${arrive[right]}, expected a frame after ` +
          `${arrive[left] + rest(right)}, where the hold of the keys before it ends`,
      );
    }
    const way = marks[stops[right]] - marks[stops[left]];
    for (let i = left + 1; i < right; i++) {
      const part = marks[stops[i]] - marks[stops[left]];
      const share = way > 0 ? part / way : (i - left) / (right - left);
      arrive[i] = arrive[left] + rest(i) + share * time;
    }
  }
  return arrive;
}

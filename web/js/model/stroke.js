/** Free-hand drawing as a few points. */

/**
 * Places of the points { x, y, t } of a line that matter (Ramer, Douglas, Peucker): all others are within
 * `tolerance` of what is left at their time.
 */
function simplify(points, tolerance) {
  const keep = new Set([0, points.length - 1]);
  const pieces = [[0, points.length - 1]];
  while (pieces.length) {
    const [from, to] = pieces.pop();
    let [worst, most] = [-1, tolerance];
    for (let i = from + 1; i < to; i++) {
      const [x, y] = sameTime(points, i, from, to);
      const far = Math.hypot(points[i].x - x, points[i].y - y);
      if (far > most) [worst, most] = [i, far];
    }
    if (worst < 0) continue;
    keep.add(worst);
    pieces.push([from, worst], [worst, to]);
  }
  return [...keep].sort((a, b) => a - b);
}

/** Where the piece is at the point's own time: shape and speed count. */
function sameTime(points, i, from, to) {
  const [a, b] = [points[from], points[to]];
  const share = b.t > a.t ? (points[i].t - a.t) / (b.t - a.t) : 0;
  return [a.x + share * (b.x - a.x), a.y + share * (b.y - a.y)];
}

/**
 * Points { x, y, frame } in parts of the frame of a stroke { x, y, t } in pixels and milliseconds: drawn in
 * two seconds, it takes the whole clip, fast where the hand was fast.
 */
export function recordedPoints(stroke, frames, size, tolerance) {
  const apart = stroke.filter((point, i) => i === 0 || point.t > stroke[i - 1].t);
  const kept = simplify(apart, tolerance).map((i) => apart[i]);
  const [first, last] = [kept[0], kept[kept.length - 1]];
  const time = last.t - first.t;
  const place = ({ x, y }) => ({ x: x / size[0], y: y / size[1] });
  if (frames === 1 || time <= 0) return kept.map(place);
  const found = [];
  kept.forEach((point, i) => {
    const frame = Math.round(((point.t - first.t) / time) * (frames - 1) * 100) / 100;
    const before = found[found.length - 1];
    const end = i === kept.length - 1;
    if (before && end && frame <= before.frame) found.pop();
    else if (before && !end && frame <= before.frame) return;
    found.push({ ...place(point), frame });
  });
  return found;
}

/**
 * Curves through control points, as `core/trajectory/curves.py` has them: cubic pieces that differ only in
 * their tangents, over equal steps of a parameter from 0 to 1. Points are [x, y] in pixels.
 */

const STEPS = 32; // a piece, at least, when a curve's length is measured

/** Index of the last value of a rising list that is not above `value`; -1 when all are. */
export function lastUpTo(values, value) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Linear interpolation of rising `xs` to `ys`, held at both ends. */
export function interpolate(value, xs, ys) {
  if (value <= xs[0]) return ys[0];
  const place = lastUpTo(xs, value);
  if (place >= xs.length - 1) return ys[ys.length - 1];
  const slope = (ys[place + 1] - ys[place]) / (xs[place + 1] - xs[place]);
  return slope * (value - xs[place]) + ys[place];
}

/**
 * The curve of a track through at least two points; `size` [width, height] scales its handles.
 * Gives knots, and a piece each with its points, its tangents, and powers [x, y] of the parameter.
 */
export function curveThrough(track, points, size) {
  const last = points.length - 1;
  const knots = points.map((_, i) => (i === last ? 1 : i * (1 / last)));
  const steps = knots.slice(1).map((knot, i) => knot - knots[i]);
  const slopes = steps.map((step, i) => axes((a) => (points[i + 1][a] - points[i][a]) / step));
  const [leave, arrive] = tangents(track, points, steps, slopes, size);
  const pieces = steps.map((step, i) => {
    const powers = axes((a) => {
      const bend = (leave[i][a] + arrive[i][a] - 2 * slopes[i][a]) / step;
      return [points[i][a], leave[i][a], (slopes[i][a] - leave[i][a]) / step - bend, bend / step];
    });
    return { from: points[i], to: points[i + 1], step, leave: leave[i], arrive: arrive[i], powers };
  });
  return { knots, pieces };
}

/** Position [x, y] at a parameter in 0..1. */
export function curveAt(curve, where) {
  const place = Math.min(Math.max(lastUpTo(curve.knots, where), 0), curve.pieces.length - 1);
  const step = where - curve.knots[place];
  return curve.pieces[place].powers.map(
    ([first, second, third, fourth]) =>
      first + second * step + third * (step * step) + fourth * (step * step * step),
  );
}

/** The two inner control points of a piece as a Bezier curve. */
export function bezierHandles({ from, to, step, leave, arrive }) {
  return [axes((a) => from[a] + (leave[a] * step) / 3), axes((a) => to[a] - (arrive[a] * step) / 3)];
}

/** Parameters and lengths from the start, by chords. */
export function measureCurve(curve) {
  const pieces = curve.pieces.length;
  const count = pieces * Math.max(STEPS, Math.floor(1024 / pieces));
  const where = Array.from({ length: count + 1 }, (_, i) => (i === count ? 1 : i * (1 / count)));
  const length = [0];
  let before = curveAt(curve, 0);
  for (let i = 1; i <= count; i++) {
    const here = curveAt(curve, where[i]);
    length.push(length[i - 1] + Math.hypot(here[0] - before[0], here[1] - before[1]));
    before = here;
  }
  return { where, length };
}

const axes = (of) => [of(0), of(1)];

function tangents(track, points, steps, slopes, size) {
  const kind = track.curve ?? "pchip";
  if (kind === "bezier") return handles(track, steps, slopes, size);
  if (kind === "linear") return [slopes, slopes];
  if (kind === "catmull-rom") return catmullRom(points, steps);
  const found = slopes.length === 1 ? [slopes[0], slopes[0]] : pchip(steps, slopes);
  return [found.slice(0, -1), found.slice(1)];
}

/** Tangents of Fritsch and Butland 1984: never past a point. */
function pchip(steps, slopes) {
  const inner = slopes.slice(1).map((slope, i) =>
    axes((a) => {
      const [first, second] = [slopes[i][a], slope[a]];
      if (Math.sign(first) !== Math.sign(second) || !first || !second) return 0;
      const before = 2 * steps[i + 1] + steps[i];
      const after = steps[i + 1] + 2 * steps[i];
      return 1 / ((before / first + after / second) / (before + after));
    }),
  );
  const end = slopes.length - 1;
  const first = axes((a) => pchipEnd(steps[0], steps[1], slopes[0][a], slopes[1][a]));
  const last = axes((a) => pchipEnd(steps[end], steps[end - 1], slopes[end][a], slopes[end - 1][a]));
  return [first, ...inner, last];
}

function pchipEnd(step, nextStep, slope, nextSlope) {
  const tangent = ((2 * step + nextStep) * slope - step * nextSlope) / (step + nextStep);
  if (Math.sign(tangent) !== Math.sign(slope)) return 0;
  const limited = Math.sign(slope) !== Math.sign(nextSlope) && Math.abs(tangent) > 3 * Math.abs(slope);
  return limited ? 3 * slope : tangent;
}

/** Centripetal Catmull-Rom (Yuksel et al. 2011). */
function catmullRom(points, steps) {
  const ways = steps.map((_, i) => axes((a) => points[i + 1][a] - points[i][a]));
  const spans = ways.map((way) => Math.max(Math.sqrt(Math.sqrt(way[0] * way[0] + way[1] * way[1])), 1e-9));
  const slopes = ways.map((way, i) => axes((a) => way[a] / spans[i]));
  const inner = slopes
    .slice(1)
    .map((slope, i) =>
      axes((a) => slopes[i][a] - (ways[i + 1][a] + ways[i][a]) / (spans[i + 1] + spans[i]) + slope[a]),
    );
  const found = [slopes[0], ...inner, slopes[slopes.length - 1]];
  const scaled = (list) => list.map((tangent, i) => axes((a) => (tangent[a] * spans[i]) / steps[i]));
  return [scaled(found.slice(0, -1)), scaled(found.slice(1))];
}

/** Three times the handles of a Bezier track; the straight way where it has none. */
function handles(track, steps, slopes, size) {
  const tangent = (offset, sign, i) =>
    offset ? axes((a) => (sign * 3 * (offset[a] * size[a])) / steps[i]) : slopes[i];
  return [
    slopes.map((_, i) => tangent(track.points[i].out, 1, i)),
    slopes.map((_, i) => tangent(track.points[i + 1].into, -1, i)),
  ];
}

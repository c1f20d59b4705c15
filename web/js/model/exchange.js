/** Trajectories from and to what other packs use: coordinate strings, CSV; as `core/trajectory/formats.py`. */

import { inline } from "./text.js";
import { sampleAll } from "./sample.js";

export const UNITS = ["pixels", "percent", "fraction"];
export const FORMATS = ["trajectories", "coordinates", "ati", "csv"];
const ATI_POINTS = 121;
const COLUMNS = { 2: ["x", "y"], 3: ["track", "x", "y"], 4: ["track", "frame", "x", "y"] };
COLUMNS[5] = [...COLUMNS[4], "visible"];

const finite = (title, value) => {
  if (!Number.isFinite(value)) throw new Error(`${title} is ${JSON.stringify(value)}, expected a number`);
  return value;
};

/** A track of points { x, y, frame?, visible? }; `reading` is { size, unit? }. */
function trackOf(name, points, { size, unit = "pixels" }) {
  const scale = { pixels: size, percent: [100, 100], fraction: [1, 1] }[unit];
  const made = points.map(({ x, y, frame, visible }, i) => {
    const title = `Track '${name}', key ${i + 1}`;
    const point = { x: finite(`${title}: x`, x) / scale[0], y: finite(`${title}: y`, y) / scale[1] };
    if (frame !== undefined) point.frame = finite(`${title}: frame`, frame);
    if (visible === false) point.visible = false;
    return point;
  });
  if (!made.length) throw new Error(`Track '${name}' has no points, expected at least one`);
  return { name: String(name), points: made };
}

const isPair = (value) => Array.isArray(value) && value.length === 2 && typeof value[0] !== "object";

/** Tracks of a parsed coordinate string; points are {"x", "y"} or [x, y], one track may stand alone. */
export function readCoordinates(given, reading) {
  let data = Array.isArray(given) ? given : [given];
  if (!data.length) return [];
  let depth = 0;
  for (let inner = data; Array.isArray(inner) && inner.length && !isPair(inner); inner = inner[0]) depth += 1;
  if (depth === 3 && data.length > 1)
    throw new Error(`The coordinates hold ${data.length} batches of tracks, expected one`);
  if (depth === 1) data = [data];
  if (depth === 3) data = data[0];
  return data.map((track, i) => {
    if (!Array.isArray(track))
      throw new Error(`Track '${i + 1}' is ${inline(track)}, expected a list of points`);
    const points = track.map((point) =>
      isPair(point) ? { x: point[0], y: point[1] } : { x: point?.x, y: point?.y },
    );
    return trackOf(i + 1, points, reading);
  });
}

/** Tracks of lines `track,frame,x,y,visible`, `track,frame,x,y`, `track,x,y` or `x,y`, or by a header. */
export function readCsv(text, reading) {
  let rows = text
    .split(/\r?\n/)
    .map((line) => line.split(",").map((cell) => cell.trim()))
    .filter((row) => row.some((cell) => cell) && !row[0].startsWith("#"));
  let header = (rows[0] ?? []).map((cell) => cell.toLowerCase());
  if (header.includes("x") && header.includes("y")) rows = rows.slice(1);
  else header = COLUMNS[header.length];
  if (!header) {
    throw new Error(
      `Coordinates: expected JSON as in [[{"x": 1, "y": 2}]], or lines as in 1,2; got ${text.trim().slice(0, 60)}`,
    );
  }
  const tracks = new Map();
  rows.forEach((row, i) => {
    if (row.length !== header.length) {
      throw new Error(`CSV row ${i + 1} has ${row.length} cells, expected ${header.length}`);
    }
    const cells = Object.fromEntries(header.map((what, column) => [what, row[column]]));
    const value = (what) => (cells[what] === "" ? NaN : Number(cells[what]));
    const point = {
      x: value("x"),
      y: value("y"),
      visible: !["0", "0.0", "false", ""].includes((cells.visible ?? "1").toLowerCase()),
    };
    if ("frame" in cells) point.frame = value("frame");
    const name = cells.track ?? "1";
    tracks.set(name, [...(tracks.get(name) ?? []), point]);
  });
  return [...tracks].map(([name, points]) => trackOf(name, points, reading));
}

const round4 = (value) => Math.round(value * 1e4) / 1e4;

/** Places at even times between the first and the last of a path, for whatever number of frames. */
const spread = (path, count) =>
  Array.from({ length: count }, (_, i) => {
    const at = (i * (path.length - 1)) / (count - 1);
    const [from, to] = [path[Math.floor(at)], path[Math.ceil(at)]];
    return from.map((value, axis) => value + (at % 1) * (to[axis] - value));
  });

/**
 * Text for other packs in pixels: "coordinates" and "csv" have one point a frame, "ati" has 121 points whatever
 * the clip. Throws what is wrong with a track or move that does not fit into the clip.
 */
export function exportText(doc, format, frames, size) {
  const sampled = sampleAll(doc, frames, size);
  const wrong = sampled.find(({ error }) => error);
  if (wrong) throw new Error(wrong.error);
  if (format !== "csv") {
    const points = (path) => (format === "ati" ? spread(path, ATI_POINTS) : path);
    return inline(sampled.map(({ path }) => points(path).map(([x, y]) => ({ x: round4(x), y: round4(y) }))));
  }
  const rows = sampled.flatMap(({ path, seen }, i) =>
    path.map(([x, y], frame) => [i + 1, frame, round4(x), round4(y), Number(seen[frame])].join(",")),
  );
  return [COLUMNS[5].join(","), ...rows].join("\n") + "\n";
}

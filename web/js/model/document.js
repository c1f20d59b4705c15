/**
 * The trajectory document: the text of the widget, read and written. The text is the whole truth; a document is
 * what it says, as plain objects that are never changed in place.
 */

import { readCoordinates, readCsv } from "./exchange.js";
import { lines, object } from "./text.js";
import { CAMERA_EASINGS, CURVES, EASINGS, ROLES, TIMINGS, ZOOM_CURVES } from "./words.js";

export const VERSION = 1;

/** A document without tracks for frames of `size` [width, height]. */
export const emptyDocument = (size) => ({ version: VERSION, size, tracks: [] });

/**
 * The document of a text that the node takes: this pack's JSON, a coordinate string, CSV, or nothing.
 * `reading` { size, unit? } says how to take coordinates. Throws an Error with a sentence for the user.
 */
export function readText(text, reading) {
  const trimmed = text.trim();
  const empty = emptyDocument(reading.size);
  if (!trimmed) return empty;
  if (!"[{".includes(trimmed[0])) return { ...empty, tracks: readCsv(text, reading) };
  const data = parseJson(text);
  return isOwn(data) ? readDocument(data) : { ...empty, tracks: readCoordinates(data, reading) };
}

/** Whether a text is this pack's own JSON. */
export const isDocument = (text) => text.trim().startsWith("{") && isOwn(parseJson(text));

const isOwn = (data) => !Array.isArray(data) && !("x" in data);

/** Parsed JSON, also with single quotes, and also one value a line. */
function parseJson(given) {
  const text = given.trim(); // also of a byte-order mark
  const quoted = (part) => (part.includes('"') ? part : part.replaceAll("'", '"'));
  try {
    return JSON.parse(quoted(text));
  } catch (error) {
    const rows = text.split("\n").filter((line) => line.trim());
    try {
      return rows.map((line) => JSON.parse(line.replaceAll("'", '"')));
    } catch {
      throw new Error(`Trajectories are not valid JSON: ${error.message}`);
    }
  }
}

function readDocument(data) {
  if (data.version !== VERSION) {
    throw new Error(
      `Trajectories JSON has version ${JSON.stringify(data.version)}, this pack reads version ${VERSION}`,
    );
  }
  const tracks = list("tracks", data.tracks ?? []).map(readTrack);
  list("camera", data.camera ?? []).forEach((move, i) => {
    entry(`Camera move ${i + 1}`, move);
    choice(`Camera move ${i + 1}: easing`, move.easing, CAMERA_EASINGS);
    choice(`Camera move ${i + 1}: zoom_curve`, move.zoom_curve, ZOOM_CURVES);
  });
  if (data.size != null) pair("size", data.size);
  if (data.grid != null) pair("grid", data.grid);
  if (data.frames != null) number("frames", data.frames);
  return { ...data, tracks };
}

function readTrack(track, i) {
  entry(`Track ${i + 1}`, track);
  const name = String(track.name || i + 1);
  const title = `Track '${name}'`;
  choice(`${title}: curve`, track.curve, CURVES);
  choice(`${title}: timing`, track.timing, TIMINGS);
  choice(`${title}: role`, track.role, ROLES);
  const points = list(`${title}: points`, track.points).map((point, k) =>
    readPoint(point, `${title}, key ${k + 1}`),
  );
  if (!points.length) throw new Error(`${title} has no points, expected at least one`);
  if (track.timing === "keys" && points.some((point) => point.frame == null)) {
    throw new Error(`${title}: timing 'keys' needs a frame on each key`);
  }
  return { ...track, name, points };
}

function readPoint(given, title) {
  const point = Array.isArray(given) && given.length === 2 ? { x: given[0], y: given[1] } : given;
  entry(title, point);
  number(`${title}: x`, point.x);
  number(`${title}: y`, point.y);
  if (point.frame != null) number(`${title}: frame`, point.frame);
  if (point.hold != null) number(`${title}: hold`, point.hold);
  choice(`${title}: easing`, point.easing, EASINGS);
  for (const what of ["into", "out"]) if (point[what] != null) pair(`${title}: ${what}`, point[what]);
  return point;
}

const show = (value) => JSON.stringify(value) ?? "missing";

function entry(title, value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new Error(`${title} is ${show(value)}, expected a JSON object`);
  }
}

function list(title, value) {
  if (!Array.isArray(value)) throw new Error(`${title} is ${show(value)}, expected a list`);
  return value;
}

function number(title, value) {
  if (!Number.isFinite(value)) throw new Error(`${title} is ${show(value)}, expected a number`);
}

function pair(title, value) {
  if (list(title, value).length !== 2) throw new Error(`${title} is ${show(value)}, expected two numbers`);
  value.forEach((part) => number(title, part));
}

function choice(title, value, known) {
  if (value != null && !known.includes(value)) {
    throw new Error(`${title} is ${show(value)}, expected one of ${known.join(", ")}`);
  }
}

/** The text of a document: one point a line; reading it and writing it again gives the same text. */
export function writeDocument(doc) {
  const track = (each) => object(each, { points: (points) => lines(points, 3) });
  const long = { tracks: (tracks) => lines(tracks, 2, track), camera: (moves) => lines(moves, 2) };
  return object(doc, long, ",\n ");
}

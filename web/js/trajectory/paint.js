/** Paints the stage: background, frame, tracks with a dot for every sampled frame, selection and grips. */

import { bezierHandles } from "../model/curves.js";
import { colourOf } from "../model/words.js";
import { boxGrips, handleGrips, selectionBox } from "./geometry.js";

const HALO = "rgba(0, 0, 0, 0.75)";
const shapes = new WeakMap(); // curve -> its Path2D in frame pixels

/** Paint all; `extra` is { image, rubber: [corner, corner], stroke: points }, all of them optional. */
export function paint(context, stage, state, extra) {
  const { scale, x, y } = stage.transform(state.size);
  context.save();
  context.translate(x, y);
  context.scale(scale, scale);
  const unit = 1 / scale;
  const active = ({ place }) => place === state.active;
  const others = state.sampled.filter((each) => !active(each));
  const { image } = extra;
  const key = [
    ...[image, image?.naturalWidth, scale, x, y, ...state.size, state.frame, state.selection],
    ...others.flatMap(({ track: what, place, path }) => [place, place < 0 || what, path]),
  ];
  stage.keep(context, key, (layer) => {
    ground(layer, ...state.size, unit, image);
    for (const each of others) track(layer, state, each, unit);
  });
  for (const each of state.sampled.filter(active)) track(context, state, each, unit);
  grips(context, state, unit);
  if (extra.rubber) rubber(context, extra.rubber, unit);
  if (extra.stroke?.length) stroke(context, extra.stroke, unit);
  context.restore();
}

/** The background image, letterboxed into the frame, or a dim ground; and the frame's border. */
function ground(context, width, height, unit, image) {
  context.fillStyle = "#26282c";
  context.fillRect(0, 0, width, height);
  if (image?.naturalWidth) {
    const fit = Math.min(width / image.naturalWidth, height / image.naturalHeight);
    const [wide, high] = [image.naturalWidth * fit, image.naturalHeight * fit];
    context.drawImage(image, (width - wide) / 2, (height - high) / 2, wide, high);
  } else {
    context.strokeStyle = "rgba(255, 255, 255, 0.07)";
    context.lineWidth = unit;
    context.beginPath();
    for (let i = 1; i < 8; i++) {
      context.moveTo((width * i) / 8, 0);
      context.lineTo((width * i) / 8, height);
      context.moveTo(0, (height * i) / 8);
      context.lineTo(width, (height * i) / 8);
    }
    context.stroke();
  }
  context.strokeStyle = "rgba(255, 255, 255, 0.55)";
  context.lineWidth = unit;
  context.strokeRect(0, 0, width, height);
}

function track(context, state, sampled, unit) {
  const { place, path, seen, curve, track: what } = sampled;
  if (!path.length) return;
  const active = place === state.active;
  const camera = what.role === "camera";
  const colour = place < 0 ? "#ffffff" : colourOf(what, place);
  context.globalAlpha = active ? 1 : place < 0 ? 0.5 : 0.75;
  const still = !curve && place >= 0;
  if (!still) {
    line(context, curve, path, colour, unit, camera, active);
    dots(context, path, seen, colour, unit, camera);
    now(context, path[state.frame], seen[state.frame], colour, unit);
  }
  if (place >= 0) points(context, state, place, colour, unit);
  if (still) cross(context, path[0], colour, unit);
  if (active && place >= 0) label(context, what.name, path[0], unit);
  context.globalAlpha = 1;
}

/** The curve of a track as a path of Bezier pieces, the same ones that are sampled. */
function shapeOf(curve) {
  if (!shapes.has(curve)) {
    const shape = new Path2D();
    shape.moveTo(...curve.pieces[0].from);
    for (const piece of curve.pieces) {
      const [leave, arrive] = bezierHandles(piece);
      shape.bezierCurveTo(...leave, ...arrive, ...piece.to);
    }
    shapes.set(curve, shape);
  }
  return shapes.get(curve);
}

function line(context, curve, path, colour, unit, dashed, active) {
  let shape = curve && shapeOf(curve);
  if (!shape) {
    shape = new Path2D();
    path.forEach(([x, y], i) => (i ? shape.lineTo(x, y) : shape.moveTo(x, y)));
  }
  context.setLineDash(dashed ? [6 * unit, 5 * unit] : []);
  context.lineJoin = "round";
  for (const [style, wide] of [
    [HALO, active ? 5 : 4],
    [colour, active ? 2.5 : 1.5],
  ]) {
    context.strokeStyle = style;
    context.lineWidth = wide * unit;
    context.stroke(shape);
  }
  context.setLineDash([]);
}

/** A dot for every frame in which the track is seen; square ones for the camera. */
function dots(context, path, seen, colour, unit, square) {
  context.beginPath();
  const radius = 2.6 * unit;
  path.forEach(([x, y], frame) => {
    if (!seen[frame]) return;
    if (square) context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
    else {
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 2 * Math.PI);
    }
  });
  context.fillStyle = colour;
  context.strokeStyle = HALO;
  context.lineWidth = unit;
  context.fill();
  context.stroke();
}

/** Control points: rings, filled where selected; larger on the active track. One path for all that look alike. */
function points(context, { doc, size, selection, active }, place, colour, unit) {
  const radius = (place === active ? 5 : 3) * unit;
  for (const chosen of [false, true]) {
    context.beginPath();
    doc.tracks[place].points.forEach((point, i) => {
      if (selection.has(place, i) !== chosen) return;
      const [x, y] = [point.x * size[0], point.y * size[1]];
      const wide = chosen ? radius + unit : radius;
      context.moveTo(x + wide, y);
      context.arc(x, y, wide, 0, 2 * Math.PI);
    });
    context.fillStyle = chosen ? "#ffffff" : "rgba(20, 20, 22, 0.9)";
    context.fill();
    context.strokeStyle = chosen ? "#000000" : colour;
    context.lineWidth = (chosen ? 2.5 : 1.5) * unit;
    context.stroke();
  }
}

/** Where the track is now. */
function now(context, [x, y], seen, colour, unit) {
  context.beginPath();
  context.arc(x, y, 8 * unit, 0, 2 * Math.PI);
  context.setLineDash(seen ? [] : [3 * unit, 3 * unit]);
  for (const [style, wide] of [
    [HALO, 4],
    [seen ? "#ffffff" : colour, 2],
  ]) {
    context.strokeStyle = style;
    context.lineWidth = wide * unit;
    context.stroke();
  }
  context.setLineDash([]);
}

/** What stays. */
function cross(context, [x, y], colour, unit) {
  const reach = 9 * unit;
  for (const [style, wide] of [
    [HALO, 5],
    [colour, 2.5],
  ]) {
    context.beginPath();
    context.moveTo(x - reach, y);
    context.lineTo(x + reach, y);
    context.moveTo(x, y - reach);
    context.lineTo(x, y + reach);
    context.strokeStyle = style;
    context.lineWidth = wide * unit;
    context.stroke();
  }
}

function label(context, name, [x, y], unit) {
  context.font = `${12 * unit}px sans-serif`;
  context.lineWidth = 3 * unit;
  context.strokeStyle = HALO;
  context.fillStyle = "#ffffff";
  context.strokeText(name, x + 11 * unit, y - 9 * unit);
  context.fillText(name, x + 11 * unit, y - 9 * unit);
}

/** Bezier handles, and the box that scales and turns a selection. */
function grips(context, state, unit) {
  context.strokeStyle = context.fillStyle = "#ffffff";
  context.lineWidth = unit;
  for (const { x, y, from } of handleGrips(state)) {
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(x, y);
    context.stroke();
    context.fillRect(x - 3.5 * unit, y - 3.5 * unit, 7 * unit, 7 * unit);
  }
  const box = state.tool === "select" && selectionBox(state);
  if (!box) return;
  const found = boxGrips(box, unit);
  context.setLineDash([4 * unit, 4 * unit]);
  context.strokeRect(found[0].x, found[0].y, found[3].x - found[0].x, found[3].y - found[0].y);
  context.setLineDash([]);
  for (const { name, x, y } of found) {
    context.beginPath();
    if (name === "turn") context.arc(x, y, 5 * unit, 0, 2 * Math.PI);
    else context.rect(x - 4.5 * unit, y - 4.5 * unit, 9 * unit, 9 * unit);
    context.fillStyle = "#26282c";
    context.fill();
    context.stroke();
  }
}

function rubber(context, [[x1, y1], [x2, y2]], unit) {
  context.fillStyle = "rgba(120, 180, 255, 0.18)";
  context.strokeStyle = "rgba(160, 205, 255, 0.9)";
  context.lineWidth = unit;
  context.fillRect(x1, y1, x2 - x1, y2 - y1);
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
}

function stroke(context, points, unit) {
  context.beginPath();
  points.forEach(({ x, y }, i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.strokeStyle = "#ffffff";
  context.lineWidth = 2 * unit;
  context.stroke();
}

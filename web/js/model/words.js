/** The words that trajectories are made of, as `core/trajectory/track.py` and `camera.py` have them. */

export const CURVES = ["pchip", "catmull-rom", "bezier", "linear"];
export const TIMINGS = ["points", "length", "keys"];
export const EASINGS = ["linear", "ease in", "ease out", "ease in-out", "hold"];
export const ROLES = ["object", "camera"];
export const CAMERA_EASINGS = [...EASINGS.slice(0, 4), "there and back"];
export const ZOOM_CURVES = ["even", "linear", "dolly"];

export const POINT = { frame: null, easing: "linear", hold: 0, visible: true, into: null, out: null };
export const TRACK = {
  curve: "pchip",
  timing: "points",
  role: "object",
  weight: 1,
  visible: true,
  colour: null,
  locked: false,
};
export const MOVE = {
  pan: 0,
  tilt: 0,
  zoom: 1,
  roll: 0,
  zoom_curve: "even",
  easing: "linear",
  start: 0,
  end: -1,
};

/** Camera moves by name; the content of the picture goes the other way. */
export const PRESETS = {
  "pan left": { pan: -0.25 },
  "pan right": { pan: 0.25 },
  "tilt up": { tilt: 0.25 },
  "tilt down": { tilt: -0.25 },
  "zoom in": { zoom: 1.5 },
  "zoom out": { zoom: 1 / 1.5 },
  "dolly in": { zoom: 1.5, zoom_curve: "dolly" },
  "dolly out": { zoom: 1 / 1.5, zoom_curve: "dolly" },
  "roll clockwise": { roll: 30 },
  "roll counter-clockwise": { roll: -30 },
  "diagonal up right": { pan: 0.25, tilt: 0.25 },
  "diagonal down left": { pan: -0.25, tilt: -0.25 },
  "left then right": { pan: -0.25, easing: "there and back" },
  "down then up": { tilt: -0.25, easing: "there and back" },
};

/** Colours that colour-blind people can tell apart (Okabe and Ito 2008), as the preview node has them. */
export const PALETTE = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2"];

/** The colour of a track: its own, or by its place. */
export const colourOf = (track, place) => track.colour || PALETTE[place % PALETTE.length];

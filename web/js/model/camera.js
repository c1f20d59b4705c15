/** Moves of the camera as tracks, as `core/trajectory/camera.py` has them; complex numbers are [x, y]. */

import { EASE, frameAt } from "./timing.js";

const times = (a, b) => [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];

/** How much of a move is done at each frame. */
function shares(move, frames) {
  if (frames === 1) return [0];
  const start = frameAt("Camera move: start", move.start ?? 0, frames);
  const end = frameAt("Camera move: end", move.end ?? -1, frames);
  if (end <= start) {
    throw new Error(`Camera move ends at frame ${end}, expected one after its start, frame ${start}`);
  }
  const ease = EASE[move.easing ?? "linear"];
  return Array.from({ length: frames }, (_, i) =>
    ease(Math.min(Math.max((i - start) / (end - start), 0), 1)),
  );
}

/** Magnification when a share of the move is done. */
function zoomAt(move, share) {
  const zoom = move.zoom ?? 1;
  if ((move.zoom_curve ?? "even") === "even") return zoom ** share;
  if (move.zoom_curve === "linear") return 1 + (zoom - 1) * share;
  return 1 / (1 - share * (1 - 1 / zoom));
}

/** Paths [x, y] a frame, in pixels, of the points of a grid under moves; none without moves. */
export function cameraPaths(moves, grid, frames, size) {
  if (!moves.length) return [];
  const [columns, rows] = grid;
  const middle = [size[0] / 2, size[1] / 2];
  const starts = Array.from({ length: rows * columns }, (_, i) => [
    (((i % columns) + 0.5) / columns) * size[0],
    ((Math.floor(i / columns) + 0.5) / rows) * size[1],
  ]);
  const paths = starts.map((start) => Array.from({ length: frames }, () => [...start]));
  for (const move of moves) {
    shares(move, frames).forEach((share, frame) => {
      const angle = -((move.roll ?? 0) * Math.PI * share) / 180;
      const turn = [Math.cos(angle), Math.sin(angle)].map((part) => part * zoomAt(move, share));
      const shift = [share * -(move.pan ?? 0) * size[0], share * (move.tilt ?? 0) * size[1]];
      for (const path of paths) {
        const moved = times(turn, [path[frame][0] - middle[0], path[frame][1] - middle[1]]);
        path[frame] = [middle[0] + moved[0] + shift[0], middle[1] + moved[1] + shift[1]];
      }
    });
  }
  return paths;
}

/**
 * Paths moved by what the camera's paths do since frame 0: at each frame the shift, turn and scale that fit
 * them best; one path alone only shifts.
 */
export function carried(paths, camera) {
  const mean = camera[0].map((_, frame) => axes((a) => average(camera, (path) => path[frame][a])));
  const first = camera.map((path) => axes((a) => path[0][a] - mean[0][a]));
  const spread = first.reduce((sum, [x, y]) => sum + x * x + y * y, 0);
  const turns = mean.map((middle, frame) => {
    if (spread <= 1e-12) return [1, 0];
    const sum = [0, 0];
    camera.forEach((path, i) => {
      const to = axes((a) => path[frame][a] - middle[a]);
      const part = times([first[i][0], -first[i][1]], to);
      sum[0] += part[0];
      sum[1] += part[1];
    });
    return sum.map((part) => part / spread);
  });
  return paths.map((path) =>
    path.map((point, frame) => {
      const moved = times(
        turns[frame],
        axes((a) => point[a] - mean[0][a]),
      );
      return axes((a) => moved[a] + mean[frame][a]);
    }),
  );
}

const axes = (of) => [of(0), of(1)];
const average = (list, of) => list.reduce((sum, entry) => sum + of(entry), 0) / list.length;

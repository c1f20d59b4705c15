"""How the view moves in a clip: a shift, turn and scale a frame, fitted to what no thing covers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ..trajectory.tracker import Tracking, grid_points, track_points

GRID = 16  # points a row and column that are followed from each frame to the next
NEAR = 0.5  # pixels that a point may be off the fit
FEWEST = 8  # points that a fit needs
LOOK = Tracking(window=25)  # grounds are smooth
MARGIN = LOOK.window // 2  # pixels around things: what the tracker compares lies outside


@dataclass(frozen=True, eq=False)
class ViewMotion:
    """Motion of the background from each frame to the next.

    steps: (F - 1, 2, 3) float64, p -> steps[:, :2] p + steps[:, 2] in pixels. found: (F - 1,) bool; where too
    little could be followed, the step is rest. size: (width, height).
    """

    steps: np.ndarray
    found: np.ndarray
    size: tuple[int, int]

    def follow(self, points: np.ndarray) -> np.ndarray:
        """Where background at `points` (N, 2) of frame 0 goes: (N, F, 2) pixels."""
        paths = [np.asarray(points, np.float64)]
        for step in self.steps:
            paths.append(paths[-1] @ step[:, :2].T + step[:, 2])
        return np.stack(paths, 1)

    @property
    def speed(self) -> float:
        """Mean displacement of the background in pixels a frame, over the frame; 0 for a single frame."""
        points = grid_points(self.size, GRID, GRID).numpy()
        moved = [np.linalg.norm(points @ s[:, :2].T + s[:, 2] - points, axis=1).mean() for s in self.steps]
        return float(np.mean(moved)) if moved else 0.0


def view_motion(images: np.ndarray, things: np.ndarray) -> ViewMotion:
    """Fit the background's motion in a clip (F, H, W, 3), 0..1 or uint8; not `things`, (F, H, W) bool."""
    clip, size = torch.from_numpy(images), (images.shape[2], images.shape[1])
    grid, steps, found = grid_points(size, GRID, GRID), [], []
    column, row = grid.long().T.numpy()
    square = np.ones((2 * MARGIN + 1,) * 2, np.uint8)
    for t in range(len(images) - 1):
        covered = cv2.dilate(things[t].astype(np.uint8), square) > 0
        points = grid[torch.from_numpy(~covered[row, column])]
        paths, seen = track_points(clip[t : t + 2], points, LOOK)
        step = _fit(paths[seen[:, 1]].numpy())
        found.append(step is not None)
        steps.append(np.eye(2, 3) if step is None else step)
    return ViewMotion(np.reshape(steps, (-1, 2, 3)), np.array(found, bool), size)


def _fit(paths: np.ndarray) -> np.ndarray | None:
    """Shift, turn and scale (2, 3) that most points (N, 2, 2) agree on; None where too few do."""
    if len(paths) < FEWEST:
        return None
    options = {"method": cv2.RANSAC, "ransacReprojThreshold": NEAR, "maxIters": 500, "confidence": 0.999}
    start, end = np.ascontiguousarray(paths.swapaxes(0, 1))
    step, agree = cv2.estimateAffinePartial2D(start, end, **options)
    return None if step is None or agree.sum() < FEWEST else step

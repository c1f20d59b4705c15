"""Jitter: motion that changes its mind from frame to frame. Even motion, however fast, has none."""

from __future__ import annotations

from torch import Tensor

from ..optical_flow import Report
from ..trajectory.tracker import grid_points, track_points

GRID = 16  # points a row and column


def path_jitter(paths: Tensor, seen: Tensor | None = None) -> float:
    """Mean length of p(t+1) - 2 p(t) + p(t-1) of paths (N, F, 2), in pixels a frame squared.

    seen: (N, F) bool, None = where the path is not NaN; counted where a point was seen three times running.
    NaN where it never was.
    """
    seen = ~paths.isnan().any(-1) if seen is None else seen
    bend = paths.double().diff(n=2, dim=1).norm(dim=-1)  # N F-2
    kept = seen[:, :-2] & seen[:, 1:-1] & seen[:, 2:]
    return float(bend[kept].mean()) if kept.any() else float("nan")


def clip_jitter(frames: Tensor, report: Report | None = None) -> tuple[float, ...]:
    """`path_jitter` of each three neighbouring frames of a clip (F, H, W, 3), F - 2 numbers.

    256 points on a grid are followed anew (pyramids of Lucas and Kanade, checked both ways), so none is lost
    for good. Flat grounds give no point, and NaN where all are lost. report(done, total) after each three.
    """
    size, found = (frames.shape[2], frames.shape[1]), []
    points = grid_points(size, GRID, GRID)
    for t in range(len(frames) - 2):
        found.append(path_jitter(*track_points(frames[t : t + 3], points)))
        if report is not None:
            report(t + 1, len(frames) - 2)
    return tuple(found)

"""Points followed through a clip with OpenCV: pyramids of Lucas and Kanade, checked forward and backward."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..optical_flow import Report, to_bytes
from .formats import Reading
from .track import Track, Trajectories

STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)


@dataclass(frozen=True)
class Tracking:
    """How to follow points.

    window: side in pixels of what is compared. levels: halvings of the frame above the full size, so that far
    motion is found. tolerance: how far, in pixels, the way back may end from where the way began.
    """

    window: int = 15
    levels: int = 3
    tolerance: float = 1.0


def grid_points(size: tuple[int, int], columns: int, rows: int) -> Tensor:
    """Middles of a grid's cells in a frame of `size` (width, height), row by row: (N, 2) pixels."""
    width, height = size
    x = (torch.arange(columns) + 0.5) * width / columns
    y = (torch.arange(rows) + 0.5) * height / rows
    return torch.cartesian_prod(y, x).flip(-1).double().reshape(-1, 2)


def track_points(
    frames: Tensor, points: Tensor, tracking: Tracking | None = None, report: Report | None = None
) -> tuple[Tensor, Tensor]:
    """Follow points of the first frame: paths (N, F, 2) float64 in pixels, visible (N, F) bool.

    frames: one clip (F, H, W, 3), uint8 or 0..1. points: (N, 2) pixels, x and y. A point is lost for good
    where the way back does not end where it began, or outside the frame; it then stays at its last place.
    report(done, total) is called after each frame and may raise to stop. Raises ValueError for no clip.
    """
    tracking = tracking or Tracking()
    clip = to_bytes(frames)
    if points.ndim != 2 or points.shape[-1] != 2:
        raise ValueError(f"Points to follow are {tuple(points.shape)}, expected points x 2")
    paths = points.double()[:, None].repeat(1, len(clip), 1).cpu()
    visible = torch.zeros(len(points), len(clip), dtype=torch.bool)
    visible[:, 0] = torch.from_numpy(_inside(points.cpu().numpy(), clip))
    for frame in range(1, len(clip)):
        at = paths[:, frame - 1].numpy().astype(np.float32)
        there, found = _step(clip[frame - 1], clip[frame], at, tracking)
        kept = torch.from_numpy(found & _inside(there, clip)) & visible[:, frame - 1]
        paths[:, frame] = torch.where(kept[:, None], torch.from_numpy(there).double(), paths[:, frame - 1])
        visible[:, frame] = kept
        if report:
            report(frame, len(clip) - 1)
    return paths, visible


def _inside(points: np.ndarray, clip: np.ndarray) -> np.ndarray:
    height, width = clip.shape[1:3]
    return ((points >= 0) & (points < (width, height))).all(-1)


def _step(first, second, points: np.ndarray, tracking: Tracking) -> tuple[np.ndarray, np.ndarray]:
    """Where points (N, 2) of one frame are in the next, and whether the way back agrees, (N,) bool."""
    if not len(points):
        return points, np.zeros(0, bool)
    settings = {
        "winSize": (tracking.window, tracking.window),
        "maxLevel": tracking.levels,
        "criteria": STOP,
    }
    # a pixel's middle is at a half here and at a whole number in OpenCV
    start = (points - 0.5)[:, None]
    there, found, _ = cv2.calcOpticalFlowPyrLK(first, second, start, None, **settings)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None, **settings)
    near = np.linalg.norm(back - start, axis=-1)[:, 0] <= tracking.tolerance
    return there[:, 0] + 0.5, near & (found[:, 0] > 0) & (found_back[:, 0] > 0)


def as_trajectories(
    paths: Tensor, visible: Tensor, size: tuple[int, int], role: str = "object"
) -> Trajectories:
    """Followed points as tracks of one point a frame, straight between them, unseen where lost."""
    reading = Reading(size, role=role, curve="linear")
    tracks: list[Track] = []
    for number, (path, shown) in enumerate(zip(paths.tolist(), visible.tolist(), strict=True), 1):
        points = [{"x": x, "y": y, "visible": seen} for (x, y), seen in zip(path, shown, strict=True)]
        tracks.append(reading.track(number, points))
    return Trajectories(tuple(tracks), size=size)

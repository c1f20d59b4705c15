"""Tracks at the frames of a clip: where each is, in pixels, and whether it is seen there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .camera import camera_paths, carried
from .curves import curve_through, measure_curve
from .timing import progress
from .track import ROLES, Point, Track, Trajectories, check_choice

EVERY_ROLE = "all"


@dataclass(frozen=True, eq=False)
class Sampled:
    """N tracks at F frames. `tracks` are the N, without those left out, with those of the camera's moves.

    Of the camera's, `tracks` have the start alone: where they go is in `paths`.
    """

    paths: Tensor  # (N, F, 2) float64, x and y in pixels, may lie outside the frame
    visible: Tensor  # (N, F) bool
    tracks: tuple[Track, ...]
    size: tuple[int, int]  # width, height

    def of_role(self, role: str) -> Sampled:
        """Those of one role, or all for "all"."""
        check_choice("Role", role, (EVERY_ROLE, *ROLES))
        kept = [i for i, track in enumerate(self.tracks) if role in (EVERY_ROLE, track.role)]
        return Sampled(self.paths[kept], self.visible[kept], tuple(self.tracks[i] for i in kept), self.size)


def pixels(track: Track, size: tuple[int, int]) -> np.ndarray:
    """Control points in pixels of a frame of `size` (width, height), (n, 2) float64."""
    found = np.array([(point.x, point.y) for point in track.points]) * size
    return found.round(9)  # 149 / 384 * 384 is 149 again, and lies in pixel 149


def sample_track(track: Track, frames: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """One track at frames 0 to `frames` - 1: positions (F, 2) in pixels, and whether it is seen, (F,) bool.

    Raises ValueError that names track and key when its frames do not fit into the clip.
    """
    points = pixels(track, size)
    seen = np.array([point.visible for point in track.points])
    if len(points) == 1:
        progress(track, frames, np.zeros(1))  # its frame is still checked
        return points.repeat(frames, 0), seen.repeat(frames)
    curve = curve_through(track, points, size)
    if track.timing == "length" and (lengths := measure_curve(curve)).length[-1] > 0:
        where = lengths.parameter(progress(track, frames, lengths.up_to(curve.knots)))
    else:
        where = progress(track, frames, curve.knots)
    key = np.searchsorted(curve.knots, where + 1e-9, side="right") - 1
    return curve.at(where), seen[key]


def sample(trajectories: Trajectories, frames: int, size: tuple[int, int]) -> Sampled:
    """All visible tracks, and those that camera moves become, at `frames` frames of `size` (width, height).

    With `carry`, tracks of role "object" are moved by what the camera does besides. Raises ValueError for a
    track or move that does not fit into the clip, and for a clip without frames or size.
    """
    if frames < 1 or min(size) < 1:
        raise ValueError(f"The clip is {frames} frames of {size[0]}x{size[1]}, expected at least 1 of each")
    drawn = tuple(track for track in trajectories.tracks if track.visible)
    view = camera_paths(trajectories.camera, trajectories.grid, frames, size)
    tracks = (*drawn, *_camera_tracks(view[:, 0] / size))
    paths = np.concatenate((np.zeros((len(drawn), frames, 2)), view))
    seen = np.ones((len(tracks), frames), bool)
    for i, track in enumerate(drawn):
        paths[i], seen[i] = sample_track(track, frames, size)
    camera = np.array([track.role == "camera" for track in tracks], bool)
    if trajectories.carry and camera.any():
        paths[~camera] = carried(paths[~camera], paths[camera])
    return Sampled(torch.from_numpy(paths), torch.from_numpy(seen), tracks, tuple(size))


def _camera_tracks(starts: np.ndarray) -> list[Track]:
    return [
        Track((Point(x, y),), f"camera {number}", role="camera")
        for number, (x, y) in enumerate(starts.tolist(), 1)
    ]

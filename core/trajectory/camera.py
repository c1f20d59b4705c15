"""Moves of the camera: presets, what they do to the content, and the paths that they become.

A camera that pans to the right moves the content to the left; corners that move inwards are a zoom out.
Tracks always say how the content moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .timing import EASE, frame_at
from .track import CameraMove

REACH = 0.25  # of the frame's side, that a preset pans or tilts
ZOOM = 1.5
DEGREES = 30.0

PRESETS = {
    "none": CameraMove(),
    "pan left": CameraMove(pan=-REACH),
    "pan right": CameraMove(pan=REACH),
    "tilt up": CameraMove(tilt=REACH),
    "tilt down": CameraMove(tilt=-REACH),
    "zoom in": CameraMove(zoom=ZOOM),
    "zoom out": CameraMove(zoom=1 / ZOOM),
    "dolly in": CameraMove(zoom=ZOOM, zoom_curve="dolly"),
    "dolly out": CameraMove(zoom=1 / ZOOM, zoom_curve="dolly"),
    "roll clockwise": CameraMove(roll=DEGREES),
    "roll counter-clockwise": CameraMove(roll=-DEGREES),
    "diagonal up right": CameraMove(pan=REACH, tilt=REACH),
    "diagonal down left": CameraMove(pan=-REACH, tilt=-REACH),
    "left then right": CameraMove(pan=-REACH, easing="there and back"),
    "down then up": CameraMove(tilt=-REACH, easing="there and back"),
}


def preset(name: str, amount: float = 1.0) -> CameraMove:
    """A move of PRESETS, `amount` times as far: 0 = none, 2 = double, -1 = the opposite."""
    if name not in PRESETS:
        raise ValueError(f"Camera preset is '{name}', expected one of {', '.join(PRESETS)}")
    move = PRESETS[name]
    return replace(
        move,
        pan=move.pan * amount,
        tilt=move.tilt * amount,
        zoom=move.zoom**amount,
        roll=move.roll * amount,
    )


def move_points(points: np.ndarray, moves: Sequence[CameraMove], frames: int, size) -> np.ndarray:
    """Where content at `points` (N, 2) of the first view goes under the moves, one after another: (N, F, 2).

    Pixels of a frame of `size` (width, height); zoom and roll are around its middle. Raises ValueError when a
    move's frames do not fit into the clip.
    """
    middle = complex(*size) / 2
    found = np.repeat((points[:, 0] + 1j * points[:, 1])[:, None], frames, 1)  # N F; a turn is a product
    for move in moves:
        share = _shares(move, frames)
        shift = share * complex(-move.pan * size[0], move.tilt * size[1])
        turn = _zoom(move, share) * np.exp(-1j * math.radians(move.roll) * share)
        found = middle + turn * (found - middle) + shift
    return np.stack((found.real, found.imag), -1)


def _shares(move: CameraMove, frames: int) -> np.ndarray:
    """How much of a move is done at each frame, (F,)."""
    if frames == 1:
        return np.zeros(1)
    start = frame_at("Camera move: start", move.start, frames)
    end = frame_at("Camera move: end", move.end, frames)
    if end <= start:
        raise ValueError(f"Camera move ends at frame {end:g}, expected one after its start, frame {start:g}")
    return EASE[move.easing](((np.arange(frames) - start) / (end - start)).clip(0, 1))


def _zoom(move: CameraMove, share: np.ndarray) -> np.ndarray:
    """Magnification when a share of the move is done."""
    if move.zoom_curve == "even":
        return move.zoom**share
    if move.zoom_curve == "linear":
        return 1 + (move.zoom - 1) * share
    return 1 / (1 - share * (1 - 1 / move.zoom))  # size goes with 1 / distance, distance falls evenly


def camera_paths(
    moves: Sequence[CameraMove], grid: tuple[int, int], frames: int, size: tuple[int, int]
) -> np.ndarray:
    """Where the cells of a grid, columns x rows, go under the moves: (N, F, 2); N is 0 without moves."""
    if not moves:
        return np.zeros((0, frames, 2))
    columns, rows = grid
    starts = np.array([(x + 0.5, y + 0.5) for y in range(rows) for x in range(columns)]) / grid * size
    return move_points(starts, moves, frames, size).round(9)  # as the points of tracks


def carried(paths: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Paths (N, F, 2) moved by what the camera's paths (M, F, 2) do since frame 0, M >= 1.

    That is the similarity (shift, turn, scale) that fits the camera's paths best at each frame; one path
    alone only shifts.
    """
    path, view = (each[..., 0] + 1j * each[..., 1] for each in (paths, camera))
    first, middle = view[:, :1] - view[:, :1].mean(), view.mean(0)  # M 1, F
    spread = (abs(first) ** 2).sum()
    turn = (first.conj() * (view - middle)).sum(0) / spread if spread > 1e-12 else np.ones(len(middle))
    moved = turn * (path - middle[0]) + middle
    return np.stack((moved.real, moved.imag), -1)

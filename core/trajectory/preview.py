"""Trajectories and flow maps drawn over an image, to be looked at; never part of a condition.

Everything is drawn at the image's own size. Colours can be told apart by colour-blind people (Okabe and Ito
2008).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ..optical_flow import Report, to_bytes
from .sample import Sampled

PALETTE = (  # RGB
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)
HALO, ARROW = (0, 0, 0), (255, 255, 255)
SHIFT = 4  # bits behind the point of OpenCV's coordinates
FAINT = 0.35  # share of a trail's colour where the point has yet to go
LEAST = 0.15  # of the strongest motion: weaker arrows are left out


def preview_still(image: Tensor, sampled: Sampled | None = None, flow: Tensor | None = None) -> Tensor:
    """Whole trails, a dot at every frame, an arrow head at the end; (H, W, 3) float32 in 0..1.

    image: (H, W, 3), uint8 or 0..1. sampled: tracks at the image's size. flow: (F, 2, h, w); its sum over the
    frames is drawn as arrows. Tracks of the camera are dashed, with square dots; what stays has a cross.
    """
    picture = to_bytes(image[None])[0].copy()
    if flow is not None:
        total = flow.sum(0)
        _draw_flow(picture, total, total.norm(dim=0).max())
    if sampled is not None:
        for number in range(len(sampled.tracks)):
            _draw_track(picture, sampled, number)
    return torch.from_numpy(picture).float() / 255


def preview_clip(
    images: Tensor, sampled: Sampled | None = None, flow: Tensor | None = None, report: Report | None = None
) -> Tensor:
    """The same as a clip, (F, H, W, 3) float32: the trail so far, the way to come faint, the frame's flow.

    images: one for all frames, or F. report(done, total) is called after each frame and may raise to stop.
    Raises ValueError when neither tracks nor flow are given, or the numbers of frames differ.
    """
    lengths = {len(flow)} if flow is not None else set()
    lengths |= {sampled.paths.shape[1]} if sampled is not None else set()
    if len(lengths) != 1:
        raise ValueError(f"Flow map and trajectories have {sorted(lengths)} frames, expected one number")
    frames = lengths.pop()
    if len(images) not in (1, frames):
        raise ValueError(f"There are {len(images)} background images for {frames} frames, expected 1 or all")
    backgrounds = to_bytes(images)
    found = torch.empty(frames, *backgrounds.shape[1:])
    strongest = None if flow is None else flow.norm(dim=1).max()
    for frame in range(frames):
        picture = backgrounds[frame % len(backgrounds)].copy()
        if flow is not None:
            _draw_flow(picture, flow[frame], strongest)
        for number in range(0 if sampled is None else len(sampled.tracks)):
            _draw_track(picture, sampled, number, frame)
        found[frame] = torch.from_numpy(picture).float() / 255
        if report:
            report(frame + 1, frames)
    return found


def _thickness(picture: np.ndarray) -> int:
    return max(1, round(min(picture.shape[:2]) / 256))


def _draw_track(picture: np.ndarray, sampled: Sampled, number: int, now: int | None = None) -> None:
    """One track: all of it, or as it is at frame `now`."""
    path, seen = sampled.paths[number].numpy(), sampled.visible[number].tolist()
    camera = sampled.tracks[number].role == "camera"
    colour, wide = PALETTE[number % len(PALETTE)], _thickness(picture)
    last = len(path) - 1 if now is None else now
    if np.ptp(path, axis=0).max() < 0.5:
        _cross(picture, path[0], colour, wide)
        return
    for halo in (True, False):
        for i in range(1, len(path)):
            if not (seen[i] and seen[i - 1]) or (camera and i % 2 == 0) or (halo and i > last):
                continue
            faint = 1.0 if i <= last else FAINT
            shade = HALO if halo else tuple(round(value * faint) for value in colour)
            _line(picture, path[i - 1], path[i], shade, wide + 2 * halo)
    for i in range(last + 1):
        if seen[i]:
            _dot(picture, path[i], colour, wide, camera)
    if now is None:
        _head(picture, path, colour, wide)
    elif seen[now]:
        _dot(picture, path[now], ARROW, 2 * wide, camera)


def _fixed(point) -> tuple[int, int]:
    """A point in OpenCV's fixed-point coordinates, where a pixel's middle is a whole number."""
    x, y = np.clip(point, -10000, 10000) - 0.5
    return round(float(x) * (1 << SHIFT)), round(float(y) * (1 << SHIFT))


def _line(picture, start, end, colour, wide) -> None:
    cv2.line(picture, _fixed(start), _fixed(end), colour, wide, cv2.LINE_AA, SHIFT)


def _dot(picture, point, colour, wide, square: bool) -> None:
    for radius, shade in ((wide + 1.5, HALO), (wide + 0.5, colour)):
        if square:
            corners = (_fixed(np.add(point, side)) for side in (-radius, radius))
            cv2.rectangle(picture, *corners, shade, cv2.FILLED, cv2.LINE_AA, SHIFT)
        else:
            size = round(radius * (1 << SHIFT))
            cv2.circle(picture, _fixed(point), size, shade, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _cross(picture, point, colour, wide) -> None:
    """A static anchor."""
    reach = 4 * wide
    for shade, thick in ((HALO, wide + 2), (colour, wide)):
        for way in ((reach, reach), (reach, -reach)):
            _line(picture, np.subtract(point, way), np.add(point, way), shade, thick)


def _head(picture, path, colour, wide) -> None:
    """Arrow head at the end of a path, in the direction of its last motion."""
    steps = np.diff(path, axis=0)
    moving = np.flatnonzero(np.linalg.norm(steps, axis=1) > 1e-3)
    if len(moving):
        _arrow_head(picture, path[-1], steps[moving[-1]], colour, wide, 5.0 * wide)


def _arrow_head(picture, tip, way, colour, wide, reach: float) -> None:
    along = way / max(np.linalg.norm(way), 1e-9) * reach
    across = np.array((-along[1], along[0])) * 0.6
    for shade, thick in ((HALO, wide + 2), (colour, wide)):
        for side in (across, -across):
            _line(picture, tip, tip - along + side, shade, thick)


def _draw_flow(picture: np.ndarray, flow: Tensor, strongest: Tensor) -> None:
    """Arrows on a grid; the strongest motion is as long as two steps of the grid."""
    height, width = picture.shape[:2]
    step = max(8.0, min(height, width) / 16)
    wide = _thickness(picture)
    if strongest <= 0:
        return
    for y in np.arange(step / 2, height, step):
        for x in np.arange(step / 2, width, step):
            row, column = int(y * flow.shape[1] / height), int(x * flow.shape[2] / width)
            way = (flow[:, row, column] / strongest).numpy()
            if np.hypot(*way) >= LEAST:
                start, end = np.array((x, y)), np.array((x, y)) + way * 2 * step
                _line(picture, start, end, HALO, wide + 2)
                _line(picture, start, end, ARROW, wide)
                _arrow_head(picture, end, way, ARROW, wide, 0.8 * step * float(np.hypot(*way)))

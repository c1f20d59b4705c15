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
HALO, ARROW = (0, 0, 0, 255), (255, 255, 255, 255)  # opaque, where a picture has alpha
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
    for trail in _trails(sampled):
        _draw_whole(picture, trail)
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
    past = _Past(_trails(sampled), backgrounds.shape[1:3])
    for frame in range(frames):
        picture = backgrounds[frame % len(backgrounds)].copy()
        if flow is not None:
            _draw_flow(picture, flow[frame], strongest)
        past.add(frame)
        past.draw(picture, frame)
        found[frame] = torch.from_numpy(picture).float() / 255
        if report:
            report(frame + 1, frames)
    return found


def _thickness(picture: np.ndarray) -> int:
    return max(1, round(min(picture.shape[:2]) / 256))


class _Trail:
    """A track as it is drawn."""

    def __init__(self, sampled: Sampled, number: int):
        self.path, self.seen = sampled.paths[number].numpy(), sampled.visible[number].numpy()
        self.camera = sampled.tracks[number].role == "camera"
        self.colour = (*PALETTE[number % len(PALETTE)], 255)
        self.rests = np.ptp(self.path, axis=0).max() < 0.5
        self.lines = np.append(False, self.seen[1:] & self.seen[:-1])  # whether one ends at the frame
        if self.camera:
            self.lines[::2] = False

    def draw_way(self, picture: np.ndarray, first: int, colour, wide: int) -> None:
        """The lines that end at frame `first` or later: a polyline for each run of them."""
        ends = first + np.flatnonzero(self.lines[first:])
        if len(ends):
            runs = np.split(ends, np.flatnonzero(np.diff(ends) > 1) + 1)
            ways = [_fixed(self.path[run[0] - 1 : run[-1] + 1]) for run in runs]
            cv2.polylines(picture, ways, False, colour, wide, cv2.LINE_AA, SHIFT)


def _trails(sampled: Sampled | None) -> list[_Trail]:
    return [] if sampled is None else [_Trail(sampled, i) for i in range(len(sampled.tracks))]


def _draw_whole(picture: np.ndarray, trail: _Trail) -> None:
    wide = _thickness(picture)
    if trail.rests:
        _cross(picture, trail.path[0], trail.colour, wide)
        return
    trail.draw_way(picture, 1, HALO, wide + 2)
    trail.draw_way(picture, 1, trail.colour, wide)
    for point in trail.path[trail.seen]:
        _dot(picture, point, trail.colour, wide, trail.camera)
    _head(picture, trail.path, trail.colour, wide)


class _Past:
    """What trails show of the past, in layers that each frame adds to: no frame draws those before it again.

    Layers are RGBA, colours times alpha: smooth edges that are drawn on them blend as they do on a picture.
    """

    def __init__(self, trails: list[_Trail], shape: tuple[int, int]):
        self.halos, self.lines, self.dots = np.zeros((3, *shape, 4), np.uint8)
        self.wide = _thickness(self.dots)
        self.trails = [trail for trail in trails if not trail.rests]
        for trail in trails:
            if trail.rests:
                _cross(self.dots, trail.path[0], trail.colour, self.wide)

    def add(self, frame: int) -> None:
        """What is new at a frame."""
        for trail in self.trails:
            if trail.lines[frame]:
                step = trail.path[frame - 1], trail.path[frame]
                _line(self.halos, *step, HALO, self.wide + 2)
                _line(self.lines, *step, trail.colour, self.wide)
            if trail.seen[frame]:
                _dot(self.dots, trail.path[frame], trail.colour, self.wide, trail.camera)

    def draw(self, picture: np.ndarray, frame: int) -> None:
        """The past up to a frame, the way to come, and where each track is."""
        _lay_over(picture, self.halos)
        _lay_over(picture, self.lines)
        for trail in self.trails:
            faint = tuple(round(value * FAINT) for value in trail.colour)
            trail.draw_way(picture, frame + 1, faint, self.wide)
        _lay_over(picture, self.dots)
        for trail in self.trails:
            if trail.seen[frame]:
                _dot(picture, trail.path[frame], ARROW, 2 * self.wide, trail.camera)


def _lay_over(picture: np.ndarray, layer: np.ndarray) -> None:
    """Put an RGBA layer over a picture, in place."""
    drawn = np.flatnonzero(layer.view(np.uint32))
    above, pixels = layer.reshape(-1, 4)[drawn], picture.reshape(-1, 3)
    pixels[drawn] = above[:, :3] + (pixels[drawn].astype(np.uint16) * (255 - above[:, 3:]) + 127) // 255


def _fixed(points) -> np.ndarray:
    """Points in OpenCV's fixed-point coordinates, where a pixel's middle is a whole number."""
    return np.rint((np.clip(points, -10000, 10000) - 0.5) * (1 << SHIFT)).astype(np.int32)


def _line(picture, start, end, colour, wide) -> None:
    cv2.line(picture, _fixed(start).tolist(), _fixed(end).tolist(), colour, wide, cv2.LINE_AA, SHIFT)


def _dot(picture, point, colour, wide, square: bool) -> None:
    for radius, shade in ((wide + 1.5, HALO), (wide + 0.5, colour)):
        if square:
            corners = (_fixed(np.add(point, side)).tolist() for side in (-radius, radius))
            cv2.rectangle(picture, *corners, shade, cv2.FILLED, cv2.LINE_AA, SHIFT)
        else:
            size = round(radius * (1 << SHIFT))
            cv2.circle(picture, _fixed(point).tolist(), size, shade, cv2.FILLED, cv2.LINE_AA, SHIFT)


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

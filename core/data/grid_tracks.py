"""Exact tracks of a grid of points through a scene of the sprite world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..trajectory.tracker import grid_points
from .render import Renderer
from .scene import SIZE, Scene

GRID = 16  # points a row and a column (Image Conductor)


@dataclass(frozen=True, eq=False)
class TrackedClip:
    """A clip and points followed through it.

    images: (F, H, W, 3) float32 0..1. paths: (N, F, 2) float64 pixels, x and y, a pixel's middle at a half.
    visible: (N, F) bool, whether what is at a point is the thing that was there in frame 0.
    """

    images: np.ndarray
    paths: np.ndarray
    visible: np.ndarray
    caption: str


def draw_tracked(scene: Scene, height: int = SIZE, width: int = SIZE, grid: int = GRID) -> TrackedClip:
    """Draw a scene, and follow the middles of grid x grid cells of its first frame."""
    renderer = Renderer(scene, height, width)
    images, owners = zip(*(renderer.frame(t) for t in range(scene.frames)), strict=True)
    points = grid_points((width, height), grid, grid).numpy() - 0.5  # its pixels are at whole numbers
    x, y = points.round().astype(int).T
    own = owners[0][y, x]
    paths = np.stack([_at(renderer, points, own, t) for t in range(scene.frames)], 1)
    seen = [_seen(paths[:, t], own, owners[t]) for t in range(scene.frames)]
    return TrackedClip(np.clip(np.stack(images), 0, 1), paths + 0.5, np.stack(seen, 1), scene.caption)


def _at(renderer: Renderer, points: np.ndarray, own: np.ndarray, t: int) -> np.ndarray:
    """Where points (N, 2) of frame 0, on the ground (-1) or the sprite `own` (N,), are in frame t."""
    world = renderer.to_world(points, 0)
    for number, sprite in enumerate(renderer.scene.sprites):
        turn = sprite.angle[t] - sprite.angle[0]
        c, s = np.cos(turn), np.sin(turn)
        turned = (world - sprite.path[0]) @ np.array([[c, s], [-s, c]]) + sprite.path[t]
        world = np.where((own == number)[:, None], turned, world)
    return renderer.to_frame(world, t)


def _seen(points: np.ndarray, own: np.ndarray, owner: np.ndarray) -> np.ndarray:
    height, width = owner.shape
    x, y = points.round().astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    return inside & (owner[y.clip(0, height - 1), x.clip(0, width - 1)] == own)

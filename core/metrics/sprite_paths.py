"""Where sprites of known colours are in each frame of a clip: what object control is measured by.

Nothing is followed from frame to frame: a sprite is the largest saturated region of its colour, so that a
tracker's drift is no part of the error.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..data.measure import SATURATION
from ..data.shapes import colour

SMALLEST = 0.004  # of the frame


def find_sprites(images: np.ndarray, colours: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Middles (N, F, 2) in pixels, NaN where there is none, and all that is saturated, (F, H, W) bool.

    images: (F, H, W, 3) in 0..1. colours: names of `data.shapes.HUES`, one a sprite, all different.
    """
    hues = np.stack([_direction(colour(name)) for name in colours])
    paths = np.full((len(colours), len(images), 2), np.nan)
    things = np.zeros(images.shape[:3], bool)
    for t, image in enumerate(images):
        smooth = cv2.GaussianBlur(np.ascontiguousarray(image, np.float32), (3, 3), 0)
        things[t] = smooth.max(-1) - smooth.min(-1) > SATURATION
        nearest = np.abs(_direction(smooth)[..., None, :] - hues).sum(-1).argmin(-1)
        for number in range(len(colours)):
            paths[number, t] = _middle(things[t] & (nearest == number))
    return paths, things


def follow_sprites(paths: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paths without gaps: (N, F, 2), and where each was seen, (N, F) bool.

    A sprite that is not found stays where it was last, before that at `start` (N, 2).
    """
    seen = ~np.isnan(paths[..., 0])
    filled, last = paths.copy(), np.asarray(start, np.float64)
    for t in range(paths.shape[1]):
        last = np.where(seen[:, t, None], paths[:, t], last)
        filled[:, t] = last
    return filled, seen


def _direction(rgb: np.ndarray) -> np.ndarray:
    """Colours (..., 3) without lightness and saturation."""
    low, high = rgb.min(-1, keepdims=True), rgb.max(-1, keepdims=True)
    return (rgb - low) / np.maximum(high - low, 1e-6)


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """Centroid of the largest region, its holes filled."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea, default=None)
    if largest is None or cv2.contourArea(largest) < SMALLEST * mask.size:
        return np.nan, np.nan
    moments = cv2.moments(largest)
    return moments["m10"] / moments["m00"] + 0.5, moments["m01"] / moments["m00"] + 0.5

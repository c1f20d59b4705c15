"""Edge maps of pictures by OpenCV, and mixing two maps as OpenCV does.

Maps are host images, (F, H, W, 3) float32 in 0..1, white on black.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..optical_flow import grey, to_bytes

METHODS = ("canny", "soft", "lines")
SOFT_BLUR = 1.4  # pixels; gradients of less than that are texture
SOFT_FULL = 0.99  # quantile of a picture's gradients that is drawn white
FLATTEST = 8.0  # grey levels; the gradients of a plain picture are not stretched further than this


@dataclass(frozen=True)
class Edges:
    """How edges are found: `method`, and for canny the thresholds of its hysteresis, in grey levels a pixel.

    canny: thin lines. soft: how steep the picture is, as grey. lines: straight segments only. The defaults
    are those of the consistency paper, Canny(100, 200).
    """

    method: str = "canny"
    low: float = 100.0
    high: float = 200.0

    def __post_init__(self):
        """Raise ValueError for what cannot be."""
        if self.method not in METHODS:
            raise ValueError(f"Edge method is '{self.method}', expected one of {', '.join(METHODS)}.")
        if not 0 <= self.low <= self.high:
            raise ValueError(
                f"Canny thresholds are {self.low:g} and {self.high:g}, expected 0 <= low <= high."
            )


def edge_maps(
    frames: Tensor,
    edges: Edges = Edges(),  # noqa: B008
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Edge maps (F, H, W, 3) of pictures (F, H, W, 3), uint8 or 0..1.

    report(done, total) after each; it may raise to stop. Raises ValueError as `to_bytes`.
    """
    found = []
    for picture in grey(frames):
        found.append(_one(picture, edges))
        if report is not None:
            report(len(found), len(frames))
    return as_images(np.stack(found))


def canny(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    """Canny edges of one grey picture, (H, W) uint8, 0 or 255."""
    return cv2.Canny(picture, low, high)


def _one(picture: np.ndarray, edges: Edges) -> np.ndarray:
    if edges.method == "canny":
        return canny(picture, edges.low, edges.high)
    return _soft(picture) if edges.method == "soft" else _lines(picture)


def _soft(picture: np.ndarray) -> np.ndarray:
    """Length of the gradient after a blur, stretched so that a picture's steepest places are white."""
    blurred = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), SOFT_BLUR)
    steep = np.hypot(cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1))
    full = max(float(np.quantile(steep, SOFT_FULL)), FLATTEST)
    return np.clip(steep * (255 / full), 0, 255).round().astype(np.uint8)


def _lines(picture: np.ndarray) -> np.ndarray:
    """Straight segments (LSD, von Gioi et al. 2010), one pixel wide."""
    drawn = np.zeros_like(picture)
    segments = cv2.createLineSegmentDetector().detect(picture)[0]
    for ends in () if segments is None else segments.reshape(-1, 4).round().astype(int).tolist():
        cv2.line(drawn, ends[:2], ends[2:], 255, 1)
    return drawn


def as_images(maps: np.ndarray) -> Tensor:
    """Grey maps (F, H, W) uint8 -> host images (F, H, W, 3) in 0..1."""
    return (torch.from_numpy(maps).float() / 255)[..., None].expand(-1, -1, -1, 3).contiguous()


def mix(first: Tensor, second: Tensor, t: float) -> Tensor:
    """(1 - t) first + t second in 8 bits, rounded half to even and saturated: OpenCV's addWeighted.

    first, second: one map each, (H, W, 3), uint8 or 0..1; the result is (H, W, 3) in 0..1.
    """
    a, b = (to_bytes(part[None])[0] for part in (first, second))
    return torch.from_numpy(cv2.addWeighted(a, 1 - t, b, t, 0)).float() / 255

"""Rectangles in pixels, where they come from when no detector is asked, and the published crop geometry."""

from __future__ import annotations

import re
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor

LEAST_AREA = 4  # pixels of a region in a mask; less is noise


class Box(NamedTuple):
    """Edges of a rectangle in pixels, fractional or not; its width is right - left."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        """Middle, x then y."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def grown(self, factor: float) -> Box:
        """The same centre, `factor` times as wide and high."""
        (x, y), (width, height) = self.centre, self.size
        half = width * factor / 2, height * factor / 2
        return Box(x - half[0], y - half[1], x + half[0], y + half[1])

    def inside(self, size: tuple[float, float]) -> Box:
        """What of it lies in a frame of (width, height); zero wide or high where nothing does."""
        (width, height), low = size, (max(self.left, 0.0), max(self.top, 0.0))
        low = min(low[0], width), min(low[1], height)
        return Box(*low, max(min(self.right, width), low[0]), max(min(self.bottom, height), low[1]))


def union(boxes) -> Box:
    """The smallest box around all of `boxes`, (n, 4) or a list of boxes, n at least 1."""
    rows = np.asarray(boxes, dtype=float)[:, :4]
    return Box(*map(float, (*rows[:, :2].min(0), *rows[:, 2:].max(0))))


def crop_region(box: Box, factor: float, size: tuple[int, int]) -> Box:
    """Whole-pixel region around a box, `factor` times its size, moved into a frame of (width, height).

    The rule of the published face workflow (Impact Pack's crop regions): at a border the region keeps its
    size where the frame has room, so the face is no longer in its middle.
    """
    edges = []
    for axis, limit in enumerate(size):
        length = box.size[axis] * factor
        start = int(box.centre[axis] - length / 2)
        start = min(max(start, 0), max(0.0, limit - length))
        edges.append((int(start), int(min(limit, start + length))))
    (left, right), (top, bottom) = edges
    return Box(left, top, right, bottom)


def guide_scale(size: tuple[float, float], guide: float, most: float) -> float:
    """How much a region is enlarged: its shorter side to `guide`, its longer one to at most `most` pixels.

    Never under 1: a region that is large already is taken as it is. Whole pixels in between, as published.
    """
    scale = guide / min(size)
    longest = max(int(size[0] * scale), int(size[1] * scale))
    return max(scale * (most / longest) if longest > most else scale, 1.0)


def boxes_of_masks(masks: Tensor, threshold: float = 0.5) -> list[np.ndarray]:
    """The bounding box of each connected region in each mask (F, H, W): per frame (n, 5), score 1."""
    found = []
    for mask in (masks > threshold).cpu().numpy().astype(np.uint8):
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        rows = [row for row in stats[1:count] if row[cv2.CC_STAT_AREA] >= LEAST_AREA]
        boxes = [(x, y, x + w, y + h, 1.0) for x, y, w, h, _ in rows]
        found.append(np.array(boxes, dtype=float).reshape(-1, 5))
    return found


def parse_boxes(text: str, frames: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Boxes from lines such as "40, 20, 90, 80" (in every frame) or "3: 40, 20, 90, 80" (in frame 3 alone).

    The numbers are left, top, right, bottom in pixels of a frame of `size` (width, height). Returns per frame
    (n, 5), score 1. Raises ValueError that shows the first line it cannot take.
    """
    found: list[list] = [[] for _ in range(frames)]
    for line in filter(str.strip, text.splitlines()):
        parts = re.fullmatch(r"\s*(?:(\d+)\s*:)?\s*([-\d.]+(?:[\s,]+[-\d.]+){3})\s*", line)
        numbers = [_number(word, line) for word in re.split(r"[\s,]+", parts[2])] if parts else []
        box = Box(*numbers).inside(size) if parts else Box(0, 0, 0, 0)
        if not parts or min(box.size) <= 0:
            raise ValueError(
                f"boxes: expected left, top, right, bottom in a frame of {size[0]}x{size[1]}, as in "
                f"'40, 20, 90, 80' or '3: 40, 20, 90, 80', got '{line.strip()}'"
            )
        if parts[1] and int(parts[1]) >= frames:
            raise ValueError(
                f"boxes: frame {parts[1]} is outside the clip, which has frames 0 to {frames - 1}"
            )
        for frame in [int(parts[1])] if parts[1] else range(frames):
            found[frame].append((*box, 1.0))
    return [np.array(rows, dtype=float).reshape(-1, 5) for rows in found]


def _number(word: str, line: str) -> float:
    if not re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", word):
        raise ValueError(f"boxes: '{word}' in '{line.strip()}' is not a number")
    return float(word)

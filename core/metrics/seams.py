"""Seams that tiles leave: how much larger the steps of brightness are at tile edges than elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NEAR = 4  # pixels on each side of an edge


def seam_ratio(images, edges: Sequence[int]) -> float:
    """Mean step between neighbouring columns (and rows) near `edges` over that elsewhere; 1 = no seam.

    images: (F, H, W, 3), any range, its mean over frames and colours is looked at. edges: pixels, the same
    across and down. Raises ValueError where an edge lies outside the images, or nothing is far from all.
    """
    level = np.asarray(images).mean((0, 3))
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(level, axis=axis)).mean(1 - axis)
        near = np.zeros(len(steps), bool)
        for edge in edges:
            if not 0 < edge <= len(steps):
                raise ValueError(f"The edge at {edge} is outside the images of {level.shape[axis]} pixels.")
            near[max(edge - NEAR, 0) : edge + NEAR] = True
        if near.all() or not near.any():
            raise ValueError(f"Seams need pixels near edges and far from them; the edges are {list(edges)}.")
        ratios.append(steps[near].mean() / steps[~near].mean())
    return float(np.mean(ratios))

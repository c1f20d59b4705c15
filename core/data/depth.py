"""Depth of a sprite scene as a control map: near is white."""

from __future__ import annotations

import numpy as np

NEAREST, STEP = 1.0, 0.35  # inverse depth of the sprite in front, and how much further the next one is


def inverse_depth(scene, owner: np.ndarray) -> np.ndarray:
    """Inverse depth (H, W) float32 in 0..1 of a frame's owners (H, W): ground 0, the sprite in front 1."""
    order = sorted(range(len(scene.sprites)), key=lambda i: -scene.sprites[i].depth)
    depth = np.zeros(owner.shape, np.float32)
    for rank, sprite in enumerate(order):
        depth[owner == sprite] = NEAREST - STEP * rank
    return depth

"""How far a sprite in a clip is from the one in reference pictures: identity in the sprite world.

DINO and CLIP say nothing about sprites. Here a sprite is cut out by its mask, scaled to 24x24 pixels and
turned upright as well as it can be; the distance is the root mean square difference of colour inside the
masks of both. What is outside does not count, so grounds, places and sizes make no difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

SIDE = 24  # pixels of a cut-out sprite
TURNS = np.linspace(-0.45, 0.45, 7)  # radians; sprites stand up to 0.2 off upright, so two may be 0.4 apart


def sprite_patch(image: np.ndarray, mask: np.ndarray, turn: float = 0.0) -> np.ndarray | None:
    """(H, W, 3) in 0..1 and bool (H, W) -> (SIDE, SIDE, 4): colour and mask of the sprite's square.

    turn: radians by which it is rotated about its middle. None for an empty mask.
    """
    if not mask.any():
        return None
    ys, xs = np.nonzero(mask)
    side = max(np.ptp(xs), np.ptp(ys)) + 1
    cx, cy = (xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2
    step = side / SIDE
    c, s = step * np.cos(turn), step * np.sin(turn)
    middle = (SIDE - 1) / 2
    matrix = np.array([[c, -s, cx - (c - s) * middle], [s, c, cy - (s + c) * middle]])
    sigma = max(0.5 * step, 1e-3)  # what is smaller than a pixel of the patch is averaged, not sampled
    layers = np.dstack([image * mask[..., None], mask]).astype(np.float32)
    layers = cv2.GaussianBlur(layers, (0, 0), sigma)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(layers, matrix, (SIDE, SIDE), flags=flags)
    patch[..., :3] /= np.maximum(patch[..., 3:], 1e-3)
    return patch


def patch_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square colour difference of two patches where both have the sprite, 0..1."""
    weight = one[..., 3] * other[..., 3]
    gap = np.square(one[..., :3] - other[..., :3]).mean(-1)
    return float(np.sqrt((gap * weight).sum() / max(weight.sum(), 1e-6)))


def identity_distance(images: np.ndarray, masks: np.ndarray, references: Sequence[np.ndarray]) -> float:
    """Mean over frames of the distance to the references: per frame the mean over references, best turn each.

    images: (F, H, W, 3) in 0..1; masks: (F, H, W) bool; references: patches. Frames without a sprite are left
    out; 1.0, the largest distance, when no frame has one.
    """
    found = []
    for image, mask in zip(images, masks, strict=True):
        turned = [sprite_patch(image, mask, turn) for turn in TURNS] if mask.any() else []
        if turned:
            best = [min(patch_distance(patch, reference) for patch in turned) for reference in references]
            found.append(np.mean(best))
    return float(np.mean(found)) if found else 1.0

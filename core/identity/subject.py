"""Subject masks from boxes: GrabCut finds what inside a box is not like its surroundings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from ..optical_flow import to_bytes
from ..refine.boxes import Box

ITERATIONS = 5
LEAST_SHARE = 0.05  # of the box; a smaller find is a failure


def subject_mask(image: np.ndarray, box: Box, iterations: int = ITERATIONS) -> np.ndarray:
    """(H, W, 3) uint8 RGB and a box around the subject -> (H, W) float32, 1 on the subject.

    GrabCut (Rother et al. 2004) started from the box. Where it finds next to nothing, or the box leaves no
    surroundings to learn from, the box itself is the mask.
    """
    height, width = image.shape[:2]
    box = box.inside((width, height))
    left, top = int(box.left), int(box.top)
    right, bottom = min(int(np.ceil(box.right)), width), min(int(np.ceil(box.bottom)), height)
    whole = np.zeros((height, width), np.float32)
    whole[top:bottom, left:right] = 1
    if not whole.any() or whole.all():
        return whole
    marks = np.where(whole > 0, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # GrabCut draws its first clusters
    cv2.grabCut(
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR), marks, None, *models, iterations, cv2.GC_INIT_WITH_MASK
    )
    found = _largest((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))
    return found if found.sum() >= LEAST_SHARE * whole.sum() else whole


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected region of a bool mask, with its holes filled, as float32."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    if outlines:
        cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.astype(np.float32)


def subject_masks(
    images: Tensor,
    boxes: Sequence[np.ndarray | Sequence[Box]],
    grow: float = 1.0,
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Masks (N, H, W) of the subjects of images (N, H, W, 3), 0..1; an image without a box has an empty mask.

    boxes: per image (n, 4 or more), of which the first is taken; `grow` times its size, for a subject that is
    larger than its face. report(done, total) is called after each image.
    """
    masks = []
    for image, rows in zip(images, boxes, strict=True):
        if len(rows):
            box = Box(*map(float, rows[0][:4])).grown(grow)
            mask = subject_mask(to_bytes(image[None])[0], box)
        else:
            mask = np.zeros(images.shape[1:3], np.float32)
        masks.append(torch.from_numpy(mask))
        if report is not None:
            report(len(masks), len(images))
    return torch.stack(masks)

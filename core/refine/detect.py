"""Faces in frames: YuNet through OpenCV, with its weights beside this file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from ..optical_flow import to_bytes

WEIGHTS = Path(__file__).parent / "yunet" / "face_detection_yunet_2023mar_int8bq.onnx"
SHA256 = "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
OVERLAP = 0.3  # two detections that share more of their area are one face
MOST = 100  # faces a frame
SMALLEST = 32  # pixels of the longer side handed to the network
ENLARGED = 2.0  # small frames at most: more finds faces where there are none


@dataclass(frozen=True)
class Detections:
    """Boxes found in a clip of frames of `size` (width, height).

    boxes: per frame (n, 5) float, left, top, right, bottom in pixels, inside the frame, and score 0..1.
    """

    size: tuple[int, int]
    boxes: tuple[np.ndarray, ...]

    @property
    def counts(self) -> list[int]:
        """How many in each frame."""
        return [len(rows) for rows in self.boxes]


class FaceDetector:
    """YuNet (Wu et al. 2023) on one frame at a time.

    threshold: least score 0..1. detail: frames are scaled so that their longer side has that many pixels
    (small ones at most doubled); faces under about 10 pixels of it are missed, and more takes longer.
    """

    def __init__(self, threshold: float = 0.6, detail: int = 640):
        """Load the network from the pack's own file."""
        self.detail = detail
        weights = np.fromfile(WEIGHTS, np.uint8)  # a buffer: OpenCV does not open every path on Windows
        self.net = cv2.FaceDetectorYN.create(
            "onnx", weights, np.empty(0, np.uint8), (SMALLEST, SMALLEST), threshold, OVERLAP, MOST
        )

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> (n, 5) boxes and scores in pixels of the frame, best first."""
        height, width = frame.shape[:2]
        scale = min(self.detail / max(height, width), ENLARGED)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        scaled = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        pad = max(SMALLEST - size[1], 0), max(SMALLEST - size[0], 0)
        scaled = cv2.copyMakeBorder(scaled, 0, pad[0], 0, pad[1], cv2.BORDER_REPLICATE)
        self.net.setInputSize((scaled.shape[1], scaled.shape[0]))
        _, faces = self.net.detect(cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR))
        if faces is None:
            return np.zeros((0, 5))
        boxes = np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4], faces[:, -1:]], 1).astype(float)
        boxes[:, :4] *= np.tile([width / size[0], height / size[1]], 2)
        boxes[:, :4] = boxes[:, :4].clip(0, np.tile([width, height], 2))
        boxes = boxes[(boxes[:, 2:4] - boxes[:, :2]).min(1) > 0]
        return boxes[boxes[:, 4].argsort()[::-1]]


def detect_faces(
    images: Tensor,
    threshold: float = 0.6,
    detail: int = 640,
    report: Callable[[int, int], None] | None = None,
) -> Detections:
    """Faces of a clip (F, H, W, 3), uint8 or 0..1; report(done, total) is called after each frame.

    Raises ValueError for another shape, or settings out of range.
    """
    if not 0.0 < threshold < 1.0 or detail < SMALLEST:
        raise ValueError(
            f"Face detection: threshold is {threshold:g} and detail {detail}, expected 0 to 1 and at least "
            f"{SMALLEST}"
        )
    detector, found = FaceDetector(threshold, detail), []
    for frame in images:
        found.append(detector(to_bytes(frame[None])[0]))
        if report is not None:
            report(len(found), len(images))
    return Detections((images.shape[2], images.shape[1]), tuple(found))

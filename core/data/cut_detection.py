"""Scenes of a video, by PySceneDetect or by this pack's own detection."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch

from ..fusion.cuts import find_cuts

DETECTORS = ("pyscenedetect", "own")
SMALL = 128  # pixels of the shorter side that is looked at
RATE = 25.0  # frames a second; PySceneDetect wants one, and no result depends on it


def find_scenes(frames: Iterable[np.ndarray], detector: str = DETECTORS[0]) -> list[tuple[int, int]]:
    """Scenes of a clip as (first frame, frame after the last), in order; they cover all of it.

    frames: (H, W, 3) uint8 RGB each, read once. detector: "pyscenedetect" is its adaptive detector with its
    own settings, which fast camera moves do not deceive; "own" is `core.fusion.cuts`. Raises ValueError for
    another detector, and when PySceneDetect is not installed.
    """
    if detector not in DETECTORS:
        raise ValueError(f"Cut detector is '{detector}', expected one of {', '.join(DETECTORS)}")
    small = (_small(frame) for frame in frames)
    count, cuts = _adaptive(small) if detector == DETECTORS[0] else _own(small)
    edges = [0, *cuts, count]
    return [(start, end) for start, end in zip(edges, edges[1:], strict=False) if end > start]


def _small(frame: np.ndarray) -> np.ndarray:
    scale = min(1.0, SMALL / min(frame.shape[:2]))
    return frame if scale == 1 else cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _adaptive(frames: Iterable[np.ndarray]) -> tuple[int, list[int]]:
    """Number of frames, and those that begin a scene, without 0."""
    try:
        from scenedetect import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector
    except ImportError as error:
        raise ValueError(
            "PySceneDetect is not installed: `pip install scenedetect-headless`, or choose the detector 'own'"
        ) from error
    detector, count, cuts = AdaptiveDetector(), 0, []
    for count, frame in enumerate(frames, 1):
        cuts += detector.process_frame(FrameTimecode(count - 1, RATE), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    if count:
        cuts += detector.post_process(FrameTimecode(count - 1, RATE))
    return count, [cut.frame_num for cut in cuts]


def _own(frames: Iterable[np.ndarray]) -> tuple[int, list[int]]:
    clip = [torch.from_numpy(frame).float() / 255 for frame in frames]
    return len(clip), list(find_cuts(clip))

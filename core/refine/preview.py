"""Face tracks drawn over their clip, to be looked at."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ..optical_flow import Report, to_bytes
from ..trajectory.preview import PALETTE
from .tracks import FaceTrack, FaceTracks

FONT, LEAST_TEXT = cv2.FONT_HERSHEY_SIMPLEX, 0.35


def preview_tracks(images: Tensor, tracks: FaceTracks, report: Report | None = None) -> Tensor:
    """Every track's box with its number and the path of its middle so far; (F, H, W, 3) float32 in 0..1.

    The box is thick where the face was detected and thin where a gap was filled; a frame that begins a scene
    has a white bar on top. report(done, total) is called after each frame. Raises ValueError when images and
    tracks are of different clips.
    """
    tracks.check(images)
    drawn = []
    for frame, image in enumerate(images):
        picture = to_bytes(image[None])[0].copy()
        if frame in tracks.cuts:
            picture[: max(len(picture) // 60, 1)] = 255
        for number, track in enumerate(tracks.tracks):
            if frame in track.frames:
                _draw(picture, track, number, frame)
        drawn.append(torch.from_numpy(picture).float() / 255)
        if report is not None:
            report(frame + 1, len(images))
    return torch.stack(drawn)


def _draw(picture: np.ndarray, track: FaceTrack, number: int, frame: int) -> None:
    place, colour = frame - track.first, PALETTE[number % len(PALETTE)]
    unit = max(min(picture.shape[:2]) // 240, 1)
    box = track.boxes[place].round().astype(int).tolist()
    cv2.rectangle(picture, box[:2], box[2:], colour, 2 * unit if track.seen[place] else unit)
    middles = ((track.boxes[: place + 1, :2] + track.boxes[: place + 1, 2:]) / 2).round().astype(np.int32)
    cv2.polylines(picture, [middles[:, None]], False, colour, unit, cv2.LINE_AA)
    size = max(min(picture.shape[:2]) / 600, LEAST_TEXT)
    cv2.putText(picture, str(number), (box[0] + 2, box[3] - 2), FONT, size, colour, unit, cv2.LINE_AA)

"""Frames of real clips: any video that PyAV reads, and animated pictures, brought to one size."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

PICTURES = {".webp", ".gif", ".apng", ".png"}
VIDEOS = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", *PICTURES}
BROKEN = (OSError, SyntaxError, LookupError, ValueError, struct.error)  # what Pillow says of broken files


class UnreadableError(ValueError):
    """A file in which there is no video or picture, or one that breaks off; the message names it."""


def find_videos(*places: str | Path) -> list[Path]:
    """Files as given, and all videos below folders, in order. Raises ValueError for what is not there."""
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            found += sorted(path for path in place.rglob("*") if path.suffix.lower() in VIDEOS)
        elif place.is_file():
            found.append(place)
        else:
            raise ValueError(f"There is no video or folder '{place}'")
    return found


def read_caption(path: str | Path) -> str:
    """The text file of a video's name beside it, "" without one; UnreadableError for another encoding."""
    beside = Path(path).with_suffix(".txt")
    try:
        return beside.read_text(encoding="utf-8-sig").strip() if beside.is_file() else ""
    except UnicodeDecodeError as error:
        raise UnreadableError(f"'{beside.name}' is no text in UTF-8") from error


def read_frames(
    path: str | Path, start: int = 0, end: int | None = None, step: int = 1
) -> Iterator[np.ndarray]:
    """Frames start, start + step, ... before `end` of a file, each (H, W, 3) uint8 RGB, one at a time.

    A video that says that it is to be turned is turned. Raises UnreadableError, a ValueError, for a file in
    which there is no picture to read, or at the frame from which on it is damaged.
    """
    frames = _pictures(Path(path)) if Path(path).suffix.lower() in PICTURES else _video(Path(path))
    return islice(frames, start, end, step)


def _video(path: Path) -> Iterator[np.ndarray]:
    import av

    try:
        with av.open(str(path)) as video:
            if not video.streams.video:
                raise UnreadableError(f"'{path.name}' has no video in it")
            for frame in video.decode(video.streams.video[0]):
                turns = getattr(frame, "rotation", 0) // 90 % 4  # counter-clockwise; a telephone held upright
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
    except av.error.FFmpegError as error:
        raise UnreadableError(f"'{path.name}' is no video that can be read: {error}") from error


def _pictures(path: Path) -> Iterator[np.ndarray]:
    from PIL import Image, ImageSequence

    try:
        with Image.open(path) as picture:
            for frame in ImageSequence.Iterator(picture):
                yield np.asarray(frame.convert("RGB"))
    except BROKEN as error:
        raise UnreadableError(f"'{path.name}' is no picture that can be read: {error}") from error


def fitted(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame (H, W, 3) scaled to just cover `size` (width, height), and its middle of that size."""
    height, width = frame.shape[:2]
    scale = cover_scale((width, height), size)
    wide, high = max(size[0], round(width * scale)), max(size[1], round(height * scale))
    scaled = cv2.resize(frame, (wide, high), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    left, top = (wide - size[0]) // 2, (high - size[1]) // 2
    return np.ascontiguousarray(scaled[top : top + size[1], left : left + size[0]])


def cover_scale(own: tuple[int, int], size: tuple[int, int]) -> float:
    """What brings a frame of its `own` (width, height) to cover `size`; above 1 it is made larger."""
    return max(size[0] / own[0], size[1] / own[1])

"""From real videos to training clips with tracks (the data pipeline of Image Conductor).

Cuts and the longest scene of each video; a score of its motion, by which the stillest quarter is left out;
frames at a random stride; the middle of the picture; points of a grid followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..optical_flow import dis_flow
from ..trajectory.tracker import grid_points, track_points
from .cut_detection import DETECTORS, find_scenes
from .dataset import INDEX, write_clip, write_index
from .video import UnreadableError, cover_scale, fitted, read_caption, read_frames

PAIRS = 48  # neighbouring frames, at most, that a scene's motion is measured on
ALL_AS_ONE = 0.95  # share of the points that one move explains, from which on nothing but the view moves
NEAR, MOVED = 0.01, 0.02  # of the shorter side: what a move leaves to explain; from where on the view moves
Tracker = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Curation:
    """How to choose clips.

    size: (width, height). frames: of a clip. strides: smallest and largest step between them. drop: share of
    the scenes that is left out for moving least. grid: points a row and column. larger: whether videos
    smaller than `size` are taken. detector: one of `DETECTORS`.
    """

    size: tuple[int, int] = (384, 256)
    frames: int = 32
    strides: tuple[int, int] = (1, 16)
    drop: float = 0.25
    grid: int = 16
    larger: bool = False
    detector: str = DETECTORS[0]
    seed: int = 0


@dataclass(frozen=True)
class Scene:
    """The longest scene of a video: frames `start` to `end` - 1; its motion in pixels a frame; a caption."""

    source: Path
    start: int
    end: int
    motion: float
    caption: str = ""

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.end - self.start


def curate(
    videos: Sequence[Path], folder: Path, how: Curation, tracker: Tracker = track_points, report=print
) -> int:
    """Write the clips of videos as a folder for `read_datasets`; returns how many.

    tracker: as `track_points`. A video's caption is read from a text file of its name beside it, if there is
    one. A list of clips that is in the folder goes before the first new clip is written, so one that was
    stopped is not taken for a whole one. Raises ValueError when no video is left, and as `find_scenes` does.
    """
    scenes, left_out = [], []
    for video in videos:
        try:
            found = longest_scene(video, how)
        except UnreadableError as error:
            found = str(error)
        if isinstance(found, Scene):
            scenes.append(found)
        else:
            left_out.append({"source": video.name, "why": found})
        report(f"{video.name}: {found if isinstance(found, str) else f'moves {found.motion:.2f} px a frame'}")
    kept, still = split_by_motion(scenes, how.drop)
    left_out += [{"source": s.source.name, "why": f"moves little: {s.motion:.3f} px a frame"} for s in still]
    if not kept:
        why = "; ".join(one["why"] for one in left_out[:3])
        raise ValueError(f"None of {len(videos)} videos can be used: {why}")
    (folder / INDEX).unlink(missing_ok=True)
    rng = np.random.default_rng(how.seed)
    clips = [_clip(folder, f"{number:05}", scene, how, rng, tracker) for number, scene in enumerate(kept)]
    write_index(folder, how.size, clips, left_out)
    report(f"{len(clips)} clips in {folder}, {len(left_out)} videos left out")
    return len(clips)


def longest_scene(video: Path, how: Curation) -> Scene | str:
    """The longest scene of a video with its motion, or why it cannot be used.

    Raises UnreadableError, a ValueError, for a file that cannot be read, and as `find_scenes` does.
    """
    caption, first = read_caption(video), next(read_frames(video), None)
    if first is None:
        return "has no frames"
    own = (first.shape[1], first.shape[0])
    if cover_scale(own, how.size) > 1 and not how.larger:
        return f"is {own[0]}x{own[1]}, smaller than {how.size[0]}x{how.size[1]}"
    start, end = max(find_scenes(read_frames(video), how.detector), key=lambda scene: scene[1] - scene[0])
    if end - start < (how.frames - 1) * how.strides[0] + 1:
        return f"its longest scene has {end - start} frames"
    return Scene(video, start, end, _motion(video, start, end, how.size), caption)


def _motion(video: Path, start: int, end: int, size: tuple[int, int]) -> float:
    """Frobenius norm of the flow of neighbours over the root of the pixels, mean over pairs: px a frame."""
    every = max(1, (end - start - 1) // PAIRS)
    before, found = None, []
    for number, frame in enumerate(read_frames(video, start, end)):
        if number % every == 1 % every and before is not None:
            pair = torch.from_numpy(np.stack([fitted(f, size) for f in (before, frame)]))
            found.append(float(dis_flow(pair).norm()) / (size[0] * size[1]) ** 0.5)
        before = frame
    return float(np.mean(found)) if found else 0.0


def split_by_motion(scenes: Sequence[Scene], drop: float) -> tuple[list[Scene], list[Scene]]:
    """Scenes to keep, in their order, and the share `drop` (rounded down) that moves least."""
    still = sorted(scenes, key=lambda scene: scene.motion)[: int(drop * len(scenes))]
    return [scene for scene in scenes if scene not in still], still


def _clip(folder: Path, name: str, scene: Scene, how: Curation, rng, tracker: Tracker) -> dict:
    """Draw, follow and write one clip of a scene; what the list says of it."""
    most = min(how.strides[1], (scene.length - 1) // max(how.frames - 1, 1))
    stride = int(rng.integers(how.strides[0], most + 1))
    span = (how.frames - 1) * stride + 1
    start = scene.start + int(rng.integers(scene.length - span + 1))
    images = np.stack([fitted(f, how.size) for f in read_frames(scene.source, start, start + span, stride)])
    paths, visible = tracker(torch.from_numpy(images), grid_points(how.size, how.grid, how.grid))
    write_clip(folder, name, images, paths, visible)
    return {
        "name": name,
        "source": scene.source.name,
        "scene": [scene.start, scene.end],
        "start": start,
        "stride": stride,
        "motion": scene.motion,
        "kind": kind_of(paths.numpy(), visible.numpy(), how.size),
        "caption": scene.caption,
    }


def kind_of(paths: np.ndarray, visible: np.ndarray, size: tuple[int, int]) -> str:
    """What moves, one of `free_motion.KINDS`, by one move (shift, turn, scale) fitted to all points.

    paths: (N, F, 2), visible: (N, F). "camera" where it explains all points and is not rest, "object" where
    it is rest, else "mixed". Looked at in the last frame in which half of the points are still seen.
    """
    enough = np.flatnonzero(visible.mean(0) >= 0.5)
    last = int(enough[-1]) if len(enough) else 0
    seen = visible[:, last]
    start, end = paths[seen, 0], paths[seen, last]
    if last == 0 or len(start) < 3:
        return "mixed"
    near = NEAR * min(size)
    move, explained = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=near)
    if move is None:
        return "mixed"
    way = np.linalg.norm(start @ move[:, :2].T + move[:, 2] - start, axis=1).mean()
    if way < MOVED * min(size):
        return "object"
    return "camera" if explained.mean() >= ALL_AS_ONE else "mixed"

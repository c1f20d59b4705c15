"""Face tracks: which boxes of a clip are one face; without gaps, without jitter, never over a cut."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..fusion.cuts import scene_of
from .boxes import Box
from .detect import Detections

REACH = 0.7  # of a face's size that its centre may be away from where it was expected
REACH_GROWTH = 0.2  # more of it for each frame that it was not seen
RESIZE = 2.0  # a face's size changes at most by so much from one sight to the next
LEAST_DEVIATION = 0.05  # frames; by less no neighbour has any weight
GLIDE = 0.7  # how much of its speed a face is expected to keep with each frame that it is not seen


@dataclass(frozen=True)
class FaceTrack:
    """One face from its first to its last sight, n frames without a gap.

    first: its first frame. boxes: (n, 4) smoothed, in pixels. raw: (n, 4) as detected, straight lines across
    gaps. seen: (n,) bool, whether there was a detection. score: mean of the detections'. prompt: what its
    owner wants to go with it, or None.
    """

    first: int
    boxes: np.ndarray
    raw: np.ndarray
    seen: np.ndarray
    score: float
    prompt: object = None

    @property
    def frames(self) -> range:
        """The frames it covers."""
        return range(self.first, self.first + len(self.boxes))

    def box(self, frame: int) -> Box:
        """The smoothed box at a frame of the clip that the track covers."""
        return Box(*map(float, self.boxes[frame - self.first]))


@dataclass(frozen=True)
class FaceTracks:
    """All tracks of a clip of `count` frames of `size` (width, height), those with most face first."""

    size: tuple[int, int]
    count: int
    tracks: tuple[FaceTrack, ...] = ()
    cuts: tuple[int, ...] = ()

    def check(self, images) -> None:
        """Raise ValueError unless images (F, H, W, C) are of the clip that the tracks were made from."""
        found = len(images), images.shape[2], images.shape[1]
        if found != (self.count, *self.size):
            raise ValueError(
                f"The images are {found[0]} frames of {found[1]}x{found[2]}, the face tracks were made from "
                f"{self.count} frames of {self.size[0]}x{self.size[1]}"
            )

    def chosen(self, text: str, name: str = "tracks") -> tuple[int, ...]:
        """Numbers of the tracks that a text such as "0, 2", "largest" or "" (all) names.

        Raises ValueError for another text; `name` is the input that it was written in.
        """
        word = text.strip().lower()
        if word in ("", "all"):
            return tuple(range(len(self.tracks)))
        if word == "largest":
            return tuple(range(min(1, len(self.tracks))))
        words = re.split(r"[\s,]+", word.strip(", "))
        wrong = next((w for w in words if not w.isdecimal() or int(w) >= len(self.tracks)), None)
        if wrong is not None:
            have = f"there are tracks 0 to {len(self.tracks) - 1}" if self.tracks else "there is no track"
            raise ValueError(f"{name}: '{wrong}' is not a track's number, 'all' or 'largest'; {have}")
        return tuple(dict.fromkeys(map(int, words)))

    def only(self, text: str, name: str = "tracks") -> FaceTracks:
        """The named tracks, in the order named; as `chosen`."""
        return replace(self, tracks=tuple(self.tracks[i] for i in self.chosen(text, name)))

    def with_prompt(self, text: str, prompt: object) -> FaceTracks:
        """The same with `prompt` on the named tracks."""
        named = self.chosen(text, "faces")
        tracks = (replace(t, prompt=prompt) if i in named else t for i, t in enumerate(self.tracks))
        return replace(self, tracks=tuple(tracks))


@dataclass(frozen=True)
class Linking:
    """How detections become tracks.

    gap: frames that a face may be out of sight and still be the same one. least: detections a track needs
    (fewer in scenes that are shorter than that). smoothing: frames around each that steady its box, as the
    deviation of a Gaussian; 0 = none. Raises ValueError for negative numbers.
    """

    gap: int = 8
    least: int = 3
    smoothing: float = 3.0

    def __post_init__(self):
        """Check the numbers."""
        if self.gap < 0 or self.least < 1 or not self.smoothing >= 0:
            raise ValueError(
                f"Face tracks: gap {self.gap}, least {self.least} and smoothing {self.smoothing:g}, expected "
                "at least 0, 1 and 0"
            )


def link(found: Detections, linking: Linking, cuts: Sequence[int] = ()) -> FaceTracks:
    """Tracks of a clip's detections; none goes over a cut (`cuts` are the frames that begin a scene)."""
    count, tracks = len(found.boxes), []
    for start in (0, *cuts):
        end = scene_of(start, cuts, count)[1]
        sights = _link_scene(found.boxes[start:end], linking.gap)
        least = min(linking.least, end - start)
        tracks += [_finished(own, start, linking.smoothing) for own in sights if len(own) >= least]
    tracks.sort(key=lambda t: -float(((t.boxes[:, 2:] - t.boxes[:, :2]).prod(1)).sum()))
    return FaceTracks(found.size, count, tuple(tracks), tuple(cuts))


def _link_scene(frames: Sequence[np.ndarray], gap: int) -> list[list[tuple[int, np.ndarray]]]:
    """Per track its sights (frame, box with score). The best pairs of track and box are taken first."""
    tracks: list[list[tuple[int, np.ndarray]]] = []
    for now, boxes in enumerate(frames):
        alive = [own for own in tracks if now - own[-1][0] <= gap + 1]
        places = itertools.product(range(len(alive)), range(len(boxes)))
        pairs = [(_distance(alive[i], now, boxes[j]), i, j) for i, j in places]
        used, taken = set(), set()
        for distance, i, j in sorted(pairs):
            if distance < math.inf and i not in used and j not in taken:
                alive[i].append((now, boxes[j]))
                used.add(i)
                taken.add(j)
        tracks += [[(now, box)] for j, box in enumerate(boxes) if j not in taken]
    return tracks


def _distance(own: list, now: int, box: np.ndarray) -> float:
    """How far a box is from where a track expects its face, in face sizes; infinite out of reach."""
    last, before = own[-1], own[-2] if len(own) > 1 else own[-1]
    away, (centre, size) = now - last[0], _centre_size(last[1])
    speed = (centre - _centre_size(before[1])[0]) / max(last[0] - before[0], 1)
    expected = centre + speed * sum(GLIDE**k for k in range(away))
    there, its = _centre_size(box)
    mean = math.sqrt(size * its)
    off, ratio = float(np.hypot(*(there - expected))) / mean, max(size, its) / min(size, its)
    reach = REACH + REACH_GROWTH * (away - 1)
    return off + math.log(ratio) if off < reach and ratio < RESIZE else math.inf


def _centre_size(box: np.ndarray) -> tuple[np.ndarray, float]:
    extent = np.maximum(box[2:4] - box[:2], 1e-6)
    return (box[:2] + box[2:4]) / 2, float(np.sqrt(extent.prod()))


def _finished(own: list[tuple[int, np.ndarray]], start: int, smoothing: float) -> FaceTrack:
    """Fill the gaps of a track whose frames count from `start`, and smooth it."""
    places, rows = np.array([frame for frame, _ in own]), np.stack([box for _, box in own])
    frames = np.arange(places[0], places[-1] + 1)
    raw = np.stack([np.interp(frames, places, rows[:, k]) for k in range(4)], 1)
    seen = np.isin(frames, places)
    boxes = smooth(raw, smoothing)
    return FaceTrack(start + int(places[0]), boxes, raw, seen, float(rows[:, 4].mean()))


def smooth(values: np.ndarray, deviation: float) -> np.ndarray:
    """Each column of (n, k) smoothed along n without lag: at every place a line is fitted to its neighbours.

    They are weighed by a Gaussian of that deviation, as many before as after; at the ends the line goes on,
    so what moves evenly is kept exactly.
    """
    count = len(values)
    if deviation < LEAST_DEVIATION or count < 3:
        return values.copy()
    offset = np.arange(count)[None, :] - np.arange(count)[:, None]  # [place, neighbour]
    weight = np.exp(-0.5 * (offset / deviation) ** 2)
    moments = [(weight * offset**k).sum(1) for k in range(3)]
    kernel = weight * (moments[2][:, None] - moments[1][:, None] * offset)
    return kernel @ values / (moments[0] * moments[2] - moments[1] ** 2)[:, None]


def jitter(corners: np.ndarray) -> float:
    """Mean size of the second difference of box centres, (n, 4) or (n, 2) -> pixels; 0 under three frames."""
    centres = (corners[:, :2] + corners[:, 2:4]) / 2 if corners.shape[1] >= 4 else corners
    change = np.diff(centres, 2, axis=0)
    return float(np.hypot(*change.T).mean()) if len(change) else 0.0

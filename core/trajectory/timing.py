"""When a track is where: the frames of its keys, holds and easings as progress along the track."""

from __future__ import annotations

import math

import numpy as np

from .track import Track

EASE = {
    "linear": lambda share: share,
    "ease in": lambda share: share * share,
    "ease out": lambda share: share * (2 - share),
    "ease in-out": lambda share: share * share * (3 - 2 * share),
    "hold": lambda share: np.floor(share),
    "there and back": lambda share: 1 - abs(2 * share - 1),
}


def frame_at(what: str, frame: float, frames: int) -> float:
    """A frame counted from 0, of one that may count from the end; ValueError when the clip has none such."""
    if not -frames <= frame <= frames - 1:
        raise ValueError(
            f"{what} is set for frame {frame:g}, the clip has frames 0 to {frames - 1} "
            f"(or -{frames} to -1 from the end)"
        )
    return frame + frames if frame < 0 else frame


def has_times(track: Track) -> bool:
    """Whether any of its points says more about time than its place in the row does."""
    return any(p.frame is not None or p.hold or p.easing != "linear" for p in track.points)


def progress(track: Track, frames: int, marks: np.ndarray) -> np.ndarray:
    """How far the track is at each of `frames` frames, (F,), where `marks` (n,) says how far each key is.

    Marks rise from the first key to the last: parameters of a curve, or lengths along it. Raises ValueError
    that names track and key when its frames do not rise or do not fit into the clip.
    """
    if frames == 1:
        return marks[:1]
    if not has_times(track):
        return np.linspace(0, 1, frames) * marks[-1]
    stops = _stops(track)
    arrive = _arrivals(track, stops, frames, marks)
    times = np.ravel([(at, at + track.points[stop].hold) for stop, at in zip(stops, arrive, strict=True)])
    found = np.empty(frames)
    for frame in range(frames):
        place = int(np.searchsorted(times, frame, side="right")) - 1
        stop = min(max(place, 0) // 2, len(stops) - 1)
        here = marks[stops[stop]]
        if place < 0 or place % 2 == 0 or stop == len(stops) - 1:  # before the first, or while it stays
            found[frame] = here
        else:
            share = (frame - times[place]) / (times[place + 1] - times[place])
            eased = EASE[track.points[stops[stop]].easing](share)
            found[frame] = here + eased * (marks[stops[stop + 1]] - here)
    return found


def _stops(track: Track) -> list[int]:
    """Places of the points at which time is told: first, last, and any with a frame, a hold, an easing."""
    last = len(track.points) - 1
    told = (p.frame is not None or p.hold or p.easing != "linear" for p in track.points)
    return [i for i, says in enumerate(told) if says or i in (0, last)]


def _arrivals(track: Track, stops: list[int], frames: int, marks: np.ndarray) -> list[float]:
    """When each stop is reached; those without a frame share the time between their neighbours."""
    arrive = [math.nan] * len(stops)
    for i, stop in enumerate(stops):
        if track.points[stop].frame is not None:
            arrive[i] = frame_at(f"{track.title}, key {stop + 1}", track.points[stop].frame, frames)
    if math.isnan(arrive[0]):
        arrive[0] = 0.0
    if math.isnan(arrive[-1]):
        arrive[-1] = frames - 1 - track.points[stops[-1]].hold
    fixed = [i for i, at in enumerate(arrive) if not math.isnan(at)]
    for left, right in zip(fixed, fixed[1:], strict=False):
        _share_time(track, stops, arrive, (left, right), marks)
    return arrive


def _share_time(track, stops, arrive, ends: tuple[int, int], marks) -> None:
    """Fill in the arrivals between two known ones."""
    left, right = ends
    holds = np.array([track.points[stop].hold for stop in stops[left:right]])
    time = arrive[right] - arrive[left] - holds.sum()
    if time <= 0:
        raise ValueError(
            f"{track.title}, key {stops[right] + 1} is at frame {arrive[right]:g}, expected a frame after "
            f"{arrive[left] + holds.sum():g}, where the hold of the keys before it ends"
        )
    way = marks[stops[right]] - marks[stops[left]]
    for i in range(left + 1, right):
        part = marks[stops[i]] - marks[stops[left]]
        share = part / way if way > 0 else (i - left) / (right - left)
        arrive[i] = arrive[left] + holds[: i - left].sum() + share * time

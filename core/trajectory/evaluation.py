"""The two evaluation sets of ten: what camera and object control is measured with (specs of this pack)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from .camera import preset
from .track import Point, Track, Trajectories

POINTS = 33  # of a drawn curve
REACH = 0.17  # of the frame's side: half the length of an object's path
CAMERA_NAMES = {
    "pan left": "pan left",
    "pan right": "pan right",
    "pan up": "tilt up",
    "pan down": "tilt down",
    "zoom in": "zoom in",
    "zoom out": "zoom out",
    "diagonal up right": "diagonal up right",
    "diagonal down left": "diagonal down left",
    "down then up": "down then up",
    "left then right": "left then right",
}
Path = Callable[[float], tuple[float, float]]  # share of the clip -> offset in units of REACH
OBJECT_PATHS: dict[str, Path] = {
    "horizontal": lambda t: (2 * t - 1, 0),
    "vertical": lambda t: (0, 2 * t - 1),
    "diagonal": lambda t: (2 * t - 1, 1 - 2 * t),
    "C curve": lambda t: (-math.sin(math.pi * t), -math.cos(math.pi * t)),
    "S curve": lambda t: (0.6 * math.sin(2 * math.pi * t), 2 * t - 1),
    "loop": lambda t: (math.sin(2 * math.pi * t), -math.cos(2 * math.pi * t)),
    "shake horizontal": lambda t: (0.4 * math.sin(6 * math.pi * t), 0),
    "shake vertical": lambda t: (0, 0.4 * math.sin(6 * math.pi * t)),
    "straight then curve": lambda t: (
        (t / 0.3 - 1, 0.75)
        if t < 0.3
        else (0.75 * math.sin(math.pi * (t - 0.3) / 0.7), 0.75 * math.cos(math.pi * (t - 0.3) / 0.7))
    ),
}


def camera_set(amount: float = 1.0, grid: tuple[int, int] = (2, 2)) -> dict[str, Trajectories]:
    """Ten camera moves by name, in the order of the specification; `amount` scales how far they go."""
    return {
        name: Trajectories(camera=(preset(known, amount),), grid=grid) for name, known in CAMERA_NAMES.items()
    }


def object_set(centre: tuple[float, float] = (0.5, 0.5), reach: float = REACH) -> dict[str, Trajectories]:
    """Ten object motions by name around `centre`, in parts of the frame; the last moves two objects.

    reach: half the length of a straight path, in parts of the frame's side.
    """
    found = {
        name: Trajectories((drawn("object", path, centre, reach),)) for name, path in OBJECT_PATHS.items()
    }
    left = drawn("left", OBJECT_PATHS["horizontal"], (centre[0], centre[1] - reach), reach)
    right = drawn("right", lambda t: (1 - 2 * t, 0), (centre[0], centre[1] + reach), reach)
    return {**found, "two opposite": Trajectories((left, right))}


def drawn(name: str, path: Path, centre: tuple[float, float], reach: float) -> Track:
    """A track along a function of time."""
    return Track(tuple(_points(path, centre, reach)), name)


def _points(path: Path, centre, reach) -> Iterable[Point]:
    for i in range(POINTS):
        x, y = path(i / (POINTS - 1))
        yield Point(centre[0] + reach * x, centre[1] + reach * y)

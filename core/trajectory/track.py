"""What a user draws: points of a track, tracks, and all of them together with the camera's moves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

CURVES = ("pchip", "catmull-rom", "bezier", "linear")
TIMINGS = ("points", "length", "keys")
EASINGS = ("linear", "ease in", "ease out", "ease in-out", "hold")
ROLES = ("object", "camera")
CAMERA_EASINGS = (*EASINGS[:4], "there and back")
ZOOM_CURVES = ("even", "linear", "dolly")
Pair = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """A control point (x, y) in parts of the frame's width and height; it may lie outside 0..1.

    frame: when the track is here, counted from 0, negative from the end (-1 = the last); None = as the
        track's timing has it. hold: frames it stays.
    easing: how time runs from here to the next point that has a frame, a hold or an easing.
    visible: whether the track is seen from here to the next point.
    into, out: Bezier handles towards the points before and after, as offsets in the same unit; None = a third
        of the straight way there.
    """

    x: float
    y: float
    frame: float | None = None
    easing: str = "linear"
    hold: float = 0.0
    visible: bool = True
    into: Pair | None = None
    out: Pair | None = None


@dataclass(frozen=True)
class Track:
    """A path that something in the clip follows. One point only is a static anchor: it stays.

    curve: how points are joined, one of CURVES. timing: how time is shared between them, one of TIMINGS:
    "points" evenly, "length" by the way's length in pixels, "keys" by a frame on each; frames that points
    have always hold. role: what moves, an object or the camera (then the picture's content moves so).
    weight: multiplies its motion in flow maps. visible: False leaves it out. Raises ValueError that names
    track and key.
    """

    points: tuple[Point, ...]
    name: str = "track"
    curve: str = "pchip"
    timing: str = "points"
    role: str = "object"
    weight: float = 1.0
    visible: bool = True

    def __post_init__(self):
        """Check all that does not depend on a clip."""
        if not self.points:
            raise ValueError(f"{self.title} has no points, expected at least one")
        for what, known in (("curve", CURVES), ("timing", TIMINGS), ("role", ROLES)):
            check_choice(f"{self.title}: {what}", getattr(self, what), known)
        check_number(f"{self.title}: weight", self.weight)
        for number, point in enumerate(self.points, 1):
            self._check_point(f"{self.title}, key {number}", point)

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"Track '{self.name}'"

    def _check_point(self, title: str, point: Point) -> None:
        for what in ("x", "y", "hold"):
            check_number(f"{title}: {what}", getattr(point, what))
        if point.hold < 0:
            raise ValueError(f"{title}: hold is {point.hold:g}, expected 0 or more frames")
        check_choice(f"{title}: easing", point.easing, EASINGS)
        if point.frame is not None:
            check_number(f"{title}: frame", point.frame)
        elif self.timing == "keys":
            raise ValueError(f"{title} has no frame; timing 'keys' needs one on each key")
        for what in ("into", "out"):
            for value in getattr(point, what) or ():
                check_number(f"{title}: {what}", value)


@dataclass(frozen=True)
class CameraMove:
    """A move of the camera from frame `start` to frame `end` (negative from the end); it rests before, after.

    pan: parts of the frame's width to the right; tilt: parts of its height upwards; zoom: factor, above 1 =
    in; roll: degrees clockwise. The content moves the other way. zoom_curve: "even" multiplies by the same
    factor each frame, "linear" adds the same amount, "dolly" is a camera that approaches at constant speed.
    easing: one of CAMERA_EASINGS. Raises ValueError for anything else.
    """

    pan: float = 0.0
    tilt: float = 0.0
    zoom: float = 1.0
    roll: float = 0.0
    zoom_curve: str = "even"
    easing: str = "linear"
    start: int = 0
    end: int = -1

    def __post_init__(self):
        """Check all that does not depend on a clip."""
        for what in ("pan", "tilt", "zoom", "roll", "start", "end"):
            check_number(f"Camera move: {what}", getattr(self, what))
        if self.zoom <= 0:
            raise ValueError(f"Camera move: zoom is {self.zoom:g}, expected a factor above 0 (1 = none)")
        check_choice("Camera move: zoom_curve", self.zoom_curve, ZOOM_CURVES)
        check_choice("Camera move: easing", self.easing, CAMERA_EASINGS)


@dataclass(frozen=True)
class Trajectories:
    """Tracks and camera moves of one clip; an empty one moves nothing.

    camera: moves, the first acts first; they become tracks of role "camera" on a grid of columns x rows
    points. carry: whether the camera's motion is added to the tracks of role "object".
    size: (width, height) in pixels that it was drawn at, a hint.
    """

    tracks: tuple[Track, ...] = ()
    camera: tuple[CameraMove, ...] = ()
    grid: tuple[int, int] = (2, 2)
    carry: bool = False
    size: tuple[int, int] | None = None

    def __post_init__(self):
        """Check the grid."""
        if len(self.grid) != 2 or not all(1 <= cells <= 64 for cells in self.grid):
            raise ValueError(f"Camera grid is {self.grid}, expected columns and rows from 1 to 64")

    def plus(self, other: Trajectories, carry: bool = False) -> Trajectories:
        """Both together: the other's tracks are drawn later, its camera moves act later.

        The grid is that of the first one with a camera move.
        """
        grid = self.grid if self.camera or not other.camera else other.grid
        return replace(
            self,
            tracks=self.tracks + other.tracks,
            camera=self.camera + other.camera,
            grid=grid,
            carry=carry or self.carry or other.carry,
            size=self.size or other.size,
        )


def check_number(what: str, value: float) -> None:
    """Raise ValueError unless a value is a finite number."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        finite = number and math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        finite = False
    if not finite:
        raise ValueError(f"{what} is {value!r:.60}, expected a number")


def check_choice(what: str, value: str, known: tuple[str, ...]) -> None:
    """Raise ValueError unless a value is one of those known."""
    if value not in known:
        raise ValueError(f"{what} is {value!r}, expected one of {', '.join(known)}")

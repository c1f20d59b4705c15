"""The pack's own text for trajectories: JSON with a version, of control points in parts of the frame.

    {"version": 1, "size": [384, 256], "carry": false,
     "tracks": [{"name": "ball", "role": "object", "curve": "pchip", "timing": "points", "weight": 1.0,
                 "visible": true, "points": [{"x": 0.2, "y": 0.5, "frame": 0}, {"x": 0.8, "y": 0.5}]}],
     "camera": [{"pan": 0.25, "easing": "ease in-out"}], "grid": [2, 2]}

Everything but version, points, x and y may be left out. "size" (and an editor's "frames") are hints: the
clip's size and frame count are set where the trajectories are used.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields

from .track import CameraMove, Pair, Point, Track, Trajectories, check_number

VERSION = 1
# what an editor keeps for itself
EDITOR = {"trajectories": {"frames"}, "track": {"colour", "locked"}}


def read_document(data: dict) -> Trajectories:
    """Trajectories of a parsed document; raises ValueError that names the track and key it cannot take."""
    if data.get("version") != VERSION:
        raise ValueError(
            f"Trajectories JSON has version {data.get('version')!r}, this pack reads version {VERSION}"
        )
    known = {"version", "tracks", *(f.name for f in fields(Trajectories)), *EDITOR["trajectories"]}
    _check_keys("Trajectories JSON", data, known)
    tracks = tuple(
        _read_track(number, entry) for number, entry in enumerate(_list("tracks", data.get("tracks", [])), 1)
    )
    camera = tuple(
        _make(CameraMove, f"Camera move {number}", entry)
        for number, entry in enumerate(_list("camera", data.get("camera", [])), 1)
    )
    size = data.get("size")
    return Trajectories(
        tracks,
        camera,
        _whole_pair("grid", data.get("grid", (2, 2))),
        _flag("Trajectories JSON: carry", data.get("carry", False)),
        None if size is None else _whole_pair("size", size),
    )


def write_document(trajectories: Trajectories) -> str:
    """The document, indented, keys in the order of the dataclasses, defaults left out."""
    data = {"version": VERSION, **_plain(trajectories)}
    data["tracks"] = [
        {"name": track.name, **_plain(track), "points": [_plain(point) for point in track.points]}
        for track in trajectories.tracks
    ]
    if trajectories.camera:
        data["camera"] = [_plain(move) for move in trajectories.camera]
    return json.dumps(data, indent=1)


def _plain(item) -> dict:
    """Fields of a dataclass that are not their defaults."""
    values = {f.name: getattr(item, f.name) for f in fields(item)}
    return {
        f.name: values[f.name] for f in fields(item) if f.default is MISSING or values[f.name] != f.default
    }


def _read_track(number: int, entry) -> Track:
    name = str((isinstance(entry, dict) and entry.get("name")) or number)
    title = f"Track '{name}'"
    _check_keys(title, entry, {f.name for f in fields(Track)} | EDITOR["track"])
    entry = {key: value for key, value in entry.items() if key not in EDITOR["track"]}
    points = tuple(
        _read_point(f"{title}, key {key}", point)
        for key, point in enumerate(_list(f"{title}: points", entry.get("points", [])), 1)
    )
    return _make(Track, title, {**entry, "name": name, "points": points})


def _read_point(title: str, entry) -> Point:
    if isinstance(entry, list) and len(entry) == 2:
        entry = dict(zip("xy", entry, strict=True))
    point = _make(Point, title, entry)
    handles = {what: _pair(f"{title}: {what}", getattr(point, what)) for what in ("into", "out")}
    return Point(**{**vars(point), **handles})


def _make(kind: type, title: str, entry):
    """A dataclass from a JSON object; ValueError for keys it has not, or lacks."""
    _check_keys(title, entry, {f.name for f in fields(kind)})
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in entry]
    if missing:
        raise ValueError(f"{title} has no {missing[0]}")
    for f in fields(kind):
        if isinstance(f.default, bool):
            _flag(f"{title}: {f.name}", entry.get(f.name, f.default))
    return kind(**entry)


def _check_keys(title: str, entry, known: set[str]) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{title} is {entry!r:.60}, expected a JSON object")
    for key in entry:
        if key not in known:
            raise ValueError(f"{title} has an unknown entry '{key}', expected {', '.join(sorted(known))}")


def _flag(title: str, value) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{title} is {value!r:.60}, expected true or false")
    return value


def _list(title: str, value) -> list:
    if not isinstance(value, list):
        raise ValueError(f"{title} is {value!r:.60}, expected a list")
    return value


def _pair(title: str, value) -> Pair | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f"{title} is {value!r:.60}, expected two numbers")
    for number in value:
        check_number(title, number)
    return tuple(value)


def _whole_pair(title: str, value) -> tuple[int, int]:
    pair = _pair(f"Trajectories JSON: {title}", value)
    if pair is None or any(number != int(number) or number < 1 for number in pair):
        raise ValueError(f"Trajectories JSON: {title} is {value!r:.60}, expected two whole numbers from 1")
    return int(pair[0]), int(pair[1])

"""Trajectories from and to what other packs and programs use: coordinate strings, CSV, TRACKS.

A coordinate string is JSON, `[[{"x": 1, "y": 2}, ...], ...]`: a list of points a track, in pixels; one track
alone may come unwrapped. Of ATI and Wan's track node it has 121 points a track, spread evenly over a clip of
any length. TRACKS is a dictionary with `track_path` (F, N, 2) in pixels and `track_visibility` (F, N).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .document import read_document
from .sample import Sampled
from .track import Point, Track, Trajectories, check_choice, check_number

UNITS = ("pixels", "percent", "fraction")
COLUMNS = {2: ("x", "y"), 3: ("track", "x", "y"), 4: ("track", "frame", "x", "y")}
COLUMNS[5] = (*COLUMNS[4], "visible")
HIDDEN = ("0", "0.0", "false", "")  # in a column of what is seen
BYTE_ORDER_MARK = "\ufeff"
ATI_POINTS = 121
DIGITS = 4  # of written coordinates


@dataclass(frozen=True)
class Reading:
    """How to take coordinates: the frame's (width, height), the unit, and what the tracks become."""

    size: tuple[int, int] = (512, 512)
    unit: str = "pixels"
    role: str = "object"
    curve: str = "pchip"
    timing: str = "points"

    def track(self, name, points: Sequence[dict]) -> Track:
        """A track of points {"x", "y", "frame"?, "visible"?}; ValueError names it and the point."""
        scale = {"pixels": self.size, "percent": (100, 100), "fraction": (1, 1)}[self.unit]
        made = []
        for number, point in enumerate(points, 1):
            title = f"Track '{name}', key {number}"
            for what in "xy":
                check_number(f"{title}: {what}", point.get(what))
            x, y = point["x"] / scale[0], point["y"] / scale[1]
            made.append(Point(x, y, point.get("frame"), visible=point.get("visible", True)))
        return Track(tuple(made), str(name), self.curve, self.timing, self.role)

    def __post_init__(self):
        """Check the unit."""
        check_choice("Unit of the coordinates", self.unit, UNITS)


def parse(text: str, reading: Reading | None = None) -> Trajectories:
    """Trajectories of any text this pack knows; empty text has none.

    That is its own JSON, a coordinate string, or CSV; `reading` says how to take coordinates, and does not
    touch the pack's own JSON. Raises ValueError that names the track and key it cannot take.
    """
    reading = reading or Reading()
    text = text.lstrip(BYTE_ORDER_MARK)
    if not text.strip():
        return Trajectories()
    if text.lstrip()[0] not in "[{":
        return Trajectories(read_csv(text, reading), size=reading.size)
    data = _json(text)
    if isinstance(data, dict) and "x" not in data:
        return read_document(data)
    return Trajectories(read_coordinates(data, reading), size=reading.size)


def _json(text: str):
    """Parsed JSON, also with single quotes, and also one value a line."""
    try:
        return json.loads(text.replace("'", '"') if '"' not in text else text)
    except json.JSONDecodeError as error:
        lines = [line.strip().replace("'", '"') for line in text.splitlines() if line.strip()]
        try:
            return [json.loads(line) for line in lines]
        except json.JSONDecodeError:
            raise ValueError(
                f"Trajectories are not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}"
            ) from None


def read_coordinates(data, reading: Reading) -> tuple[Track, ...]:
    """Tracks of a parsed coordinate string; points are {"x", "y"} or [x, y]."""
    if isinstance(data, dict):
        data = [data]
    depth, inner = 0, data
    while isinstance(inner, list) and inner and not _is_pair(inner):
        depth, inner = depth + 1, inner[0]
    if depth == 3 and len(data) > 1:
        raise ValueError(f"The coordinates hold {len(data)} batches of tracks, expected one")
    tracks = [data] if depth == 1 else data[0] if depth == 3 else data
    if data == []:
        return ()
    return tuple(reading.track(number, _points(number, track)) for number, track in enumerate(tracks, 1))


def _is_pair(value) -> bool:
    return isinstance(value, list) and len(value) == 2 and not isinstance(value[0], (list, dict))


def _points(number: int, track) -> list[dict]:
    if not isinstance(track, list):
        raise ValueError(f"Track '{number}' is {track!r:.60}, expected a list of points")
    found = []
    for key, point in enumerate(track, 1):
        if _is_pair(point):
            point = dict(zip("xy", point, strict=True))
        if not isinstance(point, dict):
            raise ValueError(f"Track '{number}', key {key} is {point!r:.60}, expected an x and a y")
        found.append({what: point.get(what) for what in "xy"})  # others add entries of their own
    return found


def read_csv(text: str, reading: Reading) -> tuple[Track, ...]:
    """Tracks of lines `track,frame,x,y,visible`, `track,frame,x,y`, `track,x,y` or `x,y`, or by a header.

    Lines of one track may stand anywhere; a frame, where given, is kept as the key's frame.
    """
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    rows = [row for row in rows if not row[0].lstrip().startswith("#")]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if {"x", "y"} <= set(header):
        rows = rows[1:]
    else:
        header = COLUMNS.get(len(header), ())
    if not header:
        raise ValueError(
            'Coordinates: expected JSON as in [[{"x": 1, "y": 2}]], or lines as in 1,2; '
            f"got {text.strip()!r:.60}"
        )
    tracks: dict[str, list[dict]] = {}
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"CSV row {number} has {len(row)} cells, expected {len(header)}")
        cells = dict(zip(header, row, strict=True))
        point = {what: _cell(number, what, cells[what]) for what in ("x", "y", "frame") if what in cells}
        point["visible"] = cells.get("visible", "1").strip().lower() not in HIDDEN
        tracks.setdefault(cells.get("track", "1").strip(), []).append(point)
    return tuple(reading.track(name, points) for name, points in tracks.items())


def _cell(number: int, what: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"CSV row {number}: {what} is {text!r}, expected a number") from None


def read_tracks(tracks: dict, reading: Reading) -> tuple[Track, ...]:
    """Tracks of a TRACKS value, one point a frame of it; they spread over whatever clip they are used in."""
    paths, visible = tracks_tensors(tracks)
    return tuple(
        reading.track(
            number,
            [{"x": x, "y": y, "visible": seen} for (x, y), seen in zip(path, shown, strict=True)],
        )
        for number, (path, shown) in enumerate(zip(paths.tolist(), visible.tolist(), strict=True), 1)
    )


def tracks_tensors(tracks: dict) -> tuple[Tensor, Tensor]:
    """Paths (N, F, 2) float64 in pixels and visibility (N, F) bool of a TRACKS value; ValueError if none."""
    path = tracks.get("track_path") if isinstance(tracks, dict) else None
    if not isinstance(path, Tensor) or path.ndim not in (3, 4) or path.shape[-1] != 2:
        shape = tuple(path.shape) if isinstance(path, Tensor) else type(path).__name__
        raise ValueError(f"TRACKS hold {shape} as track_path, expected a tensor of frames x points x 2")
    if path.ndim == 4 and len(path) != 1:
        raise ValueError(f"TRACKS hold {len(path)} clips, expected one")
    path = path.reshape(path.shape[-3:])
    seen = tracks.get("track_visibility")
    seen = torch.ones(path.shape[:2]) if seen is None else torch.as_tensor(seen)
    if seen.numel() not in (len(path), path.shape[0] * path.shape[1]):
        raise ValueError(
            f"TRACKS hold {tuple(seen.shape)} as track_visibility, expected {tuple(path.shape[:2])}"
        )
    seen = seen.reshape(len(path), -1).expand(path.shape[:2])
    return path.detach().cpu().double().transpose(0, 1), (seen > 0).cpu().T


def write_tracks(paths: Tensor, visible: Tensor) -> dict:
    """A TRACKS value of paths (N, F, 2) in pixels and visibility (N, F)."""
    path = paths.float().transpose(0, 1).contiguous()
    return {"track_path": path, "track_visibility": visible.T.contiguous()}


def write_coordinates(sampled: Sampled) -> str:
    """A coordinate string: one point a frame, pixels, a list a track."""
    return _coordinates(sampled.paths)


def write_ati(sampled: Sampled) -> str:
    """A coordinate string of 121 points a track, at even times from the first frame to the last."""
    paths = sampled.paths.transpose(1, 2)
    spread = interpolate(paths, ATI_POINTS, mode="linear", align_corners=True) if len(paths) else paths
    return _coordinates(spread.transpose(1, 2))


def write_csv(sampled: Sampled) -> str:
    """CSV with a header: track, frame, x and y in pixels, visible."""
    lines = [",".join(COLUMNS[5])]
    shown = sampled.visible.int().tolist()
    for number, (path, seen) in enumerate(zip(_rounded(sampled.paths), shown, strict=True), 1):
        lines += [f"{number},{i},{x},{y},{seen[i]}" for i, (x, y) in enumerate(path)]
    return "\n".join(lines) + "\n"


def _coordinates(paths: Tensor) -> str:
    return json.dumps([[{"x": x, "y": y} for x, y in path] for path in _rounded(paths)])


def _rounded(paths: Tensor) -> list:
    return [[[round(v, DIGITS) for v in xy] for xy in path] for path in paths.tolist()]

"""Curves through control points: cubic pieces, whose kinds differ only in their tangents.

Points are at equal steps of the parameter, 0 at the first and 1 at the last. Arithmetic is float64, in the
order that the published code's library has, so that a point on a pixel's border falls on the same side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .track import Track

STEPS = 32  # a piece, at least, when a curve's length is measured


class Curve(NamedTuple):
    """Cubic pieces: position in a piece that begins at knot k is sum_i powers[i, k] * (t - knots[k])^i."""

    knots: np.ndarray  # (n,)
    powers: np.ndarray  # (4, n - 1, 2)

    def at(self, where: np.ndarray) -> np.ndarray:
        """Positions (K, 2) at parameters (K,) in 0..1."""
        piece = (np.searchsorted(self.knots, where, side="right") - 1).clip(0, len(self.knots) - 2)
        step = (where - self.knots[piece])[:, None]
        found, power = self.powers[0, piece].copy(), step
        for factor in self.powers[1:, piece]:
            found += factor * power
            power = power * step
        return found


def curve_through(track: Track, points: np.ndarray, size: tuple[int, int]) -> Curve:
    """The track's curve through its points in pixels, (n, 2) with n >= 2; handles scale with `size`."""
    knots = np.linspace(0, 1, len(points))
    steps = np.diff(knots)[:, None]
    slopes = np.diff(points, axis=0) / steps
    if track.curve == "bezier":
        leave, arrive = _handles(track, slopes, steps, size)
    elif track.curve == "linear":
        leave = arrive = slopes
    elif track.curve == "catmull-rom":
        leave, arrive = _catmull_rom(points, steps)
    else:
        tangents = _pchip(slopes, steps)
        leave, arrive = tangents[:-1], tangents[1:]
    bend = (leave + arrive - 2 * slopes) / steps
    return Curve(knots, np.stack((points[:-1], leave, (slopes - leave) / steps - bend, bend / steps)))


def _pchip(slopes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Tangents (n, 2) of Fritsch and Butland 1984: never past a point, so a track does not overshoot."""
    if len(slopes) == 1:
        return np.concatenate((slopes, slopes))
    before, after = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    turns = (np.sign(slopes[1:]) != np.sign(slopes[:-1])) | (slopes[1:] == 0) | (slopes[:-1] == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (before / slopes[:-1] + after / slopes[1:]) / (before + after)
        inner = np.where(turns, 0.0, 1.0 / mean)
    first = _pchip_end(steps[0], steps[1], slopes[0], slopes[1])
    last = _pchip_end(steps[-1], steps[-2], slopes[-1], slopes[-2])
    return np.concatenate((first[None], inner, last[None]))


def _pchip_end(step, next_step, slope, next_slope) -> np.ndarray:
    """Tangent at an end: of three points, kept monotone."""
    tangent = ((2 * step + next_step) * slope - step * next_slope) / (step + next_step)
    limited = (np.sign(slope) != np.sign(next_slope)) & (abs(tangent) > 3 * abs(slope))
    return np.where(np.sign(tangent) != np.sign(slope), 0.0, np.where(limited, 3 * slope, tangent))


def _catmull_rom(points: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centripetal Catmull-Rom (Yuksel et al. 2011): smooth, and without loops where points lie close."""
    ways = np.diff(points, axis=0)
    spans = np.sqrt(np.linalg.norm(ways, axis=1, keepdims=True)).clip(1e-9)  # equal points: no motion
    slopes = ways / spans
    across = (ways[1:] + ways[:-1]) / (spans[1:] + spans[:-1])
    tangents = np.concatenate((slopes[:1], slopes[:-1] - across + slopes[1:], slopes[-1:]))
    return tangents[:-1] * spans / steps, tangents[1:] * spans / steps


def _handles(track: Track, slopes, steps, size) -> tuple[np.ndarray, np.ndarray]:
    """Tangents where a piece begins and ends: three times its handles, the straight way without handles."""
    leave, arrive = slopes.copy(), slopes.copy()
    for i in range(len(slopes)):
        if track.points[i].out is not None:
            leave[i] = 3 * np.multiply(track.points[i].out, size) / steps[i]
        if track.points[i + 1].into is not None:
            arrive[i] = -3 * np.multiply(track.points[i + 1].into, size) / steps[i]
    return leave, arrive


class Lengths(NamedTuple):
    """How long a curve is up to a parameter."""

    where: np.ndarray  # (S,) parameters
    length: np.ndarray  # (S,) pixels from the start

    def up_to(self, where: np.ndarray) -> np.ndarray:
        """Length in pixels from the start to each parameter."""
        return np.interp(where, self.where, self.length)

    def parameter(self, length: np.ndarray) -> np.ndarray:
        """Parameter at each length from the start."""
        return np.interp(length, self.length, self.where)


def measure_curve(curve: Curve) -> Lengths:
    """Lengths along a curve, by chords."""
    pieces = len(curve.knots) - 1
    where = np.linspace(0, 1, pieces * max(STEPS, 1024 // pieces) + 1)
    chords = np.linalg.norm(np.diff(curve.at(where), axis=0), axis=1)
    return Lengths(where, np.concatenate(([0.0], np.cumsum(chords))))

"""The report's pictures: all rows with their intervals on one chart, and curves over a setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..pack import register_pack
from .rows import Experiment, Figures
from .verdict import BESIDE, FEW, HOLDS, MISSING, OPEN, OPPOSITE, Result

WIDTH, LINE, NAMES, TOP = 760, 20, 190, 46  # pixels
LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]  # above 100: every pixel as it is
REACH = 3.0  # deviations of the difference that the chart shows to each side
INK, GRID = (50, 50, 50), (215, 215, 215)  # BGR, as all below
COLOURS = {HOLDS: (60, 140, 40), OPEN: (120, 120, 120), OPPOSITE: (40, 50, 190), BESIDE: (170, 110, 40)}
COLOURS |= {FEW: (170, 170, 170)}


def draw_results(results: Sequence[Result], file: Path) -> None:
    """One line a measured row: the paired difference in its own deviations, as claimed to the right."""
    shown = [one for one in results if one.verdict != MISSING and one.seeds > 1]
    picture = np.full((TOP + LINE * len(shown) + 8, WIDTH, 3), 255, np.uint8)
    for step in range(-int(REACH), int(REACH) + 1):
        x = _place(step)
        cv2.line(picture, (x, TOP - 6), (x, len(picture) - 8), INK if step == 0 else GRID, 1)
        _write(picture, f"{step:+d}" if step else "0", x - 8, TOP - 12)
    _write(picture, "difference / its deviation; right = as claimed", 4, 14)
    for number, one in enumerate(shown):
        y = TOP + LINE * number + LINE // 2
        sign = -1 if one.row.expect < 0 else 1
        scale = sign / (one.spread or 1.0)
        low, middle, high = (_place(value * scale) for value in (one.low, one.mean, one.high))
        colour = COLOURS[one.verdict]
        cv2.line(picture, (low, y), (high, y), colour, 2, cv2.LINE_AA)
        cv2.circle(picture, (middle, y), 4, colour, -1, cv2.LINE_AA)
        _write(picture, one.row.name, 4, y + 4)
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), picture, LOSSLESS)


def _place(value: float) -> int:
    """Where a number of deviations lies, across."""
    share = (np.clip(value, -REACH, REACH) + REACH) / (2 * REACH)
    return int(round(NAMES + share * (WIDTH - NAMES - 16)))


def _write(picture: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)


def draw_curve(experiment: Experiment, figures: Sequence[Figures], file: Path) -> None:
    """Means over seeds of an experiment's columns, side after side in its order."""
    register_pack()
    from choreographer.core.metrics.plot import plot

    sides, columns = experiment.curve
    ends = f"{sides[0]} to {sides[-1]}"
    curves = {
        f"{column}, {ends}": tuple(
            float(np.nanmean([one[side][column] for one in figures])) for side in sides
        )
        for column in columns
    }
    picture = (plot(curves).numpy() * 255).round().astype(np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), picture[..., ::-1], LOSSLESS)
